import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cleans, type FakeCluster, ProcessKilled } from './fake-cluster.ts';
import { definitions, placeText, smallPlaces } from './installation.ts';
import { cnp, installed, netpol, node, options } from './installed-cluster.ts';
import { uninstallText } from './report.ts';
import { foundNothing, uninstall } from './uninstall.ts';

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, ...rows].map((row) => `${row.join(' ')}\n`).join('');

/** Everything but nodes and the users' pods, which stay. */
function remaining(cluster: FakeCluster): string[] {
  return [...cluster.objects.keys()].filter((key) => !/^\/api\/v1\/(nodes|namespaces\/web)\//.test(key)).sort();
}

const keptDefinitionPaths = definitions.filter((each) => each.holdsConfiguration).map((each) => each.path);
const keptObjects = [
  ...keptDefinitionPaths,
  ...[netpol, cnp, `${cnp}-of-theirs`, '/apis/projectcalico.org/v3/bgppeers/tor'],
].sort();

test('without --yes nothing is changed, and the pods that lose their network are named', async () => {
  const cluster = installed();
  const before = structuredClone([...cluster.objects]);
  const report = await uninstall(cluster.deps, { ...options, yes: false });
  assert.ok(cluster.requests.every((request) => request.startsWith('GET ')));
  assert.deepEqual([...cluster.objects], before);
  assert.deepEqual(
    report.plan.pods.map(({ node: on, name }) => `${on} ${name}`),
    ['n1 app-n1', 'n2 app-n2', 'n3 app-n3'],
  );
  const text = uninstallText(report, table);
  assert.match(text, /n1 web app-n1 10\.42\.1\.7, fd00:42:1::7/);
  assert.doesNotMatch(text, /ended|other-network|pending/);
  assert.match(text, /uninstall-confirmed\.yaml/);
  assert.match(
    text,
    /Kept.*--crds.*\n.*bgpconfigurations[\s\S]*CustomResourceDefinition bgppeers\.projectcalico\.org, 1 object\n/,
  );
  for (const place of smallPlaces('poplin-system')) assert.ok(text.includes(placeText(place)));
});

test('everything goes but the configuration, and agents end before nodes are cleaned', async () => {
  const cluster = installed();
  const report = await uninstall(cluster.deps, options);
  assert.deepEqual(report.done?.left, []);
  assert.deepEqual(remaining(cluster), keptObjects);
  const at = (request: string): number => cluster.requests.indexOf(request);
  const firstPod = at('POST /api/v1/namespaces/poplin-uninstall/pods');
  assert.ok(at('DELETE /apis/apps/v1/namespaces/poplin-system/daemonsets/poplin') < firstPod);
  assert.ok(cluster.requests.lastIndexOf('GET /api/v1/pods') < firstPod);
  assert.equal(
    cluster.objects.get('/apis/projectcalico.org/v3/bgppeers/tor')!['status'],
    undefined,
    'a status of ours',
  );
  assert.equal(cluster.objects.get(netpol)!['status'], undefined, 'in a namespace');
  const typesOf = (path: string): string[] =>
    (cluster.objects.get(path)!['status'] as { conditions: { type: string }[] }).conditions.map(({ type }) => type);
  assert.deepEqual([typesOf(cnp), typesOf(`${cnp}-of-theirs`)], [['Theirs'], ['Accepted']], 'of an object of others');
  const conditions = (name: string): string[] =>
    (cluster.objects.get(`/api/v1/nodes/${name}`)!['status'] as { conditions: { type: string }[] }).conditions.map(
      (c) => c.type,
    );
  assert.deepEqual(conditions('n1'), ['Ready']);
  assert.deepEqual(conditions('n2'), ['Ready', 'NetworkUnavailable'], "somebody else's");
  assert.deepEqual(
    report.done?.nodes.map(({ node: name, outcome, removed }) => [name, outcome, removed]),
    [1, 2, 3].map((n) => [`n${n}`, 'clean', { interfaces: n, chains: n * 10 }]),
  );
  assert.match(uninstallText(report, table), /Poplin is uninstalled\./);
});

test('a condition that somebody writes meanwhile stays', async () => {
  const cluster = installed();
  let changes = 0;
  cluster.intercept = ({ method, path: asked }) => {
    if (method === 'PATCH' && asked === `${cnp}/status` && changes++ < 2) {
      const conditions = [{ type: 'InForce' }, { type: `New${changes}` }];
      cluster.put(cnp, { ...cluster.objects.get(cnp)!, status: { conditions } });
    }
    return undefined;
  };
  const report = await uninstall(cluster.deps, options);
  assert.deepEqual(report.done?.left, []);
  assert.deepEqual(cluster.objects.get(cnp)!['status'], { conditions: [{ type: 'New2' }] });
});

test('a second run finds nothing', async () => {
  const cluster = installed();
  await uninstall(cluster.deps, options);
  const before = remaining(cluster);
  const report = await uninstall(cluster.deps, options);
  assert.ok(foundNothing(report));
  assert.match(uninstallText(report, table), /^Nothing of Poplin is left: .* nothing on 3 nodes\./);
  assert.deepEqual(remaining(cluster), before);
  const looked = uninstallText(await uninstall(cluster.deps, { ...options, yes: false }), table);
  assert.match(looked, /^No object of Poplin is in this cluster/);
});

test('--crds takes the definitions along, but none that somebody else installed', async () => {
  const cluster = installed();
  const foreign = definitions.find(({ name }) => name.startsWith('ippools'))!;
  cluster.put(foreign.path, { metadata: { name: foreign.name } });
  const report = await uninstall(cluster.deps, { ...options, crds: true });
  assert.deepEqual(remaining(cluster), [foreign.path, cnp, `${cnp}-of-theirs`]);
  assert.match(uninstallText(report, table), /ippools\.projectcalico\.org, not installed with Poplin/);
});

test('killed before any of its requests, the next run comes to the same end', async () => {
  const whole = installed();
  await uninstall(whole.deps, options);
  const end = remaining(whole);
  for (let killBefore = 1; killBefore <= whole.requests.length; killBefore++) {
    const cluster = installed();
    cluster.killBefore = killBefore;
    await assert.rejects(uninstall(cluster.deps, options), ProcessKilled);
    cluster.killBefore = Number.POSITIVE_INFINITY;
    const { done } = await uninstall(cluster.deps, options);
    assert.deepEqual(done?.left, [], `killed before request ${killBefore}, ${whole.requests[killBefore - 1]}`);
    assert.deepEqual(remaining(cluster), end, `killed before request ${killBefore}`);
    assert.ok([...cluster.nodes.values()].every(({ traces }) => traces === 0));
  }
});

test('an uninstall that was interrupted long ago is no excuse for the next installation', async () => {
  const again = installed();
  // What a run leaves that is killed just after the nodes were cleaned.
  again.put('/api/v1/namespaces/poplin-uninstall', { metadata: { name: 'poplin-uninstall' } });
  again.put('/api/v1/namespaces/poplin-uninstall/pods/cleanup-n1', {
    metadata: { name: 'cleanup-n1', labels: { 'poplin.dev/cleanup': 'true' } },
    spec: { nodeName: 'n1', hostNetwork: true },
    status: { phase: 'Succeeded' },
  });
  await uninstall(again.deps, options);
  assert.equal(again.nodes.get('n1')!.traces, 0);
  assert.ok(
    again.objects.has('/api/v1/namespaces/poplin-uninstall'),
    'the namespace that came with the Job stays for its log',
  );
});

test('a node that does not answer is named, and the others are not held up', async () => {
  const cluster = installed();
  cluster.put('/api/v1/nodes/n2', node('n2', 'Unknown', 2));
  cluster.nodes.get('n3')!.behaviour = () => 'hangs';
  const { done, plan } = await uninstall(cluster.deps, options);
  assert.deepEqual(
    done?.nodes.map(({ outcome }) => outcome),
    ['clean', 'not reached', 'not reached'],
  );
  assert.equal(done?.left.length, 2);
  assert.match(
    done?.left.join('\n') ?? '',
    /node n2 was not reached: NodeStatusUnknown\nnode n3 was not reached: the kubelet did not take the pod within 30 s/,
  );
  assert.ok(
    !cluster.requests.some((request) => request.endsWith('/pods/cleanup-n2')),
    'no pod waits for n2 to come back',
  );
  assert.deepEqual(remaining(cluster), keptObjects);
  assert.match(uninstallText({ plan, done: done! }, table), /Not everything is as it was:/);
  // It comes back, and the uninstall is run again.
  cluster.put('/api/v1/nodes/n2', node('n2', 'False', 2));
  cluster.nodes.get('n3')!.behaviour = cleans;
  const second = await uninstall(cluster.deps, options);
  assert.deepEqual(second.done?.left, []);
  assert.deepEqual(
    second.done?.nodes.map(({ removed }) => removed['interfaces']),
    [undefined, 2, 3],
  );
});

test('what a cleanup could not do, and its log, are in the report', async () => {
  const cluster = installed();
  cluster.nodes.get('n1')!.behaviour = () => ({ exitCode: 137, message: '' });
  cluster.nodes.get('n2')!.behaviour = () => ({
    exitCode: 1,
    message: JSON.stringify({ removed: { routes: 2 }, restored: ['net/x'], left: ['a route: EBUSY'], notes: [] }),
  });
  const report = await uninstall(cluster.deps, options);
  assert.deepEqual(report.done?.left, [
    'node n1 was not cleaned: poplin cleanup ended with code 137',
    'node n2 was not cleaned: a route: EBUSY',
  ]);
  const text = uninstallText(report, table);
  assert.match(text, /n2 failed 2 routes, 1 setting put back/);
  assert.match(text, /Log of node n1:\na line of the log/);
});

test('an API server that is away for a moment is asked again; one that forbids ends the run with the remedy', async () => {
  const cluster = installed();
  let failures = 0;
  cluster.intercept = ({ method }) => {
    if (method === 'GET' || ++failures % 3 === 0) return undefined;
    return failures % 3 === 1 ? 'unreachable' : { status: 503, body: { message: 'starting' }, retryAfterSec: 2 };
  };
  assert.deepEqual((await uninstall(cluster.deps, options)).done?.left, []);
  const forbidden = installed();
  forbidden.intercept = ({ method }) => (method === 'DELETE' ? { status: 403, body: { message: 'no' } } : undefined);
  await assert.rejects(uninstall(forbidden.deps, options), {
    name: 'UninstallError',
    message: /^DELETE .*: 403: no; apply uninstall\.yaml/,
  });
});

test("in an installation into a namespace of the operator's own, that namespace stays", async () => {
  const cluster = installed();
  cluster.put('/api/v1/namespaces/poplin-system', { metadata: { name: 'poplin-system' } });
  await uninstall(cluster.deps, options);
  assert.deepEqual(
    remaining(cluster),
    ['/api/v1/namespaces/poplin-system', '/api/v1/namespaces/poplin-system/secrets/password', ...keptObjects].sort(),
  );
});
