/** Host endpoints in the truth table of a cluster, and what they say of each kind of traffic. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type {
  CalicoPolicyObject,
  CalicoRule,
  FelixConfigurationObject,
  HostEndpointObject,
  ModelUpdate,
  ObjectMeta,
} from '#model';
import { explainConnection } from '../explain/explain.ts';
import { connectionEnds, connectionVerdict, simulateCluster, withStagedPolicies } from './cluster.ts';
import { VerdictTable } from './verdict-table.ts';

const meta = (name: string, namespace = ''): ObjectMeta => ({
  name,
  namespace,
  uid: name,
  labels: { name },
  annotations: {},
});
const ip = (text: string) => text as IpAddress;
const node = (name: string, address: string): ModelUpdate => ({
  type: 'upsert',
  kind: 'Node',
  key: name,
  object: { metadata: meta(name), podCIDRs: [], internalIPs: [ip(address)] },
});
const pod = (name: string, nodeName: string, address: string): ModelUpdate => ({
  type: 'upsert',
  kind: 'Pod',
  key: `ns/${name}`,
  object: {
    metadata: meta(name, 'ns'),
    nodeName,
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [80, 81, 22].map((containerPort) => ({ containerPort, protocol: 'TCP' as const })),
    phase: 'Running',
    terminating: false,
    podIPs: [ip(address)],
  },
});
const host = (name: string, nodeName: string, part: Partial<HostEndpointObject> = {}): ModelUpdate => ({
  type: 'upsert',
  kind: 'HostEndpoint',
  key: name,
  object: {
    metadata: meta(name),
    node: nodeName,
    interfaceName: 'eth0',
    expectedIPs: [],
    profiles: [],
    ports: [],
    ...part,
  },
});
const rule = (action: CalicoRule['action'], port?: number): CalicoRule => ({
  action,
  protocol: 6,
  source: {},
  destination: port === undefined ? {} : { ports: [{ first: port, last: port }] },
});
const policy = (name: string, part: Partial<CalicoPolicyObject>): ModelUpdate => ({
  type: 'upsert',
  kind: 'GlobalNetworkPolicy',
  key: name,
  object: {
    metadata: meta(name),
    tier: 'default',
    selector: "name == 'h1'",
    types: ['Ingress'],
    ingress: [],
    egress: [],
    ...part,
  },
});
const world = [
  node('n1', '192.0.2.1'),
  node('n2', '192.0.2.2'),
  pod('a', 'n1', '10.1.0.1'),
  pod('b', 'n1', '10.1.0.2'),
  pod('c', 'n2', '10.2.0.1'),
];

/** `from to port`, of those that are allowed; the table, the verdict and the explainer agree. */
function allowed(...objects: readonly ModelUpdate[]): string[] {
  const cluster = simulateCluster([...world, ...objects]);
  const ends = [...cluster.pods, ...cluster.nodes, { id: 'ext:x', addresses: [ip('198.51.100.1')], ports: [] }];
  const table = new VerdictTable(cluster.state, ends);
  const out: string[] = [];
  for (const from of ends) {
    for (const to of ends) {
      if (from === to) continue;
      for (const port of [80, 81, 22]) {
        const addresses = { fromAddress: from.addresses[0]!, toAddress: to.addresses[0]! };
        const packet = { ...addresses, protocol: 'TCP' as const, port };
        const { verdict } = connectionVerdict(cluster.state, from, to, packet);
        const what = `${from.id} ${to.id} ${port}`;
        assert.equal(table.allows(from, to, { protocol: 'TCP', port, family: 4 }), verdict === 'allow', what);
        if (from.endpoint !== undefined || to.endpoint === undefined || from.node !== to.node) {
          const connection = connectionEnds(from, to, addresses.fromAddress, addresses.toAddress);
          const explained = explainConnection(cluster.state, { ...connection, protocol: 'TCP', port });
          assert.equal(explained.verdict, verdict, `explained: ${what}`);
        }
        if (verdict === 'allow') out.push(what);
      }
    }
  }
  return out;
}
/** Those of `before` that are not allowed any more. */
const lost = (before: readonly string[], after: readonly string[]): string[] =>
  before.filter((line) => !after.includes(line)).sort();

const open = allowed();

