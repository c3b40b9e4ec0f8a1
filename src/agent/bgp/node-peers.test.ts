/** Sessions between nodes that a BGPPeer makes: both ends, and reflection. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPPeerObject } from '#model';
import { annotation } from './nodes.ts';
import { type SpeakerConfigInput, speakerConfig } from './speaker-config.ts';
import {
  configuration,
  input,
  ip,
  names,
  node,
  nodePeer,
  noMesh,
  peer,
  r1,
  ref,
  secret,
  texts,
  w1,
  w2,
} from './test-input.ts';

test('peerSelector: both ends are generated; a node with a cluster id is out of the mesh', () => {
  const peers = [nodePeer('to-rr', { nodeSelector: "role == 'worker'", peerSelector: "role == 'rr'" })];
  const at = (nodeName: string, more: Partial<SpeakerConfigInput> = {}) =>
    speakerConfig(input({ nodeName, nodes: [r1, w1, w2], peers, ...more }));
  assert.deepEqual(names(at('w1')), ['mesh/w2', 'peer/to-rr/r1']);
  const rr = at('r1');
  assert.deepEqual(names(rr), ['peer/to-rr/w1', 'peer/to-rr/w2']);
  assert.deepEqual(
    [...rr.sessions.values()].map(({ kind, name }) => `${kind} ${name}`),
    ['BGPPeer to-rr', 'BGPPeer to-rr'],
  );
  const [first] = rr.config!.peers;
  assert.deepEqual(
    [first!.address, first!.localAddress, first!.asn, first!.families],
    ['10.0.0.21', '10.0.0.11', 64512, ['ipv4-unicast']],
  );
  assert.ok(!texts(rr).some((text) => text.includes('ClusterID')));

  const manual = peers.map((p) => ({ ...p, reversePeering: 'Manual' as const }));
  assert.deepEqual(names(at('w1', { peers: manual })), ['mesh/w2', 'peer/to-rr/r1']);
  assert.deepEqual(names(at('r1', { peers: manual })), []);
});

test('RouteReflectorClusterID: internal peers without one are clients, other reflectors are not, and nothing crosses the border', () => {
  const reflectorNode = (name: string, address: string, id: string) =>
    node(name, [address], [], { labels: { role: 'rr' }, annotations: { [annotation.clusterId]: id } });
  const r2 = reflectorNode('r2', '10.0.0.12', '1.0.0.1');
  const r3 = reflectorNode('r3', '10.0.0.13', '2.0.0.1');
  const nodes = [r1, r2, r3, w1, w2];
  const peers = [
    nodePeer('to-rr', { peerSelector: "role == 'rr'" }),
    nodePeer('tor', { node: 'r1', peerIP: ip('10.9.9.9'), asNumber: 64999 }),
    nodePeer('old', { node: 'r1', peerIP: ip('10.9.9.8'), asNumber: 64512 }),
    nodePeer('w-tor', { node: 'w1', peerIP: ip('10.9.9.9'), asNumber: 64999 }),
  ];
  const at = (nodeName: string) => speakerConfig(input({ nodeName, nodes, peers })).config!;
  const said = (nodeName: string) =>
    at(nodeName).peers.map((each) => [each.name.split('/').at(-1), each.export, each.routeReflectorClient ?? false]);
  assert.deepEqual(said('r1'), [
    ['old', 'reflected', true],
    ['r2', 'reflected', false],
    ['r3', 'reflected', false],
    ['w1', 'reflected', true],
    ['w2', 'reflected', true],
    ['tor', 'originated', false],
  ]);
  assert.deepEqual([at('r1').clusterId, at('r3').clusterId, at('w1').clusterId], ['1.0.0.1', '2.0.0.1', undefined]);
  for (const [, policy, client] of said('w1')) assert.deepEqual([policy, client], ['originated', false]);
});

test('a cluster id that is none: said, and the router id is taken', () => {
  for (const [text, clusterId, problem] of [
    ['244.0.0.1', '244.0.0.1', false],
    ['cluster-a', undefined, true],
    ['0.0.0.0', undefined, true],
    ['fd00::1', undefined, true],
  ] as const) {
    const annotated = node('r1', ['10.0.0.11'], [], { annotations: { [annotation.clusterId]: text } });
    const { config, issues } = speakerConfig(input({ nodeName: 'r1', nodes: [annotated, w1] }));
    assert.equal(config!.clusterId, clusterId);
    assert.deepEqual(config!.peers, [], 'no part of the mesh in any case');
    const told = issues.some(({ field, message }) => field.includes('ClusterID') && message.includes('its router id'));
    assert.equal(told, problem, text);
  }
});

test('both ends agree about AS numbers, passwords and ports, with localASNumber at one end and at both', () => {
  const password = ref('bgp', 'k');
  const secrets = [secret('bgp', { k: 'pw' })];
  const configurations = [configuration('default'), configuration('node.r1', { asNumber: 65100, listenPort: 1799 })];
  const pairs = (spec: Partial<BGPPeerObject>) => {
    const peers = [nodePeer('p', { localASNumber: 65200, password, ...spec })];
    const ends = ['w1', 'r1'].map((nodeName) => {
      const result = speakerConfig(
        input({ nodeName, nodes: [r1, w1], peers, secrets, configurations, defaults: noMesh }),
      );
      const [session] = result.config!.peers;
      return { session: session!, asn: session!.localAsn ?? result.config!.asn };
    });
    for (const [here, there] of [ends, ends.toReversed()]) {
      assert.equal(here!.session.asn, there!.asn);
      assert.equal(here!.session.address, there!.session.localAddress);
      assert.equal(here!.session.password, 'pw');
    }
    assert.deepEqual([ends[0]!.session.port, ends[1]!.session.port], [1799, 179]);
    return ends.map(({ asn }) => asn);
  };
  assert.deepEqual(pairs({ nodeSelector: "role == 'worker'", peerSelector: "role == 'rr'" }), [65200, 65100]);
  assert.deepEqual(pairs({ peerSelector: 'all()' }), [65200, 65200]);
});

test('a peerIP that is a node gets its other end there, too', () => {
  const peers = [peer('to-n2', '10.0.0.2', { node: 'n1', asNumber: 64512 })];
  const other = speakerConfig(input({ nodeName: 'n2', peers, defaults: noMesh }));
  assert.deepEqual(
    other.config!.peers.map((p) => [p.name, p.address, p.asn, p.localAddress]),
    [['peer/to-n2/n1', '10.0.0.1', 64512, '10.0.0.2']],
  );
  const wrongAs = [peer('to-n2', '10.0.0.2', { node: 'n1', asNumber: 65001 })];
  assert.deepEqual(names(speakerConfig(input({ nodeName: 'n2', peers: wrongAs, defaults: noMesh }))), []);
});
