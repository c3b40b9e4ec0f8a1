/**
 * The engine's output is a function of the final objects: any permutation of them, with repetitions, older versions before the last ones and
 * things that come and go in between, flushed and settled at any point, ends in the same state. Objects of every kind that the engine knows.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import { decodeObject } from '#datastore';
import type { IpAddress } from '#kit';
import { type Kind, type Labels, type ModelUpdate, type ObjectMeta, objectKey } from '#model';
import { createPolicyEngine, type PolicyEngine, PolicyStateStore } from '#policy';
import { calicoArbitrary, calicoIds } from '../support/random-calico.ts';
import { clusterPolicyArbitrary, clusterPolicyIds } from '../support/random-cluster-policy.ts';
import { casesOr, casesTimeout } from '../support/random-history.ts';
import {
  labels,
  namespaceArbitrary,
  namespaceNames,
  nodeArbitrary,
  podArbitrary,
  policyArbitrary,
} from '../support/random-policy.ts';
import { stagedArbitrary, stagedIds } from '../support/random-staged.ts';

const runs = casesOr(150);

/** One thing that is said to the engine; equal keys are about the same thing. */
interface Input {
  readonly key: string;
  say(engine: PolicyEngine): void;
}

function upsert(update: ModelUpdate): Input {
  return {
    key: `${update.kind} ${update.key}`,
    // A new object each time: that it is the same one must not matter.
    say: (engine) => engine.update(structuredClone(update)),
  };
}

const isHere = (node: string): boolean => node === 'n1';

/** Pods may share addresses: `slot` is what their last number is. */
const slot = fc.integer({ min: 1, max: 4 });
const podNames = namespaceNames.flatMap((namespace) => ['p0', 'p1'].map((name) => [namespace, name] as const));
const policyNames = namespaceNames.flatMap((namespace) => ['a', 'b'].map((name) => [namespace, name] as const));

const metadataOf = (name: string, its: Labels): ObjectMeta => ({
  name,
  namespace: '',
  uid: name,
  labels: its,
  annotations: {},
});

/** Of this node or of another. */
function hostEndpointArbitrary(name: string): Arbitrary<Input> {
  return fc
    .record({
      labels,
      node: fc.constantFrom('n1', 'n2'),
      at: slot,
      interfaceName: fc.constantFrom('eth0', '*'),
      profiles: fc.subarray(['projectcalico-default-allow']),
    })
    .map(({ labels: its, at, ...more }) => {
      const object = {
        ...more,
        metadata: metadataOf(name, its),
        expectedIPs: [`10.0.0.${at}` as IpAddress],
        ports: [],
      };
      return upsert({ type: 'upsert', kind: 'HostEndpoint', key: name, object });
    });
}

/** About every kind of host endpoints' traffic. */
function hostPolicyArbitrary(name: string): Arbitrary<Input> {
  const id = { kind: 'GlobalNetworkPolicy', name: name as 'a' | 'b' } as const;
  return fc
    .tuple(
      calicoArbitrary(id),
      fc.constantFrom(undefined, 'forward' as const, 'preDNAT' as const, 'untracked' as const),
    )
    .map(([manifest, hostTraffic]) => {
      const { typed, faults } = decodeObject('GlobalNetworkPolicy', manifest, 'directory');
      assert.ok(typed?.kind === 'GlobalNetworkPolicy', JSON.stringify(faults));
      const object = { ...typed.object, metadata: metadataOf(`host-${name}`, {}), ...(hostTraffic && { hostTraffic }) };
      return upsert({ type: 'upsert', kind: 'GlobalNetworkPolicy', key: `host-${name}`, object });
    });
}

