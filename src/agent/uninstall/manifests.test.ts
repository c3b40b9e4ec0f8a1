/** What is delivered holds what the uninstall knows of it and needs. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { cleanupPod, type PodSpec } from './cleanup-pod.ts';
import type { FakeCluster, FakeObject } from './fake-cluster.ts';
import { daemonSetPlace, definitions, namespacePlace, placeText, smallPlaces } from './installation.ts';
import { installed, options } from './installed-cluster.ts';
import { uninstall } from './uninstall.ts';

const manifests = path.join(import.meta.dirname, '..', '..', '..', 'deploy', 'manifests');

function documents(file: string): (FakeObject & { readonly kind: string })[] {
  return parseAllDocuments(fs.readFileSync(path.join(manifests, file), 'utf8')).flatMap((each) => each.toJS() ?? []);
}

test('every object of the manifest is known to the uninstall, under its name', () => {
  const known = new Set(
    [
      ...smallPlaces('poplin-system'),
      ...definitions,
      daemonSetPlace('poplin-system'),
      namespacePlace('poplin-system'),
    ].map(placeText),
  );
  const made = documents('poplin.yaml').map(({ kind, metadata }) => placeText({ kind, ...metadata }));
  assert.deepEqual(
    made.filter((name) => !known.has(name)),
    [],
    'src/agent/uninstall/installation.ts and own-uninstall.yaml name what is installed',
  );
  for (const { metadata } of documents('poplin.yaml'))
    assert.equal(metadata.labels?.['app.kubernetes.io/part-of'], 'poplin');
});

test("the pod that cleans has the rights and folders of the agent, and the plugins' folder", () => {
  const daemonSet = documents('poplin.yaml').find(({ kind }) => kind === 'DaemonSet')!;
  const { spec } = (daemonSet as never as { spec: { template: { spec: PodSpec } } }).spec.template;
  const pod = cleanupPod(spec, { node: 'n1', timeoutSec: 60, configMap: 'copy' }) as { spec: PodSpec };
  const agent = spec.containers[0]!;
  const [container] = pod.spec.containers;
  assert.deepEqual(container!.securityContext, agent.securityContext);
  assert.deepEqual(pod.spec['securityContext'], spec['securityContext']);
  assert.equal(pod.spec['hostNetwork'], true);
  assert.equal(container!.image, agent.image);
  assert.deepEqual(container!['env'], agent['env']);
  const hostPaths = (from: PodSpec): unknown[] => (from.volumes ?? []).filter((volume) => volume['hostPath']);
  assert.deepEqual(hostPaths(pod.spec), hostPaths(spec));
  assert.ok(hostPaths(spec).length >= 5);
  const mounts = [...spec.containers, ...(spec.initContainers ?? [])].flatMap((each) => each.volumeMounts ?? []);
  assert.deepEqual(
    new Set(container!.volumeMounts!.map(({ name, mountPath }) => `${name} ${mountPath}`)),
    new Set(mounts.map(({ name, mountPath }) => `${name} ${mountPath}`)),
  );
  assert.deepEqual(container!.args, [
    'cleanup',
    '--cni-bin',
    '/host/opt/cni/bin',
    '--summary-file',
    '/dev/termination-log',
  ]);
  assert.doesNotMatch(JSON.stringify(pod), /"name":"poplin"|serviceAccount(Name)?":|Probe/);
  assert.match(JSON.stringify(pod.spec.volumes), /"configMap":\{"name":"copy","optional":true\}/);
});

/** One right for each object that a rule names, as `get apps/daemonsets poplin`; `*` for any name. */
function rightsOf(kinds: readonly string[]): Set<string> {
  interface Rule {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly verbs: readonly string[];
  }
  const rules = documents('uninstall-confirmed.yaml')
    .filter(({ kind }) => kinds.includes(kind))
    .flatMap((role) => role['rules'] as readonly Rule[]);
  return new Set(
    rules.flatMap(({ apiGroups, resources, resourceNames = ['*'], verbs }) =>
      verbs.flatMap((verb) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) => resourceNames.map((name) => `${verb} ${group}/${resource} ${name}`)),
        ),
      ),
    ),
  );
}

const verbs: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch', DELETE: 'delete' };

/** What a request needs; the name is `*` where a rule cannot or need not say it. */
function rightFor(request: string): { readonly right: string; readonly anyName: string } {
  const [method, url] = request.split(' ') as [string, string];
  const match =
    /^\/(?:api|apis\/([^/]+))\/[^/]+(?:\/namespaces\/[^/]+(?=\/))?\/([a-z]+)(?:\/([^/]+))?(?:\/([a-z]+))?$/.exec(url)!;
  const [, group = '', resource, name, subresource] = match;
  const verb = method === 'GET' ? (name === undefined ? 'list' : 'get') : verbs[method]!;
  const what = `${verb} ${group}/${[resource, subresource].filter(Boolean).join('/')}`;
  return { right: `${what} ${name ?? '*'}`, anyName: `${what} *` };
}

test('the rights of the Job are those that it uses, each of them', async () => {
  const rights = rightsOf(['ClusterRole', 'Role']);
  const requests = new Set<string>();
  const withJob = (cluster: FakeCluster): FakeCluster => {
    cluster.put('/api/v1/namespaces/poplin-uninstall', { metadata: { name: 'poplin-uninstall' } });
    return cluster;
  };
  const [plain, all, interrupted] = [withJob(installed()), withJob(installed()), withJob(installed())];
  await uninstall(plain.deps, options);
  all.nodes.get('n1')!.behaviour = () => ({ exitCode: 1, message: '' });
  await uninstall(all.deps, { ...options, crds: true });
  // One that was interrupted after it had written down how agents ran.
  interrupted.put('/api/v1/namespaces/poplin-uninstall/configmaps/poplin-cleanup', {
    metadata: { name: 'poplin-cleanup' },
  });
  await uninstall(interrupted.deps, options);
  for (const cluster of [plain, all, interrupted]) for (const request of cluster.requests) requests.add(request);
  const used = new Set<string>();
  for (const request of requests) {
    const { right, anyName } = rightFor(request);
    assert.ok(rights.has(right) || rights.has(anyName), `${request} is not allowed`);
    used.add(rights.has(right) ? right : anyName);
  }
  assert.deepEqual(
    [...rights].filter(
      (right) => !used.has(right) && !/patch projectcalico|(get|patch) policy\..*adminnetworkpolicies/.test(right),
    ),
    [],
  );
});
