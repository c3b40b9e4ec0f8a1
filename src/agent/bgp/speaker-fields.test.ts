import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig } from '#bgp';
import type { BGPPeerObject } from '#model';
import { issueText } from './issue.ts';
import type { OnLink } from './peer-context.ts';
import { type SpeakerConfigInput, speakerConfig } from './speaker-config.ts';
import { configuration, input, ip, n1, n2, node, nodePeer, peer } from './test-input.ts';

const link: OnLink = { ipv4: ip('10.0.0.1') };
/** Of n1, by name, with what was said. */
function run(extra: Partial<SpeakerConfigInput>) {
  const { config, issues } = speakerConfig(input({ onLink: () => link, ...extra }));
  const peers = new Map(config!.peers.map((each): [string, PeerConfig] => [each.name, each]));
  return { peers, said: issues.map(issueText) };
}
const tor = (fields: Partial<BGPPeerObject>, extra: Partial<SpeakerConfigInput> = {}) => {
  const { peers, said } = run({ peers: [peer('tor', '10.0.0.254', fields)], ...extra });
  return { tor: peers.get('peer/tor')!, said };
};

test('bfd: {} is BFD with the defaults of the speaker, and each field replaces one', () => {
  assert.deepEqual(tor({ bfd: {} }).tor.bfd, { minTxMs: 300, minRxMs: 300, multiplier: 3 });
  const all = { minTxMs: 50, minRxMs: 60, multiplier: 5, multihop: true, graceful: true };
  assert.deepEqual(tor({ bfd: all }).tor.bfd, all);
  assert.deepEqual(tor({ bfd: { multiplier: 9 } }).tor.bfd, { minTxMs: 300, minRxMs: 300, multiplier: 9 });
  assert.equal('bfd' in tor({}).tor, false);
});

test('RFC 5881 5: BFD without multihop to a peer that is on no link of the node is named', () => {
  const onLink = () => undefined;
  const far = tor({ bfd: {} }, { onLink });
  assert.ok(far.tor.bfd);
  assert.match(far.said.join(), /^BGPPeer tor: spec\.bfd: 10\.0\.0\.254 is on no link .*set bfd\.multihop to true/);
  assert.deepEqual(tor({ bfd: { multihop: true } }, { onLink }).said, []);
  assert.deepEqual(tor({ bfd: {} }).said, []);
});

test('limits, ADD-PATH, graceful shutdown and LLGR of a BGPPeer are those of its session, and of no other', () => {
  const limits = { limit: 10, warnPercent: 50, restartSec: 60, warnOnly: true };
  const { peers, said } = run({
    peers: [
      peer('plain', '10.0.0.253'),
      peer('tor', '10.0.0.254', {
        maxPrefixes: { ipv4: limits, ipv6: { limit: 20 } },
        addPath: { receive: true, send: 4 },
        gracefulShutdown: true,
        longLivedStaleTimeSec: 3600,
      }),
    ],
  });
  assert.deepEqual(said, []);
  assert.partialDeepStrictEqual(peers.get('peer/tor'), {
    maxPrefixes: { 'ipv4-unicast': limits, 'ipv6-unicast': { limit: 20 } },
    addPath: { receive: true, send: 4 },
    gracefulShutdown: true,
    longLivedStaleTimeSec: 3600,
  });
  for (const name of ['peer/plain', 'mesh/n2']) {
    for (const field of ['bfd', 'maxPrefixes', 'addPath', 'gracefulShutdown', 'longLivedStaleTimeSec', 'role']) {
      assert.equal(field in peers.get(name)!, false, `${name} ${field}`);
    }
  }
  assert.deepEqual(tor({ maxPrefixes: { ipv6: { limit: 1 } } }).tor.maxPrefixes, { 'ipv6-unicast': { limit: 1 } });
});

test('RFC 7999 3.3, RFC 10005: BLACKHOLE and the bandwidth of the link of a BGPPeer are those of its session', () => {
  const both = tor({ blackhole: { ipv4: 29 }, linkBandwidthBytesPerSec: 1.25e9 }).tor;
  assert.deepEqual(both.blackhole, { minLength4: 29, minLength6: 128 });
  assert.equal(both.linkBandwidthBytesPerSec, 1.25e9);
  assert.deepEqual(tor({ blackhole: {} }).tor.blackhole, { minLength4: 32, minLength6: 128 });
  for (const field of ['blackhole', 'linkBandwidthBytesPerSec']) assert.equal(field in tor({}).tor, false, field);
});