test('without a policy a node has its failsafe ports alone, its pods all of theirs', () => {
  const closed = lost(open, allowed(host('h1', 'n1')));
  // Outbound there is no SSH among them.
  const others = ['node:n2', 'ns/c', 'ext:x'];
  const expected = [
    ...others.flatMap((other) => [80, 81].map((port) => `${other} node:n1 ${port}`)),
    ...others.flatMap((other) => [80, 81, 22].map((port) => `node:n1 ${other} ${port}`)),
  ];
  assert.deepEqual(closed, expected.sort());
  const configuration: FelixConfigurationObject = {
    metadata: meta('default'),
    failsafeInboundHostPorts: [{ protocol: 'TCP', port: 81, net: '192.0.2.0/24' as never }],
    notUsed: [],
  };
  const felix: ModelUpdate = { type: 'upsert', kind: 'FelixConfiguration', key: 'default', object: configuration };
  const inbound = lost(open, allowed(host('h1', 'n1'), felix)).filter((line) => line.includes(' node:n1'));
  assert.deepEqual(
    inbound,
    [
      ...others.flatMap((other) => [80, 22].map((port) => `${other} node:n1 ${port}`)),
      'ext:x node:n1 81',
      'ns/c node:n1 81',
    ].sort(),
  );
});

test('what is forwarded is asked of both nodes; what is allowed ahead, of no other policy', () => {
  const profile = { profiles: ['projectcalico-default-allow'] };
  const forward = policy('f', { hostTraffic: 'forward', ingress: [rule('Allow', 80)] });
  const others = ['node:n2', 'ns/c', 'ext:x'];
  const toPods = others.flatMap((other) =>
    ['a', 'b'].flatMap((to) => [81, 22].map((port) => `${other} ns/${to} ${port}`)),
  );
  const toNode = others.map((other) => `${other} node:n1 81`);
  assert.deepEqual(lost(open, allowed(host('h1', 'n1', profile), forward)), [...toPods, ...toNode].sort());
  const before = policy('p', { hostTraffic: 'preDNAT', ingress: [rule('Deny', 80), rule('Allow', 81)] });
  const ahead = lost(open, allowed(host('h1', 'n1', profile), forward, before));
  const expected = others.flatMap((other) => [
    ...['node:n1', 'ns/a', 'ns/b'].map((to) => `${other} ${to} 80`),
    // Port 22 is the node's failsafe port; of what is forwarded it is none.
    ...['ns/a', 'ns/b'].map((to) => `${other} ${to} 22`),
  ]);
  assert.deepEqual(ahead, expected.sort());
});

test('staged policies of host endpoints are in force nowhere, and compared with what is', () => {
  const profiles = ['projectcalico-default-allow'];
  const staged = (name: string, part: Partial<CalicoPolicyObject>): ModelUpdate => {
    const { object } = policy(name, part) as { readonly object: CalicoPolicyObject };
    return { type: 'upsert', kind: 'StagedGlobalNetworkPolicy', key: name, object: { ...object, stagedAction: 'Set' } };
  };
  const objects = [
    host('h1', 'n1', { profiles }),
    policy('f', { hostTraffic: 'forward', ingress: [rule('Allow')] }),
    staged('f', { hostTraffic: 'forward', ingress: [rule('Allow', 80)] }),
    staged('p', { hostTraffic: 'preDNAT', ingress: [rule('Deny', 80)] }),
  ];
  assert.deepEqual(lost(open, allowed(...objects)), []);
  const cluster = withStagedPolicies(simulateCluster([...world, ...objects]));
  const [a, c] = ['ns/a', 'ns/c'].map((id) => cluster.pods.find((one) => one.id === id)!);
  const verdicts = [80, 81].map((port) => {
    const packet = { fromAddress: c!.addresses[0]!, toAddress: a!.addresses[0]!, protocol: 'TCP' as const, port };
    return connectionVerdict(cluster.state, c!, a!, packet).hostIngress;
  });
  const [p, f] = ['p', 'f'].map((name) => `StagedGlobalNetworkPolicy:${name}`);
  assert.deepEqual(verdicts, [
    { verdict: 'deny', by: 'rule', tier: 'default', policy: p, rule: 0 },
    { verdict: 'deny', by: 'endOfTier', tier: 'default' },
  ]);
  assert.ok(cluster.state.policies.has(f!));
});

test('of several host endpoints the one that expects an address counts, else that of *; of others none can be told', () => {
  const closed = (...hosts: readonly ModelUpdate[]) => lost(open, allowed(...hosts)).length > 0;
  const profiles = ['projectcalico-default-allow'];
  assert.equal(closed(host('x', 'n1'), host('y', 'n1', { interfaceName: 'eth1' })), false);
  assert.equal(closed(host('x', 'n1', { profiles }), host('y', 'n1', { interfaceName: '*' })), true);
  const found = host('x', 'n1', { profiles, expectedIPs: [ip('192.0.2.1')] });
  assert.equal(closed(found, host('y', 'n1', { interfaceName: '*' })), false);
});
