/** Speakers under test: ours and what else is installed, each with the same peers: everything imported from some, everything exported to others. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { BgpLink } from '../../support/bgp.ts';
import { tool } from '../../support/tools.ts';
import { until } from '../../support/wait.ts';
import { bundledProgram } from '../kubernetes/agent.ts';

export type DutName = 'poplin' | 'bird';

/** Those that are installed. */
export function dutNames(): readonly DutName[] {
  return ['poplin', 'bird'];
}

export interface DutPeer {
  readonly id: string;
  readonly address: string;
  readonly asn: number;
  readonly family: 4 | 6;
  /** `in`: what it sends is imported, nothing is exported to it. `out`: the reverse. */
  readonly direction: 'in' | 'out' | 'both';
}

export const dutAsn = 64512;
export const dutAddress = { 4: '10.9.0.1', 6: 'fd09::1' } as const;

export interface Usage {
  /** User and system, since the start. */
  readonly cpuSec: number;
  readonly rssMib: number;
}

export class Dut {
  readonly name: DutName;
  readonly #process: ChildProcess;

  constructor(name: DutName, process: ChildProcess) {
    this.name = name;
    this.#process = process;
  }

  get pid(): number {
    return this.#process.pid!;
  }
  /** Of all its processes. */
  usage(): Usage {
    return [this.pid, ...descendants(this.pid)].map(usageOf).reduce((sum, one) => ({
      cpuSec: sum.cpuSec + one.cpuSec,
      rssMib: sum.rssMib + one.rssMib,
    }));
  }
  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await gone;
  }
}

function descendants(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function usageOf(pid: number): Usage {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const rss = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0;
  return { cpuSec: (Number(fields[11]) + Number(fields[12])) / 100, rssMib: Number(rss) / 1024 };
}

/** Starts it in the link's first namespace; resolves when it listens. */
export async function startDut(name: DutName, link: BgpLink, peers: readonly DutPeer[]): Promise<Dut> {
  const process = await starters[name](link, peers);
  let said = '';
  for (const stream of [process.stdout, process.stderr]) stream?.on('data', (chunk) => (said += chunk));
  await until(
    () => execFileSync('ip', ['netns', 'exec', link.a, 'ss', '-Hltn', 'sport = :179'], { encoding: 'utf8' }) !== '',
    {
      what: `${name} to listen; it said ${said}`,
      deadlineMs: 30_000,
    },
  );
  return new Dut(name, process);
}

type Starter = (link: BgpLink, peers: readonly DutPeer[]) => Promise<ChildProcess>;

const starters: Readonly<Record<DutName, Starter>> = {
  async poplin(link, peers) {
    const file = path.join(link.folder, 'speaker.yaml');
    const lines = peers.map(({ address, asn, direction }) => {
      const [from, to] = [direction === 'out' ? 'reject' : 'accept', direction === 'in' ? 'reject' : 'accept'];
      return `  - { address: "${address}", asn: ${asn}, passive: true, import: ${from}, export: ${to} }\n`;
    });
    const head = `asn: ${dutAsn}\nrouterId: 10.9.0.1\n`;
    fs.writeFileSync(
      file,
      `${head}listen: ["${dutAddress[4]}:179", "[${dutAddress[6]}]:179"]\npeers:\n${lines.join('')}`,
    );
    const [command, ...args] = await bundledProgram();
    return link.spawn(link.a, command!, [
      ...args,
      'speaker',
      '--config',
      file,
      '--socket',
      path.join(link.folder, 'speaker.sock'),
    ]);
  },
  async bird(link, peers) {
    const sessions = peers.map(({ id, address, asn, family, direction }) => {
      const [from, to] = [direction === 'out' ? 'none' : 'all', direction === 'in' ? 'none' : 'all'];
      const channel = `ipv${family} { import ${from}; export ${to}; next hop self; };`;
      return `protocol bgp ${id} { local ${dutAddress[family]} as ${dutAsn}; neighbor ${address} as ${asn}; passive on; ${channel} }\n`;
    });
    const text = `router id 10.9.0.1;\nprotocol device {}\n${sessions.join('')}`;
    const file = path.join(link.folder, 'bird.conf');
    fs.writeFileSync(file, text);
    return link.spawn(link.a, tool('bird'), ['-f', '-c', file, '-s', path.join(link.folder, 'bird.ctl')]);
  },
};
