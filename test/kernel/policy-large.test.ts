/**
 * The largest that people, or whoever means harm, can write in one policy: read as from an API server, calculated, in the kernel, and packets obey it.
 * What is beyond that is refused where it is read (src/datastore/manifest/policy-cost.ts).
 */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decodeObject } from '#datastore';
import type { Kind, ModelUpdate } from '#model';
import { applyTo, podsOf, startEngine } from './engine-world.ts';
import { families, PacketWorld, packetsNeed } from './packet-world.ts';

const portsCount = 5_000;
const prefixesCount = 50_000;
const membersCount = 100_000;

/** As the datastore reads it from an API server. */
function upsert(kind: Kind, name: string, spec: object, { namespace = '', labels = {} } = {}): ModelUpdate {
  const apiVersion = kind === 'NetworkPolicy' ? 'networking.k8s.io/v1' : 'projectcalico.org/v3';
  const metadata = { name, labels, ...(namespace && { namespace }) };
  const { typed, faults, notes } = decodeObject(kind, { apiVersion, kind, metadata, spec }, 'api');
  assert.ok(typed && notes.length === 0, JSON.stringify([faults, notes]));
  return { type: 'upsert', key: namespace ? `${namespace}/${name}` : name, ...typed } as ModelUpdate;
}
const networkPolicy = (name: string, ingress: readonly object[]): ModelUpdate =>
  upsert('NetworkPolicy', name, { podSelector: { matchLabels: { name: 'a' } }, ingress }, { namespace: 'ns' });

/** One in 198.18.0.0/15, 2001:2::/48 each. */
function prefixes(count: number): string[] {
  return Array.from({ length: count }, (_, i) =>
    i % 2 === 0
      ? `198.${18 + (i >> 17)}.${(i >> 9) & 255}.${(i >> 1) & 255}/32`
      : `2001:2:0:${(i >> 1).toString(16)}::/64`,
  );
}

for (const backend of ['nft', 'legacy'] as const) {
  suite(`large policies, iptables-${backend}`, packetsNeed, () => {
    test('5,000 ports, 50,000 prefixes, a set of 100,000, a selector of 10 kB: packets obey, a change costs what it touches', async (t) => {
      await using world = await PacketWorld.make(['a', 'b', 'c']);
      const [b, c] = [world.pod('b').addresses, world.pod('c').addresses];
      const dataplane = await world.startDataplane({ backend });
      const change = await startEngine(applyTo(dataplane), podsOf(world));
      const put = async (what: string, ...updates: ModelUpdate[]): Promise<void> => {
        const began = performance.now();
        await change(...updates);
        assert.equal(dataplane.status().policies.broken, 0);
        t.diagnostic(`${what}: in the kernel after ${(performance.now() - began).toFixed()} ms`);
      };

      const values = [...Array.from({ length: 1_000 }, (_, i) => `value-${i}`), 'b'];
      assert.ok(values.join().length > 9_000);
      const matchExpressions = [{ key: 'name', operator: 'In', values }];
      await put(
        'a selector of 10 kB',
        networkPolicy('selector', [{ from: [{ podSelector: { matchExpressions } }], ports: [{ port: 20_001 }] }]),
      );
      const ports = Array.from({ length: portsCount }, (_, i) => ({ port: 1 + 2 * i }));
      await put('5,000 ports', networkPolicy('ports', [{ ports }]));
      const blocks = [...prefixes(prefixesCount), `${b[4]}/32`, `${b[6]}/128`].map((cidr) => ({ ipBlock: { cidr } }));
      await put('50,000 prefixes', networkPolicy('prefixes', [{ from: blocks, ports: [{ port: 20_002 }] }]));
      const set = (nets: readonly string[]): ModelUpdate =>
        upsert('GlobalNetworkSet', 'many', { nets }, { labels: { many: 'yes' } });
      const nets = prefixes(membersCount);
      const rule = {
        action: 'Allow',
        protocol: 'TCP',
        source: { selector: 'has(many)' },
        destination: { ports: [20_003] },
      };
      await put(
        'a set of 100,000',
        set([...nets, c[4], c[6]]),
        upsert('GlobalNetworkPolicy', 'members', { order: 1, selector: "name == 'a'", ingress: [rule] }),
      );

      for (const family of families) {
        await world.expectReach('b', 'a', 20_001, family);
        await world.expectSilence('c', 'a', 20_001, family);
        await world.expectReach('c', 'a', 4_999, family);
        await world.expectReach('c', 'a', 9_999, family);
        await world.expectSilence('c', 'a', 5_000, family);
        await world.expectReach('b', 'a', 20_002, family);
        await world.expectSilence('c', 'a', 20_002, family);
        await world.expectReach('c', 'a', 20_003, family);
        await world.expectSilence('b', 'a', 20_003, family);
      }

      const before = world.commands.length;
      await put('two of 100,000 go', set(nets));
      const lines = world.commands.slice(before).flatMap(({ stdin }) => stdin.trim().split('\n'));
      assert.deepEqual(
        lines.map((line) => line.split(' ')[0]),
        ['del', 'del'],
      );
      for (const family of families) {
        await world.expectSilence('c', 'a', 20_003, family);
        await world.expectReach('b', 'a', 20_002, family);
      }
    });
  });
}
