import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createIpam } from '#ipam';
import { silentLogger } from '#kit';
import { createAttachments } from './attachments.ts';
import { add, crashed, del, makeWorld, podCIDRs, REST_MS, World } from './attachments-world.ts';
import { CniError } from './errors.ts';
import { openAttachmentStore } from './store.ts';

test('ADD and DEL do their steps in the order that keeps packets and addresses safe', async (t) => {
  const world = makeWorld(t);
  const { attachments } = await world.boot();
  await add(attachments, 'a');
  const order = (...names: string[]): string[] => world.events.filter((event) => names.includes(event));
  assert.deepEqual(order('attach', 'conntrack', 'create', 'before complete'), [
    'attach',
    'conntrack',
    'create',
    'before complete',
  ]);
  assert.ok(world.events.indexOf('after begin') < world.events.indexOf('create'));
  world.events.length = 0;
  await del(attachments, 'a');
  assert.deepEqual(order('remove', 'detach', 'before free'), ['remove', 'detach', 'before free']);
});

test('an ADD that fails at any step leaves nothing, and the next one works', async (t) => {
  for (const fail of [
    'pod',
    'before begin',
    'after begin',
    'attach',
    'conntrack',
    'create',
    'before complete',
    'after complete',
  ]) {
    const world = makeWorld(t);
    const { attachments, ipam, attached } = await world.boot();
    world.fail = fail;
    await assert.rejects(add(attachments, 'a'), fail);
    world.fail = undefined;
    assert.deepEqual([world.links.size, attached.size, world.files(), ipam.usage()[0]?.used], [0, 0, [], 0], fail);
    await add(attachments, 'a');
    assert.equal(attachments.endpoints().length, 1);
  }
});

test('an undoing that fails is made good by DEL', async (t) => {
  const world = makeWorld(t);
  const { attachments, ipam } = await world.boot();
  await add(attachments, 'a');
  world.fail = 'detach';
  await assert.rejects(del(attachments, 'a'), /detach failed/);
  assert.equal(ipam.usage()[0]?.used, 1, 'an address whose policy may still stand is not free');
  world.fail = undefined;
  await del(attachments, 'a');
  assert.deepEqual([ipam.usage()[0]?.used, world.files()], [0, []]);
});

test('what a failed ADD could not undo is no answer for the next one', async (t) => {
  const world = makeWorld(t);
  const { attachments, ipam } = await world.boot();
  world.fail = 'create';
  world.failToo = 'remove';
  await assert.rejects(add(attachments, 'a'), /no/);
  assert.equal(world.links.size, 1);
  world.fail = undefined;
  await assert.rejects(add(attachments, 'a'), /remove failed/);
  world.failToo = undefined;
  world.events.length = 0;
  await add(attachments, 'a');
  assert.ok(world.events.includes('remove') && world.events.includes('create'));
  assert.deepEqual([ipam.usage()[0]?.used, world.links.size, world.files().length], [1, 1, 1]);
});

test('a caller that hangs up: before the answer the ADD is undone, after it only once and only its own', async (t) => {
  const world = makeWorld(t);
  const { attachments, ipam } = await world.boot();
  const gone = new AbortController();
  gone.abort();
  await assert.rejects(add(attachments, 'a', gone.signal));
  const answer = await add(attachments, 'a');
  await del(attachments, 'a');
  const second = await add(attachments, 'a');
  await answer.undo();
  assert.equal(ipam.usage()[0]?.used, 1, 'the second ADD stands');
  const repeated = await add(attachments, 'a');
  await repeated.undo();
  assert.equal(ipam.usage()[0]?.used, 1, 'a repeated ADD takes nothing of the first back');
  await second.undo();
  assert.deepEqual([ipam.usage()[0]?.used, world.links.size, world.files()], [0, 0, []]);
});

test('an ADD whose Pod does not come ends with a retryable error that names it', async (t) => {
  const world = makeWorld(t);
  const store = await openAttachmentStore(world.directory, silentLogger);
  t.after(() => store.close());
  const ipam = createIpam({ clock: world.clock });
  ipam.setPools(podCIDRs);
  const attachments = createAttachments(
    {
      pods: {
        wait: (_key, _uid, signal) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      },
      dataplane: {
        attach: async () => undefined,
        detach: async () => undefined,
        flushConntrack: async () => undefined,
      },
      ipam,
      store,
      wiring: {
        create: () => assert.fail(),
        remove: async () => false,
        exists: () => false,
        list: () => [],
        problems: () => [],
        close: () => undefined,
      },
      clock: world.clock,
      log: silentLogger,
    },
    { podWaitMs: 20_000, policyWaitMs: 20_000 },
  );
  const waiting = add(attachments, 'a');
  await new Promise(setImmediate);
  world.clock.advance(20_000);
  await assert.rejects(waiting, (error: unknown) => {
    assert.ok(error instanceof CniError && error.cniCode === 11);
    assert.match(error.message, /Pod default\/a has not come .* within 20 s; try again/);
    return true;
  });
  assert.equal(ipam.usage()[0]?.used, 0);
});

