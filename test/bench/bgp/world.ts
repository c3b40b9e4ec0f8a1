/** One speaker under test with its peers in another namespace, and the process that plays those. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import path from 'node:path';
import readline from 'node:readline';
import { BgpLink } from '../../support/bgp.ts';
import type { Command, SessionSpec } from './client.ts';
import { type DutName, type DutPeer, dutAddress } from './dut-starters.ts';
import { type Dut, startDut } from './duts.ts';

export type Answer = Readonly<Record<string, unknown>> & { readonly seconds: number };

export class World {
  readonly link: BgpLink;
  readonly dut: Dut;
  readonly #client: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  #errors = '';

  private constructor(link: BgpLink, dut: Dut) {
    this.link = link;
    this.dut = dut;
    const file = path.join(import.meta.dirname, 'client.ts');
    this.#client = link.spawn(link.b, process.execPath, ['--max-old-space-size=8192', file]);
    this.#client.stderr!.on('data', (chunk) => (this.#errors += chunk));
    this.#answers = readline.createInterface({ input: this.#client.stdout! })[Symbol.asyncIterator]();
  }

  static async start(name: DutName, peers: readonly DutPeer[]): Promise<World> {
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
      return new World(link, await startDut(name, link, peers));
    } catch (error) {
      await link[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** @throws Error with what the peers said when one of them failed */
  async do(command: Command): Promise<Answer> {
    this.#client.stdin!.write(`${JSON.stringify(command)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`${this.dut.name}, ${command.op}: ${this.#errors}`);
    return JSON.parse(value) as Answer;
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
    this.#client.kill('SIGKILL');
    await this.dut.stop();
    await this.link[Symbol.asyncDispose]();
  }
}
