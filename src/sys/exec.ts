import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { errorText } from '#kit';

export interface ExecOptions {
  /** All of it, or parts as they are made, at the pace at which the child reads; a part that cannot be made ends the child. */
  readonly stdin?: string | Uint8Array | AsyncIterable<string>;
  /** The whole environment of the child. Default: this process's. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Descriptors that the child gets, as 3 and on. */
  readonly inherit?: readonly number[];
  /** Then SIGKILL to the child. Default 30000. */
  readonly timeoutMs?: number;
  /** Of stdout and stderr together; more ends the child. Default 64 MiB. */
  readonly outputBytesMax?: number;
}

export interface ExecResult {
  /** Exit code; 128 + n when signal n ended it, 124 on timeout, 127 when it could not be started. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS_DEFAULT = 30_000;
const OUTPUT_BYTES_DEFAULT = 64 << 20;
const CODE_TIMEOUT = 124;
const CODE_NOT_STARTED = 127;
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};

/** Runs a command without a shell and waits for its end. Never rejects: what went wrong stands in `code` and `stderr`. */
export function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const limit = options.outputBytesMax ?? OUTPUT_BYTES_DEFAULT;
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe', ...(options.inherit ?? [])],
      ...(options.env ? { env: options.env } : {}),
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    }) as ChildProcessByStdio<Writable, Readable, Readable>;
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    let bytes = 0;
    let ended: { code: number; note: string } | undefined;
    const abort = (code: number, note: string): void => {
      ended ??= { code, note };
      child.kill('SIGKILL');
      // What the child started may hold its output open for ever.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const timer = setTimeout(() => abort(CODE_TIMEOUT, `${command}: no end after ${timeoutMs} ms, killed`), timeoutMs);
    collect(child, stdout, stderr, (n) => {
      bytes += n;
      if (bytes > limit) abort(1, `${command}: more than ${limit} bytes of output, killed`);
    });
    child.on('error', (error) => {
      clearTimeout(timer);
      resolve({ code: CODE_NOT_STARTED, stdout: '', stderr: `${command}: ${error.message}` });
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const text = Buffer.concat(stderr).toString();
      resolve({
        code: ended?.code ?? code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0),
        stdout: Buffer.concat(stdout).toString(),
        stderr: ended ? `${text}${ended.note}` : text,
      });
    });
    // EPIPE: the child ended without reading all of it; its exit code tells why.
    child.stdin.on('error', () => undefined);
    const { stdin = '' } = options;
    if (typeof stdin === 'string' || stdin instanceof Uint8Array) child.stdin.end(stdin);
    else feed(stdin, child.stdin).catch((error) => abort(1, `${command}: no more input: ${errorText(error)}`));
  });
}

/** Until the child wants no more. Rejects when `parts` does. */
async function feed(parts: AsyncIterable<string>, stdin: Writable): Promise<void> {
  for await (const part of parts) {
    if (stdin.destroyed) return;
    if (!stdin.write(part)) await drainedOrClosed(stdin);
  }
  stdin.end();
}

function drainedOrClosed(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

function collect(child: ChildProcess, stdout: Buffer[], stderr: Buffer[], count: (bytes: number) => void): void {
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout.push(chunk);
    count(chunk.length);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr.push(chunk);
    count(chunk.length);
  });
}
