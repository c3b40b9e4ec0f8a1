/** `flow-sender.ts FLOWS ADDRESS...`: UDP to each address, so many flows, a packet of each a second, until it is killed. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';

/** Destination ports of all flows. */
export const flowPorts = { first: 20_000, last: 20_099 } as const;
const tickMs = 5;
/** What a tick makes up for at most: no more at once than the queue of a processor takes (`netdev_max_backlog` is 1,000). */
const burstMax = 200;

async function sending(address: string, flows: number): Promise<() => void> {
  const ports = flowPorts.last - flowPorts.first + 1;
  const family = isIPv6(address) ? 6 : 4;
  const sockets = Array.from({ length: Math.ceil(flows / ports) }, () =>
    dgram.createSocket({ type: `udp${family}`, lookup: (host, _, done) => done(null, host, family) }),
  );
  for (const socket of sockets) {
    const listening = once(socket, 'listening');
    socket.bind(0);
    await listening;
  }
  const started = performance.now();
  const payload = new Uint8Array(64);
  let sent = 0;
  return () => {
    const due = Math.min(burstMax, Math.floor(((performance.now() - started) / 1000) * flows) - sent);
    for (let n = 0; n < due; n++, sent++) {
      const flow = sent % flows;
      sockets[Math.floor(flow / ports)]!.send(payload, flowPorts.first + (flow % ports), address);
    }
  };
}

if (import.meta.main) {
  const [flows, ...addresses] = process.argv.slice(2);
  const turns = await Promise.all(addresses.map((address) => sending(address, Number(flows))));
  setInterval(() => {
    for (const turn of turns) turn();
  }, tickMs);
}
