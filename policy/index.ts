/** The policy engine, pure: model in, the rule form for local endpoints and set deltas out. */

export { createPolicyEngine, type PolicyEngine } from './calc/engine.ts';
export type { Work } from './calc/work.ts';
export * from './explain/connection.ts';
export * from './explain/evaluate.ts';
export * from './explain/explain.ts';
export type { CrossedHost } from './explain/host.ts';
export { type LearntAddress, type PolicyState, PolicyStateStore, policiesOf, setsOf } from './explain/policy-state.ts';
export * from './explain/show.ts';
export { stagedState } from './explain/staged-state.ts';
export { type Affected, AffectedFlows } from './flows/affected-flows.ts';
export { type EstablishedFlow, flowAllowed } from './flows/flow-allowed.ts';
export type { LintCode, LintFinding, LintSeverity } from './lint/finding.ts';
export { lintPolicies } from './lint/lint.ts';
export { compileNetworkPolicy } from './rules/network-policy.ts';
export type { CompiledPolicy } from './rules/peer-rules.ts';
export { compileLabelSelector } from './selector/label-selector.ts';
export * from './simulate/index.ts';
