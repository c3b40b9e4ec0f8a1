/**
 * The process of BFD: nothing else runs in it. Real-time scheduling where it may ask for it; without it packets are late by what the scheduler
 * gives to others, some 10 ms on a busy machine. It ends with its owner (see process.ts), without a word to peers.
 */
import { forwardingLogger } from '#kit';
import { becomeRealtime, channelFd } from '#sys';
import type { FromBfd, ToBfd } from './protocol.ts';
import { BfdService } from './service.ts';

/** Below what an operator gives to watchdogs. */
const realtimePriority = 10;
/** The event loop runs so often where no message calls for it: for retries, and for what V8 has to do by itself. */
const roundMs = 1_000;

if (!process.send) throw new Error('main.ts is started by process.ts only');
/** Messages that the channel has not taken, or of which the event loop has not heard that it did. */
let unsent = 0;
const send = (message: FromBfd): void => {
  unsent++;
  process.send!(message, undefined, undefined, () => unsent--);
};

const log = forwardingLogger((line) => send({ type: 'log', ...line }));
const refused = becomeRealtime(realtimePriority);
if (refused) {
  log.warn(
    { error: refused.message },
    'BFD runs without real-time scheduling (CAP_SYS_NICE is not granted): on a busy machine intervals below 100 ms may flap',
  );
}
const service = new BfdService(log, channelFd, Math.random, (statuses) => send({ type: 'sessions', statuses }));

process.on('message', (message: ToBfd) => {
  switch (message.type) {
    case 'configure':
      service.configure(message.sessions);
      return;
    case 'timing':
      send({ type: 'timing', id: message.id, timing: service.timing(refused === undefined) });
      return;
    case 'stop':
      service.close(message.how);
      process.exit();
  }
});
process.on('disconnect', () => process.exit());
// The owner went before anybody listened.
if (!process.connected) process.exit();
// Of a terminal or a service manager, to all processes: the owner says when, and how.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);

/** Messages are taken in between. */
function serve(): void {
  service.run(roundMs, unsent > 0);
  setImmediate(serve);
}
setImmediate(serve);
