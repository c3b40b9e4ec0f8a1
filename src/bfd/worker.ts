/**
 * The thread of BFD: nothing else runs in it. Real-time scheduling where the process may ask for it; without it packets are late by what the
 * scheduler gives to others, some 10 ms on a busy machine. An uncaught error ends the process (see thread.ts): a BFD that is silently gone
 * would be a failure that nobody notices.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { Logger } from '#kit';
import { becomeRealtime } from '#sys';
import type { BfdWorkerData, FromBfd, ToBfd } from './protocol.ts';
import { BfdService } from './service.ts';

/** Below what an operator gives to watchdogs. */
const realtimePriority = 10;
/** The event loop runs so often where no message calls for it: for retries, and for what V8 has to do by itself. */
const roundMs = 1_000;

if (!parentPort) throw new Error('worker.ts runs in a worker thread only');
const port = parentPort;
const send = (message: FromBfd): void => port.postMessage(message);

function postingLogger(base: object): Logger {
  const line = (level: 'error' | 'warn' | 'info' | 'debug') => (fields: object, message: string) =>
    send({ type: 'log', level, fields: { ...base, ...fields }, message });
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    child: (fields) => postingLogger({ ...base, ...fields }),
  };
}

const log = postingLogger({});
const refused = becomeRealtime(realtimePriority);
if (refused) {
  log.warn(
    { error: refused.message },
    'BFD runs without real-time scheduling (CAP_SYS_NICE is not granted): on a busy machine intervals below 100 ms may flap',
  );
}
const { wakeFd } = workerData as BfdWorkerData;
const service = new BfdService(log, wakeFd, Math.random, (status) => send({ type: 'session', status }));
let stopped = false;

port.on('message', (message: ToBfd) => {
  switch (message.type) {
    case 'configure':
      service.configure(message.sessions);
      return;
    case 'timing':
      send({ type: 'timing', id: message.id, timing: service.timing(refused === undefined) });
      return;
    case 'stop':
      stopped = true;
      service.close(message.how);
      send({ type: 'stopped' });
      port.close();
      return;
  }
});

/** Messages are taken in between. */
function serve(): void {
  if (stopped) return;
  service.run(roundMs);
  setImmediate(serve);
}
setImmediate(serve);
