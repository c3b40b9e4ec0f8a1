import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr, IpAddress } from '#kit';
import { gatewayRoutes } from './gateway-routes.ts';

const prefix = '172.16.0.1/32' as Cidr;
const route = (nextHop: string) => ({ prefix, nextHops: [nextHop as IpAddress] });

test('a gateway route goes before a learned one, which is back when it is given up', () => {
  const table = new Map<string, string>();
  const gateways = gatewayRoutes({
    setLearned({ upsert, withdraw }) {
      for (const each of upsert) table.set(each.prefix, each.nextHops.join());
      for (const each of withdraw) table.delete(each);
    },
  });
  gateways.set([route('10.0.0.254')]);
  assert.equal(gateways.learned({ type: 'upsert', ...route('10.0.0.9') }), true);
  assert.equal(gateways.learned({ type: 'upsert', prefix: '10.9.0.0/16' as Cidr, nextHops: [] }), false);
  assert.deepEqual([...table], [[prefix, '10.0.0.254']]);
  gateways.set([route('10.0.0.253')]);
  assert.deepEqual([...table], [[prefix, '10.0.0.253']]);
  gateways.set([]);
  assert.deepEqual([...table], [[prefix, '10.0.0.9']]);
  gateways.set([route('10.0.0.254')]);
  assert.equal(gateways.learned({ type: 'withdraw', prefix }), true);
  gateways.set([]);
  assert.deepEqual([...table], []);
});
