import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig, PeerRange } from '#bgp';
import type { Cidr } from '#kit';
import type { BGPPeerObject } from '#model';
import { issueText } from './issue.ts';
import { type SpeakerConfigInput, speakerConfig } from './speaker-config.ts';
import { input, ip, meta, n1, node, ref } from './test-input.ts';

const noMesh = { ...input().defaults, meshEnabled: false };
const found = (name: string, extra: Partial<BGPPeerObject>): BGPPeerObject => ({
  metadata: meta(name),
  port: 179,
  remoteAS: 'External',
  ...extra,
});
const onRange = (prefix: string, limit = 100) => ({ prefix: prefix as Cidr, limit });
/** Of n1. */
function run(peers: readonly BGPPeerObject[], extra: Partial<SpeakerConfigInput> = {}) {
  const { config, issues } = speakerConfig(input({ peers, defaults: noMesh, ...extra }));
  return { peers: config!.peers, ranges: config!.ranges ?? [], issues, said: issues.map(issueText) };
}
const withNumbers = (name: string, extra: Partial<BGPPeerObject>): BGPPeerObject => {
  const { remoteAS: _, ...rest } = found(name, {});
  return { ...rest, ...extra };
};

test('RFC 4861, RFC 8950: a BGPPeer with an interface is the router found there, next hops are those of the link', () => {
  const { peers, said } = run([found('tor', { interface: 'eth1', holdTimeSec: 9 })]);
  assert.deepEqual(said, []);
  assert.deepEqual(peers, [
    {
      name: 'peer/tor',
      address: '',
      interface: 'eth1',
      port: 179,
      asn: 'external',
      families: ['ipv4-unicast', 'ipv6-unicast'],
      holdTimeSec: 9,
      passive: false,
      connectRetrySec: 5,
      import: 'accept',
      export: 'originated',
    },
  ] satisfies PeerConfig[]);
});

test('one session an interface and one range a prefix: of several objects the first by name has it, on nodes that it is for', () => {
  const { peers, ranges, said } = run([
    found('a', { interface: 'eth1' }),
    found('b', { interface: 'eth1' }),
    found('c', { interface: 'eth2', node: 'n2' }),
    found('d', { interface: 'eth2', nodeSelector: "rack == 'r1'" }),
    found('e', { range: onRange('10.2.0.0/16') }),
    found('f', { range: onRange('10.2.0.0/16') }),
  ]);
  assert.deepEqual(
    peers.map(({ name, interface: link }) => [name, link]),
    [
      ['peer/a', 'eth1'],
      ['peer/d', 'eth2'],
    ],
  );
  assert.deepEqual(
    ranges.map(({ name }) => name),
    ['peer/e'],
  );
  assert.match(said[0]!, /^BGPPeer b: spec\.interface: BGPPeer a has the session on interface eth1 already; not used/);
  assert.match(said[1]!, /^BGPPeer f: spec\.range: BGPPeer e has the range 10\.2\.0\.0\/16 already; not used/);
});

test('who connects from a range of a BGPPeer: its AS numbers, limit, password and settings', () => {
  const secrets = { password: ref('bgp', 'k') };
  const { ranges, said, issues } = run([
    withNumbers('rack', {
      range: onRange('10.2.0.0/16', 7),
      asNumbers: [65001, 65002],
      ttlSecurity: 1,
      bfd: {},
      ...secrets,
    }),
  ]);
  assert.deepEqual(
    issues.map(({ effect }) => effect),
    ['heldDown'],
  );
  assert.match(said[0]!, /BGPPeer rack: spec\.password: Secret poplin-system\/bgp is not there/);
  const { heldDown, ...rest } = ranges[0]!;
  assert.match(heldDown!, /is not there/);
  assert.deepEqual(rest, {
    name: 'peer/rack',
    prefix: '10.2.0.0/16',
    limit: 7,
    asn: [65001, 65002],
    holdTimeSec: 90,
    import: 'accept',
    export: 'originated',
    families: ['ipv4-unicast', 'ipv6-unicast'],
    nextHop6: 'fd00::1',
    ttlSecurityHops: 1,
    bfd: { minTxMs: 300, minRxMs: 300, multiplier: 3 },
  } satisfies PeerRange);
  const onLink = () => ({ ipv4: ip('172.16.1.1'), ipv6: ip('fd16::1') });
  assert.equal(run([found('r', { range: onRange('172.16.1.0/24') })], { onLink }).ranges[0]!.nextHop6, 'fd16::1');
  const six = run([found('r', { range: onRange('fd16::/64') })], { onLink }).ranges[0]!;
  assert.deepEqual([six.nextHop4, six.nextHop6], ['172.16.1.1', undefined]);
});

