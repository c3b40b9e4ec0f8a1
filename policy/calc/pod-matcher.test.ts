import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import type { Labels } from '#model';
import { and, has, isIn, not, or, type SelectorNode, selector } from '#model';
import type { NamespaceScope, PodSelector } from '../rules/sets.ts';
import { Namespaces } from './namespaces.ts';
import { type MatchedPod, PodMatcher, type Subscription } from './pod-matcher.ts';
import { noWork } from './work.ts';

const key = fc.constantFrom('a', 'b', 'c');
const value = fc.constantFrom('', 'x', 'y', 'z');
const labels: Arbitrary<Labels> = fc.dictionary(key, value, { maxKeys: 3, noNullPrototype: true });
const leaf: Arbitrary<SelectorNode> = fc.oneof(
  key.map(has),
  fc.tuple(key, fc.array(value, { maxLength: 2 })).map(([k, v]) => isIn(k, v)),
  fc.tuple(key, value).map(([k, v]): SelectorNode => ({ op: 'startsWith', key: k, value: v })),
  fc.constant<SelectorNode>({ op: 'all' }),
);
const node: Arbitrary<SelectorNode> = fc.letrec<{ node: SelectorNode }>((tie) => ({
  node: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    tie('node').map(not),
    fc.array(tie('node'), { maxLength: 3 }).map(and),
    fc.array(tie('node'), { maxLength: 3 }).map(or),
  ),
})).node;

/** More of both than are walked without an index. */
const namespaceCount = 80;
const podCount = 240;
const namespaceName = fc.nat({ max: namespaceCount - 1 }).map((n) => `ns${n}`);
const podIndex = fc.nat({ max: podCount - 1 });

const scope: Arbitrary<NamespaceScope> = fc.oneof(
  // ns0 is crowded: half of the pods are in it.
  fc.oneof(fc.constant('ns0'), namespaceName).map((name) => ({ type: 'name' as const, name })),
  node.map((n) => ({ type: 'selector' as const, selector: selector(n) })),
);
const podSelector: Arbitrary<PodSelector> = fc.record({ scope, pods: node.map(selector) });

type Step =
  | { readonly type: 'pod'; readonly index: number; readonly labels: Labels | undefined }
  | { readonly type: 'namespace'; readonly name: string; readonly labels: Labels | undefined }
  | { readonly type: 'subscribe'; readonly selector: PodSelector }
  | { readonly type: 'unsubscribe'; readonly index: number }
  | { readonly type: 'settle'; readonly stepsMax: number };

const step: Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant('pod' as const), index: podIndex, labels: fc.option(labels, { nil: undefined }) }),
  fc.record({
    type: fc.constant('namespace' as const),
    name: fc.oneof(fc.constant('ns0'), namespaceName),
    labels: fc.option(labels, { nil: undefined }),
  }),
  fc.record({ type: fc.constant('subscribe' as const), selector: podSelector }),
  fc.record({ type: fc.constant('unsubscribe' as const), index: fc.nat() }),
  // Some of the walk that a new selector takes over the pods that are there, or all of it.
  fc.record({ type: fc.constant('settle' as const), stepsMax: fc.constantFrom(1, 1, 1, 1000) }),
);

/** Pods and namespaces as plain maps, and the matcher under test fed with the same. */
class World {
  readonly namespaces = new Namespaces(noWork());
  readonly namespaceLabels = new Map<string, Labels>();
  readonly pods = new Map<string, { readonly namespace: string; readonly labels: Labels }>();
  /** What the listener was told. */
  readonly heard = new Map<PodSelector, Set<string>>();
  readonly subscriptions: Subscription<PodSelector>[] = [];
  readonly matcher = new PodMatcher<PodSelector, MatchedPod>(
    this.namespaces,
    {
      matched: (owner, { key }) => {
        assert.ok(!this.heard.get(owner)!.has(key), 'matched twice');
        this.heard.get(owner)!.add(key);
      },
      unmatched: (owner, { key }) => assert.ok(this.heard.get(owner)!.delete(key), 'unmatched, but was no match'),
    },
    noWork(),
  );

  perform(step: Step): void {
    if (step.type === 'pod') this.setPod(step.index, step.labels);
    else if (step.type === 'namespace') {
      this.namespaces.setObject(step.name, step.labels);
      if (step.labels) this.namespaceLabels.set(step.name, step.labels);
      else this.namespaceLabels.delete(step.name);
    } else if (step.type === 'settle') {
      for (let i = 0; i < step.stepsMax && this.matcher.settleOne(); i++);
    } else if (step.type === 'subscribe') {
      const owner = { ...step.selector };
      this.heard.set(owner, new Set());
      this.subscriptions.push(this.matcher.subscribe(owner, owner));
    } else if (this.subscriptions.length > 0) {
      const [gone] = this.subscriptions.splice(step.index % this.subscriptions.length, 1);
      this.matcher.unsubscribe(gone!);
      this.heard.delete(gone!.owner);
    }
  }

