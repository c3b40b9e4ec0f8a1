/**
 * Owns the process of BFD for a test, in whatever namespace it was started in: commands as JSON lines on stdin, what happens as
 * JSON lines on stdout.
 */
import readline from 'node:readline';
import { createBfdProcess } from '#bfd';
import { type Logger, silentLogger } from '#kit';

const say = (message: object): void => void process.stdout.write(`${JSON.stringify(message)}\n`);
const log: Logger = {
  ...silentLogger,
  error: (fields, message) => say({ type: 'log', level: 'error', fields, message }),
  warn: (fields, message) => say({ type: 'log', level: 'warn', fields, message }),
  child: () => log,
};
const bfd = createBfdProcess(log, (status) => say({ type: 'session', status, atMs: Date.now() }));

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (command.type === 'configure') bfd.configure(command.sessions);
  else if (command.type === 'timing') say({ type: 'timing', id: command.id, timing: await bfd.timing() });
  else if (command.type === 'exit') process.exit(command.code);
  else if (command.type === 'stop') {
    await bfd.stop(command.how);
    break;
  }
}
process.exit(0);
