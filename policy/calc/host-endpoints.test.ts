/** Programs of host endpoints, and what sets hold of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type {
  CalicoPolicyObject,
  EndpointProgram,
  HostEndpointObject,
  Labels,
  ModelUpdate,
  ObjectMeta,
  PolicyUpdate,
} from '#model';
import { PolicyStateStore } from '../explain/policy-state.ts';
import { createPolicyEngine } from './engine.ts';

const meta = (name: string, labels: Labels = {}, namespace = ''): ObjectMeta => ({
  name,
  namespace,
  uid: name,
  labels,
  annotations: {},
});
function host(name: string, part: Partial<HostEndpointObject> = {}, labels: Labels = { role: 'node' }): ModelUpdate {
  const object: HostEndpointObject = {
    metadata: meta(name, labels),
    node: 'n1',
    interfaceName: 'eth0',
    expectedIPs: [],
    profiles: [],
    ports: [],
    ...part,
  };
  return { type: 'upsert', kind: 'HostEndpoint', key: name, object };
}
function policy(name: string, part: Partial<CalicoPolicyObject> = {}): ModelUpdate {
  const object: CalicoPolicyObject = {
    metadata: meta(name),
    tier: 'default',
    selector: 'all()',
    types: ['Ingress', 'Egress'],
    ingress: [{ action: 'Allow', source: { selector: "role == 'node'" }, destination: {} }],
    egress: [],
    ...part,
  };
  return { type: 'upsert', kind: 'GlobalNetworkPolicy', key: name, object };
}
const pod: ModelUpdate = {
  type: 'upsert',
  kind: 'Pod',
  key: 'ns/p',
  object: {
    metadata: meta('p', {}, 'ns'),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: ['10.0.0.1' as IpAddress],
  },
};

function world() {
  const engine = createPolicyEngine((node) => node === 'n1');
  const state = new PolicyStateStore();
  engine.inSync();
  return {
    engine,
    state,
    tell(...updates: ModelUpdate[]): PolicyUpdate[] {
      for (const update of updates) engine.update(update);
      const out = engine.flush();
      state.apply(out);
      return out;
    },
    program: (name: string): EndpointProgram | undefined => state.endpoints.get(`HostEndpoint:${name}`),
  };
}
const names = (tiers: EndpointProgram['ingress']): string[] => tiers.flatMap(({ policies }) => policies);
const id = (name: string): string => `GlobalNetworkPolicy:${name}`;

test('each kind of traffic has the policies that are about it, in the order of their places', () => {
  const w = world();
  w.tell(
    host('h'),
    policy('late', { order: 9 }),
    policy('forward', { order: 2, hostTraffic: 'forward', types: ['Ingress'] }),
    policy('before', { hostTraffic: 'preDNAT', types: ['Ingress'] }),
    policy('every', { hostTraffic: 'untracked' }),
  );
  const { ingress, egress, host: more } = w.program('h')!;
  assert.deepEqual(names(ingress), [id('forward'), id('late')]);
  assert.deepEqual(names(egress), [id('late')]);
  assert.deepEqual(names(more!.forward.ingress), [id('forward')]);
  assert.deepEqual(names(more!.forward.egress), []);
  assert.deepEqual(names(more!.preDNAT), [id('before')]);
  assert.deepEqual(names(more!.untracked.egress), [id('every')]);
  // Only what ends or begins at the node, and what is forwarded, ends in deny.
  assert.deepEqual(
    [ingress, more!.forward.ingress, more!.preDNAT].map(([tier]) => tier!.endOfTier),
    ['deny', 'deny', 'pass'],
  );
  assert.equal(more!.otherwise, 'deny');
});

test('what is about host endpoints alone is not about pods, which have the others', () => {
  const w = world();
  w.engine.setLocalEndpoint('ns/p', ['10.0.0.1' as IpAddress]);
  w.tell(
    pod,
    policy('forward', { hostTraffic: 'forward' }),
    policy('before', { hostTraffic: 'preDNAT' }),
    policy('every', { hostTraffic: 'untracked' }),
  );
  assert.deepEqual(names(w.state.endpoints.get('ns/p')!.ingress), [id('forward')]);
  assert.deepEqual([...w.state.policies.keys()], [id('forward')]);
});

test('those of other nodes are in sets, by their addresses, and have no program', () => {
  const w = world();
  w.tell(
    host('h', { expectedIPs: ['192.0.2.1'] as IpAddress[] }),
    host('other', { node: 'n2', expectedIPs: ['192.0.2.2', '2001:db8::2'] as IpAddress[] }),
    policy('p'),
  );
  assert.equal(w.program('other'), undefined);
  const members = () => [...w.state.sets.values()].flatMap((set) => [...set.members]).sort();
  assert.deepEqual(members(), ['192.0.2.1/32', '192.0.2.2/32', '2001:db8::2/128']);
  w.tell(host('other', { node: 'n2', expectedIPs: ['192.0.2.2'] as IpAddress[] }, { role: 'router' }));
  assert.deepEqual(members(), ['192.0.2.1/32']);
  w.tell({ type: 'delete', kind: 'HostEndpoint', key: 'h' });
  assert.equal(w.program('h'), undefined);
  assert.deepEqual([w.state.policies.size, w.state.sets.size], [0, 0]);
});

test('labels, profiles and policies change its program, and a change that is none says nothing', () => {
  const w = world();
  w.tell(host('h'), policy('p', { selector: "role == 'node'" }));
  assert.deepEqual(names(w.program('h')!.ingress), [id('p')]);
  assert.deepEqual(w.tell(host('h'), policy('p', { selector: "role == 'node'" })), []);
  w.tell(host('h', { profiles: ['kns.default'] }, { role: 'x' }));
  assert.deepEqual(w.program('h')!.ingress, []);
  assert.equal(w.program('h')!.host!.otherwise, 'allow');
  w.tell(host('h', { profiles: ['mine', 'ksa.default.x'] }));
  assert.equal(w.program('h')!.host!.otherwise, 'deny');
  w.tell(policy('p', { selector: "role == 'node'", hostTraffic: 'untracked' }));
  const { ingress, host: more } = w.program('h')!;
  assert.deepEqual([names(ingress), names(more!.untracked.ingress)], [[], [id('p')]]);
  w.tell(host('h', { node: 'n2' }));
  assert.equal(w.program('h'), undefined);
});

test('policies of namespaces, and those that select namespaces or service accounts, are never about a host endpoint', () => {
  const w = world();
  w.tell(host('h'), policy('n', { namespaceSelector: 'all()' }), policy('s', { serviceAccountSelector: 'has(team)' }), {
    type: 'upsert',
    kind: 'CalicoNetworkPolicy',
    key: 'ns/p',
    object: { ...(policy('p') as { readonly object: CalicoPolicyObject }).object, metadata: meta('p', {}, 'ns') },
  });
  assert.deepEqual(w.program('h')!.ingress, []);
});
