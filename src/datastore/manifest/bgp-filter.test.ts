import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPFilterObject } from '#model';
import { assertRefused, readCalico } from './decode-text.ts';

test('BGPFilter: every field', () => {
  const { spec, notes } = readCalico<BGPFilterObject>(
    'BGPFilter',
    `
  exportV4:
    - {action: Accept, matchOperator: In, cidr: 10.1.2.3/8, prefixLength: {min: 16, max: 24}, source: RemotePeers, interface: eth*,
       peerType: eBGP, communities: {values: ["065000:1"]}, asPathPrefix: [65001, "1.1"], priority: 512,
       operations: [{addCommunity: {value: "1:2:3"}}, {prependASPath: {prefix: [65001, 65001]}}, {setPriority: {value: 1}}]}
    - {action: Reject}
  importV6:
    - {action: Reject, matchOperator: NotEqual, cidr: "fd00::/8"}
    - {action: Accept, cidr: "", matchOperator: "", source: "", interface: "", peerType: "", asPathPrefix: [], operations: []}`,
  );
  assert.deepEqual(notes, []);
  assert.deepEqual(spec, {
    exportV4: [
      {
        action: 'Accept',
        matchOperator: 'In',
        cidr: '10.0.0.0/8',
        prefixLength: { min: 16, max: 24 },
        source: 'RemotePeers',
        interface: 'eth*',
        peerType: 'eBGP',
        communities: ['65000:1'],
        asPathPrefix: [65001, 65537],
        priority: 512,
        operations: [
          { type: 'addCommunity', value: '1:2:3' },
          { type: 'prependASPath', asNumbers: [65001, 65001] },
          { type: 'setPriority', value: 1 },
        ],
      },
      { action: 'Reject' },
    ],
    importV4: [],
    exportV6: [],
    importV6: [{ action: 'Reject', matchOperator: 'NotEqual', cidr: 'fd00::/8' }, { action: 'Accept' }],
  });
});

test('BGPFilter: what Calico refuses is refused, at its place', () => {
  const rule = (text: string) => `{exportV4: [{action: Accept, ${text}}]}`;
  const at = (field: string) => `spec.exportV4[0].${field}`;
  const operation = (text: string) => rule(`operations: [${text}]`);
  const tenOne = Array.from({ length: 11 }, () => '{setPriority: {value: 1}}').join(', ');
  assertRefused('BGPFilter', [
    ['{exportV4: [{}]}', at('action'), /is required; write Accept or Reject/],
    ['{exportV4: [{action: accept}]}', at('action'), /write one of Accept, Reject/],
    ['{exportv4: []}', 'spec.exportv4', /did you mean exportV4/],
    [rule('cidr: 10.0.0.0/8'), at('matchOperator'), /is required beside cidr/],
    [rule('matchOperator: In'), at('matchOperator'), /stands without cidr/],
    [rule('prefixLength: {min: 8}'), at('prefixLength'), /stands without cidr/],
    [
      rule('cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {min: 9, max: 8}'),
      at('prefixLength.min'),
      /9 is larger than max 8/,
    ],
    [
      rule('cidr: 10.0.0.0/8, matchOperator: In, prefixLength: {max: 33}'),
      at('prefixLength.max'),
      /out of range 0\.\.32/,
    ],
    [rule('cidr: "fd00::/8", matchOperator: In'), at('cidr'), /is not IPv4; move the rule to the list for IPv6/],
    ['{importV6: [{action: Accept, cidr: 10.0.0.0/8, matchOperator: In}]}', 'spec.importV6[0].cidr', /is not IPv6/],
    [rule('cidr: 10.0.0.1, matchOperator: Equal'), at('cidr'), /not a prefix/],
    [rule('source: Peers'), at('source'), /write one of RemotePeers/],
    [rule('interface: averyveryverylongname'), at('interface'), /at most 15/],
    [rule('peerType: EBGP'), at('peerType'), /write one of eBGP, iBGP/],
    [rule('communities: {values: []}'), at('communities.values'), /has 0 entries; write exactly one/],
    [rule('communities: {values: ["1:1", "1:2"]}'), at('communities.values'), /has 2 entries/],
    [rule('communities: {values: ["65536:1"]}'), at('communities.values[0]'), /numbers up to 65535/],
    [rule('communities: {values: ["1:2:3:4"]}'), at('communities.values[0]'), /not a community/],
    [rule('asPathPrefix: [0]'), at('asPathPrefix[0]'), /not an AS number/],
    [rule('priority: 0'), at('priority'), /out of range 1\.\.2147483646/],
    [
      '{exportV4: [{action: Reject, operations: [{setPriority: {value: 1}}]}]}',
      at('operations'),
      /beside action Reject/,
    ],
    [operation('{}'), at('operations[0]'), /write exactly one of addCommunity, prependASPath, setPriority/],
    [operation('{setPriority: {value: 1}, addCommunity: {value: "1:1"}}'), at('operations[0]'), /write exactly one/],
    [operation('{setpriority: {value: 1}, setPriority: {value: 1}}'), at('operations[0].setpriority'), /did you mean/],
    [operation('{setPriority: {}}'), at('operations[0].setPriority.value'), /is required/],
    [operation('{setPriority: {value: 2147483647}}'), at('operations[0].setPriority.value'), /out of range/],
    [operation('{addCommunity: {}}'), at('operations[0].addCommunity.value'), /is required/],
    [operation('{prependASPath: {prefix: []}}'), at('operations[0].prependASPath.prefix'), /is required/],
    [
      operation('{prependASPath: {prefix: [1,1,1,1,1,1,1,1,1,1,1]}}'),
      at('operations[0].prependASPath.prefix'),
      /more than the 10/,
    ],
    [operation(tenOne), at('operations'), /11 entries are more than the 10 allowed/],
  ]);
});
