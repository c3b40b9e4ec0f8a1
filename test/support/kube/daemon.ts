/** A server program of a test: ends with the test process, however that ends, and shows the end of its log when it fails. */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface DaemonOptions {
  /** For messages, e.g. `etcd`. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly logFile: string;
  /** Path of a network namespace, e.g. `/run/netns/blue`; default: this process's own. */
  readonly netns?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const logTailBytes = 4_000;
const pollMs = 25;
const endDeadlineMs = 10_000;

export class Daemon {
  readonly options: DaemonOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: DaemonOptions) {
    this.options = options;
  }

  /** The program's own: both wrappers replace themselves by it. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  start(): void {
    if (this.#child) throw new Error(`${this.options.name} runs already`);
    const { netns, command, args, logFile, env } = this.options;
    const log = fs.openSync(logFile, 'a');
    // The kernel ends it with us, also where a test runner kills us without asking.
    const line = [
      ...(netns === undefined ? [] : ['nsenter', `--net=${netns}`]),
      ...['setpriv', '--pdeathsig', 'KILL', command, ...args],
    ];
    const child = spawn(line[0]!, line.slice(1), { stdio: ['ignore', log, log], env: { ...process.env, ...env } });
    fs.closeSync(log);
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        if (this.#child === child) this.#child = undefined;
        resolve();
      };
      child.once('exit', end);
      child.once('error', (error) => {
        fs.appendFileSync(logFile, `${error.message}\n`);
        end();
      });
    });
  }

  /** Polls until `probe` is true. @throws Error with the end of the log when the program ends or the deadline passes. */
  async untilReady(probe: () => Promise<boolean>, deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    for (;;) {
      if (!this.running) throw new Error(`${this.options.name} ended while starting:\n${this.logTail()}`);
      if (await probe()) return;
      if (performance.now() > end)
        throw new Error(`${this.options.name} was not ready after ${deadlineMs} ms:\n${this.logTail()}`);
      await sleep(pollMs);
    }
  }

  signal(name: NodeJS.Signals): void {
    if (!this.#child) throw new Error(`${this.options.name} does not run`);
    this.#child.kill(name);
  }

  /** Sends the signal (default SIGKILL) and waits for the end; SIGKILL follows where another one does nothing. */
  async stop(name: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child;
    if (!child) return;
    child.kill('SIGCONT');
    child.kill(name);
    const kill = setTimeout(() => child.kill('SIGKILL'), endDeadlineMs);
    await this.#ended;
    clearTimeout(kill);
  }

  logTail(): string {
    return fs.existsSync(this.options.logFile)
      ? fs.readFileSync(this.options.logFile, 'utf8').slice(-logTailBytes)
      : '(no log)';
  }
}
