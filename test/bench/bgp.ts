/**
 * A full-size table relayed through one speaker, BIRD and ours side by side in network namespaces: sender -> speaker ->
 * receiver, eBGP, everything accepted, no kernel routes. Prints one JSON object: seconds from the first byte sent until the
 * receiver has the last prefix, per round and as medians, and the ratio of the medians.
 *
 * PREFIXES (default 200,000), ROUNDS (default 5, paired: each runs both, order alternating). The table is Internet-like: prefix
 * lengths as in the default-free zone, 4.5 prefixes an UPDATE, every UPDATE with attributes of its own, some 102 octets an
 * UPDATE. Sender and receiver are one small Node process that holds the whole stream ready, and counts what comes back without interning it.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { wire } from '#bgp';
import { BgpLink } from '../support/bgp.ts';
import { until } from '../support/wait.ts';

const prefixes = Number(process.env['PREFIXES'] ?? 200_000);
const rounds = Number(process.env['ROUNDS'] ?? 5);
const dutAsn = 64512;
const ends = { sender: { address: '10.9.0.2', asn: 64601 }, receiver: { address: '10.9.0.3', asn: 64602 } };

/** Share of prefix lengths in the Internet's table, roughly. */
const lengths = [24, 24, 24, 24, 24, 24, 23, 22, 22, 22, 21, 20, 19, 18, 16];

function makeStream(): Uint8Array {
  const parts: Uint8Array[] = [];
  const packer = wire.createUpdatePacker((chunk) => parts.push(chunk.slice()));
  const attributes = wire.createExportedAttributes();
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * below);
  };
  const u32 = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];
  const nextHop = Uint8Array.of(10, 9, 0, 2);
  let address = 0x01000000;
  let sent = 0;
  for (let set = 0; sent < prefixes; set++) {
    const asPath = [ends.sender.asn, ...Array.from({ length: 1 + random(5) }, () => 1 + random(60_000))];
    const communities = Array.from({ length: random(12) }, () => (1 + random(60_000)) * 65536 + random(65536));
    const bytes = [0x40, 1, 1, 0, 0x40, 2, 2 + 4 * asPath.length, 2, asPath.length, ...asPath.flatMap(u32)];
    attributes.split = bytes.length;
    if (communities.length > 0) bytes.push(0xc0, 8, 4 * communities.length, ...communities.flatMap(u32));
    bytes.push(0xc0, 32, 12, ...u32(ends.sender.asn), ...u32(set), ...u32(1));
    attributes.bytes.set(bytes);
    attributes.length = bytes.length;
    assert.ok(packer.startAnnounce(4, attributes, nextHop));
    for (let n = 2 + random(6); n > 0 && sent < prefixes; n--, sent++) {
      const bits = lengths[random(lengths.length)]!;
      const size = 2 ** (32 - bits);
      address = Math.ceil(address / size) * size;
      // 127/8 is not a prefix that a speaker takes.
      if (address >>> 24 === 127) address = 0x80000000;
      assert.ok(address < 0xe0000000, 'the table fits the unicast space');
      packer.add4(address, bits);
      address += size;
    }
  }
  packer.flush();
  return Buffer.concat(parts);
}

/** A session as little as it can be: OPEN, KEEPALIVE, then `onUpdate`. */
function session(end: { address: string; asn: number }, onUp: () => void, onFrame: wire.FrameHandler): net.Socket {
  const socket = net.connect({ host: '10.9.0.1', port: 179, localAddress: end.address });
  const framer = wire.createFramer();
  const routerId = end.address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const open = {
    asn: end.asn,
    holdTimeSec: 90,
    routerId,
    families: ['ipv4-unicast' as const],
    asn4: true,
    routeRefresh: true,
  };
  let up = false;
  socket.setNoDelay(true);
  socket.on('connect', () => socket.write(wire.encodeOpen(open)));
  socket.on('data', (chunk) => {
    const error = framer.push(chunk, (type, bytes, start, frameEnd) => {
      if (type === wire.messageType.open) socket.write(wire.encodeKeepalive());
      else if (type === wire.messageType.keepalive && !up) {
        up = true;
        onUp();
      } else if (type === wire.messageType.notification) {
        throw new Error(`NOTIFICATION ${wire.describeNotification(wire.decodeNotification(bytes, start, frameEnd))}`);
      }
      return onFrame(type, bytes, start, frameEnd);
    });
    if (error) throw new Error(error.reason);
  });
  return socket;
}

