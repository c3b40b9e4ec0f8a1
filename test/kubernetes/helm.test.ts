/** The chart, rendered by the real Helm: the objects of poplin.yaml, what each value changes about them, and what the schema refuses. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, suite, test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { agentOptions, optionNames } from '#config';
import { kubeAsset } from '#setup';
import { exec } from '#sys';
import { needs } from '../support/needs.ts';

const root = path.join(import.meta.dirname, '..', '..');
const chart = path.join(root, 'deploy', 'helm', 'poplin');
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-helm-'));

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}
type Objects = ReadonlyMap<string, Manifest>;

function objectsOf(text: string): Objects {
  const all = parseAllDocuments(text).flatMap((document) => (document.toJS() as Manifest | null) ?? []);
  const objects = new Map(all.map((object) => [`${object.kind} ${object.metadata.name}`, object]));
  assert.equal(objects.size, all.length, 'no object twice');
  return objects;
}

async function helm(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  const env = { PATH: process.env['PATH'] ?? '', HOME: directory };
  const { code, stdout, stderr } = await exec(kubeAsset('helm')!, args, { env });
  return { code, text: code === 0 ? stdout : stdout + stderr };
}

let files = 0;
/** Values as people give them: a file. */
function withValues(values: object): readonly string[] {
  const file = path.join(directory, `values-${++files}.yaml`);
  fs.writeFileSync(file, JSON.stringify(values));
  return ['--values', file];
}

async function render(values: object = {}, namespace = 'poplin-system'): Promise<Objects> {
  const { code, text } = await helm('template', 'poplin', chart, '--namespace', namespace, ...withValues(values));
  assert.equal(code, 0, text);
  return objectsOf(text);
}

async function refused(values: object): Promise<string> {
  const { code, text } = await helm('template', 'poplin', chart, ...withValues(values));
  assert.notEqual(code, 0, `${JSON.stringify(values)} is refused`);
  return text;
}

function agentConfig(objects: Objects): Record<string, unknown> {
  return parse((objects.get('ConfigMap poplin') as never as { data: Record<string, string> }).data['agent.yaml']!);
}

/** The text of the configuration in the ConfigMap as what it says. */
function comparable(objects: Objects): Record<string, unknown> {
  return Object.fromEntries(
    [...objects].map(([name, object]) => [
      name,
      name === 'ConfigMap poplin' ? { ...object, data: agentConfig(objects) } : object,
    ]),
  );
}

interface PodTemplate {
  readonly metadata: { readonly annotations: Record<string, string> };
  readonly spec: {
    readonly containers: readonly Record<string, unknown>[];
    readonly initContainers: readonly Record<string, unknown>[];
    readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
    readonly [field: string]: unknown;
  };
}

function daemonSet(objects: Objects): { readonly template: PodTemplate; readonly updateStrategy: object } {
  return objects.get('DaemonSet poplin')!['spec'] as never;
}

