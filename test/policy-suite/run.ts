/** Runs the cases of a suite before a judge, and says where its verdicts are not the expected ones. */
import { errorText, toCidr, toIpAddress } from '#kit';
import { endOf, splitEnd } from './ends.ts';
import type { Judge, Outcome } from './judge.ts';
import type { SuiteCase, SuiteFlow, SuiteOperation, SuitePod, SuiteProbe, SuiteStep } from './suite.ts';
import { SuiteWorld } from './world.ts';

export type Mismatch = {
  readonly by: string;
  /** From 1. */
  readonly step: number;
  readonly reason?: string;
} & (
  | (Pick<SuiteProbe, 'from' | 'to' | 'protocol' | 'port' | 'family'> & {
      readonly expected: string;
      readonly actual: string;
    })
  | { readonly flow: string; readonly expected: string; readonly actual: string }
  /** The case could not go on. */
  | { readonly error: string }
);

/** One line of the command's output. */
export interface CaseResult {
  readonly id: string;
  readonly passed: boolean;
  /** Connections (and flows) that had to be denied (dead) and were not. Worse than the other way round. */
  readonly wronglyAllowed: number;
  readonly wronglyDenied: number;
  readonly mismatches: readonly Mismatch[];
}

export interface RunOptions {
  /** Of a step with more connections: every denied one whose row or column also has an allowed one, and this many others. */
  readonly sample?: number;
}

/** Before every judge in turn. */
export async function runCase(
  suiteCase: SuiteCase,
  judges: readonly Judge[],
  options: RunOptions = {},
): Promise<CaseResult> {
  const mismatches: Mismatch[] = [];
  for (const judge of judges) mismatches.push(...(await new Run(suiteCase, judge, options).all()));
  const count = (actual: readonly string[]): number =>
    mismatches.filter((one) => 'actual' in one && actual.includes(one.actual)).length;
  return {
    id: suiteCase.id,
    passed: mismatches.length === 0,
    wronglyAllowed: count(['allow', 'alive']),
    wronglyDenied: count(['deny', 'refused', 'dead']),
    mismatches,
  };
}

class Run {
  readonly #case: SuiteCase;
  readonly #judge: Judge;
  readonly #options: RunOptions;
  readonly #world: SuiteWorld;
  readonly #mismatches: Mismatch[] = [];

  constructor(suiteCase: SuiteCase, judge: Judge, options: RunOptions) {
    this.#case = suiteCase;
    this.#judge = judge;
    this.#options = options;
    this.#world = new SuiteWorld(suiteCase.cluster);
  }

  async all(): Promise<readonly Mismatch[]> {
    let step = 0;
    try {
      await this.#judge.begin(this.#world);
      for (const [index, one] of this.#case.steps.entries()) {
        step = index;
        await this.#step(one, index);
      }
    } catch (error) {
      this.#mismatches.push({ by: this.#judge.name, step: step + 1, error: errorText(error) });
    }
    return this.#mismatches;
  }

