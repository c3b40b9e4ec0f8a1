/** What is wrong, or likely not meant, with a policy. */
import type { PolicyId } from '#model';
import type { Direction } from '../rules/peer-rules.ts';

/** `warning`: likely not what was meant. `notice`: worth knowing, often meant. */
export type LintSeverity = 'warning' | 'notice';

export type LintCode =
  /** No pod has labels that the policy asks for. */
  | 'selects-nothing'
  /** A rule's selector matches no pod (no node) at all. */
  | 'peer-selects-nothing'
  /** A service that a rule names has no endpoints now, or is not there. */
  | 'service-without-endpoints'
  /** No pod, or not every pod, that a named port would be looked up on declares it: the rule matches nothing there. */
  | 'port-name-missing'
  /** None of the pods whose port a rule speaks of says that it serves it. */
  | 'port-not-served'
  /** Everybody may come in, from outside of the cluster too. */
  | 'allows-world'
  /** A rule, or all of a policy, that earlier ones leave nothing to decide. */
  | 'shadowed';

export interface LintFinding {
  readonly code: LintCode;
  readonly severity: LintSeverity;
  readonly policy: PolicyId;
  readonly direction?: Direction;
  /** Index of the rule in the policy's direction. */
  readonly rule?: number;
  /** What, and what to do. */
  readonly message: string;
}
