/** Staged policies change nothing that is in force, and what is said of them is what would be in force if they were applied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { type EndpointProgram, type HostTraffic, isStagedKind, type ModelUpdate, type PolicyId } from '#model';
import { createPolicyEngine, PolicyStateStore, policiesOf, setsOf, stagedState } from '#policy';
import { casesOr, command, crowd, Reference } from '../support/random-history.ts';
import { enforcedKindOf, stagedArbitrary, stagedIds } from '../support/random-staged.ts';

const staged: Arbitrary<readonly ModelUpdate[]> = fc
  .subarray([...stagedIds], { minLength: 1 })
  .chain((ids) => fc.tuple(...ids.map(stagedArbitrary)));

type World = Pick<Reference, 'updates' | 'local'>;

/** Where the world's host endpoints are. */
const isHere = (node: string): boolean => node === 'elsewhere';

function stateOf({ updates, local }: World): PolicyStateStore {
  const engine = createPolicyEngine(isHere);
  for (const update of updates.values()) engine.update(update);
  for (const [key, addresses] of local) engine.setLocalEndpoint(key, addresses);
  engine.inSync();
  const store = new PolicyStateStore();
  store.apply(engine.flush());
  return store;
}

/** What `kubectl apply` and `kubectl delete` would make of the objects if the staged policies were carried out. */
function carriedOut({ updates, local }: World): World {
  const after = new Map([...updates].filter(([, { kind }]) => !isStagedKind(kind)));
  for (const update of updates.values()) {
    if (update.type !== 'upsert' || !isStagedKind(update.kind)) continue;
    const { stagedAction, ...object } = update.object as { stagedAction: string; tier?: string };
    const kind = enforcedKindOf[update.kind];
    const ref = `${kind} ${update.key}`;
    const inPlace = updates.get(ref);
    const tierOf = (policy: object): unknown => (policy as { tier?: string }).tier;
    // One that stands in another tier is another policy: the staged one comes beside it, under a name of its own.
    const isSame = inPlace?.type === 'upsert' && tierOf(inPlace.object) === tierOf(object);
    if (stagedAction === 'Set') {
      const key = inPlace && !isSame ? beside(update.key) : update.key;
      after.set(`${kind} ${key}`, { type: 'upsert', kind, key, object } as unknown as ModelUpdate);
    } else if (stagedAction === 'Delete' && isSame) after.delete(ref);
  }
  return { updates: after, local };
}

/** A name that stands where `key` does among policies of other kinds of that name: before or behind them, as the kinds do. */
function beside(key: string): string {
  return key.includes('/') ? `${key}-beside` : `${key};beside`;
}

/** Staged policies under the names that they would have. */
function enforcedName(id: PolicyId, { updates }: World): PolicyId {
  const [kind, key] = [id.slice(0, id.indexOf(':')), id.slice(id.indexOf(':') + 1)];
  if (!Object.hasOwn(enforcedKindOf, kind)) return id;
  const enforced = enforcedKindOf[kind as keyof typeof enforcedKindOf];
  const tierOf = (ref: string): unknown =>
    (updates.get(ref) as { object?: { tier?: string } } | undefined)?.object?.tier;
  const isBeside = updates.has(`${enforced} ${key}`) && tierOf(`${enforced} ${key}`) !== tierOf(`${kind} ${key}`);
  return `${enforced}:${isBeside ? beside(key) : key}`;
}

const world = fc.tuple(crowd, fc.array(command, { maxLength: 10 }), staged).map(([start, steps, policies]) => {
  const reference = new Reference();
  const engine = createPolicyEngine();
  for (const step of [...start, ...steps]) reference.apply(engine, step);
  for (const policy of policies) reference.updates.set(`${policy.kind} ${policy.key}`, policy);
  return reference;
});

test('what is in force is the same with staged policies and without', () => {
  fc.assert(
    fc.property(world, (reference) => {
      const withStaged = stateOf(reference);
      const without = stateOf({
        updates: new Map([...reference.updates].filter(([, { kind }]) => !isStagedKind(kind))),
        local: reference.local,
      });
      const inForce = [...withStaged.endpoints].map(([id, { staged: _, ...program }]) => [id, program] as const);
      assert.deepEqual(new Map(inForce), without.endpoints);
      for (const [id, program] of without.policies) assert.deepEqual(withStaged.policies.get(id), program);
      const needed = [...withStaged.sets].filter(([, set]) => !set.staged);
      assert.deepEqual(new Map(needed), without.sets);
    }),
    { numRuns: casesOr(100) },
  );
});

test('what would be in force with them is what is in force once they are carried out', () => {
  fc.assert(
    fc.property(world, (reference) => {
      const state = stateOf(reference);
      const would = stagedState(state);
      const expected = stateOf(carriedOut(reference));
      const renamed = (tiers: EndpointProgram['ingress']) =>
        tiers.map((tier) => ({ ...tier, policies: tier.policies.map((id) => enforcedName(id, reference)) }));
      const both = ({ ingress, egress }: HostTraffic) => ({ ingress: renamed(ingress), egress: renamed(egress) });
      const programs = [...would.endpoints].map(([id, { host, ...program }]) => {
        const ofHost = host && {
          host: {
            ...host,
            forward: both(host.forward),
            preDNAT: renamed(host.preDNAT),
            untracked: both(host.untracked),
          },
        };
        return [id, { ...both(program), ...ofHost }] as const;
      });
      assert.deepEqual(new Map(programs), expected.endpoints);
      for (const [id, program] of state.policies) {
        const after = expected.policies.get(enforcedName(id, reference));
        if (!after || !would.endpoints.values().some((program) => policiesOf(program).has(id))) continue;
        assert.deepEqual(program, after);
        for (const set of setsOf(program))
          assert.deepEqual(state.sets.get(set)?.members, expected.sets.get(set)?.members);
      }
    }),
    { numRuns: casesOr(100) },
  );
});
