/**
 * One agent in a network namespace, whatever its directories: two would undo each other's routes and rules. The lock is a
 * unix socket with an abstract name, which the kernel keeps per network namespace and takes away with the process, however
 * that ends. Who holds it says on every connection who it is.
 */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const ABSTRACT_NAME = '\0poplin-agent';
/** A killed agent's socket may be there for a moment while the kernel takes the process apart. */
const TRY_MS = 3_000;
const RETRY_MS = 50;
const ANSWER_MS = 1_000;
const ANSWER_BYTES_MAX = 4096;

export interface NamespaceHolder {
  /** 0 when it does not say. */
  readonly pid: number;
  readonly runDir: string;
}

export type NamespaceClaim =
  | { readonly held: true; release(): void }
  | { readonly held: false; readonly holder: NamespaceHolder };

/** Takes the calling process's network namespace for `holder`. Rejects only when sockets cannot be made at all. */
export async function claimNamespace(holder: NamespaceHolder, tryMs = TRY_MS): Promise<NamespaceClaim> {
  const end = performance.now() + tryMs;
  for (;;) {
    const server = await listen(holder);
    if (server) return { held: true, release: () => void server.close() };
    const other = await askHolder();
    if (other) return { held: false, holder: other };
    if (performance.now() >= end) return { held: false, holder: { pid: 0, runDir: '' } };
    await sleep(RETRY_MS);
  }
}

/** Undefined when somebody else listens. */
function listen(holder: NamespaceHolder): Promise<net.Server | undefined> {
  const server = net.createServer((connection) => {
    connection.on('error', () => connection.destroy());
    connection.end(`${JSON.stringify(holder)}\n`);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen({ path: ABSTRACT_NAME }, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Undefined when it is gone or does not answer. */
function askHolder(): Promise<NamespaceHolder | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const connection = net.connect({ path: ABSTRACT_NAME, timeout: ANSWER_MS });
    const done = (): void => {
      connection.destroy();
      resolve(readHolder(text));
    };
    connection.on('data', (data) => {
      text += data.toString();
      if (text.length > ANSWER_BYTES_MAX) done();
    });
    for (const event of ['end', 'error', 'timeout'] as const) connection.once(event, done);
  });
}

/** The name is anybody's to take: what is said there is checked. */
function readHolder(text: string): NamespaceHolder | undefined {
  try {
    const { pid, runDir } = JSON.parse(text) as Partial<NamespaceHolder>;
    return typeof pid === 'number' && typeof runDir === 'string' ? { pid, runDir } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
