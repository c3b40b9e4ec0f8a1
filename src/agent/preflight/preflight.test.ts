import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KubeClient, KubeRequest } from '#datastore';
import type { Cidr } from '#kit';
import { decidePreflight } from './decide.ts';
import { calicoResources, type DaemonSetFacts, type PreflightFacts, preflightFacts } from './facts.ts';

const set = (name: string, image: string, ours = false): DaemonSetFacts => ({
  namespace: 'kube-system',
  name,
  images: [image],
  ours,
});
const kubeProxy = set('kube-proxy', 'registry.k8s.io/kube-proxy:v1.36.3');
const node = { name: 'n1', podCIDRs: ['10.1.0.0/24'], ready: false, operatingSystem: 'linux' };
const fine: PreflightFacts = {
  server: 'https://192.0.2.1:6443',
  version: 'v1.36.3',
  definitions: [],
  stored: [],
  daemonSets: [kubeProxy],
  kubeProxyMode: 'iptables',
  nodes: [node],
  pools: [],
  serviceRanges: [],
  unread: [],
};
const all = calicoResources.map((resource) => resource);
const definitions = (ours: boolean, resources: readonly (typeof all)[number][] = all) =>
  resources.map((resource) => ({ resource, ours }));
const decide = (facts: Partial<PreflightFacts>) => {
  const { manifest, because, findings } = decidePreflight({ ...fine, ...facts });
  return {
    manifest,
    because,
    said: findings.map(({ severity, subject, message }) => `${severity}: ${subject}: ${message}`),
  };
};

test('a new cluster takes the manifest with the definitions, and nothing is in the way', () => {
  assert.deepEqual(decide({}), {
    manifest: 'poplin.yaml',
    because: 'projectcalico.org/v3 is not served here',
    said: [],
  });
});

test('the manifest: definitions are never put over those of others', () => {
  const cases: readonly (readonly [string, Partial<PreflightFacts>, string])[] = [
    ['ours', { servedV3: all, definitions: definitions(true) }, 'poplin.yaml'],
    ['ours, some of them', { servedV3: ['ippools'], definitions: definitions(true, ['ippools']) }, 'poplin.yaml'],
    ["Calico's", { servedV3: all, definitions: definitions(false) }, 'poplin-existing-crds.yaml'],
    [
      'mixed',
      { servedV3: all, definitions: [...definitions(true, ['bgppeers']), ...definitions(false, ['ippools'])] },
      'poplin-existing-crds.yaml',
    ],
    ['defined, not served yet', { definitions: definitions(false, ['ippools']) }, 'poplin-existing-crds.yaml'],
    ['aggregated', { servedV3: all, aggregated: { available: true, message: '' } }, 'poplin-existing-crds.yaml'],
    ['aggregated, away', { aggregated: { available: false, message: 'no endpoints' } }, 'poplin-existing-crds.yaml'],
    ['other kinds of the group', { servedV3: ['tiers'] }, 'poplin-existing-crds.yaml'],
  ];
  for (const [name, facts, manifest] of cases) assert.equal(decide(facts).manifest, manifest, name);
});

test('what is served by others: kinds that lack, and what is off', () => {
  const { said } = decide({
    servedV3: ['bgppeers', 'ippools'],
    definitions: definitions(false, ['bgppeers', 'ippools']),
  });
  assert.match(
    said[0]!,
    /^warning: projectcalico.org\/v3: lacks bgpconfigurations, bgpfilters, caliconodestatuses, felixconf/,
  );
  assert.match(
    said[1]!,
    /holdTime, interface, .*, tcpAO, adjRibIn, bfd, .*, role, strictRole, .*, advertiseNodeAddresses, nodeMeshFilters and nodeMeshBFD .* are off/,
  );
  assert.equal(said.length, 2);
  const away = decide({ aggregated: { available: false, message: 'no endpoints' } });
  assert.deepEqual(away.said.length, 1);
  assert.match(away.said[0]!, /^problem: APIService v3.projectcalico.org: is not available \(no endpoints\); repair/);
});

test('objects of an earlier Calico', () => {
  const { said, manifest } = decide({ stored: [{ resource: 'bgppeers', count: 3 }] });
  assert.equal(manifest, 'poplin.yaml');
  assert.match(said.join(), /^warning: crd.projectcalico.org\/v1: holds 3 bgppeers, which Poplin reads as well/);
});

