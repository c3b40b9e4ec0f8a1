/**
 * Loaded into an agent by `node --import`: serves the longest delay of its event loop since the last question, in ms, on the unix socket
 * in LOOP_DELAY_SOCKET. The agent's own metric looks too seldom for delays of a few ms.
 */
import net from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

const resolutionMs = 10;
const socketPath = process.env['LOOP_DELAY_SOCKET'];

if (isMainThread && socketPath !== undefined) {
  const histogram = monitorEventLoopDelay({ resolution: resolutionMs });
  histogram.enable();
  const server = net.createServer((socket) => {
    socket.end(String(histogram.max / 1e6));
    histogram.reset();
  });
  server.listen(socketPath).unref();
}
