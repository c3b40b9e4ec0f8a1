/** Domain names in egress rules, by a real DNS server, real packets, both back ends and both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { needs } from '../support/needs.ts';
import { type DnsWorld, dnsWorld, namesPolicy, type Zone } from './dns-world.ts';

const machine = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter'],
});
const families = [4, 6] as const;
const hosts = {
  4: { www: '203.0.113.10', deep: '203.0.113.11', other: '203.0.113.12', cdn: '203.0.113.13' },
  6: { www: '2001:db8:1::10', deep: '2001:db8:1::11', other: '2001:db8:1::12', cdn: '2001:db8:1::13' },
} as const;
const addresses = families.flatMap((family) => Object.values(hosts[family]));
const zone: Zone = (name, type) => {
  const of = hosts[type === 'AAAA' ? 6 : 4];
  const direct: Readonly<Record<string, string>> = {
    'www.example.com': of.www,
    'a.b.example.com': of.deep,
    'example.com': of.other,
    'other.org': of.other,
  };
  const data = direct[name];
  return data === undefined ? [] : [{ owner: name, type, data }];
};

async function world(backend: 'nft' | 'legacy'): Promise<DnsWorld> {
  const w = await dnsWorld(backend, addresses);
  w.zone = zone;
  return w;
}

for (const backend of ['nft', 'legacy'] as const) {
  suite(`domains, iptables-${backend}`, machine, () => {
    test('an address is allowed from its answer on, with the first packet; others, and other pods, are as they were', async () => {
      await using w = await world(backend);
      const agent = await w.start();
      await agent.update(namesPolicy(['*.example.com']));
      assert.equal(agent.domains.problem(), undefined);
      for (const family of families) {
        const of = hosts[family];
        assert.equal(await w.reaches('a', of.www), false, 'before anybody asked');
        for (const name of ['www.example.com', 'a.b.example.com', 'example.com', 'other.org'])
          await w.ask('a', name, { family });
        await w.expectReach('a', of.www);
        await w.expectReach('a', of.deep);
        assert.equal(await w.reaches('a', of.other), false, 'neither what is above the wildcard nor another name');
        await w.expectReach('b', of.other);
      }
    });
  });
}
