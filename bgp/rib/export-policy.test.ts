/** Who is told of a route: communities and the kind of session, by clause. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { communityFlag } from '../wire/index.ts';
import { isExported } from './export-policy.ts';
import { localPeer, PeerTable } from './index.ts';

const peers = new PeerTable();
const [external, internal] = [peers.make(), peers.make()];
peers.ebgp[external] = 1;
peers.ebgp[internal] = 0;
const to = (ebgp: boolean, source: number, flags = 0): boolean =>
  isExported({ ebgp, export: 'accept' }, source, peers, flags);

test('RFC 4271 9.2: what an internal peer said goes to external ones only', () => {
  assert.deepEqual([to(true, external), to(false, external)], [true, true]);
  assert.deepEqual([to(true, internal), to(false, internal)], [true, false]);
});

test('RFC 1997: NO_EXPORT and NO_EXPORT_SUBCONFED stop at the border of the AS, NO_ADVERTISE here', () => {
  for (const flag of [communityFlag.noExport, communityFlag.noExportSubconfed]) {
    assert.deepEqual([to(true, external, flag), to(false, external, flag)], [false, true]);
  }
  const { noAdvertise } = communityFlag;
  assert.deepEqual([to(true, external, noAdvertise), to(false, external, noAdvertise)], [false, false]);
});

test('what is ours goes out whatever it carries, unless the policy is to say nothing', () => {
  assert.equal(to(true, localPeer, communityFlag.noExport), true);
  for (const policy of ['originated', 'reflected', 'accept'] as const) {
    assert.equal(isExported({ ebgp: true, export: policy }, localPeer, peers, 0), true);
  }
  assert.equal(isExported({ ebgp: true, export: 'reject' }, localPeer, peers, 0), false);
  assert.equal(isExported({ ebgp: true, export: 'originated' }, external, peers, 0), false);
});