test('the version', () => {
  assert.match(decide({ version: 'v1.30.9' }).said.join(), /^problem: API server: is v1\.30\.9; upgrade it to 1\.31/);
  for (const version of ['v1.31.0', 'v1.36.3-eks-1', 'v2.0.0', '1.31'])
    assert.deepEqual(decide({ version }).said, [], version);
  assert.match(decide({ version: '' }).said.join(), /^warning: API server/);
});

test("another network plugin's DaemonSet is a problem, by name or by image", () => {
  const others: readonly (readonly [string, string, string])[] = [
    ['calico-node', 'docker.io/calico/node:v3.30.0', 'Calico'],
    ['canal', 'x', 'Calico'],
    ['networking', 'quay.io/calico/node:v3.30.0', 'Calico'],
    ['cilium', 'quay.io/cilium/cilium:v1.18.0', 'Cilium'],
    ['kube-flannel-ds', 'ghcr.io/flannel-io/flannel:v0.27.0', 'Flannel'],
    ['kube-router', 'docker.io/cloudnativelabs/kube-router', 'kube-router'],
    ['router', 'docker.io/cloudnativelabs/kube-router:v2', 'kube-router'],
    ['kindnet', 'docker.io/kindest/kindnetd:v2025', 'kindnet'],
    ['aws-node', 'x', 'Amazon VPC CNI'],
  ];
  for (const [name, image, product] of others) {
    const { said } = decide({ daemonSets: [kubeProxy, set(name, image)] });
    assert.match(said.join(), new RegExp(`^problem: DaemonSet kube-system/${name}: is ${product}: .*remove it`), name);
  }
  const harmless = ['cilium-exporter', 'node-exporter', 'calico-typha', 'speaker', 'kube-proxy-exporter'];
  assert.deepEqual(
    decide({ daemonSets: [kubeProxy, ...harmless.map((name) => set(name, `example.org/${name}:1`))] }).said,
    [],
  );
});

test('a node that is Ready without a known plugin has one that is not known', () => {
  const ready = { ...node, ready: true };
  assert.match(
    decide({ nodes: [ready, node] }).said.join(),
    /^warning: 1 node \(n1\): Ready before Poplin.*etc\/cni\/net\.d/,
  );
  assert.deepEqual(
    decide({ nodes: [ready], daemonSets: [kubeProxy, set('poplin', 'localhost/poplin:1', true)] }).said,
    [],
  );
});

test('nodes: pod CIDRs, and what is not Linux', () => {
  const nodes = ['a', 'b', 'c', 'd'].map((name) => ({ ...node, name, podCIDRs: [] }));
  assert.match(
    decide({ nodes }).said.join(),
    /^problem: 4 nodes \(a, b, c, \.\.\.\): without spec\.podCIDRs.*--allocate-node-cidrs/,
  );
  const windows = { ...node, operatingSystem: 'windows', podCIDRs: [], ready: true };
  assert.match(decide({ nodes: [node, windows] }).said.join(), /^warning: 1 node \(n1\): not Linux[^,]*$/);
  assert.match(decide({ nodes: [] }).said.join(), /^warning: nodes: there are none/);
});

test('kube-proxy: absent, within another process, in a mode that is not tested', () => {
  assert.match(decide({ daemonSets: [] }).said.join(), /^warning: kube-proxy: is no DaemonSet here/);
  for (const version of ['v1.36.3+k3s1', 'v1.36.3+rke2r1'])
    assert.deepEqual(decide({ daemonSets: [], version }).said, []);
  assert.match(decide({ kubeProxyMode: 'ipvs' }).said.join(), /^warning: kube-proxy: runs in mode ipvs/);
});

test('pools and ranges of Services that overlap; what could not be read comes with the problems, first', () => {
  const pool = {
    metadata: { name: 'a', namespace: '', uid: '', labels: {}, annotations: {} },
    cidr: '10.96.0.0/16' as Cidr,
    natOutgoing: false,
    disabled: false,
    disableBGPExport: false,
  };
  const { said } = decide({
    pools: [pool],
    serviceRanges: ['10.96.0.0/12' as Cidr],
    unread: [{ path: '/api/v1/nodes', why: '403: no' }],
  });
  assert.deepEqual(said, [
    'problem: /api/v1/nodes: cannot be read (403: no); take credentials that may',
    "warning: IPPool a spec.cidr: 10.96.0.0/16 overlaps with 10.96.0.0/12, the range of Services' addresses; packets to such pods would go to Services: choose another range",
  ]);
});

