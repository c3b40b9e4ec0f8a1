/** The speaker's thread: one speaker, its sockets and its timers. Nothing of the main thread can hold up a keepalive here. */
import { parentPort, workerData } from 'node:worker_threads';
import { createSpeaker, type SpeakerConfig } from '#bgp';
import { errorText, type Logger, systemClock } from '#kit';
import { CREDITS, type FromSpeaker, type ToSpeaker } from './messages.ts';
import { createTcpTransport } from './transport.ts';

/** After a stop, the longest wait for queued NOTIFICATIONs. */
const STOP_WAIT_MS = 2_500;
const STOP_LOOK_MS = 10;

const port = parentPort!;
const send = (message: FromSpeaker, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

function logger(bound: object): Logger {
  const at =
    (level: 'error' | 'warn' | 'info' | 'debug') =>
    (fields: object, message: string): void =>
      send({ type: 'log', level, fields: { ...bound, ...fields }, message });
  return {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: (fields) => logger({ ...bound, ...fields }),
  };
}

const log = logger({});
const clock = systemClock();
let credits = CREDITS;
const transport = createTcpTransport({ log, onIncoming: (connection) => speaker.accept(connection) });
const speaker = createSpeaker(
  {
    clock,
    transport,
    log,
    random: Math.random,
    defer: (fn) => void setImmediate(fn),
    onRoutes: () => pump(),
    onPeerState: () => undefined,
  },
  (workerData as { readonly config: SpeakerConfig }).config,
);

function pump(): void {
  while (credits > 0) {
    const buffer = speaker.takeRoutes();
    if (!buffer) return;
    credits--;
    send({ type: 'routeBuffer', buffer }, [buffer]);
  }
}

function answer(id: number, ask: () => Extract<FromSpeaker, { type: 'answer' }>['value']): void {
  try {
    send({ type: 'answer', id, value: ask() });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    send({ type: 'refused', id, reason: errorText(error) });
  }
}

function stopWhenSent(deadlineMs: number): void {
  if (speaker.openConnections > 0 && clock.nowMs() < deadlineMs) {
    clock.schedule(STOP_LOOK_MS, () => stopWhenSent(deadlineMs));
    return;
  }
  send({ type: 'stopped' });
  port.close();
}

port.on('message', (message: ToSpeaker) => {
  switch (message.type) {
    case 'configure':
      return speaker.configure(message.config);
    case 'pathLost':
      return speaker.pathLost({ peer: message.peer });
    case 'pathBack':
      return speaker.pathBack();
    case 'credit':
      credits++;
      return pump();
    case 'status':
      return answer(message.id, () => speaker.status());
    case 'routes':
      return answer(message.id, () => speaker.routes(message.query));
    case 'stop':
      speaker.stop(message.mode);
      transport.close();
      return stopWhenSent(clock.nowMs() + STOP_WAIT_MS);
  }
});

speaker.start();
