/** Flows that policy denied or allowed, from the kernel's rules to people. */
export { createFlowLog, type FlowLog, flowLogRulesOf } from './flow-log.ts';