  setPod(index: number, labels: Labels | undefined): void {
    const namespace = index < podCount / 2 ? 'ns0' : `ns${index % namespaceCount}`;
    const key = `${namespace}/p${index}`;
    const known = this.pods.has(key);
    if (labels) {
      if (!known) this.namespaces.addPod(namespace);
      this.pods.set(key, { namespace, labels });
      this.matcher.setPod({ key, namespace, labels });
    } else if (known) {
      this.matcher.removePod(key);
      this.namespaces.removePod(namespace);
      this.pods.delete(key);
    }
  }

  matching({ scope, pods }: PodSelector): string[] {
    return [...this.pods]
      .filter(([, pod]) => {
        const own = { ...this.namespaceLabels.get(pod.namespace), 'kubernetes.io/metadata.name': pod.namespace };
        if (scope.type === 'nodes' || scope.type === 'inherited') return false;
        const inScope = scope.type === 'name' ? scope.name === pod.namespace : scope.selector.matches(own);
        return inScope && pods.matches(pod.labels);
      })
      .map(([key]) => key)
      .sort();
  }
}

test('what the listener heard is right after every step, and all there is when everything is walked', () => {
  fc.assert(
    fc.property(
      fc.array(labels, { minLength: 1, maxLength: 20 }),
      fc.array(step, { minLength: 30, maxLength: 60, size: 'max' }),
      (start, steps) => {
        const world = new World();
        for (let i = 0; i < podCount; i++) world.setPod(i, start[i % start.length]);
        for (const one of [...steps, { type: 'settle', stepsMax: 1000 } as const]) {
          world.perform(one);
          const whole = one.type === 'settle' && one.stepsMax === 1000;
          for (const [owner, heard] of world.heard) {
            const matching = world.matching(owner);
            if (whole) assert.deepEqual([...heard].sort(), matching);
            else assert.ok(heard.isSubsetOf(new Set(matching)));
          }
        }
      },
    ),
    { numRuns: 150 },
  );
});

test('a pod whose label gets another value while a selector of any value is walked is heard of', () => {
  const namespaces = new Namespaces(noWork());
  const heard = new Set<string>();
  const matcher = new PodMatcher<string, MatchedPod>(
    namespaces,
    { matched: (_, { key }) => heard.add(key), unmatched: (_, { key }) => heard.delete(key) },
    noWork(),
  );
  for (let i = 0; i < 200; i++) {
    namespaces.addPod('ns');
    matcher.setPod({ key: `p${i}`, namespace: 'ns', labels: i < 150 ? { app: i < 40 ? 'first' : 'second' } : {} });
  }
  matcher.subscribe('all', { scope: { type: 'name', name: 'ns' }, pods: selector(has('app')) });
  assert.ok(matcher.settleOne());
  assert.equal(heard.size, 64);
  // All with that value were walked.
  matcher.setPod({ key: 'p149', namespace: 'ns', labels: { app: 'first' } });
  while (matcher.settleOne());
  assert.equal(heard.size, 150);
});

test('a pod that goes while a new selector is walked is passed over', () => {
  const namespaces = new Namespaces(noWork());
  const heard = new Set<string>();
  const matcher = new PodMatcher<string, MatchedPod>(
    namespaces,
    { matched: (_, { key }) => heard.add(key), unmatched: (_, { key }) => heard.delete(key) },
    noWork(),
  );
  const add = (namespace: string, key: string): void => {
    namespaces.addPod(namespace);
    matcher.setPod({ key, namespace, labels: {} });
  };
  // The first step of 64 ends at the first of three in one namespace.
  for (let n = 0; n < 63; n++) add(`ns${n}`, `ns${n}/p`);
  for (const key of ['last/a', 'last/b', 'last/c']) add('last', key);
  const everyone = selector(and([]));
  matcher.subscribe('all', { scope: { type: 'selector', selector: everyone }, pods: everyone });
  assert.ok(matcher.settleOne());
  assert.equal(heard.size, 64);
  matcher.removePod('last/b');
  while (matcher.settleOne());
  assert.equal(heard.size, 65);
  assert.ok(!heard.has('last/b') && heard.has('last/c'));
});
