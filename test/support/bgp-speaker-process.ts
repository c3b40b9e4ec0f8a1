/**
 * Runs a speaker thread for a test, in whatever namespace it was started in: commands as JSON lines on stdin, what happens
 * as JSON lines on stdout. The first line in is the configuration.
 */
import readline from 'node:readline';
import type { SpeakerConfig } from '#bgp';
import { type Logger, silentLogger } from '#kit';
import { startSpeakerThread } from '#speaker';

const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const log: Logger = {
  ...silentLogger,
  error: (fields, message) => say({ type: 'log', level: 'error', fields, message }),
  warn: (fields, message) => say({ type: 'log', level: 'warn', fields, message }),
  info: (fields, message) => say({ type: 'log', level: 'info', fields, message }),
  child: () => log,
};

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const first = await lines.next();
const thread = await startSpeakerThread({
  config: JSON.parse(first.value as string) as SpeakerConfig,
  log,
  onRoutes: (changes) => {
    for (const change of changes) say({ type: 'route', change });
  },
  onPeerState: (status) => say({ type: 'peer', status }),
});
say({ type: 'started' });

for (;;) {
  const next = await lines.next();
  if (next.done) break;
  const command = JSON.parse(next.value);
  if (command.type === 'status') say({ type: 'status', id: command.id, status: await thread.status() });
  else if (command.type === 'routes')
    say({ type: 'status', id: command.id, status: await thread.routes(command.query) });
  else if (command.type === 'configure') thread.configure(command.config);
  else if (command.type === 'pathLost') thread.pathLost({ peer: command.peer });
  else if (command.type === 'stop') {
    await thread.stop(command.mode);
    break;
  } else if (command.type === 'block') {
    const end = performance.now() + command.ms;
    while (performance.now() < end) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    say({ type: 'unblocked' });
  }
}
process.exit(0);
