/**
 * The one helper process of a lab: serves and probes all its pods, nodes and hosts by sockets opened in their namespaces.
 * `node src/lab/prober/main.ts SOCKET`; speaks protocol.ts on that unix socket until SIGTERM.
 */
import fs from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { errorText, unreachable } from '#kit';
import { Flows } from './flows.ts';
import { Prober } from './probes.ts';
import type { ProberRequest, ProberResults, Target } from './protocol.ts';
import { Servers } from './server.ts';
import { Namespaces, Reactor } from './sockets.ts';
import { Streams } from './streams.ts';

const socketPath = process.argv[2];
if (!socketPath) throw new Error('usage: main.ts SOCKET');

const reactor = new Reactor();
const namespaces = new Namespaces();
const streams = new Streams(namespaces);
const servers = new Servers(reactor, namespaces, (target, packet) => streams.arrived(target, packet));
const prober = new Prober(reactor, namespaces);
const flows = new Flows(reactor, namespaces, prober);
let targets: ReadonlyMap<string, Target> = new Map();

async function handle(request: ProberRequest): Promise<ProberResults[keyof ProberResults]> {
  switch (request.op) {
    case 'sync': {
      namespaces.keepOnly(new Set(request.targets.map(({ netns }) => netns)));
      targets = new Map(request.targets.map((target) => [target.id, target]));
      const problems = servers.sync(request.targets);
      return { serving: servers.count, problems };
    }
    case 'probe': {
      const started = performance.now();
      const outcomes = await prober.run(request.probes, targets);
      return { outcomes, elapsedMs: Math.round(performance.now() - started) };
    }
    case 'flowOpen':
      for (const flow of request.flows) flows.open(flow, () => targets);
      return {};
    case 'flowStatus':
      return flows.report(request.flow);
    case 'flowClose':
      flows.close(request.flow);
      return {};
    case 'streamStart':
      for (const stream of request.streams) streams.start(stream, targets.get(stream.from));
      return {};
    case 'streamStop':
      return { reports: await streams.stop(request.streams) };
    case 'status':
      return { pid: process.pid, targets: targets.size, sockets: reactor.size, streams: streams.count };
    default:
      return unreachable(request);
  }
}

const server = net.createServer((connection) => {
  connection.on('error', () => connection.destroy());
  createInterface({ input: connection }).on('line', (line) => {
    const { id, ...request } = JSON.parse(line) as ProberRequest & { readonly id: number };
    handle(request as ProberRequest).then(
      (result) => connection.write(`${JSON.stringify({ id, result })}\n`),
      (error: unknown) => connection.write(`${JSON.stringify({ id, error: errorText(error) })}\n`),
    );
  });
});
fs.rmSync(socketPath, { force: true });
server.listen(socketPath, () => fs.chmodSync(socketPath, 0o600));
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0));
