/** `poplin lab`: topologies in network namespaces with real agents and routers, and a prober that sends real packets. */
export { startProber } from './agents.ts';
export { type BirdSession, birdSessions } from './bird.ts';
export { registerLabCommands } from './commands.ts';
export { agentPeers } from './demo/agent-api.ts';
export { type DemoOptions, type DemoResult, demonstrate, type Fact, runDemo } from './demo/demo.ts';
export { readExpected } from './demo/expected.ts';
export { LabError } from './errors.ts';
export {
  type ApplyResult,
  agentOf,
  apply,
  type DownReport,
  down,
  killAgent,
  type Lab,
  openLab,
  restartAgent,
  targetsOf,
  type UpOptions,
  up,
} from './lab.ts';
export { type LabPaths, labPaths, machineNetns, netnsPath, nodePaths, podNetns } from './names.ts';
export { addNamespaces, deleteNamespaces, ipBatch, must, namespacesWith, writeSysctls } from './netns.ts';
export { cell, formatTable, type ProbeOptions, type ProbeResult, type ProbeTable, probe } from './probe.ts';
export { ProberClient } from './prober/client.ts';
export type {
  FlowReport,
  FlowRequest,
  ProbeOutcome,
  ProbeProtocol,
  ProbeRequest,
  StreamReport,
  StreamRequest,
  Target,
} from './prober/protocol.ts';
export {
  endProcesses,
  isAlive,
  type LabProcess,
  processesIn,
  signal,
  startProcess,
  startTimeOf,
} from './processes.ts';
export { claim } from './state.ts';
