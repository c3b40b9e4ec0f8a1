/**
 * The session driver under fuzz: a speaker in memory among peers that send what they like in pieces of any size, flood, hang up at any octet,
 * stop reading, and come again, while the clock runs and the configuration changes. Once they are gone nothing of theirs may be left.
 */
import assert from 'node:assert/strict';
import type { PeerConfig } from '#bgp';
import { passivePeer, type VirtualClient, VirtualSpeaker, virtualConfig } from '../support/bgp-virtual.ts';
import { asn4, bothFamilies, capabilities, capability, message, open } from '../support/hostile/build.ts';
import { anything, CaseError, type Target } from './codec-targets.ts';
import type { Corpus } from './corpus.ts';
import { type Dialect, generateRefresh, generateUpdate } from './generate.ts';
import type { Random } from './random.ts';

const localAsn = 64512;
const stepsMax = 60;
/** Per peer: one that is established, one each way that is not. */
const connectionsMax = 3;
/** `peerQueueBytesMax` of the speaker, and what one slice may put on top. */
const queuedBytesMax = 1024 * 1024 + 512 * 1024;
/** A run of the deferred work after one input: flushes of the little that a case brings. */
const deferredStepsMax = 64;

interface FuzzPeer {
  readonly config: PeerConfig;
  readonly wide: boolean;
  readonly gracefulRestart: boolean;
  /** Capabilities beside, and what they make of its UPDATEs. */
  readonly offers: readonly (readonly number[])[];
  readonly dialect?: Dialect;
}

const bothUnicast = (value: (afi: 1 | 2) => readonly number[]): number[] => [...value(1), ...value(2)];
const several = capability(
  69,
  bothUnicast((afi) => [0, afi, 1, 3]),
);
const longLived = capability(
  71,
  bothUnicast((afi) => [0, afi, 1, 0x80, 0, 0, 90]),
);

const peers: readonly FuzzPeer[] = [
  {
    config: passivePeer('10.0.0.2', 64513, { blackhole: {}, linkBandwidthBytesPerSec: 1e9 }),
    wide: true,
    gracefulRestart: false,
    offers: [capability(70, [])],
  },
  {
    config: passivePeer('10.0.0.3', localAsn, { routeReflectorClient: true }),
    wide: true,
    gracefulRestart: true,
    offers: [capability(6, [])],
  },
  {
    config: passivePeer('10.0.0.4', 64513, { maxPrefixes: { 'ipv4-unicast': { limit: 12, restartSec: 3 } } }),
    wide: false,
    gracefulRestart: false,
    offers: [],
  },
  {
    config: passivePeer('10.0.0.5', 64514, {
      holdTimeSec: 0,
      longLivedStaleTimeSec: 100,
      adjRibIn: true,
      blackhole: {},
    }),
    wide: true,
    gracefulRestart: true,
    offers: [longLived, capability(70, [])],
  },
  {
    config: passivePeer('10.0.0.6', 64515, { addPath: { receive: true, send: 3 }, role: 'provider' }),
    wide: true,
    gracefulRestart: true,
    offers: [several, capability(9, [3])],
    dialect: { addPath4: true, addPath6: true },
  },
  {
    config: passivePeer('10.0.0.7', 64516, {
      extendedNextHop: true,
      adjRibIn: true,
      addPath: { receive: false, send: 2 },
    }),
    wide: true,
    gracefulRestart: false,
    offers: [capability(5, [0, 1, 0, 1, 0, 2]), several, capability(6, []), capability(70, [])],
    dialect: { extendedNextHop: true },
  },
];

/** An OPEN that brings a session up. */
function goodOpen({ config, wide, gracefulRestart, offers }: FuzzPeer): Uint8Array {
  const asn = Number(config.asn);
  const more = [
    ...offers,
    ...(wide ? [asn4(asn)] : []),
    ...(gracefulRestart ? [capability(64, [0x40, 60, 0, 1, 1, 0x80, 0, 2, 1, 0x80])] : []),
  ];
  return open({
    asn,
    hold: config.holdTimeSec,
    id: [10, 0, 0, Number(config.address.split('.')[3])],
    parameters: capabilities(...bothFamilies, capability(2, []), ...more),
  });
}

