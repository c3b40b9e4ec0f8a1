/** The BGP speaker's shell: sockets, its thread, and the stand-alone daemon. */

export { createAoProbe } from './ao-probe.ts';
export { dumpTable, dumpTableToFile, UpdateFiles, type UpdateFilesStatus } from './mrt-files.ts';
export { readBytesPerTurnMax } from './read-budget.ts';
export { type Runner, type RunnerHooks, runSpeaker } from './runner.ts';
export { SpeakerFileError } from './speaker-file.ts';
export {
  readSpeakerFile,
  runStandaloneSpeaker,
  type StandaloneKernel,
  type StandaloneOptions,
  type StandaloneSpeaker,
} from './standalone.ts';
export { TcpTransport } from './tcp-transport.ts';
export { type SpeakerThread, type SpeakerThreadOptions, startSpeakerThread } from './thread.ts';
