/** Route reflection, RFC 4456: who is told what, and what is done to the attributes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { attribute, global6, mpReach, nextHop, origin, sequence, u32, update } from '../wire/test-messages.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const here = '10.0.0.1';
const asn = 64512;
type Kind = 'client' | 'nonClient' | 'external';
const kinds: readonly (readonly [string, Kind])[] = [
  ['10.0.0.2', 'client'],
  ['10.0.0.3', 'client'],
  ['10.0.0.4', 'nonClient'],
  ['10.0.0.5', 'nonClient'],
  ['10.0.0.6', 'external'],
  ['10.0.0.7', 'external'],
];

function reflector(more: Partial<SpeakerConfig> = {}, peerMore: (kind: Kind) => Partial<PeerConfig> = () => ({})) {
  const network = new Network();
  const settings = (change: Partial<SpeakerConfig>, of: (kind: Kind) => Partial<PeerConfig>): SpeakerConfig => {
    const peers = kinds.map(([address, kind]) =>
      peer(address, kind === 'external' ? 64600 + Number(address.at(-1)) : asn, {
        passive: true,
        ...(kind === 'client' ? { routeReflectorClient: true } : {}),
        ...of(kind),
      }),
    );
    return config(here, asn, peers, ['10.1.0.0/16'], change);
  };
  const speaker = network.add(here, settings(more, peerMore));
  const peers = kinds.map(([address, kind]) => {
    const own = kind === 'external' ? 64600 + Number(address.at(-1)) : asn;
    return { address, kind, raw: new RawPeer(network, address, here, { asn: own }).establish() };
  });
  network.run();
  const configure = (change: Partial<SpeakerConfig>, of: (kind: Kind) => Partial<PeerConfig> = () => ({})): void => {
    speaker.configure(settings(change, of));
    network.run();
  };
  return { network, speaker, peers, configure };
}

/** What `from` says of 10.60/16 and fd60::/64, with these attributes beside the mandatory ones. */
function announcements(from: { kind: Kind; address: string }, more: readonly (readonly number[])[] = []): Uint8Array[] {
  const last = Number(from.address.at(-1));
  const path = attribute(0x40, 2, from.kind === 'external' ? sequence(64600 + last) : sequence(65123, 65124));
  const preference = from.kind === 'external' ? [] : [attribute(0x40, 5, u32(150))];
  const med = attribute(0x80, 4, u32(33));
  const list = [...preference, ...more];
  return [
    update({ attributes: [origin, path, nextHop, med, ...list], nlri: [16, 10, 60] }),
    update({ attributes: [mpReach([64, 0xfd, 0x60, 0, 0, 0, 0, 0, 0], global6), origin, path, med, ...list] }),
  ];
}
/** Takes both back. */
const withdrawals: readonly Uint8Array[] = [
  update({ withdrawn: [16, 10, 60] }),
  update({ attributes: [attribute(0x80, 15, [0, 2, 1, 64, 0xfd, 0x60, 0, 0, 0, 0, 0, 0])] }),
];
const prefixes = ['10.60.0.0/16', 'fd60::/64'] as const;

test('clients hear everybody, non-clients clients and external peers, and nobody its own (RFC 4456 6)', () => {
  const { network, peers } = reflector();
  for (const from of peers) {
    from.raw.say(...announcements(from));
    network.run();
    for (const to of peers) {
      const told = to !== from && !(from.kind === 'nonClient' && to.kind === 'nonClient');
      for (const prefix of prefixes) {
        assert.equal(to.raw.attributes.has(prefix), told, `${from.kind} ${from.address} -> ${to.kind} ${to.address}`);
      }
      assert.ok(to.raw.attributes.has('10.1.0.0/16'), 'what is ours goes to all');
    }
    from.raw.say(...withdrawals);
    network.run();
    for (const to of peers) assert.equal(to.raw.attributes.size, 1);
  }
});

