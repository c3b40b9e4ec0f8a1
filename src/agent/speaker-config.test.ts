import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cidr, type IpAddress, Secret } from '#kit';
import type { BGPConfigurationObject, BGPPeerObject, NodeObject } from '#model';
import { type SpeakerConfigInput, speakerConfig } from './speaker-config.ts';

const ip = (text: string): IpAddress => text as IpAddress;
const meta = (name: string, labels: Record<string, string> = {}, annotations: Record<string, string> = {}) => ({
  name,
  namespace: '',
  uid: name,
  labels,
  annotations,
});
const node = (
  name: string,
  ips: string[],
  cidrs: string[],
  extra: Partial<NodeObject['metadata']> = {},
): NodeObject => ({
  metadata: { ...meta(name), ...extra },
  internalIPs: ips.map(ip),
  podCIDRs: cidrs as Cidr[],
});
const peer = (name: string, peerIP: string, extra: Partial<BGPPeerObject> = {}): BGPPeerObject => ({
  metadata: meta(name),
  peerIP: ip(peerIP),
  port: 179,
  asNumber: 65001,
  ...extra,
});
const configuration = (name: string, extra: Partial<BGPConfigurationObject> = {}): BGPConfigurationObject => ({
  metadata: meta(name),
  ...extra,
});
const n1 = node('n1', ['10.0.0.1', 'fd00::1'], ['10.1.1.0/24', 'fd01:1::/64'], { labels: { rack: 'r1' } });
const n2 = node('n2', ['10.0.0.2', 'fd00::2'], ['10.1.2.0/24']);

function input(extra: Partial<SpeakerConfigInput> = {}): SpeakerConfigInput {
  return {
    nodeName: 'n1',
    nodes: [n1, n2],
    configurations: [],
    peers: [],
    defaults: { asn: 64512, port: 179, holdTimeSec: 90, connectRetrySec: 5, meshEnabled: true, routerId: '' },
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 120, deferralTimeSec: 30 },
    onLink: () => undefined,
    selects: (selector, labels) =>
      selector === 'bad(' ? { error: 'expected )' } : selector === `rack == '${labels['rack']}'`,
    ...extra,
  };
}

test('the mesh peers with every other node, over IPv4 where both have it, announcing own next hops', () => {
  const { config, problems } = speakerConfig(input());
  assert.deepEqual(problems, []);
  assert.equal(config?.routerId, '10.0.0.1');
  assert.deepEqual(config?.originate, ['10.1.1.0/24', 'fd01:1::/64']);
  assert.equal(config?.peers.length, 1);
  assert.deepEqual(
    { ...config!.peers[0] },
    {
      name: 'mesh/n2',
      address: '10.0.0.2',
      port: 179,
      asn: 64512,
      localAddress: '10.0.0.1',
      families: ['ipv4-unicast', 'ipv6-unicast'],
      holdTimeSec: 90,
      passive: false,
      connectRetrySec: 5,
      import: 'accept',
      export: 'originated',
      nextHop4: '10.0.0.1',
      nextHop6: 'fd00::1',
    },
  );
});

test('an IPv6-only neighbour is meshed over IPv6, one without a common family is named', () => {
  const six = node('n6', ['fd00::6'], []);
  const four = node('n4', ['10.0.0.4'], []);
  const result = speakerConfig(input({ nodeName: 'n6', nodes: [n1, four, six] }));
  assert.deepEqual(
    result.config?.peers.map((p) => [p.name, p.address, p.families]),
    [['mesh/n1', 'fd00::1', ['ipv6-unicast']]],
  );
  assert.match(result.config!.routerId, /^\d+\.\d+\.\d+\.\d+$/);
  assert.equal(result.problems.filter((p) => p.startsWith('Node n4')).length, 1);
});

