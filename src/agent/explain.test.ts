import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PolicyExplainView } from '#api';
import type { IpAddress } from '#kit';
import type { ModelUpdate, PodObject } from '#model';
import { createPolicyEngine, explainConnection, PolicyStateStore, stagedState } from '#policy';
import { explainHere } from './explain.ts';
import { createModelStore } from './model-store.ts';

const metadata = (namespace: string, name: string) => ({ namespace, name, uid: name, labels: {}, annotations: {} });
const pod = (name: string, node: string, address: string): ModelUpdate => {
  const object: PodObject = {
    metadata: metadata('a', name),
    nodeName: node,
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [address as IpAddress],
  };
  return { type: 'upsert', kind: 'Pod', key: `a/${name}`, object };
};

/** The agent of node n1: runs a/here, knows a/there of n2; a/here lets nobody in. */
function agent() {
  const updates: ModelUpdate[] = [
    pod('here', 'n1', '10.1.0.1'),
    pod('there', 'n2', '10.2.0.1'),
    {
      type: 'upsert',
      kind: 'Node',
      key: 'n1',
      object: { metadata: metadata('', 'n1'), podCIDRs: [], internalIPs: ['192.0.2.1' as IpAddress] },
    },
    {
      type: 'upsert',
      kind: 'NetworkPolicy',
      key: 'a/none',
      object: {
        metadata: metadata('a', 'none'),
        podSelector: { matchLabels: {}, matchExpressions: [] },
        policyTypes: ['Ingress'],
        ingress: [],
        egress: [],
      },
    },
    {
      type: 'upsert',
      kind: 'StagedKubernetesNetworkPolicy',
      key: 'a/none',
      object: {
        metadata: metadata('a', 'none'),
        podSelector: { matchLabels: {}, matchExpressions: [] },
        policyTypes: ['Ingress'],
        ingress: [{ peers: [], ports: [] }],
        egress: [],
        stagedAction: 'Set',
      },
    },
  ];
  updates.push(
    {
      type: 'upsert',
      kind: 'HostEndpoint',
      key: 'up',
      object: {
        metadata: metadata('', 'up'),
        node: 'n1',
        interfaceName: 'up0',
        expectedIPs: [],
        profiles: [],
        ports: [],
      },
    },
    {
      type: 'upsert',
      kind: 'GlobalNetworkPolicy',
      key: 'forward',
      object: {
        metadata: metadata('', 'forward'),
        tier: 'default',
        selector: '!has(projectcalico.org/namespace)',
        hostTraffic: 'forward',
        types: ['Egress'],
        ingress: [],
        egress: [{ action: 'Allow', protocol: 17, source: {}, destination: {} }],
      },
    },
  );
  const model = createModelStore();
  const engine = createPolicyEngine(() => true);
  for (const update of updates) {
    model.apply(update);
    engine.update(update);
  }
  engine.setLocalEndpoint('a/here', ['10.1.0.1' as IpAddress]);
  engine.inSync();
  const state = new PolicyStateStore();
  state.apply(engine.flush());
  const counter = {
    family: 4,
    direction: 'ingress',
    chain: 'c',
    endOfTier: 'default',
    packets: 3,
    bytes: 180,
  } as const;
  return {
    model,
    policy: {
      endpoint: (id: string) =>
        id === 'a/here' ? { id, interfaceName: 'pop1', addresses: ['10.1.0.1' as IpAddress] } : undefined,
      explain: (connection: Parameters<typeof explainConnection>[1], staged: boolean) =>
        explainConnection(staged ? stagedState(state) : state, connection),
    },
    dataplane: { counters: async (id: string) => (id === 'a/here' ? [counter] : undefined) },
    nodeName: 'n1',
    hostTowards: (address: IpAddress) =>
      address === '203.0.113.9'
        ? { endpoint: 'HostEndpoint:up', failsafe: { inbound: [], outbound: [{ protocol: 'tcp', port: 53 }] } as const }
        : undefined,
  };
}

const ask = (from: string, to: string) => explainHere(agent(), { from, to, protocol: 'TCP', port: 80 });

test('the part of pods here is explained and counted, of others it is said where to ask', async () => {
  for (const from of ['a/there', '10.2.0.1']) {
    const { connections, counters } = (await ask(from, 'a/here')) as PolicyExplainView;
    assert.equal(connections.length, 1);
    const [{ explanation, unknown, from: source }] = connections as [PolicyExplainView['connections'][number]];
    assert.equal(source.id, 'a/there');
    assert.equal(explanation.verdict, 'deny');
    assert.deepEqual(
      explanation.directions.map(({ endpoint, direction }) => `${direction} ${endpoint}`),
      ['ingress a/here'],
    );
    assert.match(unknown[0]!, /^Egress of a\/there: decided on node n2: ask the agent there/);
    assert.deepEqual(
      counters.map(({ endpoint, packets }) => [endpoint, packets]),
      [['a/here', 3]],
    );
  }
  const out = (await ask('a/here', '198.51.100.1')) as PolicyExplainView;
  assert.equal(out.connections[0]!.explanation.verdict, 'allow');
  assert.deepEqual(out.connections[0]!.unknown, []);
});

test('as it would be with the staged policies: beside what is, and without counters', async () => {
  const query = { from: 'a/there', to: 'a/here', protocol: 'TCP', port: 80, staged: true } as const;
  const { connections, counters } = (await explainHere(agent(), query)) as PolicyExplainView;
  const [{ explanation, staged }] = connections as [PolicyExplainView['connections'][number]];
  assert.deepEqual([explanation.verdict, staged], ['allow', { inForce: 'deny' }]);
  assert.deepEqual(explanation.directions[0]!.verdict.policy, 'StagedKubernetesNetworkPolicy:a/none');
  assert.deepEqual(counters, []);
});

test('from the own node, and what is not there', async () => {
  for (const node of ['node:n1', '192.0.2.1']) {
    const own = (await ask(node, 'a/here')) as PolicyExplainView;
    assert.deepEqual([own.connections[0]!.fromOwnNode, own.connections[0]!.explanation.verdict], [true, 'allow']);
  }
  assert.deepEqual(await ask('a/nobody', 'a/here'), {
    problem: 'there is no pod a/nobody: write NAMESPACE/POD, node:NAME or an address',
  });
  assert.deepEqual(await ask('2001:db8::1', 'a/here'), {
    problem: 'ext:2001:db8::1 and a/here have no addresses of one family',
  });
});

test('where a connection leaves the node, its host endpoint there is asked as well', async () => {
  const to = async (from: string, port: number) =>
    ((await explainHere(agent(), { from, to: '203.0.113.9', protocol: 'TCP', port })) as PolicyExplainView)
      .connections[0]!;
  const { explanation } = await to('a/here', 80);
  const [pods, host] = explanation.directions;
  assert.deepEqual([explanation.verdict, pods!.endpoint, pods!.verdict.verdict], ['deny', 'a/here', 'allow']);
  assert.deepEqual([host!.endpoint, host!.direction, host!.verdict.by], ['HostEndpoint:up', 'egress', 'endOfTier']);
  assert.deepEqual(
    host!.tiers.map(({ tier, traffic }) => [tier, traffic]),
    [['default', 'forward']],
  );
  // What begins at the node itself.
  assert.equal((await to('node:n1', 80)).explanation.directions[0]!.verdict.by, 'endOfTier');
  assert.equal((await to('node:n1', 53)).explanation.directions[0]!.verdict.by, 'failsafe');
});
