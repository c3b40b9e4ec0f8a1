/** The policy engine, pure: model in, the rule form for local endpoints and set deltas out. */

export { createPolicyEngine, type PolicyEngine } from './calc/engine.ts';
export type { Work } from './calc/work.ts';
export * from './explain/evaluate.ts';
export * from './explain/explain.ts';
export { type PolicyState, PolicyStateStore, setsOf } from './explain/policy-state.ts';
export * from './explain/show.ts';
export { compileNetworkPolicy } from './rules/network-policy.ts';
export type { CompiledPolicy } from './rules/peer-rules.ts';
export { compileLabelSelector } from './selector/label-selector.ts';
