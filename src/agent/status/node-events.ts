/** What of a node an operator must act on, as Events about the Node. Pure. */
import type { Condition, ConditionNow } from './conditions.ts';
import type { EventNote, EventSubject } from './event-book.ts';
import type { NodeFacts } from './facts.ts';

/** Failed runs in a row before it is said: one that loses a race for the lock is nothing. */
const APPLY_FAILURES_MIN = 3;
/** Repairs of what others changed within the time that `repairs` covers. */
const REPAIRS_MIN = 3;

export interface NodeEventInput {
  readonly facts: NodeFacts;
  readonly conditions: readonly (Condition | ConditionNow)[];
  /** Of the Node object; absent: unknown, or there is none. */
  readonly nodeUid?: string;
  /** Rules, sets and routes that others changed within the last minutes. */
  readonly repairs: number;
  /** Many CNI calls failed lately, in words. */
  readonly cniFailures?: string;
}

export function nodeEvents({ facts, conditions, nodeUid, repairs, cniFailures }: NodeEventInput): readonly EventNote[] {
  // The uid is what `kubectl describe node` looks for.
  const regarding: EventSubject = {
    apiVersion: 'v1',
    kind: 'Node',
    name: facts.nodeName,
    ...(nodeUid === undefined ? {} : { uid: nodeUid }),
  };
  const out: EventNote[] = [];
  const warn = (reason: string, action: string, note: string): void =>
    void out.push({ regarding, type: 'Warning', reason, action, note });
  const failing = (type: string, ...reasons: readonly string[]): string | undefined => {
    const found = conditions.find((each) => each.type === type);
    return found?.status === 'False' && reasons.includes(found.reason) ? found.message : undefined;
  };
  const about: readonly [string | undefined, string, string][] = [
    [failing('DatastoreInSync', 'Forbidden'), 'KindForbidden', 'KeptLastModel'],
    [failing('PodCIDRAssigned', 'NotAssigned'), 'PodCIDRMissing', 'Waiting'],
    [failing('AddressDetected', 'NoAddress'), 'AddressNotFound', 'Waiting'],
    [facts.bgp.startFailure, 'SpeakerCannotStart', 'Retrying'],
    [
      facts.policy.failures >= APPLY_FAILURES_MIN ? failing('PolicyInForce', 'ApplyFailed') : undefined,
      'PolicyApplyFailed',
      'Retrying',
    ],
    [failing('PolicyInForce', 'PolicyNotExpressible'), 'PolicyNotExpressible', 'DeniedEverything'],
    [failing('RoutesInForce', 'Refused'), 'RoutesRefused', 'Retrying'],
    [cniFailures, 'CNICallsFailing', 'Refused'],
  ];
  for (const [note, reason, action] of about) if (note !== undefined) warn(reason, action, note);
  if (repairs >= REPAIRS_MIN) {
    const text =
      'another program keeps changing rules, sets or routes of ours; they are put back each time: find it (a second network plugin? a firewall?) and keep it away from what is named poplin';
    warn('ChangedByOthers', 'Repaired', text);
  }
  return out;
}