test('the rest of an address survives a restart', async (t) => {
  const world = makeWorld(t);
  const first = await world.boot();
  await add(first.attachments, 'a');
  await del(first.attachments, 'a');
  const second = await world.boot();
  assert.deepEqual(second.ipam.usage()[0], { cidr: '10.1.0.0/29', size: 6, used: 0, resting: 1 });
  world.clock.advance(REST_MS);
  assert.equal(second.ipam.usage()[0]?.resting, 0);
});

test('an interface that no attachment knows goes at the start; a record without its interface is no endpoint', async (t) => {
  const world = makeWorld(t);
  const first = await world.boot();
  await add(first.attachments, 'a');
  world.links.clear();
  world.links.add('pop00000000000');
  const second = await world.boot();
  assert.deepEqual([world.links.size, second.attachments.endpoints(), second.ipam.usage()[0]?.used], [0, [], 1]);
  // The same container again: what is left makes room.
  await add(second.attachments, 'a');
  assert.deepEqual([second.attachments.endpoints().length, second.ipam.usage()[0]?.used], [1, 1]);
});

test('the sweep frees what has neither interface nor pod', async (t) => {
  const world = makeWorld(t);
  const { attachments, ipam } = await world.boot();
  for (const id of ['stands', 'live', 'gone']) await add(attachments, id);
  const [first = ''] = world.links;
  world.links.clear();
  world.links.add(first);
  await attachments.sweep((pod) => pod.key === 'default/live');
  assert.equal(ipam.usage()[0]?.used, 2);
  assert.equal(world.files().length, 2);
});

test('an intent that does not read is undone, interface and all', async (t) => {
  const world = makeWorld(t);
  const name = 'pop0123456789a';
  fs.writeFileSync(path.join(world.directory, `${name}@abcdef01234@10.1.0.1@fd00::1.intent`), '');
  world.links.add(name);
  const { ipam } = await world.boot();
  assert.deepEqual([world.links.size, world.files(), ipam.usage()[0]?.used], [0, [], 0]);
});

test('over random ADDs, DELs and crashes no address is given twice and none is lost', async () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g');
  const step = fc.record({
    op: fc.constantFrom('add' as const, 'add' as const, 'del' as const),
    id,
    /** Steps after which the agent is killed; mostly it is not. */
    crashAfter: fc.option(fc.nat(11), { freq: 2, nil: undefined }),
    waitMs: fc.constantFrom(0, 400, 1500),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
      const world = new World();
      try {
        let agent = await world.boot();
        /** Answered ADDs without an answered DEL. */
        const held = new Map<string, readonly string[]>();
        for (const { op, id: container, crashAfter, waitMs } of steps) {
          world.clock.advance(waitMs);
          world.stepsLeft = crashAfter ?? Number.POSITIVE_INFINITY;
          const full = held.size === 6 && !held.has(container);
          const call =
            op === 'add' ? add(agent.attachments, container) : del(agent.attachments, container).then(() => undefined);
          const settled = call.then(
            (answer) => ({ answer }),
            (error: unknown) => ({ error }),
          );
          const outcome = await crashed(world, settled);
          if (outcome === 'crashed') {
            world.stepsLeft = Number.POSITIVE_INFINITY;
            agent = await world.boot();
            // The runtime had no answer: it deletes, whatever it had asked for.
            await del(agent.attachments, container);
            held.delete(container);
          } else if ('error' in outcome) {
            assert.ok(
              full && outcome.error instanceof Error && /exhausted/.test(outcome.error.message),
              String(outcome.error),
            );
          } else if (outcome.answer) {
            const given = (outcome.answer.result as { ips: { address: string }[] }).ips.map((ip) => ip.address);
            const others = [...held].filter(([name]) => name !== container).flatMap(([, addresses]) => addresses);
            assert.deepEqual(
              given.filter((address) => others.includes(address)),
              [],
            );
            if (held.has(container)) assert.deepEqual(given, held.get(container));
            held.set(container, given);
          } else held.delete(container);
          const endpoints = agent.attachments.endpoints();
          assert.deepEqual(
            endpoints.map((endpoint) => endpoint.id).sort(),
            [...held.keys()].map((name) => `default/${name}`).sort(),
          );
          assert.equal(agent.ipam.usage()[0]?.used, held.size);
          assert.deepEqual([world.links.size, world.files().length], [held.size, held.size]);
        }
      } finally {
        world.stepsLeft = Number.POSITIVE_INFINITY;
        await world.close();
      }
    }),
    { numRuns: 40 },
  );
});