test('RFC 9234 4.1: role is what the node is to a router of another AS', () => {
  const roles = (['Provider', 'RouteServer', 'RouteServerClient', 'Customer', 'Peer'] as const).map(
    (role) => tor({ role }).tor.role,
  );
  assert.deepEqual(roles, ['provider', 'routeServer', 'routeServerClient', 'customer', 'peer']);
  const strict = tor({ role: 'Customer', strictRole: true });
  assert.deepEqual([strict.tor.strictRole, strict.said], [true, []]);
  const internal = tor({ role: 'Customer', strictRole: true, asNumber: 64512 });
  assert.deepEqual([internal.tor.role, internal.tor.strictRole], [undefined, undefined]);
  assert.match(internal.said.join(), /^BGPPeer tor: spec\.role: is for peers of another AS/);
  assert.equal(tor({ role: 'Peer', asNumber: 64512, localASNumber: 64600 }).tor.role, 'peer', 'by localASNumber');
});

test('RFC 9234 4.2: where peerIP is a node, that node has the other role', () => {
  const other = node('n2', ['10.0.0.2'], [], { annotations: { 'projectcalico.org/ASNumber': '65001' } });
  const at = (nodeName: string, role: NonNullable<BGPPeerObject['role']>) => {
    const { peers } = run({
      nodeName,
      nodes: [n1, other],
      peers: [peer('up', '10.0.0.2', { role, strictRole: true, bfd: {} })],
    });
    const found = peers.get('peer/up') ?? peers.get('peer/up/n1');
    assert.deepEqual([found!.strictRole, found!.bfd !== undefined], [true, true]);
    return found!.role;
  };
  for (const [role, ours, theirs] of [
    ['Provider', 'provider', 'customer'],
    ['Customer', 'customer', 'provider'],
    ['RouteServer', 'routeServer', 'routeServerClient'],
    ['RouteServerClient', 'routeServerClient', 'routeServer'],
    ['Peer', 'peer', 'peer'],
  ] as const) {
    assert.deepEqual([at('n1', role), at('n2', role)], [ours, theirs]);
  }
});

test('both ends of a session between nodes have BFD of the object that makes them', () => {
  const peers = [nodePeer('rr', { nodeSelector: "rack == 'r1'", peerSelector: 'all()', bfd: { multiplier: 7 } })];
  assert.equal(run({ peers }).peers.get('peer/rr/n2')?.bfd?.multiplier, 7);
  assert.equal(run({ peers, nodeName: 'n2' }).peers.get('peer/rr/n1')?.bfd?.multiplier, 7);
});

test('nodeMeshBFD is BFD of every session of the mesh, and of no other', () => {
  const nodes = [n1, n2, node('n3', ['10.0.0.3'], [])];
  const mesh = (nodeMeshBFD: object) => [configuration('default', { nodeMeshBFD })];
  const { peers, said } = run({ nodes, configurations: mesh({ minTxMs: 100 }), peers: [peer('tor', '10.0.0.254')] });
  const bfd = { minTxMs: 100, minRxMs: 300, multiplier: 3 };
  assert.deepEqual(
    ['mesh/n2', 'mesh/n3', 'peer/tor'].map((name) => peers.get(name)!.bfd),
    [bfd, bfd, undefined],
  );
  assert.deepEqual(said, []);
  const onLink = () => undefined;
  const far = run({ nodes, configurations: mesh({}), onLink });
  assert.match(far.said.join(), /^BGPConfiguration default: spec\.nodeMeshBFD: 2 nodes \(n2, \.\.\.\) are on no link/);
  const one = run({ nodes, configurations: mesh({}), onLink: (peerIP) => (peerIP === '10.0.0.3' ? undefined : link) });
  assert.match(one.said.join(), /Node n3 is on no link of this node, .*set nodeMeshBFD\.multihop/);
  assert.deepEqual(run({ nodes, configurations: mesh({ multihop: true }), onLink }).said, []);
});

test('nodeMeshBFD of one node is named: the mesh is one for the whole cluster', () => {
  const { peers, said } = run({ configurations: [configuration('node.n1', { nodeMeshBFD: {} })] });
  assert.equal(peers.get('mesh/n2')!.bfd, undefined);
  assert.match(said.join(), /^BGPConfiguration node\.n1: spec\.nodeMeshBFD: the mesh is one for the whole cluster/);
});