const keepalive = message(4, []);

/** What is true of a speaker at any time. */
function checkAlways(world: VirtualSpeaker, clients: readonly VirtualClient[]): void {
  assert.ok(world.run() <= deferredStepsMax, 'the work of one input is bounded');
  const { speaker } = world;
  assert.ok(speaker.openConnections <= connectionsMax * peers.length, 'connections are bounded');
  const status = speaker.status();
  assert.ok(status.paths.ipv4 >= 0 && status.paths.ipv6 >= 0);
  for (const peer of status.peers) {
    for (const family of peer.families) {
      const { accepted, rejected = 0, stale } = family;
      assert.ok(accepted >= 0 && rejected >= 0 && stale >= 0 && stale <= accepted + rejected, JSON.stringify(family));
      assert.ok(family.sent >= 0, 'announced prefixes are counted down once');
    }
    if (peer.state !== 'Established') assert.equal(peer.negotiated, undefined);
  }
  for (const client of clients) assert.ok(client.queuedBytes <= queuedBytesMax, 'queues are bounded');
}

/** Everybody is gone, and the time in which stale routes are kept is over. */
function checkNothingIsLeft(world: VirtualSpeaker): void {
  checkForgotten(world, 5000 * 1000);
  world.speaker.stop('drain');
}
function checkForgotten(world: VirtualSpeaker, afterMs: number): void {
  world.advance(afterMs);
  const status = world.speaker.status();
  assert.deepEqual(status.paths, { ipv4: 1, ipv6: 0 }, 'only our own route');
  assert.deepEqual(status.routes, { ipv4: 1, ipv6: 0 });
  assert.equal(status.attributeSets, 1, 'attribute sets are given back');
  assert.equal(world.speaker.openConnections, 0);
}

/** One episode: a new speaker, some tens of inputs. */
class Episode {
  readonly world: VirtualSpeaker;
  readonly log: string[] = [];
  last: Uint8Array = new Uint8Array(0);
  #clients: { readonly peer: FuzzPeer; readonly client: VirtualClient }[] = [];
  readonly #random: Random;
  readonly #corpus: Corpus;

  constructor(random: Random, corpus: Corpus) {
    this.#random = random;
    this.#corpus = corpus;
    this.world = new VirtualSpeaker(virtualConfig(peers.map(({ config }) => config)), {
      random: () => random.fraction(),
    });
  }

  step(): void {
    const random = this.#random;
    const kind = this.#clients.length === 0 ? 0 : random.below(24);
    if (kind < 3) this.#connect();
    else if (kind < 4) this.world.advance(random.oneIn(4) ? random.below(600_000) : random.below(20_000));
    else if (kind < 5) this.#reconfigure();
    else this.#speak(kind);
    checkAlways(
      this.world,
      this.#clients.map(({ client }) => client),
    );
    this.#clients = this.#clients.filter(({ client }) => !client.closed);
  }
  end(): void {
    for (const { client } of this.#clients) {
      if (this.#random.oneIn(2)) client.drain();
      client.hangUp();
    }
    checkNothingIsLeft(this.world);
  }

  #connect(): void {
    const random = this.#random;
    const peer = random.pick(peers);
    const client = this.world.connect(random.oneIn(20) ? '10.0.0.77' : peer.config.address);
    this.#clients.push({ peer, client });
    this.log.push(`connect ${client.remoteAddress}`);
    if (random.oneIn(5)) return;
    this.#send(client, goodOpen(peer));
    if (!random.oneIn(6)) this.#send(client, keepalive);
  }

  #speak(kind: number): void {
    const random = this.#random;
    const { peer, client } = random.pick(this.#clients);
    if (kind < 6) {
      client.hangUp();
      this.log.push('hang up');
    } else if (kind < 7) {
      client.stuck = true;
      if (random.oneIn(2)) client.drain();
    } else if (kind < 8) this.#flood(peer, client);
    else if (kind < 9) this.#send(client, goodOpen(peer));
    else if (kind < 11) this.#send(client, keepalive);
    else if (kind < 19) this.#send(client, generateUpdate(random, peer.wide, peer.dialect));
    else this.#send(client, anything(random, this.#corpus));
    client.written.length = 0;
  }

