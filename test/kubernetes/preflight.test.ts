/** `poplin preflight` against a real API server: what it names is the manifest that leaves everybody's definitions whole. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { exec } from '#sys';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type Definition, definitionOf, definitions } from './crds/definitions.ts';

const cli = path.join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');

interface Report {
  readonly manifest: string;
  readonly version: string;
  readonly findings: readonly { readonly severity: string; readonly subject: string; readonly message: string }[];
}

/** A definition as another installation has it: no label of ours. */
function foreign(kind: string, group: string, version: string): KubeObject {
  const { names } = definitionOf(kind).spec;
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${names.plural}.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: { kind, plural: names.plural },
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  };
}

function isDefinition(object: KubeObject): object is Definition {
  return object.kind === 'CustomResourceDefinition';
}

/** Of an APIResourceList; none of any other answer. */
function resourcesOf(body: unknown): readonly string[] {
  const { resources } = (body ?? {}) as { readonly resources?: readonly { readonly name: string }[] };
  return (resources ?? []).map(({ name }) => name);
}

function daemonSet(name: string, image: string): KubeObject {
  const labels = { app: name };
  const spec = {
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [{ name, image }] } },
  };
  return { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name, namespace: 'kube-system' }, spec };
}

suite('poplin preflight', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    // No controller gives it one.
    await server.objects.apply({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1' },
      spec: { podCIDRs: ['10.1.0.0/24'], podCIDR: '10.1.0.0/24' },
    } as KubeObject);
    await server.objects.create(daemonSet('kube-proxy', 'registry.k8s.io/kube-proxy:v1.36.3'));
  });
  after(() => server.stop());

  async function preflight(kubeconfig = server.adminKubeconfig) {
    const args = [cli, 'preflight', '--kubeconfig', kubeconfig, '-o', 'json'];
    const { code, stdout, stderr } = await exec(process.execPath, args);
    assert.notEqual(stdout, '', stderr);
    const report = JSON.parse(stdout) as Report;
    return {
      code,
      report,
      said: report.findings.map(({ severity, subject, message }) => `${severity}: ${subject}: ${message}`),
    };
  }

  const statusIs = (apiPath: string, status: number) =>
    until(async () => (await server.request({ path: apiPath })).status === status, {
      what: `${apiPath} to give ${status}`,
      deadlineMs: 60_000,
    });
  /** Each of a group is served at its own moment: the one that discovery lists last is waited for, too. */
  async function isServed({ group, names, versions }: Definition['spec']): Promise<void> {
    const apiPath = `/apis/${group}/${versions[0].name}`;
    await until(async () => resourcesOf((await server.request({ path: apiPath })).body).includes(names.plural), {
      what: `${apiPath} to list ${names.plural}`,
      deadlineMs: 60_000,
    });
  }

  /** Runs `body` while the objects are stored, definitions served, and takes all of it away again. */
  async function having(objects: readonly KubeObject[], body: () => Promise<void>): Promise<void> {
    const specs = objects.filter(isDefinition).map(({ spec }) => spec);
    try {
      for (const object of objects) await server.objects.create(object);
      for (const spec of specs) await isServed(spec);
      await body();
    } finally {
      for (const object of objects) await server.objects.delete(object);
      for (const object of objects)
        await until(async () => (await server.objects.get(object)) === undefined, {
          what: `${object.kind} ${object.metadata.name} to be gone`,
          deadlineMs: 60_000,
        });
      for (const group of new Set(specs.map((spec) => spec.group))) await statusIs(`/apis/${group}`, 404);
    }
  }

  test('an empty cluster: everything, and nothing is in the way', async () => {
    const { code, report, said } = await preflight();
    assert.deepEqual([code, report.manifest, said], [0, 'poplin.yaml', []]);
    assert.match(report.version, /^v1\.\d+\.\d+/);
  });

  test("Calico's definitions are kept, and what is off is said", async () => {
    const theirs = ['BGPPeer', 'IPPool'].map((kind) => foreign(kind, 'projectcalico.org', 'v3'));
    await having(theirs, async () => {
      const pool = {
        apiVersion: 'projectcalico.org/v3',
        kind: 'IPPool',
        metadata: { name: 'bad' },
        spec: { cidr: '10.96.1.0/24', newer: true },
      };
      await server.objects.create(pool);
      const { code, report, said } = await preflight();
      assert.deepEqual([code, report.manifest], [0, 'poplin-existing-crds.yaml']);
      assert.match(said.join('\n'), /lacks bgpconfigurations, bgpfilters, caliconodestatuses, felixconfigurations/);
      assert.match(said.join('\n'), /IPPool bad spec\.cidr: 10\.96\.1\.0\/24 overlaps with 10\.96\.0\.0\/16/);
    });
  });

  test("Calico's API server, which does not answer", async () => {
    const service = {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v3.projectcalico.org' },
      spec: {
        group: 'projectcalico.org',
        version: 'v3',
        groupPriorityMinimum: 1500,
        versionPriority: 200,
        insecureSkipTLSVerify: true,
        service: { name: 'calico-api', namespace: 'kube-system' },
      },
    };
    await having([service], async () => {
      await statusIs('/apis/projectcalico.org/v3', 503);
      const { code, report, said } = await preflight();
      assert.deepEqual([code, report.manifest], [1, 'poplin-existing-crds.yaml']);
      assert.match(said.join('\n'), /^problem: APIService v3\.projectcalico\.org: is not available \(.+\); repair/m);
    });
    await statusIs('/apis/projectcalico.org/v3', 404);
  });

  test('what an earlier installation left', async () => {
    await having([foreign('BGPPeer', 'crd.projectcalico.org', 'v1')], async () => {
      for (const name of ['a', 'b', 'c']) {
        const spec = { peerIP: '192.0.2.1', asNumber: 1 };
        await server.objects.create({
          apiVersion: 'crd.projectcalico.org/v1',
          kind: 'BGPPeer',
          metadata: { name },
          spec,
        });
      }
      const { code, report, said } = await preflight();
      assert.deepEqual([code, report.manifest, said.length], [0, 'poplin.yaml', 1]);
      assert.match(said[0]!, /^warning: crd\.projectcalico\.org\/v1: holds 3 bgppeers/);
    });
  });

  test('another network plugin, and a node without pod CIDRs', async () => {
    const bare = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n2' } };
    await having([bare, daemonSet('kube-flannel-ds', 'ghcr.io/flannel-io/flannel:v0.27.0')], async () => {
      const { code, said } = await preflight();
      assert.equal(code, 1);
      assert.match(said.join('\n'), /^problem: DaemonSet kube-system\/kube-flannel-ds: is Flannel/m);
      assert.match(said.join('\n'), /^problem: 1 node \(n2\): without spec\.podCIDRs/m);
    });
  });

  test('somebody without rights is told what could not be read', async () => {
    const namespace = await server.namespace();
    const { code, said } = await preflight(
      server.kubeconfig('nobody', { token: await server.tokenFor('nobody', namespace) }),
    );
    assert.equal(code, 1);
    assert.match(
      said.join('\n'),
      /^problem: \/api\/v1\/nodes: cannot be read \(403: .*\); take credentials that may$/m,
    );
  });

  test('for people', async () => {
    const { code, stdout } = await exec(process.execPath, [cli, 'preflight', '--kubeconfig', server.adminKubeconfig]);
    assert.equal(code, 0);
    assert.match(
      stdout,
      /^Kubernetes v1\.\S+ at https:\/\/127\.0\.0\.1:\d+\nManifest: poplin\.yaml \(.+\)\n\nNothing is in the way\.\n$/,
    );
  });

  // The last: an API server that is to forget so many definitions may take minutes for one of them.
  test('our own definitions are brought up to date', async () => {
    for (const definition of definitions) await server.objects.create(definition);
    for (const { spec } of definitions) await isServed(spec);
    const { code, report, said } = await preflight();
    assert.deepEqual([code, report.manifest, said], [0, 'poplin.yaml', []]);
  });
});
