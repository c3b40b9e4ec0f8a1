/** Packets that were told of, by who decided. Bounded: when full, rules of policies that are gone make room; what still does not fit is `others`. */
import type { FlowCountView } from '#api';
import type { PolicyId } from '#model';
import { type FlowDescription, judgedPod } from './describe.ts';

const seriesMaxDefault = 1000;
export const endOfTierRule = 'end of tier';
const othersPolicy = 'others';

type Count = { -readonly [K in keyof FlowCountView]: FlowCountView[K] };

export interface FlowCounts {
  add(flow: FlowDescription): void;
  /** What the staged policies would have made of it, where they have a say. */
  addStaged(flow: FlowDescription): void;
  list(): readonly FlowCountView[];
}

export interface FlowCountsDeps {
  /** Still known on this node. */
  isLive(policy: PolicyId): boolean;
  /** A packet is counted under `others`. */
  onFull(): void;
}

export function createFlowCounts(deps: FlowCountsDeps, seriesMax = seriesMaxDefault): FlowCounts {
  const counts = new Map<string, Count>();
  /** Making room looks at all of them: not again before as many packets came as there are. */
  let patience = 0;
  const hasRoom = (): boolean => {
    if (counts.size < seriesMax) return true;
    if (--patience > 0) return false;
    patience = seriesMax;
    for (const [key, { policy }] of counts)
      if (policy !== '' && policy !== othersPolicy && !deps.isLive(policy)) counts.delete(key);
    return counts.size < seriesMax;
  };
  const count = (given: Labels): void => {
    let labels = given;
    if (!counts.has(keyOf(labels)) && !hasRoom()) {
      deps.onFull();
      labels = { ...labels, namespace: '', policy: othersPolicy, rule: '', tier: '' };
    }
    const key = keyOf(labels);
    const known = counts.get(key);
    if (known) known.packets++;
    else counts.set(key, { ...labels, packets: 1 });
  };
  return {
    add: (flow) => count(labelsOf(flow)),
    addStaged(flow) {
      if (flow.staged) count({ ...labelsOf({ ...flow, ...flow.staged }), staged: true });
    },
    list: () => [...counts.values()],
  };
}

type Labels = Omit<FlowCountView, 'packets'>;

function labelsOf(flow: FlowDescription): Labels {
  const { verdict, direction, by } = flow;
  const pod = judgedPod(flow) ?? '';
  const common = { verdict, direction, namespace: namespaceOf(pod) };
  switch (by.type) {
    case 'rule':
      return { ...common, policy: by.policy, rule: String(by.rule), tier: '' };
    case 'endOfTier':
      return { ...common, policy: '', rule: endOfTierRule, tier: by.tier };
    case 'none':
      return { ...common, policy: '', rule: '', tier: '' };
    case 'dataplane':
      return { ...common, namespace: namespaceOf(by.pod ?? pod), policy: '', rule: by.reason, tier: '' };
  }
}

function namespaceOf(pod: string): string {
  return pod.slice(0, Math.max(0, pod.indexOf('/')));
}

function keyOf({ verdict, direction, namespace, policy, rule, tier, staged }: Labels): string {
  return `${verdict} ${direction} ${namespace} ${policy} ${rule} ${tier}${staged ? ' staged' : ''}`;
}
