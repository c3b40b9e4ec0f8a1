import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type {
  CalicoPolicyObject,
  ClusterPolicyObject,
  LabelSelector,
  ModelUpdate,
  NetworkPolicyObject,
  PodObject,
  PolicyRule,
} from '#model';
import { withAddresses } from '../simulate/addresses.ts';
import { simulateCluster } from '../simulate/cluster.ts';
import { ruleCovers } from './covers.ts';
import { lintPolicies } from './lint.ts';

const selector = (app?: string): LabelSelector => ({
  matchLabels: app === undefined ? {} : { app },
  matchExpressions: [],
});
const metadata = (namespace: string, name: string) => ({ namespace, name, uid: name, labels: {}, annotations: {} });

function pod(name: string, app: string, ports: PodObject['ports'] = []): ModelUpdate {
  const object: PodObject = {
    metadata: { ...metadata('a', name), labels: { app } },
    nodeName: 'n',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports,
    phase: 'Running',
    terminating: false,
    podIPs: [],
  };
  return { type: 'upsert', kind: 'Pod', key: `a/${name}`, object };
}

function policy(name: string, spec: Partial<NetworkPolicyObject>): ModelUpdate {
  const object: NetworkPolicyObject = {
    metadata: metadata('a', name),
    podSelector: selector('web'),
    policyTypes: ['Ingress'],
    ingress: [],
    egress: [],
    ...spec,
  };
  return { type: 'upsert', kind: 'NetworkPolicy', key: `a/${name}`, object };
}

function clusterPolicy(name: string, spec: Pick<ClusterPolicyObject, 'tier' | 'ingress'>): ModelUpdate {
  const subject = { namespaceSelector: selector(), podSelector: selector('web') };
  const object: ClusterPolicyObject = { metadata: metadata('', name), priority: 1, subject, egress: [], ...spec };
  return { type: 'upsert', kind: 'ClusterNetworkPolicy', key: name, object };
}

function calicoPolicy(name: string, spec: Partial<CalicoPolicyObject>): ModelUpdate {
  const common = { tier: 'default', selector: "app == 'web'", types: ['Ingress'], ingress: [], egress: [] } as const;
  const object: CalicoPolicyObject = { metadata: metadata('a', name), ...common, ...spec };
  return { type: 'upsert', kind: 'CalicoNetworkPolicy', key: `a/${name}`, object };
}

function slice(serviceName: string, ...addresses: string[]): ModelUpdate {
  const ports = [{ port: 80, protocol: 'TCP' }] as const;
  const object = { metadata: metadata('a', 'x'), serviceName, addresses: addresses as IpAddress[], ports };
  return { type: 'upsert', kind: 'EndpointSlice', key: 'a/x', object };
}

const namespace: ModelUpdate = { type: 'upsert', kind: 'Namespace', key: 'a', object: { metadata: metadata('', 'a') } };
const http = { name: 'http', containerPort: 8080, protocol: 'TCP' } as const;

/** `code severity policy [direction] [rule]` of each finding. */
function lint(...updates: readonly ModelUpdate[]): string[] {
  const complete = withAddresses([namespace, pod('web-1', 'web', [http]), pod('db', 'db'), ...updates]).updates;
  return lintPolicies(complete, simulateCluster(complete).state).map(({ code, severity, policy, direction, rule }) =>
    [code, severity, policy.replace(/^.*[:/]/, ''), direction, rule].filter((part) => part !== undefined).join(' '),
  );
}

const from = (app: string, ...ports: NetworkPolicyObject['ingress'][number]['ports']) => ({
  peers: [{ podSelector: selector(app) }],
  ports,
});

test('a policy that selects nothing, and a peer that nobody is', () => {
  assert.deepEqual(lint(policy('p', { podSelector: selector('gone'), ingress: [from('db')] })), [
    'selects-nothing warning p',
  ]);
  assert.deepEqual(lint(policy('p', { ingress: [from('gone')] })), ['peer-selects-nothing warning p ingress 0']);
  assert.deepEqual(lint(policy('p', { ingress: [from('db')] })), []);
});

test('names and numbers of ports that are missing', () => {
  const named = (port: string | number) => policy('p', { ingress: [from('db', { protocol: 'TCP', port })] });
  assert.deepEqual(lint(named('http')), []);
  assert.deepEqual(lint(named('metrics')), ['port-name-missing warning p ingress 0']);
  assert.deepEqual(lint(named('http'), pod('web-2', 'web')), ['port-name-missing notice p ingress 0']);
  assert.deepEqual(lint(named(8080)), []);
  assert.deepEqual(lint(named(9999)), ['port-not-served notice p ingress 0']);
  // A pod that says nothing may serve anything.
  assert.deepEqual(lint(named(9999), pod('web-2', 'web')), []);
});

test('who lets in the world', () => {
  assert.deepEqual(lint(policy('p', { ingress: [{ peers: [], ports: [] }] })), ['allows-world warning p ingress 0']);
  const block = { ipBlock: { cidr: '0.0.0.0/0', except: [] } } as never;
  assert.deepEqual(lint(policy('p', { ingress: [{ peers: [block], ports: [] }] })), [
    'allows-world warning p ingress 0',
  ]);
  const some = [{ protocol: 'TCP', port: 'http' }] as const;
  assert.deepEqual(lint(policy('p', { ingress: [{ peers: [], ports: some }] })), ['allows-world notice p ingress 0']);
  const out = policy('p', { policyTypes: ['Egress'], egress: [{ peers: [], ports: [] }] });
  assert.deepEqual(lint(out), ['allows-world notice p egress 0']);
});

