/**
 * Streams of numbered UDP packets at a steady rate, to measure what an event in the network costs.
 *
 * Every packet sent is accounted for when the stream stops: a number that never arrived is lost. Sender and receiver are
 * one process with one clock, so an outage is the time between the last packet before it and the first one after it that arrived.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { check, type Fd, libc, sockaddrIn } from '#sys';
import type { StreamReport, StreamRequest, Target } from './protocol.ts';
import { type Namespaces, udpClient } from './sockets.ts';

const MSG_NOSIGNAL = 0x4000;
const MAGIC = 0x706c7374; // "plst"
/** magic u32, stream u32, flow u32, sequence u32 */
const packetBytes = 64;
const packetsPerFlowMax = 4_000_000;
/** Packets that may still be under way when the sender stops. */
const settleMs = 300;
/** After a stall of the process no more than this is sent in one go; the schedule then starts afresh. */
const burstMax = 200;

export function isStreamPacket(packet: Buffer): boolean {
  return packet.length === packetBytes && packet.readUInt32LE(0) === MAGIC;
}

interface Flow {
  readonly fd: Fd;
  /** Send time of packet n, ms. */
  readonly sentMs: number[];
  /** Arrivals of packet n. */
  readonly arrivals: number[];
}

interface Stream {
  readonly number: number;
  readonly request: StreamRequest;
  readonly flows: readonly Flow[];
  timer: NodeJS.Timeout | undefined;
}

export class Streams {
  readonly #namespaces: Namespaces;
  readonly #byName = new Map<string, Stream>();
  readonly #byNumber = new Map<number, Stream>();
  #lastNumber = 0;
  constructor(namespaces: Namespaces) {
    this.#namespaces = namespaces;
  }
  get count(): number {
    return this.#byName.size;
  }

  /** @throws Error when the name is taken or the source unknown. */
  start(request: StreamRequest, source: Target | undefined): void {
    if (!source) throw new Error(`stream ${request.stream}: no such source ${request.from}`);
    if (this.#byName.has(request.stream)) throw new Error(`stream ${request.stream} is running already`);
    const to = sockaddrIn(request.address, request.port);
    const flows = Array.from({ length: request.flows }, (): Flow => {
      const fd = this.#namespaces.within(source.netns, () => udpClient(request.address));
      check('connect', libc.connect(fd.number, to, to.length), `${request.from} to ${request.address}`);
      return { fd, sentMs: [], arrivals: [] };
    });
    const stream: Stream = { number: ++this.#lastNumber, request, flows, timer: undefined };
    this.#byName.set(request.stream, stream);
    this.#byNumber.set(stream.number, stream);
    this.#run(stream);
  }

  #run(stream: Stream): void {
    const { packetsPerSec } = stream.request;
    const packet = Buffer.alloc(packetBytes);
    packet.writeUInt32LE(MAGIC, 0);
    packet.writeUInt32LE(stream.number, 4);
    let started = performance.now();
    let sentSinceStart = 0;
    let total = 0;
    const tick = (): void => {
      const now = performance.now();
      let due = Math.floor(((now - started) * packetsPerSec) / 1000) - sentSinceStart;
      if (due > burstMax) {
        due = burstMax;
        started = now;
        sentSinceStart = -burstMax;
      }
      for (; due > 0; due--, sentSinceStart++, total++) {
        const index = total % stream.flows.length;
        const flow = stream.flows[index]!;
        if (flow.sentMs.length >= packetsPerFlowMax) return;
        packet.writeUInt32LE(index, 8);
        packet.writeUInt32LE(flow.sentMs.length, 12);
        flow.sentMs.push(now);
        flow.arrivals.push(0);
        // An error (no route, refused) is a packet that does not arrive: it counts as lost.
        libc.send(flow.fd.number, packet, packet.length, MSG_NOSIGNAL);
      }
      stream.timer = setTimeout(tick, 1);
    };
    tick();
  }

  /** A packet reached `target`. */
  arrived(target: string, packet: Buffer): void {
    const stream = this.#byNumber.get(packet.readUInt32LE(4));
    if (!stream || stream.request.to !== target) return;
    const flow = stream.flows[packet.readUInt32LE(8)];
    const sequence = packet.readUInt32LE(12);
    if (flow && sequence < flow.arrivals.length) flow.arrivals[sequence]! += 1;
  }

  /** Stops sending, waits for stragglers, counts. @throws Error when no such stream runs. */
  async stop(names: readonly string[]): Promise<StreamReport[]> {
    const streams = names.map((name) => {
      const stream = this.#byName.get(name);
      if (!stream) throw new Error(`stream ${name} is not running`);
      return stream;
    });
    for (const stream of streams) clearTimeout(stream.timer);
    await sleep(settleMs);
    return streams.map((stream) => {
      this.#byName.delete(stream.request.stream);
      this.#byNumber.delete(stream.number);
      for (const flow of stream.flows) flow.fd.close();
      return report(stream.flows, stream.request.packetsPerSec);
    });
  }
}

/** Counts what arrived. Exported for its test. */
export function report(
  flows: readonly { readonly sentMs: readonly number[]; readonly arrivals: readonly number[] }[],
  packetsPerSec: number,
): StreamReport {
  const intervalMs = (1000 * flows.length) / packetsPerSec;
  let sent = 0;
  let received = 0;
  let duplicates = 0;
  let longestOutageMs = 0;
  for (const { sentMs, arrivals } of flows) {
    sent += arrivals.length;
    let lastArrivedMs = (sentMs[0] ?? 0) - intervalMs;
    let missing = 0;
    for (const [sequence, count] of arrivals.entries()) {
      if (count === 0) {
        missing++;
        continue;
      }
      received++;
      duplicates += count - 1;
      if (missing > 0) longestOutageMs = Math.max(longestOutageMs, sentMs[sequence]! - lastArrivedMs - intervalMs);
      missing = 0;
      lastArrivedMs = sentMs[sequence]!;
    }
    // Never came back: the outage lasts at least until the last packet sent.
    if (missing > 0) longestOutageMs = Math.max(longestOutageMs, sentMs.at(-1)! - lastArrivedMs);
  }
  return { sent, received, lost: sent - received, duplicates, longestOutageMs: Math.round(longestOutageMs) };
}