  /** Whole, octet by octet, or in pieces, of which the last may never come. */
  #send(client: VirtualClient, bytes: Uint8Array): void {
    const random = this.#random;
    this.last = bytes;
    this.log.push(Buffer.from(bytes).toString('hex'));
    if (!random.oneIn(4)) {
      client.send(bytes);
      return;
    }
    const end = random.oneIn(4) ? random.below(bytes.length) : bytes.length;
    for (let at = 0; at < end; ) {
      const size = Math.min(end - at, random.oneIn(3) ? 1 : 1 + random.below(40));
      client.send(bytes.slice(at, at + size));
      at += size;
    }
    if (end < bytes.length && random.oneIn(2)) client.hangUp();
  }

  #flood(peer: FuzzPeer, client: VirtualClient): void {
    const random = this.#random;
    const one = random.oneIn(3)
      ? keepalive
      : random.oneIn(2)
        ? message(5, [0, 1 + random.below(2), random.below(3), 1])
        : generateUpdate(random, peer.wide, peer.dialect);
    this.log.push(`flood ${Buffer.from(one).toString('hex')}`);
    client.send(Uint8Array.from(Buffer.concat(new Array<Uint8Array>(50).fill(one))));
  }

  #reconfigure(): void {
    const random = this.#random;
    const configured = peers
      .filter(() => !random.oneIn(8))
      .map(
        ({ config }): PeerConfig => ({
          ...config,
          import: random.oneIn(4) ? 'reject' : 'accept',
          export: random.pick(['accept', 'originated', 'reject']),
          ...(random.oneIn(5) ? { allowOwnAsn: random.below(3) } : {}),
        }),
      );
    this.world.speaker.configure(virtualConfig(configured));
    this.log.push('configure');
  }
}

/** Longest of what a peer says before it is cut off, in octets. */
const talkBytesMax = 1200;
/** Longer than stale routes and refused peers are remembered. */
const forgottenMs = 600_000;

/** Something that a peer might say, from the OPEN on. */
function talk(random: Random, corpus: Corpus, peer: FuzzPeer): Uint8Array {
  const messages = [goodOpen(peer), keepalive];
  for (let i = 1 + random.below(4); i > 0; i--) {
    if (random.oneIn(4)) messages.push(random.oneIn(2) ? generateRefresh(random) : anything(random, corpus));
    else messages.push(generateUpdate(random, peer.wide, peer.dialect));
  }
  return Uint8Array.from(Buffer.concat(messages).subarray(0, talkBytesMax));
}

/** The same talk again and again, cut off one octet later each time, in one piece or octet by octet. */
function cutTarget(corpus: Corpus, share: number): Target {
  return {
    name: 'session-cut',
    share,
    run(random) {
      const world = new VirtualSpeaker(virtualConfig(peers.map(({ config }) => config)), {
        random: () => random.fraction(),
      });
      const peer = random.pick(peers);
      const bytes = talk(random, corpus, peer);
      let end = 0;
      try {
        for (; end <= bytes.length; end++) {
          const client = world.connect(peer.config.address);
          if (random.oneIn(8)) client.stuck = true;
          if (random.oneIn(2)) client.send(bytes.slice(0, end));
          else for (let at = 0; at < end && !client.closed; at++) client.send(bytes.slice(at, at + 1));
          checkAlways(world, [client]);
          client.hangUp();
          checkForgotten(world, forgottenMs);
        }
        checkNothingIsLeft(world);
      } catch (error) {
        throw new CaseError(bytes.slice(0, end), error);
      }
      return bytes.length + 1;
    },
  };
}

export function sessionTargets(corpus: Corpus, share: number): Target[] {
  return [sessionTarget(corpus, share - 1), cutTarget(corpus, 1)];
}

function sessionTarget(corpus: Corpus, share: number): Target {
  return {
    name: 'session',
    share,
    run(random) {
      const episode = new Episode(random, corpus);
      const steps = 10 + random.below(stepsMax);
      try {
        for (let i = 0; i < steps; i++) episode.step();
        episode.end();
      } catch (error) {
        throw new CaseError(episode.last, new Error(`${episode.log.join('\n')}`, { cause: error }));
      }
      return steps;
    },
  };
}