test('peers are global, by node or by selector; a bad selector is named and its peer unused', () => {
  const peers = [
    peer('a-global', '192.0.2.1'),
    peer('b-here', '192.0.2.2', { node: 'n1' }),
    peer('c-there', '192.0.2.3', { node: 'n2' }),
    peer('d-rack', '192.0.2.4', { nodeSelector: "rack == 'r1'" }),
    peer('e-other', '192.0.2.5', { nodeSelector: "rack == 'r2'" }),
    peer('f-bad', '192.0.2.6', { nodeSelector: 'bad(' }),
    peer('g-self', '10.0.0.1'),
  ];
  const { config, problems } = speakerConfig(input({ peers, defaults: { ...input().defaults, meshEnabled: false } }));
  assert.deepEqual(
    config?.peers.map((p) => p.name),
    ['peer/a-global', 'peer/b-here', 'peer/d-rack'],
  );
  assert.equal(problems.length, 1);
  assert.match(problems[0]!, /BGPPeer f-bad.*expected \)/);
});

test('an explicit peer wins over the mesh session to the same address, and over a second of its kind', () => {
  const peers = [peer('a', '10.0.0.2', { asNumber: 64512 }), peer('b', '10.0.0.2')];
  const { config, problems } = speakerConfig(input({ peers }));
  assert.deepEqual(
    config?.peers.map((p) => p.name),
    ['peer/a'],
  );
  assert.match(problems[0]!, /BGPPeer b: peer\/a has a session to 10.0.0.2 already/);
});

test('next hops on a link are our addresses there; across routers the node address is source and next hop', () => {
  const peers = [
    peer('tor', '172.16.1.0', { password: { type: 'value', value: new Secret('s3') } }),
    peer('far', '203.0.113.1'),
  ];
  const { config } = speakerConfig(
    input({
      peers,
      onLink: (a) =>
        a === '172.16.1.0' ? { interfaceName: 'eth0', ipv4: ip('172.16.1.1'), ipv6: ip('fd16::1') } : undefined,
    }),
  );
  const [far, tor] = config!.peers.filter((p) => p.name.startsWith('peer/'));
  assert.deepEqual(
    [tor!.nextHop4, tor!.nextHop6, tor!.localAddress, tor!.password],
    ['172.16.1.1', 'fd16::1', undefined, 's3'],
  );
  assert.deepEqual([far!.nextHop4, far!.nextHop6, far!.localAddress], ['10.0.0.1', 'fd00::1', '10.0.0.1']);
});

test('configuration: node over default over options; annotations over InternalIP; node addresses on request', () => {
  const annotated = node('n1', ['10.0.0.1'], [], {
    annotations: { 'projectcalico.org/ASNumber': '64999', 'projectcalico.org/IPv4Address': '10.9.9.1/24' },
  });
  const { config } = speakerConfig(
    input({
      nodes: [annotated, n2],
      configurations: [
        configuration('default', { asNumber: 64600, advertiseNodeAddresses: true, holdTimeSec: 9 }),
        configuration('node.n1', { listenPort: 1790 }),
      ],
    }),
  );
  assert.equal(config?.asn, 64999);
  assert.equal(config?.peers[0]?.asn, 64600);
  assert.equal(config?.routerId, '10.9.9.1');
  assert.equal(config?.listen[0]?.port, 1790);
  assert.equal(config?.peers[0]?.holdTimeSec, 9);
  assert.deepEqual(config?.originate, ['10.0.0.1/32']);
});

test('without its own Node, or an address on it, the speaker waits and says so', () => {
  assert.match(speakerConfig(input({ nodes: [n2] })).problems[0]!, /Node n1: no such object/);
  assert.match(speakerConfig(input({ nodes: [node('n1', [], [])] })).problems[0]!, /no InternalIP/);
});

test('maxRestartTime of a BGPPeer is what that peer is told, and no other', () => {
  const { config } = speakerConfig(input({ peers: [peer('tor', '172.16.0.1', { maxRestartTimeSec: 77 })] }));
  assert.deepEqual(
    config?.peers.map(({ name, restartTimeSec }) => [name, restartTimeSec]),
    [
      ['mesh/n2', undefined],
      ['peer/tor', 77],
    ],
  );
});
