/** 10,000 pods, 1,000 policies, 110 pods on the node: one change costs what it touches, read from the lines sent to the kernel. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ModelUpdate } from '#model';
import { scaleModel } from '../support/policy-scale.ts';
import { applyTo, startEngine } from './engine-world.ts';
import { PacketWorld, packetsNeed } from './packet-world.ts';

const model = scaleModel({
  namespaces: 100,
  podsPerNamespace: 100,
  policiesPerNamespace: 10,
  apps: 20,
  localPods: 110,
});

for (const backend of ['nft', 'legacy'] as const) {
  suite(`one change among many, iptables-${backend}`, packetsNeed, () => {
    test('a label change writes only the members and chains it touches', async () => {
      await using world = await PacketWorld.make([]);
      const dataplane = await world.startDataplane({ backend }, model.endpoints);
      const change = await startEngine(applyTo(dataplane), model);
      assert.equal(dataplane.status().endpoints.programmed, 110);
      assert.equal(dataplane.status().policies.known, 1000);
      for (const { id } of model.endpoints) assert.ok(dataplane.endpointInForce(id));

      /** Lines of each write that one change of the model causes. */
      const linesOf = async (...updates: ModelUpdate[]): Promise<string[][]> => {
        const before = world.commands.length;
        await change(...updates);
        return world.commands
          .slice(before)
          .filter(({ argv }) => argv.some((word) => /restore$/.test(word)))
          .map(({ stdin }) => stdin.trim().split('\n'));
      };

      // A pod of another node leaves one set and joins another, in both families: four lines in two calls, no chain.
      const remote = await linesOf(model.pod(7, 60, { app: 'a3' }));
      assert.deepEqual(
        remote.map((lines) => lines.map((line) => line.split(' ')[0])),
        [
          ['add', 'add'],
          ['del', 'del'],
        ],
      );
      const address = model.pod(7, 60).type === 'upsert' ? '10.1.7.60' : '';
      assert.match(remote[0]![0]!, new RegExp(`^add poplin4-\\S+ ${address.replaceAll('.', '\\.')} -exist$`));

      // A label that no policy asks for: nothing.
      assert.deepEqual(await linesOf(model.pod(7, 60, { app: 'a3', version: '2' })), []);

      // One policy's port: its ingress chain in each family, nothing else.
      const changed = await linesOf(model.policy(7, 4, 4444));
      assert.equal(changed.length, 2);
      for (const lines of changed) {
        assert.equal(lines.filter((line) => line.startsWith(':')).length, 1, lines.join('\n'));
        assert.ok(lines.length <= 4, lines.join('\n'));
        assert.match(lines.join('\n'), /NetworkPolicy:n7\/np4/);
      }

      // A policy goes: the chains of the namespace's pods, then the policy's own chains and its sets.
      const { kind, key } = model.policy(7, 4, 0);
      const removed = (await linesOf({ type: 'delete', kind, key } as ModelUpdate)).flat();
      assert.ok(removed.length > 0 && removed.length < 120, `${removed.length} lines`);
      const named = new Set(removed.flatMap((line) => /^:(poplin-[tf]w-\S+)/.exec(line)?.[1] ?? []));
      assert.ok(named.size <= 4, [...named].join());
    });
  });
}
