import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPPeerObject } from '#model';
import { assertRefused, decodeCalico, decodeText, passwordText, readCalico } from './decode-text.ts';

test('BGPPeer: every field', () => {
  const { spec, notes } = readCalico<BGPPeerObject>(
    'BGPPeer',
    `{peerIP: "[2001:DB8::1]:1790", asNumber: "1.10", localASNumber: 4200000000, nodeSelector: "rack == 'r1'", nextHopMode: Self,
      sourceAddress: None, holdTime: 1m30s, keepaliveTime: 30s, maxRestartTime: 2m, numAllowedLocalASNumbers: 1, ttlSecurity: 1,
      reachableBy: "2001:db8::fe", filters: [a, b], password: {secretKeyRef: {name: bgp, key: tor}}}`,
  );
  assert.deepEqual(notes, []);
  assert.deepEqual(spec, {
    nodeSelector: "rack == 'r1'",
    peerIP: '2001:db8::1',
    port: 1790,
    asNumber: 65546,
    localASNumber: 4200000000,
    nextHopMode: 'Self',
    sourceAddress: 'None',
    holdTimeSec: 90,
    keepaliveTimeSec: 30,
    maxRestartTimeSec: 120,
    numAllowedLocalASNumbers: 1,
    ttlSecurity: 1,
    reachableBy: '2001:db8::fe',
    filters: ['a', 'b'],
    password: { type: 'secretKeyRef', name: 'bgp', key: 'tor' },
  });
});

test('BGPPeer: older and empty forms', () => {
  const peer = (spec: string) => readCalico<BGPPeerObject>('BGPPeer', spec);
  assert.deepEqual(
    peer('{peerSelector: all(), peerIP: "", asNumber: 0, node: "", nodeSelector: n, reversePeering: Manual}').spec,
    {
      nodeSelector: 'n',
      peerSelector: 'all()',
      port: 179,
      reversePeering: 'Manual',
    },
  );
  assert.deepEqual(
    peer('{peerIP: 10.0.0.1, peerSelector: "", asNumber: 65001, node: n1, localWorkloadSelector: ""}').spec,
    {
      node: 'n1',
      peerIP: '10.0.0.1',
      port: 179,
      asNumber: 65001,
    },
  );
  assert.equal(peer('{peerIP: 10.0.0.1:180, asNumber: 1, keepOriginalNextHop: true}').spec.nextHopMode, 'Keep');
  assert.equal(
    peer('{peerIP: 10.0.0.1, asNumber: 1, keepOriginalNextHop: false, nextHopMode: Auto}').spec.nextHopMode,
    'Auto',
  );
  assert.equal(peer('{peerIP: 10.0.0.1, asNumber: 1, holdTime: 0s, keepaliveTime: 5s}').spec.holdTimeSec, 0);
  assert.match(
    peer('{peerIP: 10.0.0.1, asNumber: 1, reversePeering: Auto}').notes.join(),
    /reversePeering: is not used/,
  );
  const optional = peer('{peerIP: 10.0.0.1, asNumber: 1, password: {secretKeyRef: {name: a, key: b, optional: true}}}');
  assert.match(optional.notes.join(), /optional: is not used by Poplin: without the Secret the session stays down/);
});

test('BGPPeer: the router on an interface, and who connects from a range', () => {
  const peer = (spec: string) => readCalico<BGPPeerObject>('BGPPeer', spec);
  assert.deepEqual(peer('{interface: swp1.100, remoteAS: External, reversePeering: ""}').spec, {
    interface: 'swp1.100',
    port: 179,
    remoteAS: 'External',
  });
  assert.deepEqual(peer('{interface: eth1, asNumber: "1.10", limit: null}').spec, {
    interface: 'eth1',
    port: 179,
    asNumber: 65546,
  });
  assert.deepEqual(peer('{range: 10.2.3.4/16, asNumbers: [65001, "1.10"], role: Peer, adjRibIn: false}').spec, {
    range: { prefix: '10.2.0.0/16', limit: 100 },
    port: 179,
    asNumbers: [65001, 65546],
    role: 'Peer',
    adjRibIn: false,
  });
  assert.deepEqual(peer('{range: "2001:db8::/64", remoteAS: Internal, limit: 5}').spec.range, {
    prefix: '2001:db8::/64',
    limit: 5,
  });
});

