/**
 * Before there are peers, speakers of the same code talk to some that are made up, over connections within the process: the first changes of
 * real ones would find code that the engine has not compiled yet, and the slowest of a thousand took ten times as long as the
 * others. It runs in turns of the event loop between whatever else there is, and leaves nothing behind: what the compilers needed meanwhile
 * goes back to the kernel, 12 MB.
 *
 * The engine compiles for what it has seen: what held for one speaker alone (its objects, its settings, what never happened to it) is taken back when
 * another comes, which costs more than to have compiled nothing. So there are several, one after the other, each with other settings, and
 * peers that say a bit of everything (rehearsal-script.ts). But none has what the real one has not got, a feed of routes or a limit of prefixes:
 * code that knows of a kind of object is taken back, too, once the collector has taken the last of the kind. Nothing of it reaches the
 * speaker that is in earnest, the network or the log.
 */
import { createSpeaker, type PeerConfig, type Speaker, type SpeakerConfig, type SpeakerDeps, wire } from '#bgp';
import { type IpAddress, silentLogger, systemClock } from '#kit';
import { libc, SysError } from '#sys';
import { UpdateFiles } from './mrt-files.ts';
import { rehearsalScript } from './rehearsal-script.ts';
import type { TcpConnection } from './tcp-connection.ts';
import type { TcpTransport } from './tcp-transport.ts';

/**
 * What peers say to each speaker, one after the other, a chunk each turn of the loop; to the last one, after which the engine has least to take
 * back, as much as it takes until nothing of single changes is left to be compiled for speed.
 */
export const rehearsedChunks = [1000, 1000, 20_000] as const;
/** And no longer than this, whatever the machine is busy with. */
const rehearsalMsMax = 30_000;
/** A turn that took so much of the processor had something else to do, and more of that may follow: the rehearsal steps aside. */
const busyUs = 2000;
const asideMs = 20;
/** Until all sessions are there. */
const pollMs = 2;
/** The compilers run in threads of their own, and are done by then. */
const trimAfterMs = 1000;
/** One peer says so much, then another. */
const chunksInTurn = 50;
/** After so many it is heard in a turn of the loop instead of one without it, and then again: what both call differs. */
const chunksAWay = 200;
const oneOctet = new Uint8Array(1);

/** For documentation (RFC 5737, RFC 3849, RFC 5398). */
const own = { address: '192.0.2.1' as IpAddress, port: 179 };
const asn = 64496;
/** The last one is internal, and only hears. */
const peers = [
  { address: '192.0.2.2' as IpAddress, asn: 64497, routerId: 0xc0000202 },
  { address: '192.0.2.3' as IpAddress, asn: 64498, routerId: 0xc0000203 },
  { address: '192.0.2.4' as IpAddress, asn, routerId: 0xc0000204 },
] as const;
const speaking = 2;
const families = ['ipv4-unicast', 'ipv6-unicast'] as const;

/** @param round the settings differ from one to the next. */
function configOf(round: number): SpeakerConfig {
  return {
    asn,
    routerId: own.address,
    listen: [],
    originate: [],
    peers: peers.map(
      ({ address, asn: peerAsn }): PeerConfig => ({
        name: address,
        address,
        port: 179,
        asn: peerAsn,
        families,
        holdTimeSec: 90,
        passive: true,
        connectRetrySec: 60,
        import: 'accept',
        export: 'accept',
        nextHop6: '2001:db8::1',
      }),
    ),
    gracefulRestart: { restarting: round % 2 === 1, forwardingPreserved: [], restartTimeSec: 0, deferralTimeSec: 1 },
  };
}

/** As the real one has them. */
export type RehearsalOptions = Pick<SpeakerDeps, 'random'> & { readonly withoutFeed: boolean };

/** Begins; returns what ends it before its time. @param onEnd with the number of chunks that peers said. */
export function rehearse(
  transport: TcpTransport,
  options: RehearsalOptions,
  onEnd?: (chunks: number) => void,
): () => void {
  return new Rehearsal(transport, options, onEnd).stop;
}

class Rehearsal {
  readonly #transport: TcpTransport;
  readonly #options: RehearsalOptions;
  readonly #onEnd: ((chunks: number) => void) | undefined;
  readonly #clock = systemClock({ unref: true });
  /** As that of the real one: there, and mostly of no use. */
  readonly #tap = new UpdateFiles({ clock: this.#clock, log: silentLogger, wallMs: () => 0 }).recorder;
  #scripts = peers.slice(0, speaking).map((peer, index) => rehearsalScript(peer.asn, index));
  readonly #deadline: NodeJS.Timeout;
  #speaker: Speaker | undefined;
  /** The peers' ends of the connections, and the speaker's. */
  #ends: TcpConnection[] = [];
  #accepted: TcpConnection[] = [];
  #bell: TcpConnection | undefined;
  #poll: NodeJS.Timeout | undefined;
  #turn: NodeJS.Immediate | undefined;
  /** Of this thread, when the turn under way began. */
  #turnedUs = 0;
  #round = 0;
  /** To this speaker, and to those before it. */
  #said = 0;
  #saidBefore = 0;
  #over = false;