/** Sender and receiver: runs in the namespace beside the speaker; prints seconds. */
async function endpoints(): Promise<void> {
  const stream = makeStream();
  let startedMs = 0;
  let received = 0;
  const finished = Promise.withResolvers<number>();
  const receiver = session(
    ends.receiver,
    () => undefined,
    (type, bytes, start, end) => {
      if (type !== wire.messageType.update) return true;
      const withdrawn = (bytes[start + 19]! << 8) | bytes[start + 20]!;
      const attributesAt = start + 21 + withdrawn;
      const attributes = (bytes[attributesAt]! << 8) | bytes[attributesAt + 1]!;
      for (let at = attributesAt + 2 + attributes; at < end; at += 1 + ((bytes[at]! + 7) >> 3)) received++;
      if (received >= prefixes) finished.resolve((performance.now() - startedMs) / 1000);
      return true;
    },
  );
  const ready = Promise.withResolvers<void>();
  const sender = session(ends.sender, ready.resolve, () => true);
  await ready.promise;
  await until(() => receiver.bytesRead > 60, { what: 'the receiver to be up' });
  startedMs = performance.now();
  for (let at = 0; at < stream.length; at += 262_144) sender.write(stream.subarray(at, at + 262_144));
  const seconds = await Promise.race([
    finished.promise,
    new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error(`only ${received} of ${prefixes} came within 120 s`)), 120_000).unref();
    }),
  ]);
  process.stdout.write(`${JSON.stringify({ seconds, received })}\n`);
  process.exit(0);
}

const birdText = `router id 10.9.0.1;
protocol device {}
protocol bgp sender { local 10.9.0.1 as ${dutAsn}; neighbor ${ends.sender.address} as ${ends.sender.asn}; passive on; ipv4 { import all; export none; }; }
protocol bgp receiver { local 10.9.0.1 as ${dutAsn}; neighbor ${ends.receiver.address} as ${ends.receiver.asn}; passive on; ipv4 { import none; export all; next hop self; }; }
`;
const speakerText = `asn: ${dutAsn}
routerId: 10.9.0.1
listen: ["10.9.0.1:179"]
peers:
  - { address: ${ends.sender.address}, asn: ${ends.sender.asn}, passive: true, import: accept, export: reject }
  - { address: ${ends.receiver.address}, asn: ${ends.receiver.asn}, passive: true, import: reject, export: accept }
`;

/** User and system seconds of a process so far, and its resident set in MiB. */
function usage(pid: number): { cpuSec: number; rssMib: number } {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  const rss = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))![1];
  return { cpuSec: (Number(fields[11]) + Number(fields[12])) / 100, rssMib: Math.round(Number(rss) / 1024) };
}

async function measure(kind: 'bird' | 'poplin'): Promise<{ seconds: number; cpuSec: number; rssMib: number }> {
  await using link = new BgpLink();
  execFileSync('ip', ['-n', link.b, 'addr', 'add', `${ends.receiver.address}/24`, 'dev', 'e0']);
  let daemon: ChildProcess;
  if (kind === 'bird') {
    daemon = (await link.bird(birdText, link.a)).process;
  } else {
    const file = path.join(link.folder, 'speaker.yaml');
    fs.writeFileSync(file, speakerText);
    const cli = path.join(import.meta.dirname, '../../src/cli/main.ts');
    daemon = link.spawn(link.a, process.execPath, [cli, 'speaker', '--config', file]);
    let output = '';
    daemon.stderr!.on('data', (chunk) => (output += chunk));
    const listens = (): string =>
      execFileSync('ip', ['netns', 'exec', link.a, 'ss', '-Hltn', 'sport = :179'], { encoding: 'utf8' });
    await until(() => listens() !== '', { what: `the speaker to listen; it said ${output}` });
  }
  const client = link.spawn(link.b, process.execPath, [import.meta.filename, '--endpoints']);
  let out = '';
  let errors = '';
  client.stdout!.on('data', (chunk) => (out += chunk));
  client.stderr!.on('data', (chunk) => (errors += chunk));
  const code = await new Promise((resolve) => client.once('exit', resolve));
  assert.equal(code, 0, `${kind}: ${errors}`);
  const used = usage(daemon.pid!);
  return { seconds: JSON.parse(out).seconds, ...used };
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;

async function main(): Promise<void> {
  const results = {
    bird: [] as Awaited<ReturnType<typeof measure>>[],
    poplin: [] as Awaited<ReturnType<typeof measure>>[],
  };
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? (['bird', 'poplin'] as const) : (['poplin', 'bird'] as const);
    for (const kind of order) results[kind].push(await measure(kind));
  }
  const summary = (kind: 'bird' | 'poplin') => ({
    medianSeconds: median(results[kind].map((r) => r.seconds)),
    seconds: results[kind].map((r) => Number(r.seconds.toFixed(3))),
    medianCpuSec: median(results[kind].map((r) => r.cpuSec)),
    medianRssMib: median(results[kind].map((r) => r.rssMib)),
  });
  const bird = summary('bird');
  const poplin = summary('poplin');
  const ratio = Number((poplin.medianSeconds / bird.medianSeconds).toFixed(2));
  console.log(JSON.stringify({ bench: 'bgp relay', prefixes, rounds, bird, poplin, ratio, ratioAllowed: 3 }, null, 2));
  if (ratio > 3) process.exitCode = 1;
}

if (process.argv.includes('--endpoints')) await endpoints();
else await main();
