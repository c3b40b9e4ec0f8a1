import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPConfigurationObject, BGPPeerObject } from '#model';
import { assertRefused, readCalico } from './decode-text.ts';

const base = 'peerIP: 10.0.0.1, asNumber: 1';
const peer = (fields: string) => readCalico<BGPPeerObject>('BGPPeer', `{${base}, ${fields}}`);

test('BGPPeer: every field of the speaker, RFC 5880, 4486, 7911, 8326, 9494, 9234, 7999, 10005', () => {
  const { spec, notes } = peer(
    `bfd: {minTx: 50ms, minRx: 1s, multiplier: 5, multihop: true, graceful: true},
      maxPrefixes: {ipv4: {limit: 1000, warnPercent: 90, restartTime: 10m, warnOnly: false}, ipv6: {limit: 4294967295}},
      addPath: {receive: true, send: 4, limit: 8}, gracefulShutdown: true, longLivedStaleTime: 24h, role: Customer, strictRole: true,
      blackhole: {ipv4: 30, ipv6: 64}, linkBandwidth: 2.5Gbit`,
  );
  assert.deepEqual(notes, []);
  assert.deepEqual(spec, {
    peerIP: '10.0.0.1',
    port: 179,
    asNumber: 1,
    bfd: { minTxMs: 50, minRxMs: 1000, multiplier: 5, multihop: true, graceful: true },
    maxPrefixes: {
      ipv4: { limit: 1000, warnPercent: 90, restartSec: 600, warnOnly: false },
      ipv6: { limit: 4294967295 },
    },
    addPath: { receive: true, send: 4, limit: 8 },
    gracefulShutdown: true,
    longLivedStaleTimeSec: 86400,
    role: 'Customer',
    strictRole: true,
    blackhole: { ipv4: 30, ipv6: 64 },
    linkBandwidthBytesPerSec: 312_500_000,
  });
});

test('BGPPeer: empty forms of the fields of the speaker', () => {
  assert.deepEqual(peer('bfd: {}').spec.bfd, {}, 'all defaults');
  assert.equal('bfd' in peer('bfd: null').spec, false);
  assert.deepEqual(peer('maxPrefixes: {}').spec.maxPrefixes, {});
  assert.deepEqual(peer('addPath: {}').spec.addPath, { receive: false, send: 0 });
  assert.deepEqual(peer('blackhole: {}').spec.blackhole, {}, 'all defaults');
  assert.equal('linkBandwidthBytesPerSec' in peer('linkBandwidth: ""').spec, false);
  assert.equal(peer('longLivedStaleTime: 0s').spec.longLivedStaleTimeSec, 0);
  assert.equal(peer('longLivedStaleTime: 16777215s').spec.longLivedStaleTimeSec, 16777215);
  assert.equal('role' in peer('role: ""').spec, false);
  assert.equal(peer('strictRole: false').spec.strictRole, false);
  assert.deepEqual(
    ['10ms', '60000ms', '60s'].map((minTx) => peer(`bfd: {minTx: ${minTx}}`).spec.bfd?.minTxMs),
    [10, 60000, 60000],
  );
});

test('BGPPeer: fields of the speaker that make no sense are refused, at their place', () => {
  assertRefused('BGPPeer', [
    [`{${base}, bfd: true}`, 'spec.bfd', /not a mapping/],
    [`{${base}, bfd: {minTx: 9ms}}`, 'spec.bfd.minTx', /"9ms" is no interval of BFD; write 10ms to 60s/],
    [`{${base}, bfd: {minRx: 61s}}`, 'spec.bfd.minRx', /no interval/],
    [`{${base}, bfd: {minRx: 300}}`, 'spec.bfd.minRx', /300 is no interval/],
    [`{${base}, bfd: {multiplier: 0}}`, 'spec.bfd.multiplier', /out of range 1\.\.255/],
    [`{${base}, bfd: {multihop: 1}}`, 'spec.bfd.multihop', /not true or false/],
    [`{${base}, bfd: {graceful: 1}}`, 'spec.bfd.graceful', /not true or false/],
    [`{${base}, bfd: {minTX: 1s}}`, 'spec.bfd.minTX', /did you mean minTx/],
    [`{${base}, maxPrefixes: {ipv4: {}}}`, 'spec.maxPrefixes.ipv4.limit', /is required/],
    [`{${base}, maxPrefixes: {ipv6: {limit: 0}}}`, 'spec.maxPrefixes.ipv6.limit', /out of range/],
    [`{${base}, maxPrefixes: {ipv4: {limit: 1, warnPercent: 101}}}`, 'spec.maxPrefixes.ipv4.warnPercent', /range/],
    [`{${base}, maxPrefixes: {ipv4: {limit: 1, restartTime: 0s}}}`, 'spec.maxPrefixes.ipv4.restartTime', /at least 1s/],
    [`{${base}, maxPrefixes: {ipv4: {limit: 1, restartTime: 169h}}}`, 'spec.maxPrefixes.ipv4.restartTime', /too long/],
    [`{${base}, maxPrefixes: {ip4: {limit: 1}}}`, 'spec.maxPrefixes.ip4', /did you mean ipv4/],
    [`{${base}, addPath: {send: 129}}`, 'spec.addPath.send', /out of range 0\.\.128/],
    [`{${base}, addPath: {sends: 1}}`, 'spec.addPath.sends', /did you mean send/],
    [`{${base}, addPath: {limit: 4}}`, 'spec.addPath.limit', /goes with receive: true/],
    [`{${base}, addPath: {receive: true, limit: 0}}`, 'spec.addPath.limit', /out of range 1\.\.128/],
    [`{${base}, blackhole: true}`, 'spec.blackhole', /not a mapping/],
    [`{${base}, blackhole: {ipv4: 33}}`, 'spec.blackhole.ipv4', /out of range 1\.\.32/],
    [`{${base}, blackhole: {ip6: 33}}`, 'spec.blackhole.ip6', /did you mean ipv6/],
    [`{${base}, linkBandwidth: 10G}`, 'spec.linkBandwidth', /"10G" is no bandwidth; write one such as 10Gbit/],
    [`{${base}, gracefulShutdown: now}`, 'spec.gracefulShutdown', /not true or false/],
    [`{${base}, longLivedStaleTime: 16777216s}`, 'spec.longLivedStaleTime', /too long; .*at most 16777215s/],
    [`{${base}, role: customer}`, 'spec.role', /write one of Provider, RouteServer, RouteServerClient, Customer, Peer/],
    [`{${base}, strictRole: true}`, 'spec.strictRole', /goes with role/],
    ['{peerSelector: all(), role: Peer}', 'spec.role', /stands beside peerSelector/],
  ]);
});

test('BGPConfiguration: nodeMeshBFD is for the mesh, in the object default', () => {
  const read = (spec: string, name = 'default') => readCalico<BGPConfigurationObject>('BGPConfiguration', spec, name);
  assert.deepEqual(read('{nodeMeshBFD: {}}').spec, { nodeMeshBFD: {} });
  assert.deepEqual(read('{nodeMeshBFD: {minTx: 100ms, multihop: true}}').spec, {
    nodeMeshBFD: { minTxMs: 100, multihop: true },
  });
  assertRefused('BGPConfiguration', [
    ['{nodeMeshBFD: {}, nodeToNodeMeshEnabled: false}', 'spec.nodeMeshBFD', /set nodeToNodeMeshEnabled to true/],
    ['{nodeMeshBFD: {multiplier: 256}}', 'spec.nodeMeshBFD.multiplier', /out of range/],
  ]);
});
