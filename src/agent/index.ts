export { type Agent, AgentError, type AgentFailure, createAgent } from './agent.ts';
export { type CleanupSummary, runCleanup } from './cleanup.ts';
export { cniSystem } from './cni-wiring.ts';
export { openMachineAddresses } from './machine-addresses.ts';
export { nodeAddresses } from './node-address.ts';
export { createPolicyPipeline, type PolicyPipeline } from './policy-pipeline.ts';
export { runAgent } from './run.ts';
