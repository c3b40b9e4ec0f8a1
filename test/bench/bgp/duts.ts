/** Speakers under test: ours and what else is installed, each with the same peers. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import type { BgpLink } from '../../support/bgp.ts';
import { until } from '../../support/wait.ts';
import { type DutName, type DutPeer, starters } from './dut-starters.ts';
import { residentKib } from './resident.ts';

/** Those that are installed. */
export function dutNames(): readonly DutName[] {
  return (Object.keys(starters) as DutName[]).filter((name) => starters[name].installed());
}

/** Of all processes of a speaker. */
export interface Usage {
  /** User and system, since the start. */
  readonly cpuSec: number;
  /** As `residentKib` says. */
  readonly rssMib: number;
}

/** Between the kill and the end of what has gigabytes to give back. */
const endDeadlineMs = 60_000;

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
  usage(): Usage {
    const pids = this.#processes();
    const smaps = pids.map((pid) => fs.readFileSync(`/proc/${pid}/smaps`, 'utf8'));
    return { cpuSec: pids.reduce((sum, pid) => sum + cpuSecOf(pid), 0), rssMib: residentKib(smaps) / 1024 };
  }
  async stop(): Promise<void> {
    const pids = this.#processes();
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    // Those that have others below them would have them wind up their work first.
    for (const pid of pids) if (pid !== this.pid) killed(pid);
    this.#process.kill('SIGKILL');
    await gone;
    await until(() => pids.every((pid) => !fs.existsSync(`/proc/${pid}/exe`)), {
      what: `${this.name} to end`,
      deadlineMs: endDeadlineMs,
    });
  }
  #processes(): number[] {
    const { programs } = starters[this.name];
    return [this.pid, ...descendants(this.pid)].filter(
      (pid) => programs?.includes(fs.readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? true,
    );
  }
}

function killed(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    // It went with one that was killed before it.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function descendants(pid: number): number[] {
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function cpuSecOf(pid: number): number {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Starts it in the link's first namespace; resolves when it listens. @param environment see {@link starters}. */
export async function startDut(
  name: DutName,
  link: BgpLink,
  peers: readonly DutPeer[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Dut> {
  const process = await starters[name].start(link, peers, environment);
  let said = '';
  for (const stream of [process.stdout, process.stderr]) stream?.on('data', (chunk) => (said += chunk));
  const listens = (): boolean => {
    if (process.exitCode !== null) throw new Error(`${name} ended: ${said}`);
    return execFileSync('ip', ['netns', 'exec', link.a, 'ss', '-Hltn', 'sport = :179'], { encoding: 'utf8' }) !== '';
  };
  await until(listens, { what: `${name} to listen; it said ${said}`, deadlineMs: 30_000 });
  return new Dut(name, process);
}
