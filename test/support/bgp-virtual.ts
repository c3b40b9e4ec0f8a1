/**
 * A speaker in memory that strangers talk to in octets: no sockets, a clock that is moved by hand, and everything in an order that is the
 * same each time. Whatever its input, `run` is over after a number of steps, or throws.
 */
import { createSpeaker, type DialRequest, type PeerConfig, type Speaker, type SpeakerConfig, wire } from '#bgp';
import { FakeClock, type Logger, silentLogger } from '#kit';

type ByteConnection = Parameters<Speaker['accept']>[0];
type ConnectionHandlers = Parameters<ByteConnection['start']>[0];

/** Steps that one `run` may take: more is a loop that does not end. */
const stepsMax = 100_000;

/** The far end of a connection to the speaker. */
export class VirtualClient implements ByteConnection {
  readonly remoteAddress: string;
  readonly remotePort = 40_000;
  readonly localAddress: string;
  /** Of the speaker: whether it closed, and what it wrote. */
  closed = false;
  readonly written: Uint8Array[] = [];
  writtenBytes = 0;
  /** Octets that the speaker wrote and nobody takes: a window that stays shut. */
  stuck = false;
  stuckBytes = 0;
  #handlers: ConnectionHandlers | undefined;

  constructor(remoteAddress: string, localAddress: string) {
    this.remoteAddress = remoteAddress;
    this.localAddress = localAddress;
  }
  start(handlers: ConnectionHandlers): void {
    this.#handlers = handlers;
  }
  write(bytes: Uint8Array, length = bytes.length): void {
    if (this.closed) return;
    this.writtenBytes += length;
    if (this.stuck) this.stuckBytes += length;
    else this.written.push(bytes.slice(0, length));
  }
  get queuedBytes(): number {
    return this.stuckBytes;
  }
  rekey(): boolean {
    return true;
  }
  close(): void {
    this.closed = true;
    this.#handlers = undefined;
  }
  destroy(): void {
    this.close();
  }

  /** Octets to the speaker, as one chunk. */
  send(bytes: Uint8Array): void {
    this.#handlers?.onData(bytes);
  }
  /** The far end goes away. */
  hangUp(): void {
    const handlers = this.#handlers;
    this.close();
    handlers?.onClosed('closed');
  }
  /** Opens the window again. */
  drain(): void {
    this.stuck = false;
    this.stuckBytes = 0;
    this.#handlers?.onDrained();
  }
  /** Whole messages that the speaker wrote since the last call. */
  messages(): { readonly type: number; readonly bytes: Uint8Array }[] {
    const found: { type: number; bytes: Uint8Array }[] = [];
    for (const chunk of this.written.splice(0)) {
      for (let at = 0; at < chunk.length; ) {
        const end = at + ((chunk[at + 16]! << 8) | chunk[at + 17]!);
        found.push({ type: chunk[at + 18]!, bytes: chunk.slice(at, end) });
        at = end;
      }
    }
    return found;
  }
  /** The NOTIFICATION among them, as `code/subcode`. */
  notification(): string | undefined {
    const message = this.messages().find(({ type }) => type === wire.messageType.notification);
    return message && `${message.bytes[19]}/${message.bytes[20]}`;
  }
}

export interface VirtualOptions {
  readonly address?: string;
  readonly random?: () => number;
  /** Who is dialled answers with this; nobody does where it is undefined. */
  readonly answer?: (request: DialRequest) => VirtualClient | undefined;
}

export class VirtualSpeaker {
  readonly clock = new FakeClock();
  readonly speaker: Speaker;
  readonly address: string;
  readonly logs: { level: string; message: string; fields: object }[] = [];
  #queue: (() => void)[] = [];

  constructor(config: SpeakerConfig, options: VirtualOptions = {}) {
    this.address = options.address ?? '10.0.0.1';
    const line = (level: string) => (fields: object, message: string) =>
      void this.logs.push({ level, message, fields });
    const log: Logger = { ...silentLogger, error: line('error'), warn: line('warn'), child: () => log };
    this.speaker = createSpeaker(
      {
        clock: this.clock,
        log,
        random: options.random ?? (() => 0.5),
        defer: (fn) => void this.#queue.push(fn),
        onRoutes: () => {
          while (this.speaker.takeRoutes() !== undefined);
        },
        onPeerState: () => undefined,
        transport: {
          configure: () => undefined,
          dial: (request, onConnected) => {
            const other = options.answer?.(request);
            if (other) this.#queue.push(() => onConnected(other));
            return () => undefined;
          },
          linkOf: () => ({ interface: 'e0', global: [] }),
        },
      },
      config,
    );
    this.speaker.start();
    this.run();
  }
  /** A connection from `address`, unless it is refused at once: see `closed`. */
  connect(address: string): VirtualClient {
    const client = new VirtualClient(address, this.address);
    this.speaker.accept(client);
    return client;
  }
  /** Carries out what is deferred; returns the number of steps. @throws Error when there is no end to it. */
  run(): number {
    let steps = 0;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      next();
      if (++steps > stepsMax) throw new Error(`no end after ${stepsMax} steps`);
    }
    return steps;
  }
  advance(ms: number): void {
    this.run();
    this.clock.advance(ms);
    this.run();
  }
}

export function passivePeer(address: string, asn: number, more: Partial<PeerConfig> = {}): PeerConfig {
  return {
    name: address,
    address,
    port: 179,
    asn,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    holdTimeSec: 90,
    passive: true,
    connectRetrySec: 5,
    import: 'accept',
    export: 'accept',
    nextHop4: '10.0.0.1',
    nextHop6: 'fd00::1',
    ...more,
  };
}

export function virtualConfig(peers: readonly PeerConfig[], more: Partial<SpeakerConfig> = {}): SpeakerConfig {
  return {
    asn: 64512,
    routerId: '10.10.10.10',
    listen: [],
    originate: ['10.50.1.0/24'],
    peers,
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 30, deferralTimeSec: 10 },
    ...more,
  };
}