test('RFC 5925: BGPPeer with TCP-AO keys', () => {
  const keys = `[{sendID: 1, recvID: 255, algorithm: hmac-sha-1-96, secret: {secretKeyRef: {name: bgp, key: a}}},
    {sendID: 0, recvID: 1, algorithm: aes-128-cmac-96, secret: {value: hush}, excludeTCPOptions: true}]`;
  const { spec } = readCalico<BGPPeerObject>('BGPPeer', `{peerIP: 10.0.0.1, asNumber: 1, tcpAO: {keys: ${keys}}}`);
  const [first, second] = spec.tcpAO!.keys;
  assert.deepEqual(first, {
    sendID: 1,
    recvID: 255,
    algorithm: 'hmac-sha-1-96',
    secret: { type: 'secretKeyRef', name: 'bgp', key: 'a' },
  });
  assert.deepEqual([second!.sendID, second!.recvID, second!.excludeTCPOptions], [0, 1, true]);
  assert.equal(passwordText(second!.secret), 'hush');
  const base = 'peerIP: 10.0.0.1, asNumber: 1';
  const key = (more: string) => `{${base}, tcpAO: {keys: [{sendID: 1, recvID: 2, algorithm: hmac-sha-1-96, ${more}}]}}`;
  const rest = 'algorithm: hmac-sha-1-96, secret: {value: a}';
  const two = (a: string, b: string) => `tcpAO: {keys: [{${a}, ${rest}}, {${b}, ${rest}}]}`;
  assertRefused('BGPPeer', [
    [`{${base}, tcpAO: {}}`, 'spec.tcpAO.keys', /at least one key/],
    [`{${base}, tcpAO: {keys: []}}`, 'spec.tcpAO.keys', /at least one key/],
    [`{${base}, password: {value: a}, tcpAO: {keys: ${keys}}}`, 'spec.tcpAO', /stands beside password \(TCP-MD5\)/],
    [key('x: 1'), 'spec.tcpAO.keys[0].secret', /is required; name a Secret/],
    [key('secret: {}'), 'spec.tcpAO.keys[0].secret.value', /is required/],
    [key(`secret: {value: ${'x'.repeat(81)}}`), 'spec.tcpAO.keys[0].secret.value', /TCP-AO takes at most 80/],
    [`{${base}, tcpAO: {keys: [{recvID: 1, ${rest}}]}}`, 'spec.tcpAO.keys[0].sendID', /is required/],
    [`{${base}, ${two('sendID: 256, recvID: 1', 'sendID: 2, recvID: 2')}}`, 'spec.tcpAO.keys[0].sendID', /0\.\.255/],
    [`{${base}, ${two('sendID: 1, recvID: 1', 'sendID: 1, recvID: 2')}}`, 'spec.tcpAO.keys[1].sendID', /another key/],
    [`{${base}, ${two('sendID: 1, recvID: 1', 'sendID: 2, recvID: 1')}}`, 'spec.tcpAO.keys[1].recvID', /another key/],
    [
      `{peerSelector: all(), ${two('sendID: 1, recvID: 1', 'sendID: 2, recvID: 3')}}`,
      'spec.tcpAO.keys[1].recvID',
      /both ends are of this object/,
    ],
  ]);
  const shown = decodeCalico('BGPPeer', key('secret: hush')).faults.join();
  assert.ok(shown !== '' && !shown.includes('hush'), shown);
});

