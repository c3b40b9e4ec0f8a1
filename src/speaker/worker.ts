/**
 * The speaker's thread. It makes its own sockets: a redial must not wait for a main thread that is busy. An uncaught error
 * is not caught here: it ends the process (see index.ts), graceful restart keeps the routes.
 */
import { parentPort, workerData } from 'node:worker_threads';
import type { SpeakerConfig } from '#bgp';
import { errorText, forwardingLogger, systemClock } from '#kit';
import { boundedLog } from './bounded-log.ts';
import { type FromSpeaker, routeBuffersMax, type ToSpeaker } from './protocol.ts';
import { type Runner, runSpeaker } from './runner.ts';

if (!parentPort) throw new Error('worker.ts runs in a worker thread only');
const port = parentPort;

function send(message: FromSpeaker, transfer?: readonly ArrayBuffer[]): void {
  port.postMessage(message, transfer);
}

/** Lines go to main, which has the real logger; fields must be plain data, and errors become text. */
const postedLog = forwardingLogger((line) => send({ type: 'log', ...line }));

let credits = routeBuffersMax;
let routesWaiting = false;

function pushRoutes(runner: Runner): void {
  while (routesWaiting && credits > 0) {
    const buffer = runner.speaker.takeRoutes();
    if (!buffer) {
      routesWaiting = false;
      return;
    }
    credits--;
    send({ type: 'routes', buffer }, [buffer]);
  }
}

function answer(runner: Runner, message: Extract<ToSpeaker, { readonly id: number }>): void {
  const { id } = message;
  try {
    if (message.type === 'status') send({ type: 'status', id, status: runner.speaker.status() });
    else send({ type: 'answer', id, answer: runner.speaker.routes(message.query) });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    send({ type: 'refused', id, message: error.message });
  }
}

async function handle(runner: Runner, message: ToSpeaker): Promise<void> {
  switch (message.type) {
    case 'configure':
      runner.speaker.configure(message.config);
      return;
    case 'pathLost':
      runner.speaker.pathLost(message.which);
      return;
    case 'pathBack':
      runner.speaker.pathBack(message.which);
      return;
    case 'credit':
      credits++;
      pushRoutes(runner);
      return;
    case 'status':
    case 'routes':
      answer(runner, message);
      return;
    case 'stop':
      await runner.stop(message.mode);
      send({ type: 'stopped' });
      port.close();
      return;
  }
}

function start(): Runner | undefined {
  try {
    const runner: Runner = runSpeaker(workerData as SpeakerConfig, boundedLog(postedLog, systemClock()), {
      onRoutes: () => {
        routesWaiting = true;
        pushRoutes(runner);
      },
      onPeerState: (status) => send({ type: 'peer', status }),
    });
    return runner;
  } catch (error) {
    send({ type: 'failed', message: errorText(error) });
    return undefined;
  }
}

const running = start();
if (running) {
  port.on('message', (message: ToSpeaker) => void handle(running, message));
  send({ type: 'started' });
}
