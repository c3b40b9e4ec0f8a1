/**
 * Run inside a namespace: sends a datagram to each of the given addresses, over and over, and counts what comes from whom. Bound before
 * the namespace has any interface, so that it is there from the first moment. `node hammer.ts PORT PERIOD_MS ADDRESS...`; a line on
 * stdin is answered with the counts.
 */
import dgram from 'node:dgram';
import { createInterface } from 'node:readline';

const [port, periodMs, ...addresses] = process.argv.slice(2);
const counts: Record<string, number> = {};
for (const type of ['udp4', 'udp6'] as const) {
  const socket = dgram.createSocket({ type, ipv6Only: type === 'udp6' });
  const targets = addresses.filter((address) => address.includes(':') === (type === 'udp6'));
  socket.on('message', (_, { address }) => {
    counts[address] = (counts[address] ?? 0) + 1;
  });
  socket.on('error', () => undefined); // no route yet, or refused: the next one may pass
  socket.bind(Number(port), () => {
    setInterval(() => {
      for (const address of targets) socket.send('x', Number(port), address, () => undefined);
    }, Number(periodMs));
    if (type === 'udp6') process.stdout.write('ready\n');
  });
}
createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify(counts)}\n`))
  .on('close', () => process.exit());