test('internal or external: what the AS numbers say for this node, and never both', () => {
  const asnOf = (extra: Partial<BGPPeerObject>) => {
    const { peers, said } = run([withNumbers('tor', { interface: 'eth1', ...extra })]);
    return peers[0]?.asn ?? said.join();
  };
  assert.equal(asnOf({ remoteAS: 'External' }), 'external');
  assert.equal(asnOf({ remoteAS: 'Internal' }), 'internal');
  assert.equal(asnOf({ asNumber: 65001 }), 65001);
  assert.deepEqual(asnOf({ asNumbers: [65001, 65002] }), [65001, 65002]);
  assert.equal(asnOf({ asNumbers: [64512] }), 64512);
  assert.match(String(asnOf({ asNumbers: [65001, 64512] })), /spec\.asNumbers: has the AS number of this node, 64512/);
  assert.deepEqual(asnOf({ asNumbers: [65001, 64512], localASNumber: 65100 }), [65001, 64512]);
  // A role is for external peers, clients are internal ones.
  const reflector = node('n1', ['10.0.0.1', 'fd00::1'], [], {
    annotations: { 'projectcalico.org/RouteReflectorClusterID': '244.0.0.1' },
  });
  const kinds = run(
    [
      found('in', { interface: 'eth1', remoteAS: 'Internal', role: 'Peer' }),
      found('out', { interface: 'eth2', role: 'Peer' }),
    ],
    { nodes: [reflector] },
  );
  assert.deepEqual(
    kinds.peers.map(({ routeReflectorClient, export: policy, role }) => [routeReflectorClient, policy, role]),
    [
      [true, 'reflected', undefined],
      [undefined, 'originated', 'peer'],
    ],
  );
  assert.match(kinds.said.join(), /BGPPeer in: spec\.role: is for peers of another AS .*the router on eth1/);
});

test('adjRibIn and nextHopMode of a BGPPeer', () => {
  const one = (extra: Partial<BGPPeerObject>): PeerConfig =>
    run([found('tor', { interface: 'eth1', ...extra })], { nodes: [n1], filters: [reject] }).peers[0]!;
  const reject = {
    metadata: meta('no'),
    importV4: [{ action: 'Reject' }],
    exportV4: [{ action: 'Reject' }],
    importV6: [],
    exportV6: [],
  } as const;
  assert.equal(one({}).adjRibIn, undefined);
  assert.equal(one({ adjRibIn: true }).adjRibIn, true);
  assert.equal(one({ filters: ['no'] }).adjRibIn, true);
  assert.equal(one({ filters: ['no'], adjRibIn: false }).adjRibIn, false);
  const mode = (value: 'self' | 'unchanged') => ({
    action: 'next',
    source: ['learned'],
    changes: [{ type: 'setNextHop', value }],
  });
  assert.equal(one({ nextHopMode: 'Auto' }).exportFilter, undefined);
  assert.deepEqual(one({ nextHopMode: 'Self' }).exportFilter, { ipv4: [mode('self')], ipv6: [mode('self')] });
  assert.deepEqual(one({ nextHopMode: 'Keep', filters: ['no'] }).exportFilter, {
    ipv4: [mode('unchanged'), { action: 'reject', from: { filter: 'no', index: 0 } }],
    ipv6: [mode('unchanged')],
  });
});
