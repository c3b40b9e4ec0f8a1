/** Looks for policies that do nothing, less or more than they seem to say. Pure; each finding names its policy and what to do. */
import {
  type ModelUpdate,
  type PeerMatch,
  type PodObject,
  type PolicyId,
  type PolicyRule,
  type SetId,
  serviceKeyOf,
} from '#model';
import type { PolicyState } from '../explain/policy-state.ts';
import { hostOf } from '../explain/prefixes.ts';
import { ruleText } from '../explain/show.ts';
import type { Direction } from '../rules/peer-rules.ts';
import { isAbout, isPolicyUpdate, type Policy, policyIdOf, subjectOf } from '../rules/policy.ts';
import { protocolNumbers } from '../rules/ports.ts';
import { podSelectorText, serviceOfSet } from '../rules/sets.ts';
import type { LintFinding } from './finding.ts';
import { shadowed } from './shadowed.ts';

const directions: readonly Direction[] = ['ingress', 'egress'];
const podsNamedMax = 3;

interface Looked {
  readonly state: PolicyState;
  readonly id: PolicyId;
  readonly direction: Direction;
  readonly rules: readonly PolicyRule[];
  /** Pods that the policy selects. */
  readonly subjects: readonly PodObject[];
  /** All pods by address. */
  readonly owners: ReadonlyMap<string, PodObject>;
  /** Those that some EndpointSlice is of, as `namespace/name`. */
  readonly services: ReadonlySet<string>;
}

/**
 * @param state of a simulation of the same objects, with every pod local.
 * @returns sorted by policy, direction, rule, code.
 */
export function lintPolicies(updates: readonly ModelUpdate[], state: PolicyState): LintFinding[] {
  const pods = new Map<string, PodObject>();
  const policies = new Map<PolicyId, Policy>();
  const services = new Set<string>();
  for (const update of updates) {
    if (update.type !== 'upsert') continue;
    if (update.kind === 'Pod') pods.set(update.key, update.object);
    if (update.kind === 'EndpointSlice') services.add(serviceKeyOf(update.object));
    if (isPolicyUpdate(update)) {
      policies.set(policyIdOf(update.kind, update.key), { kind: update.kind, object: update.object } as Policy);
    }
  }
  const owners = new Map([...pods.values()].flatMap((pod) => pod.podIPs.map((address) => [address as string, pod])));
  const subjects = subjectsOf(state, pods);
  const found: LintFinding[] = [...shadowed(state)];
  for (const [id, policy] of policies) {
    const selected = subjects.get(id);
    if (!directions.some((direction) => isAbout(policy, direction))) continue;
    if (!selected) {
      const selector = podSelectorText(subjectOf(policy))
        .replace(/^ns=([^;]*);(.*)$/s, '$2 in namespace $1')
        .replace(/^any;/, '');
      const message = `selects no pod (${selector}): check the labels, or remove it`;
      found.push({ code: 'selects-nothing', severity: 'warning', policy: id, message });
      continue;
    }
    for (const direction of directions) {
      const rules = state.policies.get(id)![direction];
      found.push(...lintRules({ state, id, direction, rules, subjects: selected, owners, services }));
    }
  }
  return found.sort(compareFindings);
}

function compareFindings(a: LintFinding, b: LintFinding): number {
  const text = ({ policy, direction, rule = -1, code }: LintFinding): string =>
    `${policy} ${direction ?? ''} ${String(rule + 1).padStart(6, '0')} ${code}`;
  return text(a) < text(b) ? -1 : 1;
}

function subjectsOf(state: PolicyState, pods: ReadonlyMap<string, PodObject>): Map<PolicyId, PodObject[]> {
  const subjects = new Map<PolicyId, PodObject[]>();
  for (const [endpoint, program] of state.endpoints) {
    const pod = pods.get(endpoint)!;
    for (const id of new Set([...program.ingress, ...program.egress].flatMap((tier) => tier.policies))) {
      const known = subjects.get(id);
      if (known) known.push(pod);
      else subjects.set(id, [pod]);
    }
  }
  return subjects;
}

function* lintRules(looked: Looked): Generator<LintFinding> {
  for (const [rule, of] of looked.rules.entries()) {
    yield* lintService(looked, rule, of);
    yield* lintPeer(looked, rule, of);
    yield* lintNamedPort(looked, rule, of);
    yield* lintServed(looked, rule, of);
    yield* lintWorld(looked, rule, of);
  }
}

function finding(
  { id, direction }: Looked,
  rule: number,
  code: LintFinding['code'],
  severity: LintFinding['severity'],
  message: string,
): LintFinding {
  return { code, severity, policy: id, direction, rule, message };
}

function farPeer({ direction }: Looked, rule: PolicyRule): PeerMatch | undefined {
  return direction === 'ingress' ? rule.source : rule.destination;
}

function* lintService(looked: Looked, rule: number, of: PolicyRule): Generator<LintFinding> {
  const peer = farPeer(looked, of);
  for (const set of [of.destinationNamedPorts, peer?.type === 'set' ? peer.set : undefined]) {
    const service = set === undefined ? undefined : serviceOfSet(set);
    if (service === undefined || looked.state.sets.get(set!)!.members.size > 0) continue;
    const why = looked.services.has(service)
      ? 'has no endpoints now, so the rule matches nothing'
      : 'has no EndpointSlice, so the rule matches nothing; check its name and namespace';
    yield finding(looked, rule, 'service-without-endpoints', 'warning', `service ${service} ${why}`);
  }
}

