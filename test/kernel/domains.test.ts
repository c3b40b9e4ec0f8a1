/** Domain names in egress rules, by a real DNS server, real packets, both back ends and both families. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { IpAddress } from '#kit';
import { until } from '../support/wait.ts';
import { type Connection, type DnsAgent, type DnsWorld, dnsWorld, namesPolicy, type Zone } from './dns-world.ts';
import { networkPolicy, noPolicy } from './model-objects.ts';
import { families, packetsNeed } from './packet-world.ts';

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

/** All flows of pods have been judged: one of the other pod that is forbidden now was cut, and as many again as were there before. */
async function judged(w: DnsWorld, agent: DnsAgent, family: 4 | 6): Promise<void> {
  for (let round = 0; round < 2; round++) {
    const control = await w.connection('b', hosts[family].other);
    agent.dataplane.recheckFlows('pods');
    await agent.update(networkPolicy('control', 'b', { egress: [] }));
    await control.isCut();
    await agent.update(noPolicy('control'));
  }
}

async function world(backend: 'nft' | 'legacy'): Promise<DnsWorld> {
  const w = await dnsWorld(backend, addresses);
  w.zone = zone;
  return w;
}

for (const backend of ['nft', 'legacy'] as const) {
  suite(`domains, iptables-${backend}`, packetsNeed, () => {
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

    test('aliases: the name asked for and every name on the way; what stands beside the way says nothing', async () => {
      await using w = await world(backend);
      const agent = await w.start();
      await agent.update(namesPolicy(['shop.example.com', '*.cdn.net']));
      for (const family of families) {
        const of = hosts[family];
        const type = family === 4 ? 'A' : 'AAAA';
        w.zone = (name) => ({
          records: [
            { owner: name, type: 'CNAME', data: 'edge.provider.org' },
            { owner: 'edge.provider.org', type: 'CNAME', data: 'x.cdn.net' },
            { owner: 'x.cdn.net', type, data: of.cdn },
            { owner: 'shop.example.com', type, data: name === 'shop.example.com' ? of.cdn : of.other },
          ],
          beside: [{ owner: 'shop.example.com', type, data: of.other }],
        });
        await w.ask('a', 'elsewhere.org', { family });
        await w.expectReach('a', of.cdn);
        assert.equal(await w.reaches('a', of.other), false);
        w.zone = (name) => [
          { owner: name, type: 'CNAME', data: 'origin.provider.org' },
          { owner: 'origin.provider.org', type, data: of.deep },
        ];
        await w.ask('a', 'other.example.com', { family });
        assert.equal(await w.reaches('a', of.deep), false);
        await w.ask('a', 'SHOP.example.com', { family });
        await w.expectReach('a', of.deep);
      }
    });

    test('an address is over with its time, in the kernel; what runs goes on; the next answer opens it again', async () => {
      await using w = await world(backend);
      const agent = await w.start();
      await agent.update(namesPolicy(['www.example.com']));
      const connections: Connection[] = [];
      for (const family of families) {
        const address = hosts[family].www;
        const answer = (ttlSec: number) => {
          w.zone = (name, type) => [{ owner: name, type, data: address, ttlSec }];
          return w.ask('a', 'www.example.com', { family });
        };
        await answer(1);
        const running = await w.connection('a', address);
        connections.push(running);
        await until(async () => !(await w.reaches('a', address)), { what: 'the end of the answer', deadlineMs: 6_000 });
        await judged(w, agent, family);
        await running.goesOn();
        await answer(60);
        await w.expectReach('a', address);
      }
      // Before the next agent comes, what the first one learnt is over.
      w.zone = () => [];
      await agent.kill();
      await w.packets.sh(
        'sh',
        '-c',
        'for set in $(ipset list -n); do case $set in poplin*) ipset flush $set;; esac; done',
      );
      const next = await w.start({ objects: [namesPolicy(['www.example.com'])] });
      for (const family of families) await judged(w, next, family);
      for (const running of connections) await running.goesOn();
      await next.update(namesPolicy(['other.org']));
      for (const family of families) assert.equal(await w.reaches('a', hosts[family].www), false);
      await until(() => next.dataplane.status().flows.cut >= families.length, {
        what: 'flows that no name allows to be cut',
      });
    });

    test('answers of others say nothing: of a server that is not trusted, of a pod that is asked, of one that was not asked', async () => {
      await using w = await world(backend);
      const agent = await w.start();
      await agent.update(namesPolicy(['www.example.com']));
      w.serve('b', () => zone);
      for (const family of families) {
        const { www } = hosts[family];
        await w.ask('a', 'www.example.com', { family, server: w.packets.pod('b').addresses[family] });
        assert.equal(await w.reaches('a', www), false, 'of a pod');
        await w.forge('a', 'b', 'www.example.com', www);
        assert.equal(await w.reaches('a', www), false, 'a pod in the name of the server');
        await w.forge('a', 'outside', 'www.example.com', www);
        assert.equal(await w.reaches('a', www), false, 'without a question');
      }
      agent.dataplane.setDnsServers([]);
      await agent.dataplane.whenApplied();
      for (const family of families) {
        await w.ask('a', 'www.example.com', { family });
        assert.equal(await w.reaches('a', hosts[family].www), false, 'no server is trusted');
      }
    });

    test('without an agent answers pass, what was learnt stays for its time, and the next agent knows it', async () => {
      await using w = await world(backend);
      const first = await w.start();
      await first.update(namesPolicy(['*.example.com']));
      for (const family of families) await w.ask('a', 'www.example.com', { family });
      await first.kill();
      for (const family of families) {
        await w.expectReach('a', hosts[family].www);
        await w.ask('a', 'a.b.example.com', { family });
        assert.equal(await w.reaches('a', hosts[family].deep), false, 'nobody saw the answer');
      }
      const second = await w.start({ objects: [namesPolicy(['*.example.com'])] });
      for (const family of families) {
        await w.expectReach('a', hosts[family].www);
        const connection = {
          from: { endpoint: 'ns/a', address: w.packets.pod('a').addresses[family] },
          to: { address: hosts[family].www as IpAddress },
          protocol: 'TCP',
          port: 80,
        } as const;
        const explained = second.pipeline.explain(connection, false);
        const rule = explained.directions[0]?.tiers[0]?.policies[0]?.rules.at(-1);
        assert.equal(explained.verdict, 'allow');
        assert.equal(rule?.learnt?.name, 'www.example.com');
        await w.ask('a', 'a.b.example.com', { family });
        await w.expectReach('a', hosts[family].deep);
      }
    });

    test('by way of a service: the address that the pod asked is what is trusted', async () => {
      await using w = await world(backend);
      const service = { 4: '10.96.0.10', 6: 'fd00:96::a' } as const;
      for (const family of families) {
        const iptables = `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}`;
        const to = family === 4 ? w.server(4) : `[${w.server(6)}]`;
        await w.packets.sh(
          ...[iptables, '-w', '-t', 'nat', '-A', 'PREROUTING', '-d', service[family], '-p', 'udp', '--dport', '53'],
          ...['-j', 'DNAT', '--to-destination', `${to}:53`],
        );
      }
      const agent = await w.start({ servers: Object.values(service) as IpAddress[] });
      await agent.update(namesPolicy(['www.example.com']));
      for (const family of families) {
        const { www } = hosts[family];
        await w.ask('a', 'www.example.com', { family });
        assert.equal(await w.reaches('a', www), false, 'the server by its own address is not trusted');
        await w.ask('a', 'www.example.com', { family, server: service[family] as IpAddress });
        await w.expectReach('a', www);
      }
    });

    test('over TCP, and from a server on the node that is not tracked', async () => {
      await using w = await world(backend);
      const agent = await w.start({ servers: [...Object.values(w.packets.node.addresses), w.server(4), w.server(6)] });
      await agent.update(namesPolicy(['*.example.com']));
      w.serve('node', () => zone);
      for (const family of families) {
        const iptables = `${family === 4 ? 'iptables' : 'ip6tables'}-${backend}`;
        for (const [chain, port] of [
          ['PREROUTING', '--dport'],
          ['OUTPUT', '--sport'],
        ] as const)
          await w.packets.sh(
            ...[iptables, '-w', '-t', 'raw', '-A', chain, '-p', 'udp', port, '53', '-j', 'CT', '--notrack'],
          );
        await w.askTcp('a', 'www.example.com', family);
        await w.expectReach('a', hosts[family].www);
        await w.ask('a', 'a.b.example.com', { family, server: w.packets.node.addresses[family] });
        await w.expectReach('a', hosts[family].deep);
      }
    });
  });
}
