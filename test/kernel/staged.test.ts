/** Staged policies with real packets: nothing of them decides, and what they would deny is reported though it passed. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { decodeObject } from '#datastore';
import type { Backend } from '#felix';
import type { IpFamily } from '#kit';
import { type Kind, type ModelUpdate, objectKey } from '#model';
import { until } from '../support/wait.ts';
import { podsOf, startEngine } from './engine-world.ts';
import { flowLogWorld } from './flow-log-world.ts';
import { families, packetsNeed } from './packet-world.ts';

function object(kind: Kind, written: string, name: string, spec: object): ModelUpdate {
  const metadata = { name, namespace: 'ns' };
  const { typed, faults } = decodeObject(kind, { apiVersion: 'projectcalico.org/v3', kind: written, metadata, spec });
  assert.ok(typed, JSON.stringify(faults));
  return { type: 'upsert', key: objectKey(typed.object.metadata), ...typed } as ModelUpdate;
}
const staged = (name: string, spec: object) => object('StagedNetworkPolicy', 'StagedNetworkPolicy', name, spec);
const enforced = (name: string, spec: object) => object('CalicoNetworkPolicy', 'NetworkPolicy', name, spec);
const tcp = (port: number) => ({ protocol: 'TCP', destination: { ports: [port] } });

async function world(backend: Backend, pods: readonly string[]) {
  const w = await flowLogWorld(backend, pods);
  return { ...w, say: await startEngine(w.apply, podsOf(w.packets)) };
}

const save = (backend: Backend, family: IpFamily): string[] => [
  `xtables-${backend}-multi`,
  `ip${family === 6 ? '6' : ''}tables-save`,
];

for (const backend of ['nft', 'legacy'] as const) {
  suite(`staged policies, iptables-${backend}`, packetsNeed, () => {
    test('what a staged policy would deny passes, and is reported with the policy; what it would allow is counted', async () => {
      await using w = await world(backend, ['a', 'b', 'c']);
      await w.say(
        staged('lock', {
          selector: "name == 'b'",
          ingress: [
            { action: 'Deny', ...tcp(81) },
            { action: 'Allow', source: { selector: "name == 'a'" } },
          ],
        }),
      );
      const id = 'StagedNetworkPolicy:ns/lock';
      for (const family of families) {
        const from = w.packets.pod('a').addresses[family];
        await w.packets.expectReach('a', 'b', 80, family);
        await w.packets.expectReach('a', 'b', 81, family);
        const byRule = await w.seen((flow) => flow.source.address === from && flow.destination.port === 81);
        assert.deepEqual([byRule.verdict, byRule.direction, byRule.by], ['allowed', 'ingress', { type: 'none' }]);
        assert.deepEqual([byRule.source.pod, byRule.destination.pod], ['ns/a', 'ns/b']);
        assert.deepEqual(byRule.staged, {
          verdict: 'denied',
          by: { type: 'rule', policy: id, rule: 1, text: 'deny TCP 81 from anywhere' },
        });
        await w.packets.expectReach('c', 'b', 80, family);
        const byTier = await w.seen(({ source }) => source.address === w.packets.pod('c').addresses[family]);
        assert.deepEqual(byTier.staged, {
          verdict: 'denied',
          by: { type: 'endOfTier', tier: 'default', policies: [id] },
        });
        assert.equal(await w.packets.pings('c', 'b', family), true);
        await w.seen(
          ({ icmp, source }) => icmp !== undefined && source.address === w.packets.pod('c').addresses[family],
        );
      }
      const flows = await w.told();
      assert.deepEqual(new Set(flows.map(({ staged }) => staged?.verdict)), new Set(['denied']));
      assert.deepEqual(
        flows.filter(({ destination }) => destination.pod !== 'ns/b'),
        [],
        'of pods that it does not select nothing is told',
      );
      const counts = w.flows.counts();
      assert.ok(counts.every((count) => count.staged));
      const packetsOf = (rule: string): number => counts.find((count) => count.rule === rule)?.packets ?? 0;
      assert.ok(packetsOf('1') >= 2 && packetsOf('2') >= 2 && packetsOf('end of tier') >= 4, JSON.stringify(counts));
    });

    test('in the kernel stand rules that tell of what begins connections of the pods in question, and nothing that decides', async () => {
      await using w = await world(backend, ['a', 'b']);
      const before = await Promise.all(families.map((family) => w.packets.sh(...save(backend, family))));
      const sets = await w.packets.sh('ipset', 'list', '-name');
      await w.say(
        staged('lock', {
          selector: "name == 'b'",
          types: ['Ingress', 'Egress'],
          ingress: [{ action: 'Deny', source: { selector: "name == 'a'" } }],
        }),
      );
      assert.equal(await w.packets.sh('ipset', 'list', '-name'), sets);
      const rules = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('-A'));
      for (const [index, family] of families.entries()) {
        const after = rules(await w.packets.sh(...save(backend, family)));
        const known = new Set(rules(before[index]!));
        const added = after.filter((line) => !known.has(line));
        assert.deepEqual(
          rules(before[index]!).filter((line) => !after.includes(line)),
          [],
        );
        assert.equal(added.length, 2, added.join('\n'));
        for (const line of added) assert.match(line, / -j NFLOG .*--nflog-prefix "?A[IE]S\|/);
      }
      // A connection is told of once, however many packets it has.
      for (let i = 0; i < 3; i++) await w.packets.expectReach('a', 'b', 80, 4);
      const flows = await until(
        async () => {
          const told = await w.told();
          return told.length >= 3 && told;
        },
        { what: 'three flows' },
      );
      assert.deepEqual(
        flows.map(({ packets, direction }) => [packets, direction]),
        Array(3).fill([1, 'ingress']),
      );
    });

    test('what is denied says what it would be; a staged policy in the place of an enforced one opens nothing', async () => {
      await using w = await world(backend, ['a', 'b']);
      await w.say(
        enforced('door', { selector: "name == 'b'", ingress: [{ action: 'Allow', ...tcp(80) }] }),
        staged('door', { selector: "name == 'b'", ingress: [{ action: 'Allow', ...tcp(81) }] }),
      );
      for (const family of families) {
        const from = w.packets.pod('a').addresses[family];
        await w.packets.expectSilence('a', 'b', 81, family);
        const opened = await w.seen(({ source, destination }) => source.address === from && destination.port === 81);
        assert.deepEqual([opened.verdict, opened.staged?.verdict], ['denied', 'allowed']);
        await w.packets.expectReach('a', 'b', 80, family);
        const closed = await w.seen(({ source, destination }) => source.address === from && destination.port === 80);
        assert.deepEqual([closed.verdict, closed.staged?.verdict], ['allowed', 'denied']);
        assert.deepEqual(closed.by, {
          type: 'rule',
          policy: 'CalicoNetworkPolicy:ns/door',
          rule: 1,
          text: 'allow TCP 80 from anywhere',
        });
      }
      await w.say({ type: 'delete', kind: 'StagedNetworkPolicy', key: 'ns/door' });
      for (const family of families) {
        await w.packets.expectReach('a', 'b', 80, family);
        const rules = await w.packets.sh(...save(backend, family));
        assert.ok(!/A[IE]S\|/.test(rules), 'the rules that told of it are gone');
      }
    });
  });
}