/** Answers by path, as an API server gave them; 404 for all others. */
function recorded(answers: Readonly<Record<string, unknown>>): KubeClient & { readonly asked: KubeRequest[] } {
  const asked: KubeRequest[] = [];
  return {
    server: 'https://192.0.2.1:6443',
    asked,
    async request(request) {
      asked.push(request);
      const { continue: next } = request.query ?? {};
      const answer = answers[next ? `${request.path}?continue=${next}` : request.path];
      if (typeof answer === 'number')
        return { status: answer, body: { kind: 'Status', message: `refused with ${answer}` } };
      return answer === undefined ? { status: 404, body: { kind: 'Status' } } : { status: 200, body: answer };
    },
  };
}

test('the facts: discovery, definitions, pages, and what is refused', async () => {
  const client = recorded({
    '/version': { major: '1', minor: '36', gitVersion: 'v1.36.3' },
    '/apis/projectcalico.org/v3': {
      kind: 'APIResourceList',
      resources: [
        { name: 'ippools', kind: 'IPPool' },
        { name: 'ippools/status', kind: 'IPPool' },
      ],
    },
    '/apis/apiregistration.k8s.io/v1/apiservices/v3.projectcalico.org': {
      metadata: { name: 'v3.projectcalico.org', labels: { 'kube-aggregator.kubernetes.io/automanaged': 'true' } },
      spec: { group: 'projectcalico.org', version: 'v3', groupPriorityMinimum: 1000, versionPriority: 100 },
      status: { conditions: [{ type: 'Available', status: 'True', reason: 'Local' }] },
    },
    '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ippools.projectcalico.org': {
      metadata: { name: 'ippools.projectcalico.org', labels: { 'app.kubernetes.io/part-of': 'poplin' } },
    },
    '/apis/projectcalico.org/v3/ippools': {
      kind: 'IPPoolList',
      items: [
        { metadata: { name: 'a' }, spec: { cidr: '10.1.0.0/16', somethingNewer: 1 } },
        { metadata: { name: 'b' }, spec: {} },
      ],
    },
    '/apis/crd.projectcalico.org/v1': { resources: [{ name: 'bgppeers' }, { name: 'ipamblocks' }] },
    '/apis/crd.projectcalico.org/v1/bgppeers': {
      items: [{ metadata: { name: 'a' } }],
      metadata: { remainingItemCount: 4 },
    },
    '/apis/apps/v1/daemonsets': 403,
    '/api/v1/namespaces/kube-system/configmaps/kube-proxy': { data: { 'config.conf': 'kind: X\nmode: "nftables"\n' } },
    '/api/v1/nodes': {
      items: [{ metadata: { name: 'n1' }, spec: {}, status: { conditions: [{ type: 'Ready', status: 'True' }] } }],
      metadata: { continue: 'more' },
    },
    '/api/v1/nodes?continue=more': {
      items: [
        {
          metadata: { name: 'n2' },
          spec: { podCIDRs: ['10.1.0.0/24', 'fd00::/64'] },
          status: { nodeInfo: { operatingSystem: 'windows' } },
        },
      ],
    },
    '/apis/networking.k8s.io/v1/servicecidrs': {
      items: [{ metadata: { name: 'kubernetes' }, spec: { cidrs: ['10.96.0.0/12'] } }],
    },
  });
  const facts = await preflightFacts(client);
  const expected: unknown = {
    version: 'v1.36.3',
    servedV3: ['ippools'],
    definitions: [{ resource: 'ippools', ours: true }],
    stored: [{ resource: 'bgppeers', count: 5 }],
    daemonSets: [],
    kubeProxyMode: 'nftables',
    nodes: [
      { name: 'n1', podCIDRs: [], ready: true, operatingSystem: 'linux' },
      { name: 'n2', podCIDRs: ['10.1.0.0/24', 'fd00::/64'], ready: false, operatingSystem: 'windows' },
    ],
    serviceRanges: ['10.96.0.0/12'],
    unread: [{ path: '/apis/apps/v1/daemonsets', why: '403: refused with 403' }],
  };
  assert.partialDeepStrictEqual(facts as unknown, expected);
  assert.equal(facts.aggregated, undefined);
  assert.deepEqual(
    facts.pools.map(({ metadata }) => metadata.name),
    ['a'],
  );
  assert.ok(client.asked.every(({ method }) => method === 'GET'));
});
