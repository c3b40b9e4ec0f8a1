/**
 * TCP ports for servers that a test starts. They lie below those that Linux gives to connections and to `listen(0)` (32768 and on), so that
 * nothing takes one between the look and the server's own bind; an abstract socket keeps each for its test process until that ends, so that
 * test processes side by side have different ones.
 */
import { randomInt } from 'node:crypto';
import net from 'node:net';

const portMin = 20_000;
const portMax = 29_999;
const attemptsMax = 1_000;

function listening(server: net.Server, options: net.ListenOptions): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ ...options, exclusive: true }, () => resolve(true));
  });
}

/** @returns whether the port is this process's until it ends. */
async function claim(port: number, host: string): Promise<boolean> {
  const mark = net.createServer().unref();
  if (!(await listening(mark, { path: `\0poplin-test-port-${port}` }))) return false;
  const probe = net.createServer();
  const isFree = await listening(probe, { port, host });
  await new Promise((resolve) => (isFree ? probe : mark).close(resolve));
  return isFree;
}

/** Ports of `host` that nobody has and no other test process of this network namespace is given, different ones each time. */
export async function freePorts(count: number, host = '127.0.0.1'): Promise<number[]> {
  const ports: number[] = [];
  for (let attempt = 0; ports.length < count; attempt++) {
    if (attempt === attemptsMax) throw new Error(`no free port of ${host} from ${portMin} to ${portMax} was found`);
    const port = randomInt(portMin, portMax + 1);
    if (await claim(port, host)) ports.push(port);
  }
  return ports;
}

/** One of them. */
export async function freePort(host: string): Promise<number> {
  return (await freePorts(1, host))[0]!;
}