test('BGPPeer: interfaces and ranges that make no sense are refused, at their place', () => {
  assertRefused('BGPPeer', [
    ['{interface: eth*/1, remoteAS: External}', 'spec.interface', /no name of an interface/],
    ['{interface: "fe80::1%eth0", remoteAS: External}', 'spec.interface', /no name of an interface/],
    ['{interface: eth1}', 'spec.asNumber', /is required; .*remoteAS: External/],
    ['{interface: eth1, remoteAS: Auto}', 'spec.remoteAS', /write one of External, Internal/],
    [
      '{interface: eth1, asNumber: 1, remoteAS: External}',
      'spec.asNumber',
      /keep one of asNumber, asNumbers and remoteAS/,
    ],
    [
      '{interface: eth1, peerIP: 10.0.0.1, asNumber: 1}',
      'spec.peerIP',
      /stands beside interface; keep peerIP for a router/,
    ],
    [
      '{range: 10.0.0.0/8, peerSelector: all()}',
      'spec.peerSelector',
      /stands beside range; keep peerSelector for nodes/,
    ],
    ['{range: 10.0.0.0, remoteAS: External}', 'spec.range', /not a prefix; write one such as/],
    ['{range: 10.0.0.0/8, remoteAS: External, limit: 0}', 'spec.limit', /out of range 1\.\.65535/],
    ['{range: 10.0.0.0/8, remoteAS: External, sourceAddress: None}', 'spec.sourceAddress', /stands beside range/],
    ['{interface: eth1, remoteAS: External, limit: 5}', 'spec.limit', /of the peers of a range/],
    ['{interface: eth1, remoteAS: External, reachableBy: 10.0.0.1}', 'spec.reachableBy', /set peerIP, or remove it/],
    ['{peerIP: 10.0.0.1, asNumber: 1, remoteAS: External}', 'spec.remoteAS', /goes with interface and range/],
    ['{peerIP: 10.0.0.1, asNumber: 1, asNumbers: [2]}', 'spec.asNumbers', /goes with interface and range/],
  ]);
});

