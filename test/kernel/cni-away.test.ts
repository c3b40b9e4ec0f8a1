/** The agent is away, dies, or its caller does. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { netConf, podEnvironment, startNode } from './cni-support.ts';

const here = needs({ root: true, commands: ['gcc', 'nsenter'] });

test('agent away: each command has its answer, in the version of the caller', here, async (t) => {
  const node = await startNode(t);
  await node.kill();
  const pod = node.newPod();
  for (const [command, code] of [
    ['ADD', 11],
    ['CHECK', 11],
    ['GC', 11],
    ['STATUS', 50],
  ] as const) {
    const config = { prevResult: { cniVersion: '0.3.1', a: '"}' }, ...netConf('1.0.0') };
    const result = await node.call(podEnvironment(command, 'a', pod), config);
    assert.deepEqual([result.code, result.json?.code, result.json?.cniVersion], [1, code, '1.0.0'], command);
  }
  const version = await node.call({ CNI_COMMAND: 'VERSION' }, { cniVersion: '0.4.0' });
  assert.deepEqual(version.json, { cniVersion: '0.4.0', supportedVersions: ['0.3.1', '0.4.0', '1.0.0', '1.1.0'] });
  assert.equal((await node.call({ CNI_COMMAND: 'VERSION' }, 'no JSON')).json?.cniVersion, '1.1.0');
});

test('DELs while the agent is away succeed and are done before it serves again', here, async (t) => {
  const node = await startNode(t);
  for (const id of ['a', 'b', 'c']) await node.add(id, node.newPod());
  await node.kill();
  for (const id of ['a', 'b', 'a', 'never-added']) {
    const result = await node.del(id);
    assert.deepEqual([result.code, result.stdout], [0, '']);
  }
  assert.deepEqual(fs.readdirSync(node.paths.queueDirectory).sort(), ['a@eth0', 'b@eth0', 'never-added@eth0']);
  assert.equal(node.leftovers().links.length, 3);
  await node.start();
  // Serving means: done already.
  const report = await node.report();
  assert.deepEqual(
    report.endpoints.map((endpoint) => endpoint.id),
    ['default/pod-c'],
  );
  assert.equal(node.leftovers().links.length, 1);
  assert.deepEqual(fs.readdirSync(node.paths.queueDirectory), []);
});

test(
  'a DEL queued beside a running agent is done at once, and before an ADD of the same container',
  here,
  async (t) => {
    const node = await startNode(t, { policyDelayMs: 5 });
    const pod = node.newPod();
    await node.add('a', pod);
    const away = (id: string) =>
      node.call({ ...podEnvironment('DEL', id), POPLIN_CNI_SOCKET: `${node.directory}/nobody.sock` }, netConf());
    assert.equal((await away('a')).code, 0);
    await until(() => node.leftovers().links.length === 0, { what: 'the queued DEL' });
    await node.add('a', pod);
    assert.equal((await away('a')).code, 0);
    // Whichever comes first, the watch or the ADD: afterwards the pod stands.
    assert.equal((await node.add('a', pod)).code, 0);
    assert.equal(node.leftovers().links.length, 1);
    assert.deepEqual(fs.readdirSync(node.paths.queueDirectory), []);
  },
);

test('a queue that is full, not there or full of rubbish', here, async (t) => {
  const node = await startNode(t);
  await node.kill();
  fs.mkdirSync(node.paths.queueDirectory, { recursive: true });
  for (let i = 0; i < 4096; i++) fs.writeFileSync(`${node.paths.queueDirectory}/x${i}@eth0`, 'rubbish');
  const full = await node.del('a');
  assert.deepEqual([full.code, full.json?.code], [1, 11]);
  assert.match(full.json?.msg ?? '', /could not be queued/);
  for (let i = 1; i < 4096; i++) fs.rmSync(`${node.paths.queueDirectory}/x${i}@eth0`);
  const nowhere = await node.call({ ...podEnvironment('DEL', 'a'), POPLIN_CNI_QUEUE: '/proc/no/such' }, netConf());
  assert.deepEqual([nowhere.code, nowhere.json?.code], [1, 11]);
  const bad = await node.call({ ...podEnvironment('DEL', 'a'), CNI_CONTAINERID: '../a' }, netConf());
  assert.deepEqual([bad.code, bad.json?.code], [1, 4]);
  await node.start();
  assert.deepEqual(fs.readdirSync(node.paths.queueDirectory), ['.x0@eth0.invalid']);
});

test('the agent dies during a DEL: the plugin queues it', here, async (t) => {
  const node = await startNode(t);
  await node.add('a', node.newPod());
  await node.set('policy', 'hang');
  // An ADD that hangs is given up for its DEL; stop the agent so that neither gets an answer.
  node.signal('SIGSTOP');
  const del = node.del('a');
  await until(() => fs.readFileSync('/proc/net/unix', 'utf8').includes(node.paths.socketPath), { what: 'the caller' });
  await node.kill();
  assert.equal((await del).code, 0);
  await node.start();
  assert.deepEqual(node.leftovers(), { links: [], routes: [] });
});

test('an ADD whose caller hangs up is rolled back, wherever it is', here, async (t) => {
  const node = await startNode(t, { policyDelayMs: 30 });
  const config = JSON.stringify(netConf());
  for (const [what, value] of [
    ['policy', 'hang'],
    ['pods', 'unknown'],
  ] as const) {
    await node.set(what, value);
    const shim = node.spawnShim(podEnvironment('ADD', what, node.newPod()), config);
    // Whether it waits already or not must not matter.
    if (what === 'policy') await until(() => node.files('.intent').length === 1, { what: 'the intent' });
    shim.kill('SIGKILL');
    await until(async () => (await node.report()).usage[0]?.used === 0 && node.files('.intent', '.json').length === 0, {
      what: 'the rollback',
    });
    await node.set(what, what === 'policy' ? 'ok' : 'known');
  }
  // After everything was made and before the answer was taken.
  const late = node.spawnShim(podEnvironment('ADD', 'late', node.newPod()), config);
  await until(() => node.files('.intent').length === 1, { what: 'the intent', intervalMs: 1 });
  late.kill('SIGSTOP');
  await until(() => node.files('.json').length === 1 && node.leftovers().links.length === 1, {
    what: 'the ADD to be complete',
  });
  late.kill('SIGKILL');
  await until(() => node.files('.json').length === 0 && node.leftovers().links.length === 0, { what: 'the rollback' });
  // At any moment; when it had taken the answer already the pod stands until its DEL.
  for (let i = 0; i < 20; i++) {
    const shim = node.spawnShim(podEnvironment('ADD', `r${i}`, node.newPod()), config);
    const ended = new Promise((resolve) => shim.once('close', resolve));
    const timer = setTimeout(() => shim.kill('SIGKILL'), 25 + i);
    await ended;
    clearTimeout(timer);
    assert.equal((await node.del(`r${i}`)).code, 0);
    await until(async () => (await node.report()).usage[0]?.used === 0, { what: `ADD ${i} to be gone` });
  }
  await until(() => node.leftovers().links.length === 0, { what: 'no interface' });
  assert.deepEqual(node.leftovers().routes, []);
  assert.deepEqual((await node.report()).attached, []);
});

test('DEL gives up an ADD that still waits', here, async (t) => {
  const node = await startNode(t);
  await node.set('policy', 'hang');
  const pod = node.newPod();
  const add = node.add('a', pod);
  await until(() => node.files('.intent').length === 1, { what: 'the ADD to have begun' });
  assert.equal((await node.del('a', pod)).code, 0);
  const given = await add;
  assert.deepEqual([given.json?.code, /DEL came/.test(given.json?.msg ?? '')], [11, true]);
  assert.deepEqual([node.leftovers().links, node.files('.intent', '.json')], [[], []]);
});

test('a restarted agent has every pod as it was, and serves their CHECK and DEL', here, async (t) => {
  const node = await startNode(t);
  const pods = ['a', 'b'].map((id) => ({ id, pod: node.newPod() }));
  const answers = [];
  for (const { id, pod } of pods) answers.push(await node.add(id, pod));
  const before = { ...(await node.report()), links: node.leftovers() };
  await node.kill();
  await node.start();
  const after = { ...(await node.report()), links: node.leftovers() };
  assert.deepEqual([after.endpoints, after.usage, after.links], [before.endpoints, before.usage, before.links]);
  const check = { ...netConf(), prevResult: answers[0]?.json };
  assert.equal((await node.call(podEnvironment('CHECK', 'a', pods[0]?.pod), check)).code, 0);
  for (const { id } of pods) assert.equal((await node.del(id)).code, 0);
  assert.deepEqual(node.leftovers(), { links: [], routes: [] });
});

test('a record that does not read any more keeps its addresses until DEL, and is reported', here, async (t) => {
  const node = await startNode(t, { podCIDRs: ['10.1.0.0/29'] });
  await node.add('a', node.newPod());
  await node.add('b', node.newPod());
  await node.kill();
  const [file = ''] = node.files('.json').filter((name) => name.includes('@10.1.0.1.'));
  fs.writeFileSync(`${node.paths.stateDirectory}/${file}`, '{"format":1,"contai');
  await node.start();
  assert.ok(node.lines.some((line) => line['level'] === 'error' && /does not read/.test(String(line['message']))));
  assert.deepEqual(
    (await node.report()).endpoints.map((endpoint) => endpoint.id),
    ['default/pod-b'],
  );
  assert.deepEqual((await node.add('c', node.newPod())).json?.ips?.[0]?.address, '10.1.0.3/32');
  assert.equal((await node.report()).usage[0]?.used, 3);
  assert.equal((await node.del('a')).code, 0);
  assert.deepEqual([(await node.report()).usage[0]?.used, node.leftovers().links.length], [2, 2]);
});
