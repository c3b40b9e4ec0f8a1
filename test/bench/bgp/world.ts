/** One speaker under test with its peers in another namespace, and the process that plays those. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { BgpLink } from '../../support/bgp.ts';
import { type LoopTurns, loopTurns, loopTurnsEnvironment } from '../../support/loop-turns.ts';
import type { Command, Limited, Over, SessionSpec } from './client.ts';
import { type DutName, type DutPeer, dutAddress } from './dut-starters.ts';
import { type Dut, startDut } from './duts.ts';

export type Answer = Readonly<Record<string, unknown>> & { readonly seconds: number };

/** Not done in time: the speaker is that slow, or does not do it at all. */
export class OverLimit extends Error {
  readonly limitSec: number;
  constructor(what: string, { overSec, lacking }: Over) {
    super(`${what}: not done within ${overSec} s: ${lacking.join('; ')}`);
    this.name = 'OverLimit';
    this.limitSec = overSec;
  }
}

/** Of one command, unless a part says otherwise. */
const limitSecDefault = 60;
/** Processor time within this long below which a speaker has nothing to do any more. */
const settledMs = 500;
const settledCpuSec = 0.03;

const turnsFolder = (link: BgpLink): string => path.join(link.folder, 'turns');

/** Wall time of a command and what it cost the speaker. */
export interface Cost {
  readonly seconds: number;
  readonly cpuSec: number;
  /** Afterwards. */
  readonly rssMib: number;
}

/** The process of client.ts. */
interface Peers {
  readonly process: ChildProcess;
  readonly answers: AsyncIterator<string>;
}

export class World {
  readonly link: BgpLink;
  readonly dut: Dut;
  readonly #limitSec: number;
  /** Started by the first command: a part may have peers of its own. */
  #peers: Peers | undefined;
  #errors = '';

  private constructor(link: BgpLink, dut: Dut, limitSec: number) {
    this.#limitSec = limitSec;
    this.link = link;
    this.dut = dut;
  }

  #startPeers(): Peers {
    const file = path.join(import.meta.dirname, 'client.ts');
    const client = this.link.spawn(this.link.b, process.execPath, ['--max-old-space-size=8192', file]);
    client.stderr!.on('data', (chunk) => (this.#errors += chunk));
    const answers = readline.createInterface({ input: client.stdout! })[Symbol.asyncIterator]();
    return { process: client, answers };
  }

  /** @param options.turns the speaker measures each turn of its loop, which costs it something: see {@link turns}. */
  static async start(
    name: DutName,
    peers: readonly DutPeer[],
    { limitSec = limitSecDefault, turns = false }: { readonly limitSec?: number; readonly turns?: boolean } = {},
  ): Promise<World> {
    const link = new BgpLink();
    const addresses = peers.map(
      ({ address, family }) => `addr add ${address}/${family === 4 ? 16 : 64} dev e0 ${family === 6 ? 'nodad' : ''}`,
    );
    // The speaker's side reaches all of 10.9/16.
    execFileSync('ip', ['-n', link.a, 'addr', 'add', '10.9.255.254/16', 'dev', 'e0']);
    execFileSync('ip', ['-n', link.b, '-force', '-batch', '-'], {
      input: addresses.join('\n'),
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    try {
      const environment = turns ? loopTurnsEnvironment(turnsFolder(link)) : {};
      if (turns) fs.mkdirSync(turnsFolder(link));
      return new World(link, await startDut(name, link, peers, environment), limitSec);
    } catch (error) {
      await link[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @throws OverLimit; Error with what the peers said when one of them failed */
  async do(command: Command): Promise<Answer> {
    const limited: Limited = { ...command, limitSec: this.#limitSec };
    this.#peers ??= this.#startPeers();
    this.#peers.process.stdin!.write(`${JSON.stringify(limited)}\n`);
    const { value, done } = await this.#peers.answers.next();
    if (done) throw new Error(`${this.dut.name}, ${command.op}: ${this.#errors.trim()}`);
    const answer = JSON.parse(value) as Answer | Over;
    if ('overSec' in answer) throw new OverLimit(command.op, answer as Over);
    return answer;
  }

  /** The same with what it cost the speaker. */
  async cost(command: Command): Promise<Cost> {
    const before = this.dut.usage();
    const { seconds } = await this.do(command);
    const { cpuSec, rssMib } = this.dut.usage();
    return { seconds, cpuSec: cpuSec - before.cpuSec, rssMib };
  }

  /** Resident memory once the processor has nothing to do any more. @throws OverLimit */
  async settledMib(): Promise<number> {
    const end = performance.now() + this.#limitSec * 1000;
    for (let before = this.dut.usage(); performance.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, settledMs));
      const now = this.dut.usage();
      if (now.cpuSec - before.cpuSec < settledCpuSec) return now.rssMib;
      before = now;
    }
    throw new OverLimit('settle', { overSec: this.#limitSec, lacking: ['an idle processor'] });
  }

  /** What the loop of a speaker that was started to measure its turns did so far does not count: it started. */
  forgetTurns(): void {
    process.kill(this.dut.pid, 'SIGUSR2');
  }
  /** Of the loop of a speaker that was started to measure them, once it has nothing to do any more. */
  async turns(): Promise<LoopTurns> {
    await this.settledMib();
    return loopTurns(turnsFolder(this.link));
  }

  open(
    peers: readonly DutPeer[],
    more: { readonly announceOwn?: boolean; readonly holdTimeSec?: number } = {},
  ): Promise<Answer> {
    const { announceOwn, holdTimeSec } = more;
    const sessions = peers.map(
      ({ id, address, asn, family }): SessionSpec => ({
        id,
        address,
        asn,
        family,
        ...(holdTimeSec ? { holdTimeSec } : {}),
      }),
    );
    return this.do({ op: 'open', to: dutAddress[peers[0]!.family], sessions, ...(announceOwn ? { announceOwn } : {}) });
  }

  /** The bytes the peers prepare are theirs; this is the speaker's. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#peers?.process.kill('SIGKILL');
    await this.dut.stop();
    await this.link[Symbol.asyncDispose]();
  }
}