test('a service that is not there, and one that has no endpoints', () => {
  const services = { namespace: 'a', name: 'api' };
  const out = calicoPolicy('p', {
    types: ['Egress'],
    egress: [{ action: 'Allow', source: {}, destination: { services } }],
  });
  const into = calicoPolicy('p', { ingress: [{ action: 'Deny', source: { services }, destination: {} }] });
  assert.deepEqual(lint(out), ['service-without-endpoints warning p egress 0']);
  assert.deepEqual(lint(into), ['service-without-endpoints warning p ingress 0']);
  assert.deepEqual(lint(out, slice('api')), ['service-without-endpoints warning p egress 0']);
  assert.deepEqual(
    [out, into].map((each) => lint(each, slice('api', '10.0.0.9'))),
    [[], []],
  );
  const complete = withAddresses([namespace, pod('web-1', 'web'), out, slice('api')]).updates;
  assert.match(lintPolicies(complete, simulateCluster(complete).state)[0]!.message, /a\/api has no endpoints now/);
});

test('names of domains: which addresses they have, manifests do not say', () => {
  const destination = { domains: ['*.example.com'] };
  assert.deepEqual(
    lint(calicoPolicy('p', { types: ['Egress'], egress: [{ action: 'Allow', source: {}, destination }] })),
    [],
  );
});

test('what is shadowed: by a rule, in another policy of all the same pods, by a tier that denies', () => {
  const wide = from('db');
  const narrow = from('db', { protocol: 'TCP', port: 8080 });
  assert.deepEqual(lint(policy('p', { ingress: [wide, narrow] })), ['shadowed warning p ingress 1']);
  assert.deepEqual(lint(policy('p', { ingress: [wide] }), policy('q', { ingress: [narrow] })), [
    'shadowed warning q ingress',
  ]);
  // Of another pod it decides.
  const everywhere = policy('q', { podSelector: selector(), ingress: [narrow] });
  assert.deepEqual(lint(policy('p', { ingress: [wide] }), everywhere), []);
  const peers = [{ type: 'pods', namespaceSelector: selector(), podSelector: selector() }] as const;
  const baseline = clusterPolicy('b', { tier: 'Baseline', ingress: [{ action: 'Deny', peers, ports: [] }] });
  assert.deepEqual(lint(policy('p', { ingress: [wide] }), baseline), ['shadowed notice b ingress']);
  assert.deepEqual(lint(baseline), []);
  const admin = clusterPolicy('x', { tier: 'Admin', ingress: [{ action: 'Pass', peers, ports: [] }] });
  // What Pass leaves to NetworkPolicy is decided there.
  assert.deepEqual(lint(policy('p', { ingress: [wide] }), admin), []);
});

test('a rule covers another only where it matches all of its packets', () => {
  const rule = (more: Partial<PolicyRule>): PolicyRule => ({ action: 'allow', ...more });
  const block = (cidr: string, ...except: string[]) => ({ source: { type: 'cidr', cidr, except } }) as never;
  const tcp = (...ports: [number, number][]): Partial<PolicyRule> => ({
    protocol: 6,
    destinationPorts: ports.map(([first, last]) => ({ first, last })),
  });
  const covers = (a: Partial<PolicyRule>, b: Partial<PolicyRule>): boolean => ruleCovers(rule(a), rule(b));
  assert.ok(covers({}, tcp([80, 80])));
  assert.ok(!covers(tcp([80, 80]), {}));
  assert.ok(!covers(tcp([80, 80]), { protocol: 6 }));
  assert.ok(covers(tcp([1, 100], [200, 300]), tcp([5, 9], [200, 200])));
  assert.ok(!covers(tcp([1, 100]), tcp([90, 101])));
  assert.ok(covers(block('10.0.0.0/8'), block('10.1.0.0/16')));
  assert.ok(!covers(block('10.1.0.0/16'), block('10.0.0.0/8')));
  assert.ok(!covers(block('10.0.0.0/8', '10.1.0.0/16'), block('10.1.2.0/24')));
  assert.ok(!covers(block('10.0.0.0/8', '10.1.2.0/24'), block('10.1.0.0/16')));
  assert.ok(covers(block('10.0.0.0/8', '10.1.0.0/16'), block('10.0.0.0/8', '10.0.0.0/15')));
  assert.ok(!covers(block('0.0.0.0/0'), { source: { type: 'set', set: 'pods:ns=a;all()' } }));
  assert.ok(covers(block('10.0.0.0/8'), { source: { type: 'set', set: 'nets:10.1.0.0/16,10.2.0.0/16' } }));
  assert.ok(!covers({ family: 4 }, {}));
  assert.ok(covers({ family: 4 }, block('10.0.0.0/8')));
  assert.ok(!ruleCovers(rule({ action: 'log' }), rule({})));
});
