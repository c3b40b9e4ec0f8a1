/**
 * A monitoring station for a test, in whatever namespace it was started in: listens on the port given as argument, and says
 * what comes as JSON lines: `{connection, hex}`, `{connection, closed}`. `read` and `stop` lines on stdin start and stop reading.
 */
import net from 'node:net';
import readline from 'node:readline';

const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const sockets = new Set<net.Socket>();
let reading = process.argv[3] !== 'deaf';
let count = 0;

const server = net.createServer({ pauseOnConnect: true }, (socket) => {
  const connection = ++count;
  sockets.add(socket);
  say({ connection, hex: '' });
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => say({ connection, hex: chunk.toString('hex') }));
  socket.on('close', () => {
    sockets.delete(socket);
    say({ connection, closed: true });
  });
  if (reading) socket.resume();
});
server.listen(Number(process.argv[2]), '::', () => say({ listening: true }));

for await (const line of readline.createInterface({ input: process.stdin })) {
  reading = line === 'read';
  for (const socket of sockets) {
    if (reading) socket.resume();
    else socket.pause();
  }
}
process.exit(0);