test('reflected: ORIGINATOR_ID and CLUSTER_LIST are set, everything else and the next hop stay (RFC 4456 8, 10)', () => {
  for (const clusterId of [undefined, '244.0.0.9']) {
    const { network, peers } = reflector(clusterId ? { clusterId } : {});
    for (const from of peers.filter(({ kind }) => kind !== 'external')) {
      from.raw.say(...announcements(from));
      network.run();
      for (const to of peers.filter((each) => each !== from && each.raw.attributes.has(prefixes[0]))) {
        for (const prefix of prefixes) {
          const { originatorId, clusterList, localPref, med, asPath, origin: code } = to.raw.attributes.get(prefix)!;
          if (to.kind === 'external') {
            assert.deepEqual([originatorId, clusterList, localPref, med], [undefined, undefined, undefined, undefined]);
            continue;
          }
          assert.deepEqual([originatorId, clusterList], [from.address, [clusterId ?? here]], `to ${to.address}`);
          assert.deepEqual([localPref, med, asPath, code], [150, 33, '65123 65124', 'IGP']);
          assert.equal(to.raw.nextHops.get(prefix), prefix.includes(':') ? '2001:db8::1' : '192.0.2.1');
        }
      }
      from.raw.say(...withdrawals);
      network.run();
    }
    const told = peers[0]!.raw.attributes.get('10.1.0.0/16')!;
    assert.deepEqual([told.originatorId, told.clusterList], [undefined, undefined], 'what is ours is not reflected');
  }
});

test('what external peers said is told to internal ones without ORIGINATOR_ID and CLUSTER_LIST (RFC 4456 8)', () => {
  const { network, peers } = reflector();
  const from = peers.find(({ kind }) => kind === 'external')!;
  from.raw.say(...announcements(from));
  network.run();
  for (const to of peers.filter(({ kind }) => kind !== 'external')) {
    const { originatorId, clusterList } = to.raw.attributes.get(prefixes[0])!;
    assert.deepEqual([originatorId, clusterList], [undefined, undefined]);
  }
});

test('an ORIGINATOR_ID that is there stays, our cluster goes before those in CLUSTER_LIST (RFC 4456 8)', () => {
  const { network, peers } = reflector({ clusterId: '1.1.1.1' });
  const long = Array.from({ length: 80 }, (_, i) => u32(0x02020200 + i)).flat();
  for (const list of [[...u32(0x02020202), ...u32(0x03030303)], long]) {
    const more = [
      attribute(0x80, 9, [9, 9, 9, 9]),
      attribute(0x80, 10, list),
      attribute(0xc0, 16, [0, 2, 1, 1, 0, 0, 0, 1]),
    ];
    peers[0]!.raw.say(...announcements(peers[0]!, more));
    network.run();
    for (const to of [peers[1]!, peers[2]!]) {
      for (const prefix of prefixes) {
        const { originatorId, clusterList, extendedCommunities } = to.raw.attributes.get(prefix)!;
        assert.equal(originatorId, '9.9.9.9');
        assert.deepEqual(clusterList!.slice(0, 2), ['1.1.1.1', list === long ? '2.2.2.0' : '2.2.2.2']);
        assert.equal(clusterList!.length, 1 + list.length / 4);
        assert.equal(extendedCommunities!.length, 1);
      }
    }
  }
});

test('our router id as ORIGINATOR_ID and our cluster in CLUSTER_LIST: the route is not used (RFC 4456 8)', () => {
  const { network, peers } = reflector({ clusterId: '1.1.1.1' });
  const used = (...more: (readonly number[])[]): boolean => {
    peers[0]!.raw.say(...announcements(peers[0]!));
    peers[0]!.raw.say(...announcements(peers[0]!, more));
    network.run();
    return network.routesOf(here).has(prefixes[0]);
  };
  const [originator, cluster] = [
    (id: number[]) => attribute(0x80, 9, id),
    (...ids: number[][]) => attribute(0x80, 10, ids.flat()),
  ];
  assert.equal(used(originator([10, 0, 0, 1])), false);
  assert.equal(used(originator([1, 1, 1, 1])), true);
  assert.equal(used(cluster([7, 7, 7, 7], [1, 1, 1, 1])), false);
  assert.equal(used(cluster([7, 7, 7, 7], [10, 0, 0, 1])), true, 'the cluster id is another one here');
});

test('without reflection nothing an internal peer said goes to internal peers (RFC 4271 9.2)', () => {
  const { network, peers } = reflector({}, () => ({ routeReflectorClient: false }));
  const from = peers[0]!;
  from.raw.say(...announcements(from));
  network.run();
  const told = peers.filter(({ raw }) => raw.attributes.has(prefixes[0])).map(({ kind }) => kind);
  assert.deepEqual(told, ['external', 'external']);
});