test('BGPPeer: what makes no sense is refused, at its place', () => {
  const base = 'peerIP: 10.0.0.1, asNumber: 1';
  assertRefused('BGPPeer', [
    ['{asNumber: 1}', 'spec.peerIP', /is required; write the address of a router, or name nodes/],
    ['{peerIP: 10.0.0.1}', 'spec.asNumber', /is required/],
    ['{peerIP: 10.0.0.1:0, asNumber: 1}', 'spec.peerIP', /is not an address/],
    ['{peerIP: "fe80::1%eth0", asNumber: 1}', 'spec.peerIP', /is not an address/],
    ['{peerIP: 224.0.0.1, asNumber: 1}', 'spec.peerIP', /no host's address/],
    ['{peerIP: "::", asNumber: 1}', 'spec.peerIP', /no host's address/],
    ['{peerIP: 10.0.0.1, asNumber: 0}', 'spec.asNumber', /0 is not an AS number/],
    ['{peerIP: 10.0.0.1, asNumber: 4294967296}', 'spec.asNumber', /not an AS number/],
    ['{peerIP: 10.0.0.1, asNumber: 1.10}', 'spec.asNumber', /put an AS number with a dot in quotes/],
    ['{peerIP: 10.0.0.1, asNumber: "0.0"}', 'spec.asNumber', /not an AS number/],
    [`{${base}, localASNumber: 0}`, 'spec.localASNumber', /not an AS number/],
    [`{${base}, holdTime: 2s}`, 'spec.holdTime', /refused by BGP; write 0s or at least 3s/],
    [`{${base}, holdTime: 90}`, 'spec.holdTime', /not a duration/],
    [`{${base}, holdTime: 1.5s}`, 'spec.holdTime', /not a duration/],
    [`{${base}, maxRestartTime: 4096s}`, 'spec.maxRestartTime', /too long; .*at most 4095s/],
    [`{${base}, holdTime: 9s, keepaliveTime: 9s}`, 'spec.keepaliveTime', /not shorter than holdTime 9s/],
    [`{${base}, ttlSecurity: 0}`, 'spec.ttlSecurity', /out of range 1\.\.255/],
    [`{${base}, numAllowedLocalASNumbers: -1}`, 'spec.numAllowedLocalASNumbers', /out of range/],
    [
      `{${base}, peerSelector: all()}`,
      'spec.peerIP',
      /stands beside peerSelector; keep peerIP for a router, or peerSelector for nodes/,
    ],
    ['{peerSelector: all(), asNumber: 1}', 'spec.asNumber', /stands beside peerSelector/],
    [`{${base}, node: a, nodeSelector: all()}`, 'spec.node', /keep one/],
    [`{asNumber: 1, localWorkloadSelector: all()}`, 'spec.localWorkloadSelector', /not supported by Poplin/],
    [`{${base}, reachableBy: "fd00::1"}`, 'spec.reachableBy', /not of the address family of peerIP 10.0.0.1/],
    [`{${base}, reachableBy: gw}`, 'spec.reachableBy', /not an IP address/],
    ['{peerSelector: all(), reachableBy: 10.0.0.2}', 'spec.reachableBy', /set peerIP, or remove it/],
    [`{${base}, keepOriginalNextHop: true, nextHopMode: Self}`, 'spec.keepOriginalNextHop', /keep nextHopMode/],
    [`{${base}, nextHopMode: self}`, 'spec.nextHopMode', /write one of Auto, Self, Keep/],
    [`{${base}, sourceAddress: NodeIP}`, 'spec.sourceAddress', /write one of UseNodeIP, None/],
    [`{${base}, filters: [A_B]}`, 'spec.filters[0]', /names no BGPFilter/],
    [`{${base}, password: {}}`, 'spec.password.value', /is required/],
    [`{${base}, password: {value: ""}}`, 'spec.password.value', /is required/],
    [
      `{${base}, password: {value: ${'x'.repeat(81)}}}`,
      'spec.password.value',
      /has 81 bytes; TCP-MD5 takes at most 80/,
    ],
    [`{${base}, password: {secretKeyRef: {name: a}}}`, 'spec.password.secretKeyRef.key', /is required/],
    [`{${base}, password: {secretKeyRef: {key: a}}}`, 'spec.password.secretKeyRef.name', /is required/],
    [`{${base}, password: {secretKeyRef: {name: A, key: b}}}`, 'spec.password.secretKeyRef.name', /must be lower-case/],
    [
      `{${base}, password: {value: a, secretKeyRef: {name: a, key: b}}}`,
      'spec.password.value',
      /stands beside secretKeyRef/,
    ],
    ['{peerIp: 10.0.0.1, asNumber: 1}', 'spec.peerIp', /did you mean peerIP/],
  ]);
});

test('no message shows a credential, whatever stands in its place', () => {
  const secret = 'hush';
  for (const password of [
    `{value: [${secret}]}`,
    secret,
    `{secretKeyRef: {name: ${secret.toUpperCase()}, key: [${secret}]}}`,
  ]) {
    const { faults, object } = decodeCalico('BGPPeer', `{peerIP: 10.0.0.1, asNumber: 1, password: ${password}}`);
    assert.equal(object, undefined);
    assert.ok(faults.length > 0);
    assert.doesNotMatch(faults.join(), /hush/i, password);
  }
  assert.doesNotMatch(decodeCalico('BGPConfiguration', '{nodeMeshPassword: hush}', 'default').faults.join(), /hush/);
  const document = (data: string) => decodeText(`apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n${data}`);
  for (const data of ['data: {a: hush!}', 'data: hush', 'stringData: {a: [hush]}']) {
    assert.equal(document(data).faults.length, 1, data);
    assert.doesNotMatch(document(data).faults.join(), /hush/, data);
  }
});