suite('helm chart', needs({ kube: ['helm'] }), () => {
  after(() => fs.rmSync(directory, { recursive: true }));
  const manifest = objectsOf(fs.readFileSync(path.join(root, 'deploy', 'manifests', 'poplin.yaml'), 'utf8'));

  test('helm lint finds nothing', async () => {
    const { code, text } = await helm('lint', '--strict', chart);
    assert.equal(code, 0, text);
    assert.doesNotMatch(text, /\[(WARNING|ERROR)\]/);
  });

  test('as delivered it makes the objects of poplin.yaml', async () => {
    // What a release has beyond an applied file: definitions that outlive it, and agents that follow their configuration.
    const plain = { namespace: { create: true }, crds: { keep: false }, restartOnConfigChange: false };
    assert.deepEqual(comparable(await render(plain)), comparable(manifest));

    const objects = await render();
    assert.deepEqual(
      [...manifest.keys()].filter((name) => !objects.has(name)),
      ['Namespace poplin-system'],
    );
    for (const [name, object] of objects) {
      const annotations = (object.metadata as { annotations?: Record<string, string> }).annotations;
      const kept = name.startsWith('CustomResourceDefinition ');
      assert.deepEqual(annotations, kept ? { 'helm.sh/resource-policy': 'keep' } : undefined, name);
    }
    const own = Object.keys(daemonSet(objects).template.metadata.annotations);
    const plainOnes = Object.keys(daemonSet(manifest).template.metadata.annotations);
    assert.deepEqual(
      own.filter((name) => !plainOnes.includes(name)),
      ['poplin.dev/config'],
    );
  });

  test('definitions that a cluster has already are left out', async () => {
    const existing = objectsOf(
      fs.readFileSync(path.join(root, 'deploy', 'manifests', 'poplin-existing-crds.yaml'), 'utf8'),
    );
    const values = {
      crds: { projectcalico: false, keep: false },
      namespace: { create: true },
      restartOnConfigChange: false,
    };
    assert.deepEqual(comparable(await render(values)), comparable(existing));
    const none = await render({ crds: { projectcalico: false, poplin: false } });
    assert.ok(![...none.keys()].some((name) => name.startsWith('CustomResourceDefinition')));
  });

  test('in another namespace nothing names the usual one', async () => {
    const objects = await render({}, 'network');
    assert.doesNotMatch(
      JSON.stringify([...objects.values()].filter(({ kind }) => kind !== 'CustomResourceDefinition')),
      /poplin-system/,
    );
    for (const kind of ['DaemonSet', 'ConfigMap', 'ServiceAccount', 'Role', 'RoleBinding'])
      assert.equal(objects.get(`${kind} poplin`)!.metadata.namespace, 'network');
  });

  test('values reach the place that they are for', async () => {
    const objects = await render({
      image: { repository: 'registry.example/poplin', tag: 'v9', pullPolicy: 'Always', pullSecrets: [{ name: 'key' }] },
      cni: { binDir: '/var/lib/rancher/k3s/data/cni', confDir: '/var/lib/rancher/k3s/agent/etc/cni/net.d' },
      resources: { limits: { memory: '1Gi' } },
      priorityClassName: 'mine',
      tolerations: [{ key: 'a', operator: 'Exists' }],
      nodeSelector: { 'kubernetes.io/os': 'linux', rack: 'b' },
      podAnnotations: { 'prometheus.io/scrape': 'true' },
      updateStrategy: { type: 'OnDelete' },
    });
    const { template, updateStrategy } = daemonSet(objects);
    const { spec, metadata } = template;
    for (const container of [...spec.containers, ...spec.initContainers]) {
      assert.equal(container['image'], 'registry.example/poplin:v9');
      assert.equal(container['imagePullPolicy'], 'Always');
    }
    assert.deepEqual(spec['imagePullSecrets'], [{ name: 'key' }]);
    assert.deepEqual(spec.containers[0]!['resources'], {
      requests: { cpu: '50m', memory: '128Mi' },
      limits: { memory: '1Gi' },
    });
    assert.equal(spec['priorityClassName'], 'mine');
    assert.deepEqual(spec['tolerations'], [{ key: 'a', operator: 'Exists' }]);
    assert.deepEqual(spec['nodeSelector'], { 'kubernetes.io/os': 'linux', rack: 'b' });
    assert.equal(metadata.annotations['prometheus.io/scrape'], 'true');
    assert.equal(metadata.annotations['kubectl.kubernetes.io/default-container'], 'agent');
    const folderOf = (name: string): unknown => spec.volumes.find((volume) => volume.name === name)?.hostPath?.path;
    assert.equal(folderOf('cni-bin'), '/var/lib/rancher/k3s/data/cni');
    assert.equal(folderOf('cni-conf'), '/var/lib/rancher/k3s/agent/etc/cni/net.d');
    // Values are merged with the delivered ones, as Helm does.
    assert.equal((updateStrategy as { type: string }).type, 'OnDelete');
  });

  test('the configuration is written as the agent reads it, and probes ask where it listens', async () => {
    const config = {
      asn: 4_200_000_000,
      markMask: '0xff00',
      holdTimeSec: 0,
      meshEnabled: false,
      httpListen: '[::]:9200',
    };
    const objects = await render({ config, kubeApiServer: 'https://10.0.0.10:6443' });
    assert.deepEqual(agentConfig(objects), {
      datastore: 'kube',
      cniVersion: '1.0.0',
      cniPortmap: true,
      ...config,
      kubeApiServer: 'https://10.0.0.10:6443',
    });
    for (const [name, value] of Object.entries(agentConfig(objects)))
      assert.notEqual(
        agentOptions[name as keyof typeof agentOptions].parse(value),
        undefined,
        `the agent reads ${name}`,
      );
    const [agent] = daemonSet(objects).template.spec.containers;
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      const { host, port } = (agent![probe] as { httpGet: { host: string; port: number } }).httpGet;
      assert.deepEqual([host, port], ['::1', 9200]);
    }
    const [other] = daemonSet(await render({ config: { httpListen: '0.0.0.0:9179' } })).template.spec.containers;
    assert.equal((other!['livenessProbe'] as { httpGet: { host: string } }).httpGet.host, '127.0.0.1');
    const hash = (of: Objects): string => daemonSet(of).template.metadata.annotations['poplin.dev/config']!;
    assert.notEqual(hash(objects), hash(await render()), 'agents restart with another configuration');
    assert.match(await refused({ config: { httpListen: '' } }), /config\.httpListen is empty/);
  });

  test('what no agent would take is refused, with its name', async () => {
    for (const [values, name] of [
      [{ config: { noSuchOption: 1 } }, 'noSuchOption'],
      [{ config: { nodeName: 'n1' } }, 'nodeName'],
      [{ config: { datastore: 'file' } }, 'datastore'],
      [{ config: { cniVersion: '0.9.9' } }, 'cniVersion'],
      [{ config: { meshEnabled: 'perhaps' } }, 'meshEnabled'],
      [{ config: { bgpPort: 70_000 } }, 'bgpPort'],
      [{ kubeApiServer: '10.0.0.10' }, 'kubeApiServer'],
      [{ imagePullPolicy: 'Always' }, 'imagePullPolicy'],
      [{ image: { pullPolicy: 'Sometimes' } }, 'pullPolicy'],
      [{ cni: { binDir: 'opt/cni/bin' } }, 'binDir'],
      [{ podAnnotations: { a: true } }, 'podAnnotations'],
    ] as const) {
      assert.match(await refused(values), new RegExp(name));
    }
  });

  test('the schema takes what the agent takes and refuses what it refuses', async () => {
    const samples = [
      ...[true, 'true', 'yes', 0, 1, 2, 3, 179, 1000, 1280, 65_535, 65_536, 4_294_967_295, 4_294_967_296, -1, 1.5],
      ...['', 'nft', 'debug', '/x', 'x', '0xf0000', '0x', '64512.1', '65536.1.2', '10.0.0.1', 'https://10.0.0.1:6443'],
      ...['https://x/y', '127.0.0.1:80', '[::1]:80', ':80', '1.1.0'],
      ...['resolv.conf', 'k8s-service:kube-dns,resolv.conf', '10.0.0.10:53,fd00::a,[fd00::a]:53', 'resolv.conf,'],
      ...['k8s-service:a/b:54', '10.0.0.10 resolv.conf', Array(16).fill('::1').join(), Array(17).fill('::1').join()],
    ];
    const schema = JSON.parse(fs.readFileSync(path.join(chart, 'values.schema.json'), 'utf8'));
    const offered = optionNames.filter((name) => schema.properties.config.properties[name] !== undefined);
    assert.ok(offered.length > 10);
    // One call of Helm for each sample: it names every option whose schema refuses it.
    for (const sample of samples) {
      const config = Object.fromEntries(offered.map((name) => [name, sample]));
      const { text } = await helm('template', 'poplin', chart, ...withValues({ config }));
      for (const name of offered) {
        const refuses = new RegExp(`/config/${name}'`).test(text);
        const value = agentOptions[name].parse(sample);
        // Text that stands for a number or a boolean is for flags and the environment.
        const isTyped = typeof sample === 'string' && typeof value === 'number' && !['asn', 'markMask'].includes(name);
        const isWord = typeof sample === 'string' && typeof value === 'boolean';
        const takes = value !== undefined && !isTyped && !isWord && (name !== 'datastore' || value === 'kube');
        // A schema counts no bits.
        if (name === 'markMask' && !takes && !refuses) continue;
        assert.equal(!refuses, takes, `${name}: ${JSON.stringify(sample)}\n${text.slice(0, 2000)}`);
      }
    }
  });
});