test('`reflected`: internal peers hear of each other by these rules, nothing crosses the border either way', () => {
  const { network, peers } = reflector({}, () => ({ export: 'reflected' }));
  for (const from of peers) {
    from.raw.say(...announcements(from));
    network.run();
    for (const to of peers) {
      const internal = from.kind !== 'external' && to.kind !== 'external';
      const told = internal && to !== from && (from.kind === 'client' || to.kind === 'client');
      assert.equal(to.raw.attributes.has(prefixes[0]), told, `${from.kind} -> ${to.kind}`);
      assert.ok(to.raw.attributes.has('10.1.0.0/16'));
    }
    from.raw.say(update({ withdrawn: [16, 10, 60] }));
    network.run();
  }
});

test('clients and the cluster id change on live sessions', () => {
  const { network, peers, configure, speaker } = reflector();
  const [client, , from, other] = peers as [(typeof peers)[0], (typeof peers)[0], (typeof peers)[0], (typeof peers)[0]];
  from!.raw.say(...announcements(from!));
  network.run();
  assert.deepEqual(client!.raw.attributes.get(prefixes[0])!.clusterList, [here]);
  configure({ clusterId: '5.5.5.5' });
  for (const prefix of prefixes) assert.deepEqual(client!.raw.attributes.get(prefix)!.clusterList, ['5.5.5.5']);
  // The source becomes a client: now non-clients hear of it, too; then no client is left.
  configure({}, (kind) => (kind === 'nonClient' ? { routeReflectorClient: true } : {}));
  assert.ok(other!.raw.attributes.has(prefixes[0]));
  configure({}, () => ({ routeReflectorClient: false }));
  for (const each of [client!, other!])
    for (const prefix of prefixes) assert.equal(each.raw.attributes.has(prefix), false);
  configure({});
  assert.ok(client!.raw.attributes.has(prefixes[0]));
  assert.deepEqual(
    speaker.peerStatuses().map(({ establishedCount }) => establishedCount),
    kinds.map(() => 1),
  );
});

test('two reflectors and their clients: all hear of all, whatever the clusters and the order of changes (RFC 4456 7)', () => {
  const [reflectors, nodes] = [
    ['10.0.0.1', '10.0.0.2'],
    ['10.0.0.11', '10.0.0.12', '10.0.0.13', '10.0.0.14'],
  ] as const;
  const step = fc.record({ node: fc.nat(3), there: fc.boolean(), run: fc.boolean() });
  fc.assert(
    fc.property(fc.boolean(), fc.boolean(), fc.array(step, { maxLength: 10 }), (oneCluster, redundant, steps) => {
      const network = new Network();
      // Redundant: every node at both reflectors; otherwise two at each.
      const at = (node: string): readonly string[] =>
        redundant ? reflectors : [reflectors[nodes.indexOf(node as never) >> 1]!];
      for (const [i, rr] of reflectors.entries()) {
        const clients = nodes.filter((node) => at(node).includes(rr));
        const peers = [
          ...clients.map((node) => peer(node, asn, { export: 'reflected', routeReflectorClient: true })),
          peer(reflectors[1 - i]!, asn, { export: 'reflected' }),
        ];
        network.add(rr, config(rr, asn, peers, [], { clusterId: oneCluster ? '9.9.9.9' : `9.9.9.${i + 1}` }));
      }
      const prefixOf = (node: string): string => `10.${node.split('.')[3]}.0.0/16`;
      const settings = (node: string, there: boolean): SpeakerConfig =>
        config(
          node,
          asn,
          at(node).map((rr) => peer(rr, asn, { export: 'originated' })),
          there ? [prefixOf(node)] : [],
        );
      const own = new Map(nodes.map((node) => [node as string, true]));
      for (const node of nodes) network.add(node, settings(node, true));
      network.advance(5000);
      for (const { node, there, run } of steps) {
        own.set(nodes[node]!, there);
        network.speakers.get(nodes[node]!)!.configure(settings(nodes[node]!, there));
        if (run) network.run();
      }
      network.advance(1000);
      for (const me of nodes) {
        // One cluster split over two reflectors that are no clients of each other loses what RFC 4456 7 says it does.
        const reaches = (node: string): boolean => !oneCluster || redundant || at(node)[0] === at(me)[0];
        const wanted = nodes.filter((node) => node !== me && own.get(node) && reaches(node)).map(prefixOf);
        assert.deepEqual([...network.routesOf(me).keys()].sort(), wanted.sort(), me);
      }
    }),
    { numRuns: 40 },
  );
});
