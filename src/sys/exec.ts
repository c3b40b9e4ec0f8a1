import net from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { errorText } from '#kit';
import { fileOf, newPipe, type Spawned, spawnProgram } from './spawn.ts';

export interface ExecOptions {
  /** All of it, or parts as they are made, at the pace at which the child reads; a part that cannot be made ends the child. */
  readonly stdin?: string | Uint8Array | AsyncIterable<string>;
  /** The whole environment of the child. Default: this process's. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Descriptors that the child gets, as 3 and on. */
  readonly inherit?: readonly number[];
  /** What it prints, in pieces, instead of `stdout` of the result. Each of at most 64 kB, and the next in another turn of the event loop. */
  readonly onOutput?: (text: string) => void;
  /** Told its process's number before this call returns. */
  readonly onStart?: (pid: number) => void;
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

/** Runs a command without a shell and waits for its end. Never rejects: what went wrong stands in `code` and `stderr`. */
export async function exec(command: string, args: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
  const limit = options.outputBytesMax ?? OUTPUT_BYTES_DEFAULT;
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS_DEFAULT;
  let program: Program;
  try {
    program = start(command, args, options);
  } catch (error) {
    return { code: CODE_NOT_STARTED, stdout: '', stderr: `${command}: ${errorText(error)}` };
  }
  const { child, input, outputs } = program;
  options.onStart?.(child.pid);
  let isThere = true;
  let aborted: { code: number; note: string } | undefined;
  const abort = (code: number, note: string): void => {
    aborted ??= { code, note };
    if (isThere) process.kill(child.pid, 'SIGKILL');
    // What the child started may hold its output open for ever.
    for (const output of outputs) output.destroy();
  };
  const timer = setTimeout(() => abort(CODE_TIMEOUT, `${command}: no end after ${timeoutMs} ms, killed`), timeoutMs);
  let bytes = 0;
  const count = (more: number): void => {
    bytes += more;
    if (bytes > limit) abort(1, `${command}: more than ${limit} bytes of output, killed`);
  };
  const ended = child.ended.finally(() => {
    isThere = false;
    input?.to.destroy();
  });
  if (input) feed(input.parts, input.to).catch((error) => abort(1, `${command}: no more input: ${errorText(error)}`));
  const [code, stdout, stderr] = await Promise.all([
    ended,
    collected(outputs[0], count, options.onOutput),
    collected(outputs[1], count),
  ]);
  clearTimeout(timer);
  return { code: aborted?.code ?? code, stdout, stderr: `${stderr}${aborted?.note ?? ''}` };
}

interface Program {
  readonly child: Spawned;
  /** Where `stdin` is made as it goes. */
  readonly input: { readonly parts: AsyncIterable<string>; readonly to: net.Socket } | undefined;
  /** stdout and stderr. */
  readonly outputs: readonly [net.Socket, net.Socket];
}

/** Before it returns, so in the namespaces that this thread is in now. @throws SysError */
function start(command: string, args: readonly string[], options: ExecOptions): Program {
  const { stdin = '', env = process.env, cwd, inherit = [] } = options;
  const isWhole = typeof stdin === 'string' || stdin instanceof Uint8Array;
  using input = isWhole ? fileOf(stdin) : newPipe();
  using out = newPipe();
  using err = newPipe();
  const descriptors = [('from' in input ? input.from : input).number, out.to.number, err.to.number, ...inherit];
  const child = spawnProgram(command, args, { env, cwd, descriptors });
  const readable = ({ from }: typeof out): net.Socket =>
    new net.Socket({ fd: from.take(), readable: true, writable: false });
  const writable = ({ to }: typeof out): net.Socket =>
    new net.Socket({ fd: to.take(), readable: false, writable: true });
  return {
    child,
    input: isWhole || !('to' in input) ? undefined : { parts: stdin, to: writable(input) },
    outputs: [readable(out), readable(err)],
  };
}

/** Until the child wants no more. Rejects when `parts` does. */
async function feed(parts: AsyncIterable<string>, to: net.Socket): Promise<void> {
  // EPIPE: the child ended without reading all of it; its exit code tells why.
  to.on('error', () => undefined);
  for await (const part of parts) {
    if (to.destroyed) return;
    await new Promise<unknown>((resolve) => to.write(part, resolve));
  }
  to.destroy();
}

/** Decoded as it comes: of megabytes all at once the main loop would be away for milliseconds. */
function collected(
  stream: net.Socket,
  count: (bytes: number) => void,
  onOutput?: (text: string) => void,
): Promise<string> {
  const decoder = new StringDecoder();
  const parts: string[] = [];
  stream.on('data', (chunk: Buffer) => {
    const text = decoder.write(chunk);
    count(chunk.length);
    if (!onOutput) {
      parts.push(text);
      return;
    }
    onOutput(text);
    stream.pause();
    setImmediate(() => stream.resume());
  });
  return new Promise((resolve) => {
    stream.once('error', () => undefined);
    stream.once('close', () => resolve(parts.join('') + decoder.end()));
  });
}
