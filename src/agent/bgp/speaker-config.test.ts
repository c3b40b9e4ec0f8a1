import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type IpAddress, Secret } from '#kit';
import type { BGPFilterObject, IPPoolObject, SecretObject } from '#model';
import { issueText } from './issue.ts';
import { annotation, parseAsn } from './nodes.ts';
import { speakerConfig } from './speaker-config.ts';
import {
  configuration,
  input,
  ip,
  n1,
  n2,
  names,
  node,
  nodePeer,
  noMesh,
  peer,
  pool,
  r1,
  ref,
  secret,
  texts,
  w1,
  w2,
} from './test-input.ts';

test('the mesh peers with every other node, over IPv4 where both have it, announcing own next hops', () => {
  const result = speakerConfig(input());
  const { config } = result;
  assert.deepEqual(result.issues, []);
  assert.equal(config?.routerId, '10.0.0.1');
  assert.deepEqual(config?.originate, ['10.1.1.0/24', 'fd01:1::/64']);
  assert.equal(config?.peers.length, 1);
  assert.deepEqual(result.sessions.get('mesh/n2'), { kind: 'BGPConfiguration', name: 'default' });
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

test('peers are told the name of the node and the version on request (draft-walton-bgp-hostname-capability, draft-ietf-idr-software-version)', () => {
  const { config } = speakerConfig(input({ toldVersion: '1.2.3' }));
  assert.deepEqual([config?.hostName, config?.softwareVersion], ['n1', 'Poplin 1.2.3']);
  const silent = speakerConfig(input()).config!;
  assert.deepEqual([silent.hostName, silent.softwareVersion], [undefined, undefined]);
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
  assert.equal(texts(result).filter((p) => p.startsWith('Node n4')).length, 1);
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
  const result = speakerConfig(input({ peers, defaults: noMesh }));
  assert.deepEqual(names(result), ['peer/a-global', 'peer/b-here', 'peer/d-rack']);
  assert.equal(result.issues.length, 1);
  assert.match(texts(result)[0]!, /BGPPeer f-bad: spec\.nodeSelector: expected \)/);
  assert.equal(result.issues[0]!.effect, 'unused');
});

test('one session an address: explicit over mesh, global over node-specific, the first by name', () => {
  const peers = [
    peer('a-node', '10.0.0.2', { node: 'n1' }),
    peer('b-global', '10.0.0.2'),
    peer('c-global', '10.0.0.2'),
  ];
  const result = speakerConfig(input({ peers }));
  assert.deepEqual(names(result), ['peer/b-global']);
  assert.deepEqual(
    result.issues.map(({ object, field, effect }) => [object.name, field, effect]),
    [
      ['c-global', 'spec.peerIP', 'unused'],
      ['a-node', 'spec.peerIP', 'unused'],
    ],
  );
  assert.match(texts(result)[0]!, /BGPPeer b-global has the session to 10\.0\.0\.2 already/);
});

test('next hops on a link are our addresses there; across routers the node address is source and next hop', () => {
  const peers = [
    peer('tor', '172.16.1.0', { password: { type: 'value', value: new Secret('s3') } }),
    peer('far', '203.0.113.1'),
  ];
  const onLink = (a: IpAddress) =>
    a === '172.16.1.0' ? { interfaceName: 'eth0', ipv4: ip('172.16.1.1'), ipv6: ip('fd16::1') } : undefined;
  const { config } = speakerConfig(input({ peers, onLink }));
  const [far, tor] = config!.peers.filter((p) => p.name.startsWith('peer/'));
  assert.deepEqual(
    [tor!.nextHop4, tor!.nextHop6, tor!.localAddress, tor!.password],
    ['172.16.1.1', 'fd16::1', undefined, 's3'],
  );
  assert.deepEqual([far!.nextHop4, far!.nextHop6, far!.localAddress], ['10.0.0.1', 'fd00::1', '10.0.0.1']);
  // Who says where sessions start is obeyed.
  const said = (sourceAddress: 'None' | 'UseNodeIP') => {
    const told = peers.map((p) => ({ ...p, sourceAddress }));
    const explicit = speakerConfig(input({ peers: told, onLink })).config!.peers.filter((p) => p.name !== 'mesh/n2');
    return explicit.map((p) => [p.name, p.localAddress, p.nextHop4]);
  };
  assert.deepEqual(said('UseNodeIP'), [
    ['peer/far', '10.0.0.1', '10.0.0.1'],
    ['peer/tor', '10.0.0.1', '10.0.0.1'],
  ]);
  assert.deepEqual(said('None'), [
    ['peer/far', undefined, '10.0.0.1'],
    ['peer/tor', undefined, '172.16.1.1'],
  ]);
});

test('configuration: node over default over options; annotations over both; node addresses on request', () => {
  const annotated = node('n1', ['10.0.0.1'], [], { annotations: { [annotation.asn]: '64999' } });
  const n3 = node('n3', ['10.0.0.3'], [], { annotations: { [annotation.ipv4]: '10.9.9.3/24', [annotation.asn]: 'x' } });
  const { config } = speakerConfig(
    input({
      nodes: [annotated, n2, n3],
      configurations: [
        configuration('default', { asNumber: 64600, advertiseNodeAddresses: true, holdTimeSec: 9 }),
        configuration('node.n1', { listenPort: 1790 }),
        configuration('node.n2', { asNumber: 64602, listenPort: 1792 }),
      ],
    }),
  );
  assert.equal(config?.asn, 64999);
  assert.equal(config?.listen[0]?.port, 1790);
  assert.deepEqual(config?.originate, ['10.0.0.1/32']);
  assert.deepEqual(
    config?.peers.map(({ address, asn, port, holdTimeSec }) => [address, asn, port, holdTimeSec]),
    [
      ['10.0.0.2', 64602, 1792, 9],
      ['10.9.9.3', 64600, 179, 9],
    ],
  );
  assert.deepEqual(['64512', '1.10', '4294967295', '0', '4294967296', '70000.1', 'x', ''].map(parseAsn), [
    64512,
    65546,
    4294967295,
    undefined,
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});

test('nodeMeshFilters apply to every session of the mesh, by the type of the peer', () => {
  const filter: BGPFilterObject = {
    metadata: configuration('quiet', {}).metadata,
    exportV4: [{ action: 'Reject', peerType: 'iBGP' }],
    importV4: [{ action: 'Reject', communities: ['64512:1'] }],
    exportV6: [],
    importV6: [],
  };
  const mesh = configuration('default', { nodeMeshFilters: ['quiet', 'gone'] });
  const { config, issues } = speakerConfig(input({ nodes: [n1, n2], configurations: [mesh], filters: [filter] }));
  const [peer] = config!.peers;
  assert.deepEqual(
    [peer!.importFilter, peer!.exportFilter].map((each) =>
      each!.ipv4.map(({ action, from }) => [action, from!.filter]),
    ),
    [
      [
        ['reject', 'quiet'],
        ['reject', 'gone'],
      ],
      [
        ['reject', 'quiet'],
        ['reject', 'gone'],
      ],
    ],
  );
  assert.match(issueText(issues[0]!), /^BGPConfiguration default: spec\.nodeMeshFilters: BGPFilter gone is not there/);
});

test('the detected addresses are of this node, whatever its object says; bindMode NodeIP listens on them alone', () => {
  const ownAddresses = { ipv4: ip('10.7.7.1'), ipv6: ip('fd07::1') };
  const configurations = [configuration('default', { bindMode: 'NodeIP' })];
  const { config } = speakerConfig(input({ ownAddresses, configurations }));
  assert.equal(config!.routerId, '10.7.7.1');
  assert.equal(config!.peers[0]!.localAddress, '10.7.7.1');
  assert.deepEqual(
    config!.listen.map(({ address }) => address),
    ['10.7.7.1', 'fd07::1'],
  );
});

test('without its own Node, or an address, the speaker waits and says so', () => {
  assert.match(texts(speakerConfig(input({ nodes: [n2] })))[0]!, /Node n1: no such object/);
  const none = speakerConfig(input({ ownAddresses: {} }));
  assert.equal(none.config, undefined);
  assert.match(texts(none)[0]!, /Node n1: status\.addresses: .*waits/);
});

test('maxRestartTime of a BGPPeer is what that peer is told, nodeMeshMaxRestartTime the mesh', () => {
  const peers = [peer('tor', '172.16.0.1', { maxRestartTimeSec: 77 })];
  const configurations = [configuration('default', { nodeMeshMaxRestartTimeSec: 33 })];
  const { config } = speakerConfig(input({ peers, configurations }));
  assert.deepEqual(
    config?.peers.map(({ name, restartTimeSec }) => [name, restartTimeSec]),
    [
      ['mesh/n2', 33],
      ['peer/tor', 77],
    ],
  );
});

test('a password that is not to be had keeps the session down and names Secret, key and remedy', () => {
  const password = ref('bgp', 'tor');
  const peers = [peer('tor', '172.16.0.1', { password })];
  const configurations = [configuration('default', { nodeMeshPassword: ref('bgp', 'mesh') })];
  const run = (...secrets: SecretObject[]) => {
    const result = speakerConfig(input({ peers, configurations, secrets }));
    const [mesh, tor] = result.config!.peers;
    return { mesh: mesh!, tor: tor!, result };
  };
  const missing = run(secret('bgp', { tor: 'right name, wrong namespace', mesh: 'x' }, 'default'));
  for (const { heldDown, password: given } of [missing.mesh, missing.tor]) {
    assert.match(heldDown!, /Secret poplin-system\/bgp is not there/);
    assert.equal(given, undefined);
  }
  assert.deepEqual(
    missing.result.issues.map(({ object, field, effect }) => [object.kind, object.name, field, effect]),
    [
      ['BGPPeer', 'tor', 'spec.password', 'heldDown'],
      ['BGPConfiguration', 'default', 'spec.nodeMeshPassword', 'heldDown'],
    ],
  );
  const half = run(secret('bgp', { mesh: 'm3sh' }));
  assert.deepEqual([half.mesh.password, half.mesh.heldDown], ['m3sh', undefined]);
  assert.match(half.tor.heldDown!, /Secret poplin-system\/bgp has no key tor \(it has mesh\)/);
  assert.match(run(secret('bgp', { tor: 'é'.repeat(41) })).tor.heldDown!, /key tor has 82 bytes .* 80 at most/);
  assert.match(run(secret('bgp', { tor: '' })).tor.heldDown!, /is empty/);
  const line = run(secret('bgp', { tor: 'x\n', mesh: 'x' }));
  assert.equal(line.tor.password, 'x\n');
  assert.match(texts(line.result)[0]!, /BGPPeer tor: spec\.password: .*ends with a line break/);
  assert.ok(!JSON.stringify(run(secret('bgp', { tor: 'hush', mesh: 'hush' })).result.issues).includes('hush'));
});

test('what a session is told of the settings of its peer', () => {
  const peers = [
    peer('tor', '172.16.0.1', {
      localASNumber: 65009,
      keepaliveTimeSec: 10,
      ttlSecurity: 2,
      numAllowedLocalASNumbers: 1,
      reachableBy: ip('10.0.0.254'),
    }),
    peer('bad', '172.16.0.2', { reachableBy: ip('fd00::ff') }),
  ];
  const result = speakerConfig(input({ peers, defaults: noMesh }));
  const tor = result.config!.peers.find(({ name }) => name === 'peer/tor')!;
  assert.deepEqual([tor.localAsn, tor.keepaliveSec, tor.ttlSecurityHops, tor.allowOwnAsn], [65009, 10, 2, 1]);
  assert.deepEqual(result.routes, [{ prefix: '172.16.0.1/32', nextHops: ['10.0.0.254'] }]);
  assert.deepEqual(texts(result), [
    'BGPPeer bad: spec.reachableBy: fd00::ff is of another family than 172.16.0.2; no route is made: give a gateway of that family',
  ]);
});

test('pod CIDRs go by the smallest pool around them that is for this node; outside of every pool they are announced', () => {
  const originate = (...pools: IPPoolObject[]) => {
    const result = speakerConfig(input({ pools }));
    return { ...result, originate: result.config!.originate };
  };
  assert.deepEqual(originate(pool('other', '10.9.0.0/16', { disabled: true })).originate, [
    '10.1.1.0/24',
    'fd01:1::/64',
  ]);
  const off = pool('off', '10.1.0.0/16', { disableBGPExport: true });
  assert.deepEqual(originate(off).originate, ['fd01:1::/64']);
  assert.deepEqual(originate(pool('off', '10.1.0.0/16', { disabled: true })).originate, ['fd01:1::/64']);
  assert.deepEqual(originate(off, pool('on', '10.1.1.0/24')).originate, ['10.1.1.0/24', 'fd01:1::/64']);
  assert.deepEqual(originate(off, pool('twin', '10.1.0.0/16')).originate, ['fd01:1::/64']);
  const elsewhere = pool('off', '10.1.0.0/16', { disableBGPExport: true, nodeSelector: "rack == 'r9'" });
  assert.deepEqual(originate(elsewhere).originate, ['10.1.1.0/24', 'fd01:1::/64']);
  const unreadable = originate(pool('off', '10.1.0.0/16', { disableBGPExport: true, nodeSelector: 'bad(' }));
  assert.deepEqual(unreadable.originate, ['fd01:1::/64']);
  assert.match(texts(unreadable)[0]!, /IPPool off: spec\.nodeSelector/);
});

test('a BGPConfiguration that nothing uses, and mesh settings of one node, are named', () => {
  const configurations = [
    configuration('defualt'),
    configuration('node.n1', { nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTimeSec: 3 }),
    configuration('node.n2', { nodeToNodeMeshEnabled: false }),
  ];
  const result = speakerConfig(input({ configurations }));
  assert.deepEqual(names(result), ['mesh/n2']);
  assert.deepEqual(
    result.issues.map(({ object, field, effect }) => [object.name, field, effect]),
    [
      ['defualt', '', 'unused'],
      ['node.n1', 'spec.nodeToNodeMeshEnabled', 'partial'],
      ['node.n1', 'spec.nodeMeshMaxRestartTime', 'partial'],
    ],
  );
});

test('the outcome does not depend on the order of objects', () => {
  const peers = [nodePeer('x', { peerSelector: 'all()' }), peer('y', '10.0.0.22'), peer('z', '192.0.2.1')];
  const run = (reverse: boolean) => {
    const order = <T>(list: T[]): T[] => (reverse ? list.toReversed() : list);
    return speakerConfig(input({ nodeName: 'w1', nodes: order([r1, w1, w2]), peers })).config!.peers;
  };
  assert.deepEqual(run(true), run(false));
});
