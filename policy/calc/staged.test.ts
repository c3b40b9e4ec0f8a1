/** What staged policies make of endpoints' programs, and what they cost those who have none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type {
  CalicoPolicyObject,
  ModelUpdate,
  ObjectMeta,
  PodObject,
  PolicyUpdate,
  StagedAction,
  TierProgram,
} from '#model';
import { evaluate, evaluateStaged, type PolicyQuery } from '../explain/evaluate.ts';
import { PolicyStateStore } from '../explain/policy-state.ts';
import { createPolicyEngine } from './engine.ts';

const meta = (namespace: string, name: string, labels = {}): ObjectMeta => ({
  namespace,
  name,
  uid: '',
  labels,
  annotations: {},
});
function pod(name: string, last: number): ModelUpdate {
  const object: PodObject = {
    metadata: meta('shop', name, { app: name }),
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [`10.0.0.${last}` as IpAddress],
  };
  return { type: 'upsert', kind: 'Pod', key: `shop/${name}`, object };
}
const calico = (name: string, part: Partial<CalicoPolicyObject>): CalicoPolicyObject => ({
  metadata: meta('shop', name),
  tier: 'default',
  selector: "app == 'db'",
  types: ['Ingress'],
  ingress: [],
  egress: [],
  ...part,
});
const from = (app: string): Partial<CalicoPolicyObject> => ({
  ingress: [{ action: 'Allow', source: { selector: `app == '${app}'` }, destination: {} }],
});
const enforced = (name: string, part: Partial<CalicoPolicyObject> = {}): ModelUpdate => ({
  type: 'upsert',
  kind: 'CalicoNetworkPolicy',
  key: `shop/${name}`,
  object: calico(name, part),
});
const staged = (
  name: string,
  part: Partial<CalicoPolicyObject> = {},
  stagedAction: StagedAction = 'Set',
): ModelUpdate => ({
  type: 'upsert',
  kind: 'StagedNetworkPolicy',
  key: `shop/${name}`,
  object: { ...calico(name, part), stagedAction },
});
const gone = (kind: 'StagedNetworkPolicy' | 'CalicoNetworkPolicy', name: string): ModelUpdate => ({
  type: 'delete',
  kind,
  key: `shop/${name}`,
});

/** shop/db and shop/web are local, shop/job is not. */
function world(...updates: ModelUpdate[]) {
  const engine = createPolicyEngine();
  const state = new PolicyStateStore();
  for (const update of [pod('db', 1), pod('web', 2), pod('job', 3), ...updates]) engine.update(update);
  engine.setLocalEndpoint('shop/db', ['10.0.0.1' as IpAddress]);
  engine.setLocalEndpoint('shop/web', ['10.0.0.2' as IpAddress]);
  engine.inSync();
  state.apply(engine.flush());
  const say = (...more: ModelUpdate[]): PolicyUpdate[] => {
    for (const update of more) engine.update(update);
    const out = engine.flush();
    state.apply(out);
    return out;
  };
  const query = (source: string): PolicyQuery => ({
    endpoint: 'shop/db',
    direction: 'ingress',
    fromAddress: source as IpAddress,
    toAddress: '10.0.0.1' as IpAddress,
    protocol: 'TCP',
    port: 80,
  });
  return {
    state,
    engine,
    say,
    /** Of what comes to shop/db from that address: what happens, and what would. */
    verdicts: (source: string) => [evaluate(state, query(source)), evaluateStaged(state, query(source))],
  };
}
const tier = (...policies: string[]): TierProgram => ({ tier: 'default', policies, endOfTier: 'deny' });
const S = 'StagedNetworkPolicy:shop/';
const E = 'CalicoNetworkPolicy:shop/';

