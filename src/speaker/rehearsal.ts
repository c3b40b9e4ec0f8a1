/**
 * Before there are peers, a speaker of the same code talks to two that are made up, over connections within the process: the first changes of
 * real ones would find code that the engine has not compiled yet, and the slowest of a thousand took ten times as long as the
 * others. It runs in turns of the event loop between whatever else there is, and leaves nothing behind: what the compilers needed meanwhile
 * goes back to the kernel, 12 MB.
 *
 * Both say what peers say most, one prefix at a time, of either family, with a few attributes. Nothing of it reaches the speaker that is in
 * earnest, the network or the log.
 */
import { createSpeaker, type PeerConfig, type Speaker, type SpeakerConfig, type SpeakerDeps, wire } from '#bgp';
import { type IpAddress, silentLogger, systemClock } from '#kit';
import { libc } from '#sys';
import type { TcpConnection } from './tcp-connection.ts';
import type { TcpTransport } from './tcp-transport.ts';

/** Changes from one end to the other. The engine compiles for speed after some hundreds of calls. */
export const rehearsedChanges = 3000;
/** And no longer than this, whatever the machine is busy with. */
const rehearsalMsMax = 2000;
/** Until both sessions are there. */
const pollMs = 5;
/** The compilers run in threads of their own, and are done by then. */
const trimAfterMs = 1000;
/** Of either peer. */
const prefixes = 128;

/** For documentation (RFC 5737, RFC 3849, RFC 5398). */
const own = { address: '192.0.2.1' as IpAddress, port: 179 };
const asn = 64496;
const peers = [
  { address: '192.0.2.2' as IpAddress, asn: 64497, routerId: 0xc0000202 },
  { address: '192.0.2.3' as IpAddress, asn: 64498, routerId: 0xc0000203 },
] as const;
const families = ['ipv4-unicast', 'ipv6-unicast'] as const;

const config: SpeakerConfig = {
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
  gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 0, deferralTimeSec: 0 },
};

/** Announcements and withdrawals in turn, prefix by prefix. */
function script(peerAsn: number, first: number): readonly Uint8Array[] {
  const out: Uint8Array[] = [];
  const packer = wire.createUpdatePacker((chunk) => void out.push(chunk.slice()));
  const attributes = wire.createExportedAttributes();
  const asnOctets = [peerAsn >>> 24, (peerAsn >>> 16) & 255, (peerAsn >>> 8) & 255, peerAsn & 255];
  for (let n = 0; n < prefixes; n++) {
    const octets = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, ...asnOctets];
    attributes.split = octets.length;
    if (n % 2 === 1) octets.push(0x80, 4, 4, 0, 0, 0, n);
    if (n % 4 > 1) octets.push(0xc0, 8, 4, peerAsn >>> 8, peerAsn & 255, 0, n);
    attributes.bytes.set(octets);
    attributes.length = octets.length;
    const family = n % 4 === 3 ? 6 : 4;
    const nextHop = family === 4 ? [192, 0, 2, 9] : [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    for (const announced of [true, false]) {
      if (announced) packer.startAnnounce(family, attributes, Uint8Array.from(nextHop));
      else packer.startWithdraw(family);
      if (family === 4) packer.add4(0xcb007100 + first + n, 32);
      else packer.add6(0x20010db8, first + n, 0, 0, 64);
      packer.flush();
    }
  }
  return out;
}

/** Begins; returns what ends it before its time. @param onEnd with the number of changes that went through. */
export function rehearse(
  transport: TcpTransport,
  options: Pick<SpeakerDeps, 'defer' | 'random'>,
  onEnd?: (changes: number) => void,
): () => void {
  const clock = systemClock({ unref: true });
  const speaker = createSpeaker(
    {
      ...options,
      clock,
      log: silentLogger,
      onPeerState: () => undefined,
      onRoutes: () => undefined,
      transport: { configure: () => undefined, dial: () => () => undefined },
    },
    config,
    { withoutFeed: true },
  );
  speaker.start();
  return new Rehearsal(transport, speaker, onEnd).stop;
}

class Rehearsal {
  readonly #speaker: Speaker;
  readonly #onEnd: ((changes: number) => void) | undefined;
  /** The speaker's, and those of the peers. */
  readonly #accepted: TcpConnection[] = [];
  readonly #ends: TcpConnection[] = [];
  readonly #scripts = peers.map((peer, index) => script(peer.asn, index * prefixes));
  readonly #deadline: NodeJS.Timeout;
  #poll: NodeJS.Timeout | undefined;
  /** Changes said; below 0: not begun. */
  #said = -1;
  #over = false;

  constructor(transport: TcpTransport, speaker: Speaker, onEnd: ((changes: number) => void) | undefined) {
    this.#speaker = speaker;
    this.#onEnd = onEnd;
    this.#deadline = setTimeout(this.stop, rehearsalMsMax);
    this.#deadline.unref();
    for (const { address, asn: peerAsn, routerId } of peers) {
      const [here, there] = transport.pair(own, { address, port: own.port });
      this.#accepted.push(here);
      this.#ends.push(there);
      there.start({ onData: this.#next, onClosed: this.stop, onDrained: () => undefined });
      speaker.accept(here);
      const open = { asn: peerAsn, holdTimeSec: 90, routerId, families, asn4: true, routeRefresh: true };
      there.write(wire.encodeOpen(open));
      // The first one makes the session; after the second one is asked for no more.
      for (let n = 0; n < 2; n++) there.write(wire.encodeKeepalive());
    }
    this.#begin();
  }

  readonly #begin = (): void => {
    if (this.#over) return;
    if (this.#speaker.peerStatuses().every(({ state }) => state === 'Established')) {
      this.#said = 0;
      this.#next();
    } else {
      this.#poll = setTimeout(this.#begin, pollMs);
      this.#poll.unref();
    }
  };

  /** One has heard what the other said: what comes next, from one for a while, then from the other. */
  readonly #next = (): void => {
    if (this.#said < 0 || this.#over) return;
    if (this.#said >= rehearsedChanges) {
      this.stop();
      return;
    }
    const at = this.#said++;
    const speaks = Math.floor(at / (2 * prefixes)) % 2;
    this.#ends[speaks]!.write(this.#scripts[speaks]![at % (2 * prefixes)]!);
  };

  readonly stop = (): void => {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#deadline);
    clearTimeout(this.#poll);
    this.#speaker.stop('graceful');
    for (const end of [...this.#accepted, ...this.#ends]) end.destroy();
    setTimeout(libc.trimMalloc, trimAfterMs).unref();
    this.#onEnd?.(Math.max(this.#said, 0));
  };
}