  async #step(step: SuiteStep, index: number): Promise<void> {
    const where = { by: this.#judge.name, step: index + 1 };
    for (const operation of step.do) await this.#perform(operation);
    await this.#judge.settle();
    const asserted = step.probes.filter(({ verdict }) => verdict !== 'undefined');
    const probes = sample([...asserted, ...this.#twins(asserted)], this.#options.sample);
    const outcomes = await this.#judge.probe(probes);
    for (const [i, probe] of probes.entries()) {
      const outcome = outcomes[i];
      if (!outcome) continue;
      const actual = actualOf(outcome, this.#case.denyByDrop);
      if (actual === probe.verdict) continue;
      const { from, to, protocol, port, family, verdict } = probe;
      const { reason } = outcome;
      this.#mismatches.push({
        ...where,
        ...{ from, to, protocol, port, family },
        expected: verdict,
        actual,
        ...(reason === undefined ? {} : { reason }),
      });
    }
    for (const { flow, verdict } of step.flows) {
      // One that may be either is looked at all the same: what it did so far does not count at the next look.
      const actual = await this.#judge.flowState(flow, verdict === 'alive' ? 'alive' : 'dead');
      if (verdict !== 'either' && actual !== verdict)
        this.#mismatches.push({ ...where, flow, expected: verdict, actual });
    }
  }

  async #perform(operation: SuiteOperation): Promise<void> {
    const judge = this.#judge;
    switch (operation.op) {
      case 'openFlow':
        await judge.settle();
        return judge.openFlow(operation);
      case 'closeFlow':
        return judge.closeFlow(operation.id);
      case 'stopAgent':
        await judge.settle();
        return judge.stopAgent();
      case 'startAgent':
        return judge.startAgent();
      case 'restartAgent':
        await judge.stopAgent();
        return judge.startAgent();
      case 'addPod':
        if (operation.hammer) await judge.openFlow(hammerOf(operation.pod, operation.hammer), operation.pod.ips[0]);
        return judge.changed(this.#world.perform(operation));
      default:
        return judge.changed(this.#world.perform(operation));
    }
  }

  /** The same over IPv6: verdicts by selector do not depend on the family, those by address do. */
  #twins(probes: readonly SuiteProbe[]): SuiteProbe[] {
    if ([...this.#world.policies.values()].some(({ object }) => dependsOnFamily(object))) return [];
    const given = new Set(probes.filter(({ family }) => family === 'IPv6').map(pairOf));
    return probes
      .filter((probe) => probe.family === 'IPv4' && !given.has(pairOf(probe)))
      .map((probe): SuiteProbe => ({ ...probe, family: 'IPv6' }))
      .filter(({ from, to }) => this.#hasIpv6(from) && this.#hasIpv6(to));
  }

  #hasIpv6(id: string): boolean {
    const [kind, name] = splitEnd(id);
    if (kind === 'svc') return this.#world.services.get(name)?.clusterIPs.some((ip) => ip.includes(':')) ?? false;
    return endOf(this.#world, id, 'IPv6').address !== undefined;
  }
}

function hammerOf(
  { namespace, name }: Pick<SuitePod, 'namespace' | 'name'>,
  hammer: Pick<SuiteFlow, 'from' | 'protocol' | 'port'>,
): SuiteFlow {
  return { id: `hammer:${namespace}/${name}`, to: `${namespace}/${name}`, retry: true, ...hammer };
}

function actualOf({ verdict, reason }: Outcome, byDrop: boolean): string {
  return byDrop && verdict === 'deny' && reason === 'refused' ? 'refused' : verdict;
}

function pairOf({ from, to, protocol, port }: SuiteProbe): string {
  return `${from} ${to} ${protocol} ${port}`;
}

/** Whether an object says anything of addresses, names outside or a family. */
function dependsOnFamily(value: unknown): boolean {
  if (typeof value === 'string') return toIpAddress(value) !== undefined || toCidr(value) !== undefined;
  if (Array.isArray(value)) return value.some(dependsOnFamily);
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(
    ([key, inner]) => key === 'ipVersion' || key === 'domains' || key === 'domainNames' || dependsOnFamily(inner),
  );
}

/** In the order given. The denied ones that are kept are those where a hole would be easiest to miss. */
function sample(probes: readonly SuiteProbe[], size: number | undefined): readonly SuiteProbe[] {
  if (size === undefined || probes.length <= size) return probes;
  const side = (which: 'from' | 'to', probe: SuiteProbe): string =>
    `${which} ${probe[which]} ${probe.protocol} ${probe.port} ${probe.family}`;
  const open = new Set<string>();
  for (const probe of probes) {
    if (probe.verdict !== 'allow') continue;
    open.add(side('from', probe));
    open.add(side('to', probe));
  }
  const telling = (probe: SuiteProbe): boolean =>
    probe.verdict === 'deny' && (open.has(side('from', probe)) || open.has(side('to', probe)));
  const others = probes.filter((probe) => !telling(probe));
  const stride = Math.max(1, others.length / Math.max(1, size));
  const kept = new Set(Array.from({ length: size }, (_, i) => others[Math.floor(i * stride)]));
  return probes.filter((probe) => telling(probe) || kept.has(probe));
}
