/**
 * An agent at its busiest, for test/bench/bfd.ts: BFD to each of the given addresses at 50 ms x 3, a main thread that
 * calculates 10,000 policies over and over, and a thread whose speaker takes a table in and drops it, over and over. Prints two JSON lines: when
 * it is busy for a while, what has been so far; at the end what it measured since. `node bfd-load.ts SECONDS PREFIXES ADDRESS...`
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { createBfdProcess } from '#bfd';
import { type ByteConnection, type ConnectionHandlers, createSpeaker, wire } from '#bgp';
import { silentLogger, systemClock } from '#kit';
import { createPolicyEngine } from '#policy';
import { bfdSessionTo } from './bfd.ts';
import { scaleModel } from './policy-scale.ts';

const settleMs = 5_000;
const chunkBytes = 262_144;

/** A table of /24s, four an UPDATE with an AS_PATH of its own. */
function table(prefixes: number): Uint8Array {
  const parts: Uint8Array[] = [];
  const packer = wire.createUpdatePacker((chunk) => parts.push(chunk.slice()));
  const attributes = wire.createExportedAttributes();
  const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  const nextHop = Uint8Array.of(10, 9, 0, 2);
  for (let n = 0; n < prefixes; n++) {
    if (n % 4 === 0) {
      const bytes = [0x40, 1, 1, 0, 0x40, 2, 14, 2, 3, ...u32(64513), ...u32(1 + n), ...u32(70_000)];
      attributes.bytes.set(bytes);
      attributes.split = bytes.length;
      attributes.length = bytes.length;
      packer.startAnnounce(4, attributes, nextHop);
    }
    packer.add4(0x10000000 + n * 256, 24);
  }
  packer.flush();
  return Buffer.concat(parts);
}

/** Takes the table in, a chunk a turn, ends the session, and begins again. */
async function load(prefixes: number, onRound: () => void): Promise<void> {
  const stream = table(prefixes);
  const peer = { name: 'peer', address: '10.9.0.2', port: 179, asn: 64513, families: ['ipv4-unicast' as const] };
  const speaker = createSpeaker(
    {
      clock: systemClock(),
      log: silentLogger,
      random: Math.random,
      defer: (fn) => void setImmediate(fn),
      transport: { configure: () => undefined, dial: () => () => undefined },
      onRoutes: () => {
        while (speaker.takeRoutes()) {
          // Nobody wants them here.
        }
      },
      onPeerState: () => undefined,
    },
    {
      asn: 64512,
      routerId: '10.9.0.1',
      listen: [],
      originate: [],
      gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 30, deferralTimeSec: 20 },
      peers: [{ ...peer, holdTimeSec: 90, passive: true, connectRetrySec: 1, import: 'accept', export: 'reject' }],
    },
  );
  speaker.start();
  for (;;) {
    let handlers: ConnectionHandlers | undefined;
    const connection: ByteConnection = {
      remoteAddress: '10.9.0.2',
      remotePort: 179,
      localAddress: '10.9.0.1',
      start: (given) => {
        handlers = given;
      },
      write: () => undefined,
      queuedBytes: 0,
      rekey: () => true,
      close: () => undefined,
      destroy: () => undefined,
    };
    speaker.accept(connection);
    const families = ['ipv4-unicast' as const];
    const open = { asn: 64513, holdTimeSec: 90, routerId: 0x0a090002, families, asn4: true, routeRefresh: true };
    handlers!.onData(wire.encodeOpen(open));
    handlers!.onData(wire.encodeKeepalive());
    for (let at = 0; at < stream.length; at += chunkBytes) {
      handlers!.onData(stream.subarray(at, at + chunkBytes));
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (speaker.status().routes.ipv4 < prefixes) await new Promise((resolve) => setImmediate(resolve));
    handlers!.onClosed('round is over');
    while (speaker.status().routes.ipv4 > 0) await new Promise((resolve) => setImmediate(resolve));
    onRound();
  }
}

async function main(): Promise<void> {
  const [measureSec, prefixes, ...addresses] = process.argv.slice(2) as [string, string, ...string[]];
  const flaps = new Map<string, number>();
  let startedMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startedMs) / 100) / 10;
  const up = new Set<string>();
  let falls: object[] = [];
  const bfd = createBfdProcess(silentLogger, (status) => {
    const { key, diagnostic, remoteDiagnostic } = status;
    if (status.flaps > (flaps.get(key) ?? 0)) falls.push({ key, diagnostic, remoteDiagnostic, atSec: seconds() });
    flaps.set(status.key, status.flaps);
    if (status.state === 'Up' && status.detectionTimeUs === 150_000) up.add(status.key);
  });
  bfd.configure(addresses.map((peerAddress, n) => bfdSessionTo(`s${n}`, { peerAddress })));
  while (up.size < addresses.length) await new Promise((resolve) => setTimeout(resolve, 20));
  const model = scaleModel({
    namespaces: 1000,
    podsPerNamespace: 10,
    policiesPerNamespace: 10,
    apps: 10,
    localPods: 110,
  });
  const speaker = new Worker(new URL(import.meta.url), { workerData: Number(prefixes) });
  let loads = 0;
  speaker.on('message', () => loads++);
  let calculations = 0;
  const calculate = async (endMs: number): Promise<void> => {
    while (performance.now() < endMs) {
      const engine = createPolicyEngine();
      for (const update of model.updates) engine.update(update);
      for (const endpoint of model.endpoints) engine.setLocalEndpoint(endpoint.id, endpoint.addresses);
      engine.inSync();
      engine.flush();
      calculations++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await calculate(performance.now() + settleMs);
  const before = await bfd.timing();
  process.stdout.write(`${JSON.stringify({ timing: before, falls })}\n`);
  startedMs = performance.now();
  falls = [];
  [loads, calculations] = [0, 0];
  await calculate(startedMs + Number(measureSec) * 1000);
  const after = await bfd.timing();
  const result = { timing: after, falls, seconds: seconds(), loads, calculations };
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
}

if (isMainThread) await main();
else await load(workerData as number, () => parentPort!.postMessage('round'));
