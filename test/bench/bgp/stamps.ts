/**
 * `stamps.ts send ADDRESS PORT`: a UDP packet a millisecond that says when it was sent; `stamps.ts receive ADDRESS PORT`: a line for each that comes,
 * milliseconds of the machine's own clock.
 */
import dgram from 'node:dgram';

const [what, address, port] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
if (what === 'receive') {
  socket.on('message', (message) => process.stdout.write(`${message}\n`));
  socket.bind(Number(port), address);
} else {
  // Of a path that is gone the kernel may say so at once: what counts is what arrives.
  socket.on('error', (error) => process.stderr.write(`${error.message}\n`));
  const send = (): void => socket.send(String(Number(process.hrtime.bigint()) / 1e6), Number(port), address);
  setInterval(send, 1);
}