test('a staged policy is no part of what is in force, and what it would decide stands beside it', () => {
  const w = world(staged('lock', from('web')));
  assert.deepEqual(w.state.endpoints.get('shop/db'), {
    ingress: [],
    egress: [],
    staged: { ingress: [tier(`${S}lock`)] },
  });
  assert.deepEqual(w.state.endpoints.get('shop/web'), { ingress: [], egress: [] }, 'whom it does not select');
  const allowed = { verdict: 'allow', by: 'notIsolated' };
  assert.deepEqual(w.verdicts('10.0.0.2'), [
    allowed,
    { verdict: 'allow', by: 'rule', tier: 'default', policy: `${S}lock`, rule: 0 },
  ]);
  assert.deepEqual(w.verdicts('10.0.0.3'), [allowed, { verdict: 'deny', by: 'endOfTier', tier: 'default' }]);
  w.say(gone('StagedNetworkPolicy', 'lock'));
  assert.deepEqual(w.verdicts('10.0.0.3'), [allowed, undefined]);
  assert.deepEqual([w.state.policies.size, w.state.sets.size], [0, 0]);
});

test('it takes the place of the enforced policy of its name in its tier; Delete takes that away; others count for nothing', () => {
  const w = world(enforced('a', from('web')), enforced('b', { order: 5 }));
  const would = (): unknown => w.state.endpoints.get('shop/db')?.staged?.ingress;
  w.say(staged('a', { ...from('job'), order: 1 }));
  assert.deepEqual(would(), [tier(`${S}a`, `${E}b`)], 'where its own order puts it');
  assert.deepEqual(
    w.verdicts('10.0.0.2').map((verdict) => verdict?.verdict),
    ['allow', 'deny'],
  );
  w.say(staged('a', {}, 'Delete'));
  assert.deepEqual(would(), [tier(`${E}b`)]);
  w.say(staged('b', {}, 'Delete'));
  assert.deepEqual(would(), [], 'and no policy is left');
  w.say(staged('a', from('job'), 'Learn'), gone('StagedNetworkPolicy', 'b'));
  assert.equal(would(), undefined);
  w.say(staged('a', { ...from('job'), tier: 'other' }));
  assert.deepEqual(
    would(),
    [tier(`${E}b`, `${E}a`), { ...tier(`${S}a`), tier: 'other' }],
    'in another tier: beside it',
  );
  w.say(gone('CalicoNetworkPolicy', 'a'), staged('a', { selector: "app == 'web'" }));
  assert.deepEqual(would(), undefined, 'of shop/db it says nothing any more');
  w.say(enforced('a', from('web')));
  assert.deepEqual(would(), [tier(`${E}b`)], 'it would not select whom the enforced one does');
});

test('a set that staged policies alone name is told as such, and whole again when a policy in force names it too', () => {
  const w = world(staged('lock', from('job')));
  const [id] = [...w.state.sets.keys()];
  assert.equal(w.state.sets.get(id!)?.staged, true);
  const sets = (updates: PolicyUpdate[]) => updates.flatMap((one) => (one.type === 'set' ? [one.staged ?? false] : []));
  assert.deepEqual(sets(w.say(enforced('lock', from('job')))), [false]);
  assert.deepEqual([...w.state.sets.get(id!)!.members], ['10.0.0.3/32']);
  assert.deepEqual(sets(w.say(enforced('lock', from('job')))), [], 'once');
  assert.deepEqual(sets(w.say(gone('CalicoNetworkPolicy', 'lock'))), [true]);
  assert.equal(w.state.sets.get(id!)?.staged, true);
  assert.deepEqual(
    w.say(gone('StagedNetworkPolicy', 'lock')).map(({ type }) => type),
    ['endpoint', 'policyRemove', 'setRemove'],
  );
});

test('one that selects no local pod is not even compiled', () => {
  const w = world(enforced('a', from('web')));
  const before = w.engine.stats().compiledPolicies;
  assert.deepEqual(w.say(staged('b', { selector: "app == 'job'", ...from('web') })), []);
  assert.equal(w.engine.stats().compiledPolicies, before);
});
