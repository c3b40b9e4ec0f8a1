import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

export interface ExecOptions {
  readonly stdin?: string | Uint8Array;
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
    const [stdout, stderr] = [collected(), collected()];
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
      const text = stderr.text();
      resolve({
        code: ended?.code ?? code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0),
        stdout: stdout.text(),
        stderr: ended ? `${text}${ended.note}` : text,
      });
    });
    // EPIPE: the child ended without reading all of it; its exit code tells why.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.stdin ?? '');
  });
}

interface Collected {
  add(chunk: Buffer): void;
  text(): string;
}

/** Decoded as it comes: of megabytes all at once the main loop would be away for milliseconds. */
function collected(): Collected {
  const decoder = new StringDecoder();
  const parts: string[] = [];
  return {
    add: (chunk) => void parts.push(decoder.write(chunk)),
    text: () => parts.join('') + decoder.end(),
  };
}

function collect(child: ChildProcess, stdout: Collected, stderr: Collected, count: (bytes: number) => void): void {
  for (const [stream, into] of [
    [child.stdout, stdout],
    [child.stderr, stderr],
  ] as const) {
    stream?.on('data', (chunk: Buffer) => {
      into.add(chunk);
      count(chunk.length);
    });
  }
}
