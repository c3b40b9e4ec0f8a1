/** The agent process is killed at random moments of ADD and DEL: no address twice, none lost, nothing left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['cniShim'] });

const CYCLES = 200;
const AT_ONCE = 8;
const CNI_TRY_AGAIN = 11;

test(`${CYCLES} cycles of ADD and DEL with an agent that is killed at random`, mayRun, async (t) => {
  const node = await LoneAgent.ready(t, { podCIDRs: ['10.42.1.0/26', 'fd00:42:1::/122'] });
  /** As the runtime knows them: ADD answered, DEL not. */
  const held = new Map<string, readonly string[]>();
  let kills = 0;
  let refused = 0;
  let done = false;
  let serving = true;
  for (let slot = 0; slot < AT_ONCE * 2; slot++) node.writePod(`s${slot}`);

  const cycle = async (name: string): Promise<void> => {
    await node.makePodNetns(name);
    const added = await node.cni('ADD', name);
    if (added.exitCode === 0) {
      assert.equal(added.addresses.length, 2);
      for (const [other, addresses] of held)
        for (const address of added.addresses)
          assert.ok(!addresses.includes(address), `${address} given to ${name} and ${other}`);
      held.set(name, added.addresses);
    } else {
      refused++;
      assert.equal(added.code, CNI_TRY_AGAIN, added.message);
    }
    const deleted = await node.cni('DEL', name);
    assert.equal(deleted.exitCode, 0, deleted.message);
    held.delete(name);
    await node.dropPodNetns(name);
  };
  let next = 0;
  const worker = async (slot: number): Promise<void> => {
    // A pod's name is used again and again, as a StatefulSet's is.
    for (let turn = 0; next < CYCLES; turn++) {
      await until(() => serving, { what: 'the agent to serve', intervalMs: 1, deadlineMs: 90_000 });
      next++;
      await cycle(`s${slot * 2 + (turn % 2)}`);
    }
  };
  const killer = async (): Promise<void> => {
    while (!done) {
      const life = performance.now() + Math.random() * 600;
      await until(() => done || performance.now() >= life, { what: 'its hour', intervalMs: 1 });
      serving = false;
      await node.kill();
      kills++;
      node.start();
      await node.untilReady();
      serving = true;
    }
  };
  const working = Promise.all(Array.from({ length: AT_ONCE }, (_, slot) => worker(slot))).finally(() => {
    done = true;
  });
  await Promise.all([working, killer()]);

  const gc = await node.cni('GC', 'none', { 'cni.dev/valid-attachments': [] });
  assert.equal(gc.exitCode, 0, gc.message);
  await until(async () => (await node.status()).cni.addresses.every(({ used }) => used === 0), {
    what: 'all addresses free',
  });
  assert.equal((await node.status()).cni.pods, 0);
  assert.doesNotMatch((await node.inside('ip', '-o', 'link')).stdout, / pop/);
  for (const family of ['-4', '-6']) {
    const routes = (await node.inside('ip', family, 'route', 'show', 'proto', '155')).stdout;
    assert.deepEqual(
      routes.split('\n').filter((route) => route !== '' && !route.startsWith('blackhole')),
      [],
    );
  }
  // Rules of pods that are gone go last, and not in the DEL's time; those of Pods that may come again wait for them.
  for (let slot = 0; slot < AT_ONCE * 2; slot++) node.drop(`pod-s${slot}.yaml`);
  await until(async () => !/poplin-[ft]w-/.test(await node.kernel()), {
    what: `the chains of pods to be gone: ${(await node.kernel()).match(/poplin-[ft]w-pop\w+/g)?.join(' ')}`,
    deadlineMs: 15_000,
    intervalMs: 200,
  });
  t.diagnostic(`${kills} kills, ${refused} of ${CYCLES} ADDs refused`);
  assert.ok(kills >= 3, `${kills} kills`);
  assert.ok(refused < CYCLES * 0.8, `${refused} ADDs refused`);
});
