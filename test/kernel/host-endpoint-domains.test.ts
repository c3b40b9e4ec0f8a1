/** Rules of a host endpoint that name domains and services, for what pods send through it; and a staged policy of them. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { IpAddress } from '#kit';
import type { CalicoPolicyObject, CalicoRule, ModelUpdate } from '#model';
import { dnsWorld, type Zone } from './dns-world.ts';
import { families, packetsNeed } from './packet-world.ts';

const hosts = {
  4: { www: '203.0.113.10', web: '203.0.113.11', other: '203.0.113.12' },
  6: { www: '2001:db8:1::10', web: '2001:db8:1::11', other: '2001:db8:1::12' },
} as const;
const zone: Zone = (owner, type) =>
  owner === 'www.example.com' ? [{ owner, type, data: hosts[type === 'AAAA' ? 6 : 4].www }] : [];

const meta = (name: string, namespace = '') => ({ name, namespace, uid: name, labels: {}, annotations: {} });
const up: ModelUpdate = {
  type: 'upsert',
  kind: 'HostEndpoint',
  key: 'up',
  object: {
    metadata: meta('up'),
    node: 'n1',
    interfaceName: 'up0',
    expectedIPs: [],
    profiles: ['projectcalico-default-allow'],
    ports: [],
  },
};
const allow = (destination: CalicoRule['destination'], protocol?: number): CalicoRule => ({
  action: 'Allow',
  ...(protocol !== undefined && { protocol }),
  source: {},
  destination,
});
const forward = (egress: readonly CalicoRule[]): CalicoPolicyObject => ({
  metadata: meta('out'),
  tier: 'default',
  selector: '!has(projectcalico.org/namespace)',
  types: ['Egress'],
  ingress: [],
  egress,
  hostTraffic: 'forward',
});
const questions = allow({ ports: [{ first: 53, last: 53 }] }, 17);
const names = allow({ domains: ['*.example.com'] });
const service = allow({ services: { name: 'web', namespace: 'shop' } });
const slices = families.map(
  (family): ModelUpdate => ({
    type: 'upsert',
    kind: 'EndpointSlice',
    key: `shop/web-${family}`,
    object: {
      metadata: meta(`web-${family}`, 'shop'),
      serviceName: 'web',
      addresses: [hosts[family].web as IpAddress],
      ports: [{ protocol: 'TCP', port: 80 }],
    },
  }),
);

for (const backend of ['nft', 'legacy'] as const) {
  suite(`host endpoints and names, iptables-${backend}`, packetsNeed, () => {
    test('what pods send through a host endpoint may go where its rules by name and by service say, from the answer on', async () => {
      await using w = await dnsWorld(
        backend,
        families.flatMap((family) => Object.values(hosts[family])),
      );
      w.zone = zone;
      const agent = await w.start();
      await agent.update(up, ...slices, {
        type: 'upsert',
        kind: 'GlobalNetworkPolicy',
        key: 'out',
        object: forward([questions, names, service]),
      });
      for (const family of families) {
        const of = hosts[family];
        assert.equal(await w.reaches('a', of.www), false, 'before anybody asked');
        await w.expectReach('a', of.web);
        await w.ask('a', 'www.example.com', { family });
        await w.expectReach('a', of.www);
        await w.expectReach('b', of.www);
        assert.equal(await w.reaches('a', of.other), false);
      }
      await agent.update({
        type: 'upsert',
        kind: 'StagedGlobalNetworkPolicy',
        key: 'out',
        object: { ...forward([questions, service]), stagedAction: 'Set' },
      });
      for (const family of families) {
        const host = { endpoint: 'HostEndpoint:up', failsafe: { inbound: [], outbound: [] } };
        const connection = {
          from: { endpoint: 'ns/a', address: w.packets.pod('a').addresses[family], host },
          to: { address: hosts[family].www as IpAddress },
          protocol: 'TCP',
          port: 80,
        } as const;
        const explained = (staged: boolean) => agent.pipeline.explain(connection, staged);
        const rules = explained(false).directions.flatMap(({ tiers }) =>
          tiers.flatMap(({ policies }) => policies.flatMap((policy) => policy.rules)),
        );
        assert.equal(rules.at(-1)?.learnt?.name, 'www.example.com');
        assert.deepEqual([explained(false).verdict, explained(true).verdict], ['allow', 'deny']);
        await w.expectReach('b', hosts[family].www);
      }
    });
  });
}
