/**
 * What looks on under fuzz. `mrt`: the reader among records of others that were changed. `bmp`: whatever peers send, a station
 * that asks for every table gets whole messages in an order that makes sense, with UPDATEs in them that are none to reset for;
 * and nothing of what was kept for it is left once all are gone.
 */
import assert from 'node:assert/strict';
import { bmpTables, mrt, type PeerConfig, type SpeakerConfig, wire } from '#bgp';
import { passivePeer, VirtualClient, VirtualSpeaker, virtualConfig } from '../support/bgp-virtual.ts';
import { asn4, bothFamilies, capabilities, capability, message, open } from '../support/hostile/build.ts';
import { mrtFixture, mrtFixtures } from '../support/mrt.ts';
import { anything, CaseError, type Target } from './codec-targets.ts';
import type { Corpus } from './corpus.ts';
import { type Dialect, generateUpdate } from './generate.ts';
import type { Random } from './random.ts';

const fileBytesMax = 4000;

function mrtTarget(): Target {
  const files = mrtFixtures.map((name) => Uint8Array.from(mrtFixture(name).subarray(0, fileBytesMax)));
  return {
    name: 'mrt',
    share: 2,
    run(random) {
      const file = random.pick(files);
      const start = random.oneIn(3) ? random.below(file.length) : 0;
      const bytes = file.slice(start, random.oneIn(3) ? start + 1 + random.below(file.length - start) : file.length);
      for (let i = random.below(8); i > 0; i--) bytes[random.below(bytes.length)] = random.below(256);
      try {
        let records = 0;
        for (const record of mrt.readMrt(bytes)) {
          records++;
          if (record.type === 'message') assert.equal(record.message.buffer, bytes.buffer, 'a view into the file');
          if (record.type === 'rib') assert.ok(record.entries.length <= bytes.length / 8);
        }
        assert.ok(records <= 1 + bytes.length / 12, 'each record takes a header');
      } catch (error) {
        throw new CaseError(bytes, error as Error);
      }
      return 1;
    },
  };
}

const localAsn = 64512;
const stepsMax = 40;
interface MonitoredPeer {
  readonly config: PeerConfig;
  readonly offers: readonly (readonly number[])[];
  readonly dialect?: Dialect;
}
const severalPaths = capability(69, [0, 1, 1, 3, 0, 2, 1, 3]);
const monitoredPeers: readonly MonitoredPeer[] = [
  { config: passivePeer('10.0.0.2', 64513), offers: [] },
  { config: passivePeer('10.0.0.3', localAsn), offers: [] },
  {
    config: passivePeer('10.0.0.4', 64514, { addPath: { receive: true, send: 2 }, adjRibIn: true }),
    offers: [severalPaths],
    dialect: { addPath4: true, addPath6: true },
  },
  {
    config: passivePeer('10.0.0.5', 64513, { extendedNextHop: true, addPath: { receive: false, send: 2 } }),
    offers: [severalPaths, capability(5, [0, 1, 0, 1, 0, 2])],
    dialect: { extendedNextHop: true },
  },
];
const peers = monitoredPeers.map(({ config }) => config);
const keepalive = message(4, []);
const station = { name: 'noc', address: '10.0.0.9', port: 1, monitor: bmpTables, connectRetrySec: 1, statisticsSec: 5 };
const monitored = (more: Partial<SpeakerConfig> = {}): SpeakerConfig =>
  virtualConfig(peers, { bmp: [station], ...more });

const view = wire.createUpdateView();
const context: wire.UpdateContext = {
  asn4: true,
  ipv4: true,
  ipv6: true,
  ebgp: false,
  localAsn: 0,
  peerAsn: 0,
  localRouterId: 0,
  acceptAsSet: true,
};

/** RFC 7854 4.10: what both OPENs of a Peer Up say of path identifiers (RFC 7911 4) and next hops (RFC 8950 4). */
function dialects(body: Buffer): { readonly in: Dialect; readonly out: Dialect } {
  const sentBytes = body.subarray(20, 20 + body.readUInt16BE(36));
  const receivedBytes = body.subarray(20 + sentBytes.length);
  const [sent, received] = [sentBytes, receivedBytes].map((bytes) => {
    const open = wire.decodeOpen(bytes, 0, bytes.readUInt16BE(16));
    assert.ok(open.ok, 'an OPEN');
    return open.value;
  });
  const agreed = (from: typeof sent, to: typeof sent, family: string): boolean =>
    from?.addPath?.some((entry) => entry.family === family && entry.send) === true &&
    to?.addPath?.some((entry) => entry.family === family && entry.receive) === true;
  const both = (from: typeof sent, to: typeof sent): Dialect => ({
    addPath4: agreed(from, to, 'ipv4-unicast'),
    addPath6: agreed(from, to, 'ipv6-unicast'),
    extendedNextHop: sent?.extendedNextHop === true && received?.extendedNextHop === true,
  });
  return { in: both(received, sent), out: both(sent, received) };
}

/** RFC 7854 4.1, 4.2 and 3.3: whole messages, Initiation first, Peer Up before what is said of a peer. */
class Listener {
  #left: Buffer = Buffer.alloc(0);
  #greeted = false;
  /** Which of its tables have path identifiers, by peer: of what it sends, of what it is sent. */
  readonly #up = new Map<string, { readonly in: Dialect; readonly out: Dialect }>();