function* lintPeer(looked: Looked, rule: number, of: PolicyRule): Generator<LintFinding> {
  const peer = farPeer(looked, of);
  if (peer?.type !== 'set' || serviceOfSet(peer.set) !== undefined || looked.state.sets.get(peer.set)!.members.size > 0)
    return;
  const text = ruleText(looked.state, of, looked.direction);
  const message = `matches nothing now, no address is among its peers: ${text}`;
  yield finding(looked, rule, 'peer-selects-nothing', 'warning', message);
}

/** Ingress: on each of the selected pods. Egress: on whichever pods the peer selects, so that some suffice. */
function* lintNamedPort(looked: Looked, rule: number, of: PolicyRule): Generator<LintFinding> {
  const set = of.destinationNamedPorts;
  if (set === undefined || serviceOfSet(set) !== undefined) return;
  const name = nameOfPort(set);
  if (looked.state.sets.get(set)!.members.size === 0) {
    const where = looked.direction === 'ingress' ? 'none of the pods that it selects' : 'none of its peers';
    const message = `port "${name}": ${where} declares a port of this name, so the rule matches nothing; give the number, or name the port in the pods`;
    yield finding(looked, rule, 'port-name-missing', 'warning', message);
    return;
  }
  if (looked.direction === 'egress') return;
  const names = name.split(',');
  const without = looked.subjects.filter(
    (pod) => !pod.ports.some((port) => port.name !== undefined && names.includes(port.name) && isOf(port.protocol, of)),
  );
  if (without.length === 0) return;
  const message = `port "${name}": ${podsText(without)} of the ${looked.subjects.length} pods that it selects declare no port of this name, and the rule matches nothing there`;
  yield finding(looked, rule, 'port-name-missing', 'notice', message);
}

function nameOfPort(set: SetId): string {
  return /^ports:[a-z]+:([^:]*):/.exec(set)?.[1] ?? set;
}

function isOf(protocol: keyof typeof protocolNumbers, { protocol: wanted }: PolicyRule): boolean {
  return wanted === undefined || wanted === protocolNumbers[protocol];
}

/** Only where every pod in question says what it serves: saying so is voluntary. */
function* lintServed(looked: Looked, rule: number, of: PolicyRule): Generator<LintFinding> {
  const ranges = of.destinationPorts;
  if (!ranges || of.action === 'deny') return;
  const targets = targetsOf(looked, of);
  if (targets.length === 0 || targets.some((pod) => pod.ports.length === 0)) return;
  const served = targets.some((pod) =>
    pod.ports.some(
      ({ protocol, containerPort }) =>
        isOf(protocol, of) && ranges.some(({ first, last }) => first <= containerPort && containerPort <= last),
    ),
  );
  if (served) return;
  const text = ruleText(looked.state, of, looked.direction);
  const message = `none of the pods that it is about (${targets.length}) says that it serves such a port: ${text}`;
  yield finding(looked, rule, 'port-not-served', 'notice', message);
}

/** Whose ports a rule speaks of. Empty for ends outside: nothing is known of their ports. */
function targetsOf(looked: Looked, of: PolicyRule): readonly PodObject[] {
  if (looked.direction === 'ingress') return looked.subjects;
  if (of.destination?.type !== 'set' || !of.destination.set.startsWith('pods:')) return [];
  const { type, members } = looked.state.sets.get(of.destination.set)!;
  const pods = [...members].map((member) => looked.owners.get(hostOf(member)));
  if (type === 'net' && pods.includes(undefined)) return [];
  return [...new Set(pods.filter((pod) => pod !== undefined))];
}

function* lintWorld(looked: Looked, rule: number, of: PolicyRule): Generator<LintFinding> {
  if (of.action !== 'allow' || !isWorld(farPeer(looked, of))) return;
  const farSide = looked.direction === 'ingress' ? 'source' : 'destination';
  if (of.conditions?.some(({ side, type }) => side === farSide && type === 'address')) return;
  // A name says whom it is about by itself.
  if (looked.direction === 'egress' && of.destinationNamedPorts !== undefined) return;
  const isIcmp = of.protocol === 1 || of.protocol === 58;
  const open = !isIcmp && of.destinationPorts === undefined && of.destinationNamedPorts === undefined;
  const severity = looked.direction === 'ingress' && open ? 'warning' : 'notice';
  const text = ruleText(looked.state, of, looked.direction);
  const what = looked.direction === 'ingress' ? 'lets in everybody, from outside too' : 'lets out to everywhere';
  yield finding(looked, rule, 'allows-world', severity, `${what}: ${text}`);
}

function isWorld(peer: PeerMatch | undefined): boolean {
  if (!peer) return true;
  if (peer.type === 'set') return /^nets:(.*,)?(0\.0\.0\.0\/0|::\/0)(,|$)/.test(peer.set);
  return peer.cidr.endsWith('/0') && peer.except.length === 0;
}

function podsText(pods: readonly PodObject[]): string {
  const names = pods.slice(0, podsNamedMax).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  const more = pods.length - names.length;
  return more > 0 ? `${names.join(', ')} and ${more} more` : names.join(', ');
}
