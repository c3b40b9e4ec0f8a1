/** BFD and an owner that has nothing else, in a namespace of a {@link BgpLink}. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import type { BfdTiming } from '#bfd';
import type { BfdSessionConfig, BfdSessionStatus } from '#bgp';
import type { BgpLink } from './bgp.ts';
import { until } from './wait.ts';

/** Two processes start one after the other, on a machine that may be busy. */
const startDeadlineMs = 40_000;

export class BfdProcess {
  readonly #child: ChildProcess;
  readonly statuses: BfdSessionStatus[] = [];
  readonly logs: { level: string; message: string; fields: object }[] = [];
  readonly #answers = new Map<number, (timing: BfdTiming) => void>();
  #nextId = 1;
  exited = false;
  errors = '';

  constructor(link: BgpLink, namespace: string, prefix: readonly string[] = []) {
    const file = path.join(import.meta.dirname, 'bfd-process.ts');
    const [command, ...args] = [...prefix, process.execPath, file];
    this.#child = link.spawn(namespace, command!, args);
    this.#child.stderr!.on('data', (chunk) => (this.errors += chunk));
    this.#child.once('exit', () => (this.exited = true));
    readline.createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const message = JSON.parse(line);
      if (message.type === 'session') this.statuses.push(message.status);
      else if (message.type === 'log') this.logs.push(message);
      else this.#answers.get(message.id)?.(message.timing);
    });
  }
  /** Of the owner. */
  get process(): ChildProcess {
    return this.#child;
  }
  /** Of the process of BFD itself: there with the first session. */
  get pid(): number {
    const { pid } = this.#child;
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
    assert.equal(children.length, 1, children.join(' '));
    return children[0]!;
  }
  status(key: string): BfdSessionStatus | undefined {
    return this.statuses.findLast((status) => status.key === key);
  }
  configure(...sessions: BfdSessionConfig[]): void {
    this.#post({ type: 'configure', sessions });
  }
  timing(): Promise<BfdTiming> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#post({ type: 'timing', id });
    });
  }
  /** Its processes have started and it has the session. */
  async has(key: string): Promise<BfdSessionStatus> {
    return until(() => this.status(key), {
      what: () => `the session ${key}; ${this.errors}`,
      deadlineMs: startDeadlineMs,
    });
  }
  async reaches(key: string, state: BfdSessionStatus['state']): Promise<BfdSessionStatus> {
    return until(
      () => {
        const status = this.status(key);
        return status?.state === state && status;
      },
      {
        what: () => `${key} to be ${state}; it is ${JSON.stringify(this.status(key))} ${this.errors}`,
        deadlineMs: startDeadlineMs,
      },
    );
  }
  async stop(how: 'adminDown' | 'silent'): Promise<void> {
    this.#post({ type: 'stop', how });
    await until(() => this.exited, { what: 'BFD to end' });
  }
  /** `process.exit` with everything as it is. @returns what became of the process. */
  async exit(code: number): Promise<number | NodeJS.Signals | null> {
    this.#post({ type: 'exit', code });
    await until(() => this.exited, { what: 'the process to exit' });
    return this.#child.exitCode ?? this.#child.signalCode;
  }
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await until(() => this.exited, { what: 'BFD to be gone' });
  }
  #post(message: object): void {
    this.#child.stdin!.write(`${JSON.stringify(message)}\n`);
  }
}

/** A session with the far end of a {@link BgpLink}, 50 ms x 3. */
export function bfdSessionTo(key: string, more: Partial<BfdSessionConfig> = {}): BfdSessionConfig {
  return {
    key,
    peerAddress: '10.9.0.2',
    multihop: false,
    maxHops: 1,
    minTxUs: 50_000,
    minRxUs: 50_000,
    multiplier: 3,
    ...more,
  };
}
