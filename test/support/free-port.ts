import net from 'node:net';

/** A TCP port that nobody listens on at this address. */
export async function freePort(address: string): Promise<number> {
  const probe = net.createServer().listen(0, address);
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