  constructor(transport: TcpTransport, options: RehearsalOptions, onEnd: ((chunks: number) => void) | undefined) {
    this.#transport = transport;
    this.#options = options;
    this.#onEnd = onEnd;
    this.#deadline = setTimeout(this.stop, rehearsalMsMax);
    this.#deadline.unref();
    this.#begin();
  }

  /** Another speaker, and sessions with all peers. */
  #begin(): void {
    const speaker = createSpeaker(
      {
        random: this.#options.random,
        defer: this.#transport.defer,
        afterwards: this.#transport.afterwards,
        clock: this.#clock,
        log: silentLogger,
        tap: this.#tap,
        onPeerState: () => undefined,
        onRoutes: () => {
          while (speaker.takeRoutes());
        },
        transport: { configure: () => undefined, dial: () => () => undefined },
      },
      configOf(this.#round),
      { withoutFeed: this.#options.withoutFeed },
    );
    this.#speaker = speaker;
    speaker.start();
    try {
      for (const peer of peers) this.#connect(speaker, peer);
      if (this.#round === rehearsedChunks.length - 1) this.#bell = this.#hangBell();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      // Descriptors are short: others need them more.
      this.stop();
      return;
    }
    this.#await();
  }

  #hangBell(): TcpConnection {
    const [ear, bell] = this.#transport.pair(own, own);
    ear.start({ onData: this.#turned, onClosed: this.stop, onDrained: () => undefined });
    this.#accepted.push(ear);
    this.#ends.push(bell);
    return bell;
  }

  #connect(speaker: Speaker, { address, asn: peerAsn, routerId }: (typeof peers)[number]): void {
    const [here, there] = this.#transport.pair(own, { address, port: own.port });
    this.#accepted.push(here);
    this.#ends.push(there);
    there.start({ onData: () => undefined, onClosed: this.stop, onDrained: () => undefined });
    speaker.accept(here);
    const open = { asn: peerAsn, holdTimeSec: 90, routerId, families, asn4: true, routeRefresh: true };
    there.write(wire.encodeOpen(open));
    // The first one makes the session; after the second one is asked for no more.
    for (let n = 0; n < 2; n++) there.write(wire.encodeKeepalive());
    // Not all sessions are there yet, and nothing may be decided.
    if (this.#ends.length === 1) there.write(this.#scripts[0]![0]!);
  }

  readonly #await = (): void => {
    if (this.#speaker?.peerStatuses().every(({ state }) => state === 'Established')) this.#next();
    else this.#later(this.#await, pollMs);
  };

  readonly #next = (): void => {
    if (this.#said === rehearsedChunks[this.#round]) {
      this.#endRound();
      if (++this.#round < rehearsedChunks.length) this.#begin();
      else this.stop();
      return;
    }
    const at = this.#said++;
    const speaker = Math.floor(at / chunksInTurn) % speaking;
    const script = this.#scripts[speaker]!;
    const own = Math.floor(at / (chunksInTurn * speaking)) * chunksInTurn + (at % chunksInTurn);
    this.#ends[speaker]!.write(script[own % script.length]!);
    this.#look();
  };

  /**
   * One turn of the loop is timed, in which what was said is heard, and whatever else there is. For the last speaker it is half the time a turn
   * without the loop (SocketSet): a bell rings behind what was said.
   */
  readonly #look = (): void => {
    this.#turnedUs = threadUs();
    if (this.#bell && Math.floor(this.#said / chunksAWay) % 2 === 0) this.#bell.write(oneOctet);
    else this.#turn = setImmediate(this.#turned);
  };
  readonly #turned = (): void => {
    if (threadUs() - this.#turnedUs > busyUs) this.#later(this.#look, asideMs);
    else this.#next();
  };

  #later(fn: () => void, delayMs: number): void {
    this.#poll = setTimeout(fn, delayMs);
    this.#poll.unref();
  }

  #endRound(): void {
    this.#speaker?.stop('graceful');
    for (const end of [...this.#accepted, ...this.#ends]) end.destroy();
    this.#accepted = [];
    this.#ends = [];
    this.#saidBefore += this.#said;
    this.#said = 0;
  }

  readonly stop = (): void => {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#poll);
    clearImmediate(this.#turn);
    this.#endRound();
    this.#speaker = undefined;
    this.#scripts = [];
    setTimeout(libc.trimMalloc, trimAfterMs).unref();
    this.#onEnd?.(this.#saidBefore);
  };
}

/** Of the processor, by this thread: that others have it is not work of ours. */
function threadUs(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
