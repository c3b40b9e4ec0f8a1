/** The lock of iptables' programs, held by the node's dataplane and by others. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { suite, test } from 'node:test';
import type { PolicyDataplane } from '#felix';
import { acquireLock, takeFlock } from '#sys';
import { needs } from '../support/needs.ts';
import { PacketWorld } from './packet-world.ts';
import { endpoint, policy, startOpen, tier } from './programs.ts';

const machine = needs({ root: true, commands: ['xtables-legacy-multi', 'ipset', 'ip', 'nsenter'] });

/** Nobody reaches a. */
async function isolated(world: PacketWorld): Promise<PolicyDataplane> {
  const dataplane = await startOpen(world, { backend: 'legacy' });
  dataplane.apply([policy('P', []), endpoint('a', { ingress: tier('P') })]);
  await dataplane.whenApplied();
  return dataplane;
}

suite('the xtables lock', machine, () => {
  test("is waited for, and is the node's own file", async () => {
    await using world = await PacketWorld.make(['a', 'b']);
    const dataplane = await isolated(world);
    const held = acquireLock(world.lockFile);
    assert.ok(held.held);
    dataplane.apply([endpoint('a')]);
    let applied = false;
    const done = dataplane.whenApplied().then(() => {
      applied = true;
    });
    const before = world.writes();
    // It would be done many times over without the lock: another write of the same size is.
    for (let i = 0; i < 5; i++) {
      await world.exec(world.node, ['xtables-legacy-multi', 'iptables', '-t', 'mangle', '-A', 'OUTPUT'], {
        env: { XTABLES_LOCKFILE: `${world.lockFile}.other` },
      });
    }
    assert.equal(applied, false);
    assert.equal(world.writes(), before, 'no program is started that waits');
    held.release();
    await done;
    assert.equal(world.writes(), before + 2);
    assert.equal(dataplane.status().failures, 0);
    fs.rmSync(`${world.lockFile}.other`);
  });

  test('is held once while the programs of both families write', async () => {
    await using world = await PacketWorld.make(['a', 'b']);
    const dataplane = await isolated(world);
    const free: boolean[] = [];
    const { promise: both, resolve } = Promise.withResolvers<void>();
    world.before = async (argv) => {
      if (!argv.some((word) => word.endsWith('tables-restore'))) return;
      const taken = takeFlock(world.lockFile);
      taken?.release();
      free.push(taken !== undefined);
      if (free.length === 2) resolve();
      await both;
    };
    dataplane.apply([endpoint('a')]);
    await dataplane.whenApplied();
    assert.deepEqual(free, [false, false]);
    const after = takeFlock(world.lockFile);
    assert.ok(after, 'others have it now');
    after.release();
  });
});