/** Some version of one thing of every kind. */
const inputs: readonly Arbitrary<Input>[] = [
  ...namespaceNames.map((key) =>
    namespaceArbitrary(key).map((object) => upsert({ type: 'upsert', kind: 'Namespace', key, object })),
  ),
  ...(['n1', 'n2'] as const).map((key) =>
    nodeArbitrary(key).map((object) => upsert({ type: 'upsert', kind: 'Node', key, object })),
  ),
  ...podNames.map(([namespace, name]) =>
    podArbitrary(namespace, name, slot).map((object) =>
      upsert({ type: 'upsert', kind: 'Pod', key: `${namespace}/${name}`, object }),
    ),
  ),
  ...policyNames.map(([namespace, name]) =>
    policyArbitrary(namespace, name).map((object) =>
      upsert({ type: 'upsert', kind: 'NetworkPolicy', key: `${namespace}/${name}`, object }),
    ),
  ),
  ...clusterPolicyIds.map((id) =>
    clusterPolicyArbitrary(id).map((manifest) => {
      const { typed, faults } = decodeObject(manifest.kind, manifest, 'api');
      assert.ok(typed, JSON.stringify(faults));
      return upsert({ type: 'upsert', key: manifest.metadata.name, ...typed } as ModelUpdate);
    }),
  ),
  ...calicoIds.map((id) =>
    calicoArbitrary(id).map((manifest) => {
      const kind: Kind = manifest.kind === 'NetworkPolicy' ? 'CalicoNetworkPolicy' : manifest.kind;
      const { typed, faults } = decodeObject(kind, manifest, 'directory');
      assert.ok(typed, JSON.stringify(faults));
      return upsert({ type: 'upsert', key: objectKey(typed.object.metadata), ...typed } as ModelUpdate);
    }),
  ),
  ...['a', 'b'].map((name) => hostPolicyArbitrary(name)),
  ...['h', 'i'].map((name) => hostEndpointArbitrary(name)),
  ...stagedIds.map((id) => stagedArbitrary(id).map(upsert)),
  ...podNames.map((parts) =>
    slot.map((at): Input => {
      const id = parts.join('/');
      const addresses = [`10.0.0.${at}` as IpAddress];
      return { key: `endpoint ${id}`, say: (engine) => engine.setLocalEndpoint(id, addresses) };
    }),
  ),
];

function unsaid(key: string): Input {
  const [kind, name] = key.split(' ') as [string, string];
  return {
    key,
    say: (engine) =>
      kind === 'endpoint'
        ? engine.removeLocalEndpoint(name)
        : engine.update({ type: 'delete', kind, key: name } as ModelUpdate),
  };
}

/** How a history says one thing: with that many versions before, each followed by its end or not. */
interface Thing {
  readonly versions: readonly Input[];
  readonly ends: readonly boolean[];
  readonly there: boolean;
  readonly repeats: number;
}

const thing = (input: Arbitrary<Input>): Arbitrary<Thing> =>
  fc.record({
    versions: fc.array(input, { minLength: 1, maxLength: 3, size: 'max' }),
    ends: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    there: fc.constantFrom(true, true, true, false),
    repeats: fc.nat({ max: 2 }),
  });

function linesOf({ versions, ends, there, repeats }: Thing): Input[] {
  const last = versions.at(-1)!;
  const final = there ? last : unsaid(last.key);
  const before = versions.slice(0, -1).flatMap((input, i) => (ends[i] ? [input, unsaid(input.key)] : [input]));
  return [...before, ...(there ? [] : [last]), ...Array.from({ length: 1 + repeats }, () => final)];
}

/** Interleaves the lines; those of one thing stay in order. */
function interleaved(lines: readonly (readonly Input[])[], picks: Iterator<number>): Input[] {
  const left = lines.map((line) => [...line]).filter((line) => line.length > 0);
  const out: Input[] = [];
  while (left.length > 0) {
    const at = picks.next().value % left.length;
    out.push(left[at]!.shift()!);
    if (left[at]!.length === 0) left.splice(at, 1);
  }
  return out;
}

function state(store: PolicyStateStore): object {
  return { sets: store.sets, policies: store.policies, endpoints: store.endpoints };
}

test(
  'any order, repetition and interleaving of the same inputs ends in the same output, for all kinds',
  casesTimeout,
  () => {
    fc.assert(
      fc.property(
        fc.tuple(...inputs.map(thing)),
        fc.infiniteStream(fc.nat()),
        fc.infiniteStream(fc.constantFrom<'flush' | 'settle' | ''>('flush', 'settle', '', '', '', '')),
        fc.nat({ max: 120 }),
        (things, picks, interruptions, syncAt) => {
          const plain = createPolicyEngine(isHere);
          for (const each of things) if (each.there) each.versions.at(-1)!.say(plain);
          plain.inSync();
          const expected = new PolicyStateStore();
          expected.apply(plain.flush());

          const engine = createPolicyEngine(isHere);
          const store = new PolicyStateStore();
          for (const [i, input] of interleaved(things.map(linesOf), picks).entries()) {
            if (i === syncAt) engine.inSync();
            input.say(engine);
            const interruption = interruptions.next().value;
            if (interruption === 'flush') store.apply(engine.flush());
            else if (interruption === 'settle') engine.settle(1 + (i % 5));
          }
          engine.inSync();
          store.apply(engine.flush());
          assert.deepEqual(state(store), state(expected));
          assert.deepEqual(engine.flush(), []);
        },
      ),
      { numRuns: runs },
    );
  },
);
