/** The public suites of NetworkPolicy cases, through the engine's emitted rules and through the naive evaluator. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';
import { type IpAddress, toIpAddress } from '#kit';
import type { PodObject } from '#model';
import { type ConnectionEnd, createPolicyEngine, evaluateConnection, PolicyStateStore } from '#policy';
import { type NaiveEnd, naiveVerdict } from '../support/naive-policy.ts';
import { loadPolicySuite, type SuiteCase, type SuiteProbe } from '../support/policy-suite.ts';
import { SuiteWorld, Unsupported } from '../support/suite-world.ts';

const fixtures = path.join(import.meta.dirname, '..', 'fixtures', 'policy');
/** Steps of cases that need other policy kinds are counted here, so that no case is left out unnoticed. */
const suites = [
  { file: 'suite-k8s-e2e.json.gz', run: 48, unsupported: {} },
  { file: 'suite-k8s-e2e-legacy.json.gz', run: 32, unsupported: {} },
  { file: 'suite-recipes.json.gz', run: 15, unsupported: {} },
  { file: 'suite-realworld.json.gz', run: 15, unsupported: {} },
  {
    file: 'suite-np-guard.json.gz',
    run: 33,
    unsupported: { 'kind AdminNetworkPolicy': 37, 'kind BaselineAdminNetworkPolicy': 15 },
  },
];

/** Every pod is local here: the engine of a node that runs them all. */
class Runner {
  readonly store = new PolicyStateStore();
  readonly #engine = createPolicyEngine();
  readonly #world: SuiteWorld;
  readonly #suiteCase: SuiteCase;
  readonly #local = new Set<string>();

  constructor(suiteCase: SuiteCase) {
    this.#suiteCase = suiteCase;
    const { world, updates } = SuiteWorld.create(suiteCase.cluster);
    this.#world = world;
    for (const update of updates) this.#engine.update(update);
    this.#engine.inSync();
  }

  step(index: number): number {
    const step = this.#suiteCase.steps[index]!;
    if (step.flows.length > 0) throw new Unsupported('flows');
    for (const operation of step.do) for (const update of this.#world.perform(operation)) this.#engine.update(update);
    this.#syncLocalEndpoints();
    this.store.apply(this.#engine.flush());
    const place = `${this.#suiteCase.id} step ${index + 1}`;
    // Verdicts by selector do not depend on the family; those by ipBlock do.
    const byBlock = JSON.stringify([...this.#world.policies.values()]).includes('ipBlock');
    const twins = step.probes
      .filter((probe) => !byBlock && probe.family === 'IPv4' && this.#hasIpv6(probe.from) && this.#hasIpv6(probe.to))
      .map((probe): SuiteProbe => ({ ...probe, family: 'IPv6' }));
    const probes = [...step.probes, ...twins];
    for (const probe of probes) this.#check(probe, place);
    return probes.length;
  }

  #syncLocalEndpoints(): void {
    for (const id of this.#local) if (!this.#world.pods.has(id)) this.#engine.removeLocalEndpoint(id);
    for (const [id, pod] of this.#world.pods) {
      if (pod.hostNetwork) continue;
      this.#engine.setLocalEndpoint(id, pod.podIPs);
      this.#local.add(id);
    }
  }

  #check(probe: SuiteProbe, place: string): void {
    if (probe.verdict === 'undefined') return;
    const { from, to, protocol, port, family } = probe;
    const label = `${place}: ${from} -> ${to} ${protocol} ${port} ${family}`;
    const naive = naiveVerdict(this.#world.snapshot(), {
      from: this.#naiveEnd(from, family),
      to: this.#naiveEnd(to, family),
      protocol,
      port,
      family,
    });
    const verdict = this.#isOwnNode(from, to)
      ? 'allow'
      : evaluateConnection(this.store, { from: this.#end(from, family), to: this.#end(to, family), protocol, port })
          .verdict;
    assert.equal(verdict, probe.verdict, `${label} (engine)`);
    if (!this.#isOwnNode(from, to)) assert.equal(naive, probe.verdict, `${label} (naive evaluator)`);
  }

  /** A node's packets to its own pods always pass: the dataplane does not ask policy. */
  #isOwnNode(from: string, to: string): boolean {
    return from.startsWith('node:') && this.#world.pods.get(to)?.nodeName === from.slice('node:'.length);
  }

  #addresses(end: string): readonly string[] {
    const [kind, name] = end.split(':');
    const { nodes, externals } = this.#suiteCase.cluster;
    if (kind === 'ext') return externals.find((external) => external.name === name)!.ips;
    if (kind === 'node') return nodes.find((node) => node.name === name)!.ips;
    return this.#pod(end).podIPs;
  }

  #pod(end: string): PodObject {
    const pod = this.#world.pods.get(end);
    assert.ok(pod, `no pod ${end}`);
    return pod;
  }

  #hasIpv6(end: string): boolean {
    return this.#addresses(end).some((text) => text.includes(':'));
  }

  #address(end: string, family: 'IPv4' | 'IPv6'): IpAddress {
    const found = this.#addresses(end).find((text) => text.includes(':') === (family === 'IPv6'));
    assert.ok(found, `${end} has no ${family} address`);
    return toIpAddress(found)!;
  }

  #end(end: string, family: 'IPv4' | 'IPv6'): ConnectionEnd {
    const address = this.#address(end, family);
    return end.includes(':') || this.#pod(end).hostNetwork ? { address } : { address, endpoint: end };
  }

  #naiveEnd(end: string, family: 'IPv4' | 'IPv6'): NaiveEnd {
    return end.includes(':') ? { external: this.#address(end, family) } : { pod: this.#pod(end) };
  }
}

for (const { file, run, unsupported } of suites) {
  test(`${file}: every NetworkPolicy case`, (t) => {
    const suite = loadPolicySuite(path.join(fixtures, file));
    const left: Record<string, number> = {};
    let cases = 0;
    let probes = 0;
    for (const suiteCase of suite.cases) {
      try {
        const runner = new Runner(suiteCase);
        for (const index of suiteCase.steps.keys()) probes += runner.step(index);
        cases++;
      } catch (error) {
        if (!(error instanceof Unsupported)) throw error;
        left[error.message] = (left[error.message] ?? 0) + 1;
      }
    }
    t.diagnostic(`${cases} cases, ${probes} probes; left out: ${JSON.stringify(left)}`);
    assert.deepEqual({ cases, left }, { cases: run, left: unsupported });
  });
}
