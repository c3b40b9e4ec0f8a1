/** An agent that is killed at random moments of ADD and DEL: no address twice, none lost, nothing left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { netConf, podEnvironment, startNode } from './cni-support.ts';

const CYCLES = 200;
/** Calls between two kills, so that 200 cycles see some 30 of them. */
const CYCLES_PER_LIFE = 7;

/** Reproducible: a failure names its seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test(
  `${CYCLES} cycles of ADD and DEL with an agent that is killed at random`,
  needs({ root: true, commands: ['gcc', 'nsenter'] }),
  async (t) => {
    const seed = Date.now() % 1_000_000;
    t.diagnostic(`seed ${seed}`);
    const random = randomFrom(seed);
    const node = await startNode(t, { podCIDRs: ['10.1.0.0/26', 'fd00:1::/122'], addressRestMs: 200 });
    /** As the runtime knows them: ADD answered, DEL not. */
    const held = new Map<string, string>();
    let kills = 0;
    let refused = 0;

    const cycle = async (i: number): Promise<void> => {
      const id = `c${i}`;
      const pod = node.newPod();
      const added = await node.add(id, pod);
      if (added.code === 0) {
        const address = added.json?.ips?.[0]?.address ?? '';
        assert.ok(![...held.values()].includes(address), `${address} given to ${id} while another has it`);
        held.set(id, address);
        assert.equal(added.json?.ips?.length, 2);
      } else {
        refused++;
        assert.equal(added.json?.code, 11, added.stdout);
      }
      // A runtime deletes what it failed to add as well; some pods live on for a while.
      if (added.code !== 0 || random() < 0.7) await remove(id);
    };
    const remove = async (id: string): Promise<void> => {
      const deleted = await node.del(id);
      assert.deepEqual([deleted.code, deleted.stdout], [0, ''], deleted.stdout);
      held.delete(id);
    };

    for (let i = 0; i < CYCLES; i += CYCLES_PER_LIFE) {
      const calls = Promise.all(Array.from({ length: Math.min(CYCLES_PER_LIFE, CYCLES - i) }, (_, k) => cycle(i + k)));
      const killAfterMs = random() * 60;
      const timer = setTimeout(() => void node.kill().then(() => kills++), killAfterMs);
      await calls;
      clearTimeout(timer);
      await node.kill();
      await node.start();
      const report = await node.report();
      // What the runtime holds is what the agent knows, and the kernel has that and nothing else.
      assert.deepEqual(
        report.endpoints.map((endpoint) => endpoint.id).sort(),
        [...held.keys()].map((id) => `default/pod-${id}`).sort(),
      );
      assert.equal(report.usage[0]?.used, held.size);
      assert.equal(node.leftovers().links.length, held.size);
      assert.deepEqual(
        node
          .leftovers()
          .routes.filter((route) => route.endsWith('/32'))
          .sort(),
        [...held.values()].sort(),
      );
      assert.deepEqual(node.files('.intent', '.tmp', '.broken'), []);
    }
    for (const id of [...held.keys()]) await remove(id);
    const gc = await node.call({ ...podEnvironment('GC', 'none') }, { ...netConf(), 'cni.dev/valid-attachments': [] });
    assert.equal(gc.code, 0);
    assert.deepEqual(node.leftovers(), { links: [], routes: [] });
    await until(async () => (await node.report()).usage.every((pool) => pool.used === 0 && pool.resting === 0), {
      what: 'all addresses free',
    });
    await until(() => node.files('').length === 0, { what: 'no file left' });
    t.diagnostic(`${kills} kills during calls, ${refused} ADDs refused`);
    assert.ok(kills > 5, 'the agent was killed while it worked');
  },
);
