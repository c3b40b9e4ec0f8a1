/**
 * Runs the thread of BFD for a test, in whatever namespace it was started in: commands as JSON lines on stdin, what happens as
 * JSON lines on stdout.
 */
import readline from 'node:readline';
import { createBfdThread } from '#bfd';
import { type Logger, silentLogger } from '#kit';

const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const log: Logger = {
  ...silentLogger,
  error: (fields, message) => say({ type: 'log', level: 'error', fields, message }),
  warn: (fields, message) => say({ type: 'log', level: 'warn', fields, message }),
  child: () => log,
};
const thread = createBfdThread(log, (status) => say({ type: 'session', status, atMs: Date.now() }));

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.type === 'configure') thread.configure(command.sessions);
  else if (command.type === 'timing') say({ type: 'timing', id: command.id, timing: await thread.timing() });
  else if (command.type === 'exit') process.exit(command.code);
  else if (command.type === 'stop') {
    await thread.stop(command.how);
    break;
  }
}
process.exit(0);
