export { type Agent, AgentError, type AgentFailure, createAgent } from './agent.ts';
export { type CleanupSummary, runCleanup } from './cleanup.ts';
export { cniSystem } from './cni-wiring.ts';
export { createPolicyPipeline, type PolicyPipeline } from './policy-pipeline.ts';
export { runAgent } from './run.ts';