  read(chunks: readonly Uint8Array[]): void {
    let bytes = Buffer.concat([this.#left, ...chunks]);
    while (bytes.length >= 6) {
      assert.equal(bytes[0], 3, 'version');
      const length = bytes.readUInt32BE(1);
      assert.ok(length >= 6 && length <= 6 + 42 + 65_535 + 2 * 4096, `length ${length}`);
      if (bytes.length < length) break;
      this.#message(bytes[5]!, bytes.subarray(6, length));
      bytes = bytes.subarray(length);
    }
    this.#left = bytes;
  }

  #message(type: number, body: Buffer): void {
    assert.ok(type <= 5, `type ${type}`);
    assert.equal(this.#greeted, type !== 4, 'Initiation comes first, once');
    this.#greeted = true;
    if (type === 4 || type === 5) return;
    const peer = `${body[0]} ${body.toString('hex', 2, 26)}`;
    const tables = this.#up.get(peer);
    if (type === 3) {
      assert.ok(!tables, 'one Peer Up');
      this.#up.set(peer, dialects(body.subarray(42)));
    } else assert.ok(tables, `Peer Up before type ${type}`);
    if (type === 2) this.#up.delete(peer);
    if (type !== 0 || !tables) return;
    const update = body.subarray(42);
    assert.equal(update.readUInt16BE(16), update.length, 'one whole UPDATE');
    assert.equal(update[18], 2);
    const disposition = wire.decodeUpdate(
      view,
      { ...context, ...((body[1]! & 0x10) === 0 ? tables.in : tables.out) },
      update,
      0,
      update.length,
    );
    assert.notEqual(disposition, 'reset', view.error?.reason);
  }
}

/** Loses nothing of what is written while it does not read. */
class SlowStation extends VirtualClient {
  readonly #held: Uint8Array[] = [];

  override write(bytes: Uint8Array, length = bytes.length): void {
    super.write(bytes, length);
    if (this.stuck) this.#held.push(bytes.slice(0, length));
  }
  override drain(): void {
    this.written.push(...this.#held.splice(0));
    super.drain();
  }
}

class BmpEpisode {
  readonly log: string[] = [];
  last: Uint8Array = new Uint8Array(0);
  readonly #random: Random;
  readonly #corpus: Corpus;
  readonly #world: VirtualSpeaker;
  #stations: { readonly client: SlowStation; readonly listener: Listener }[] = [];
  #clients: VirtualClient[] = [];

  constructor(random: Random, corpus: Corpus) {
    this.#random = random;
    this.#corpus = corpus;
    this.#world = new VirtualSpeaker(monitored(), {
      random: () => random.fraction(),
      answer: () => {
        const client = new SlowStation(station.address, '10.0.0.1');
        this.#stations.push({ client, listener: new Listener() });
        return client;
      },
    });
  }

  step(): void {
    const random = this.#random;
    const kind = this.#clients.length === 0 ? 0 : random.below(20);
    const current = this.#stations.at(-1)?.client;
    if (kind < 3) this.#connect();
    else if (kind === 3) this.#world.advance(random.below(20_000));
    else if (kind === 4) random.pick(this.#clients).hangUp();
    else if (kind === 5 && current) current.stuck = true;
    else if (kind === 6) current?.drain();
    else if (kind === 7 && random.oneIn(3)) current?.hangUp();
    else if (kind === 7) current?.send(this.#random.oneIn(2) ? anything(random, this.#corpus) : new Uint8Array(5000));
    else if (kind === 8) {
      const monitor = bmpTables.filter(() => !random.oneIn(4));
      const bmp = random.oneIn(4) ? [] : [{ ...station, monitor, multipath: !random.oneIn(4) }];
      const multipath = { max: random.oneIn(4) ? 1 : 4, asPathRelax: !random.oneIn(4) };
      this.#world.speaker.configure(monitored({ bmp, multipath }));
    } else this.#send(random.pick(this.#clients));
    this.#look();
    this.#clients = this.#clients.filter((client) => !client.closed);
  }

  end(): void {
    for (const client of this.#clients) client.hangUp();
    this.#stations.at(-1)?.client.drain();
    if (this.#random.oneIn(2)) this.#world.speaker.configure(monitored({ bmp: [] }));
    this.#world.advance(5000 * 1000);
    this.#look();
    const status = this.#world.speaker.status();
    assert.equal(status.attributeSets, 1, 'attribute sets are given back');
    assert.deepEqual(status.paths, { ipv4: 1, ipv6: 0 });
    this.#world.speaker.stop('drain');
  }

  #look(): void {
    this.#world.run();
    for (const { client, listener } of this.#stations) listener.read(client.written.splice(0));
    for (const client of this.#clients) client.written.length = 0;
  }
  #connect(): void {
    const { config, offers } = this.#random.pick(monitoredPeers);
    const client = this.#world.connect(config.address);
    this.#clients.push(client);
    const asn = Number(config.asn);
    const id = [10, 0, 0, Number(config.address.split('.')[3])];
    const parameters = capabilities(...bothFamilies, capability(2, []), asn4(asn), ...offers);
    client.send(open({ asn, hold: config.holdTimeSec, id, parameters }));
    client.send(keepalive);
  }
  #send(client: VirtualClient): void {
    const random = this.#random;
    const dialect = monitoredPeers.find(({ config }) => config.address === client.remoteAddress)?.dialect;
    this.last = random.oneIn(6) ? anything(random, this.#corpus) : generateUpdate(random, true, dialect);
    this.log.push(Buffer.from(this.last).toString('hex'));
    client.send(this.last);
  }
}

function bmpTarget(corpus: Corpus): Target {
  return {
    name: 'bmp',
    share: 2,
    run(random) {
      const episode = new BmpEpisode(random, corpus);
      const steps = 10 + random.below(stepsMax);
      try {
        for (let i = 0; i < steps; i++) episode.step();
        episode.end();
      } catch (error) {
        throw new CaseError(episode.last, new Error(episode.log.join('\n'), { cause: error }));
      }
      return steps;
    },
  };
}

export function monitorTargets(corpus: Corpus): Target[] {
  return [mrtTarget(), bmpTarget(corpus)];
}
