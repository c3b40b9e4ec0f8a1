/** Speakers in a network in memory, with a clock that is moved by hand, for tests. */
import { FakeClock, silentLogger } from '#kit';
import { decodeRouteChanges, type RouteChange } from '../rib/index.ts';
import type { BfdPort } from './bfd.ts';
import type { GracefulRestartConfig, PeerConfig, SpeakerConfig } from './config.ts';
import { createSpeaker, type Speaker } from './speaker.ts';
import type { SessionKeys, TcpAoFault } from './tcp-ao.ts';
import type { ByteConnection, ConnectionHandlers } from './types.ts';

/** One end of a pipe; bytes and ends arrive in a later step of the network. */
export class Pipe implements ByteConnection {
  readonly remotePort = 179;
  other!: Pipe;
  handlers: ConnectionHandlers | undefined;
  /** What `queuedBytes` says: a peer that does not read. */
  stuckBytes = 0;
  closed = false;
  /** What is written arrives nowhere. */
  cut = false;
  /** What it was told to change to, and whether it can. */
  readonly keys: SessionKeys[] = [];
  rekeys = true;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly #later: (fn: () => void) => void;

  constructor(localAddress: string, remoteAddress: string, later: (fn: () => void) => void) {
    this.localAddress = localAddress;
    this.remoteAddress = remoteAddress;
    this.#later = later;
  }
  start(handlers: ConnectionHandlers): void {
    this.handlers = handlers;
  }
  write(bytes: Uint8Array, length = bytes.length): void {
    if (this.cut) return;
    const copy = bytes.slice(0, length);
    this.#later(() => this.other.handlers?.onData(copy));
  }
  get queuedBytes(): number {
    return this.stuckBytes;
  }
  rekey(keys: SessionKeys): boolean {
    this.keys.push(keys);
    return this.rekeys;
  }
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.handlers = undefined;
    this.#later(() => {
      const { handlers } = this.other;
      this.other.closed = true;
      this.other.handlers = undefined;
      handlers?.onClosed('closed');
    });
  }
  destroy(): void {
    this.close();
  }
}

export class Network {
  readonly clock = new FakeClock();
  readonly speakers = new Map<string, Speaker>();
  readonly changes = new Map<string, RouteChange[]>();
  /** Last errors that speakers told of, by their addresses. */
  readonly errors = new Map<string, string[]>();
  readonly pipes: Pipe[] = [];
  /** Addresses whose new connections take no UPDATEs until `unstick`. */
  readonly stuck = new Set<string>();
  /** Who else can be dialled, by address: gets its end of the connection. */
  readonly others = new Map<string, (there: Pipe) => void>();
  /** Set: what speakers do afterwards waits here, for the test to do it. */
  rests: (() => void)[] | undefined;
  /** What a speaker's wall clock says. */
  wallMs = 0;
  /** Why nobody there can sign with TCP-AO. */
  tcpAoFault: TcpAoFault = () => undefined;
  #queue: (() => void)[] = [];

  add(address: string, config: SpeakerConfig, bfd?: BfdPort): Speaker {
    const later = (fn: () => void): void => void this.#queue.push(fn);
    const changes: RouteChange[] = [];
    this.changes.set(address, changes);
    const speaker: Speaker = createSpeaker(
      {
        clock: this.clock,
        log: silentLogger,
        random: () => 0.5,
        wallMs: () => this.wallMs,
        system: { name: 'router', description: 'test' },
        ...(bfd ? { bfd } : {}),
        defer: later,
        afterwards: (fn) => void (this.rests ?? this.#queue).push(fn),
        onPeerState: ({ lastError }) => void this.errors.set(address, [...(this.errors.get(address) ?? []), lastError]),
        onRoutes: () =>
          later(() => {
            for (let b = speaker.takeRoutes(); b; b = speaker.takeRoutes()) changes.push(...decodeRouteChanges(b));
          }),
        transport: {
          configure: () => undefined,
          tcpAoFault: (key) => this.tcpAoFault(key),
          dial: (request, onConnected, onFailed) => {
            let aborted = false;
            later(() => {
              const target = this.speakers.get(request.address);
              const other = this.others.get(request.address);
              // A process that was killed dials no more.
              if (aborted || this.speakers.get(address) !== speaker) return;
              if (!target && !other) {
                onFailed('refused');
                return;
              }
              const [here, there] = this.#pipe(address, request.address);
              onConnected(here);
              if (target) target.accept(there);
              else other?.(there);
            });
            return () => {
              aborted = true;
            };
          },
        },
      },
      config,
    );
    this.speakers.set(address, speaker);
    speaker.start();
    return speaker;
  }
  /** A connection to the speaker at `to` that no speaker makes: its end at `from`. */
  connect(from: string, to: string): Pipe {
    const [here, there] = this.#pipe(from, to);
    this.speakers.get(to)!.accept(there);
    return here;
  }
  #pipe(from: string, to: string): [Pipe, Pipe] {
    const later = (fn: () => void): void => void this.#queue.push(fn);
    const [here, there] = [new Pipe(from, to, later), new Pipe(to, from, later)];
    here.other = there;
    there.other = here;
    this.pipes.push(here, there);
    for (const pipe of [here, there]) if (this.stuck.has(pipe.localAddress)) pipe.stuckBytes = 1 << 24;
    return [here, there];
  }
  /** The process dies: its connections end without a word. */
  kill(address: string): void {
    this.speakers.delete(address);
    for (const pipe of this.pipes) if (pipe.localAddress === address) pipe.close();
  }
  unstick(address: string): void {
    this.stuck.delete(address);
    for (const pipe of this.pipes) {
      if (pipe.localAddress !== address || pipe.stuckBytes === 0) continue;
      pipe.stuckBytes = 0;
      pipe.handlers?.onDrained();
    }
  }
  run(): void {
    while (this.#queue.length > 0) this.#queue.shift()!();
  }
  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.run();
      this.clock.advance(Math.min(100, left));
    }
    this.run();
  }
  routesOf(address: string): Map<string, readonly string[]> {
    const out = new Map<string, readonly string[]>();
    for (const change of this.changes.get(address)!) {
      if (change.type === 'upsert') out.set(change.prefix, change.nextHops);
      else if (change.type === 'withdraw') out.delete(change.prefix);
    }
    return out;
  }
}

export const fresh: GracefulRestartConfig = {
  restarting: false,
  forwardingPreserved: [],
  restartTimeSec: 30,
  deferralTimeSec: 20,
};
export function peer(address: string, asn: number, more: Partial<PeerConfig> = {}): PeerConfig {
  return {
    name: address,
    address,
    port: 179,
    asn,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    holdTimeSec: 9,
    passive: false,
    connectRetrySec: 1,
    import: 'accept',
    export: 'accept',
    nextHop6: 'fd00::99',
    ...more,
  };
}
export function config(
  address: string,
  asn: number,
  peers: PeerConfig[],
  originate: string[] = [],
  more = {},
): SpeakerConfig {
  const own = peers.map((p) => ({ ...p, nextHop6: `fd00::${address.split('.')[3]}` }));
  return { asn, routerId: address, listen: [], originate, peers: own, gracefulRestart: fresh, ...more };
}
