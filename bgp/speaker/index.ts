export type { BfdPort, PeerBfdStatus } from './bfd.ts';
export type { ChangePlan, PeerChange } from './change-plan.ts';
export * from './config.ts';
export { createSpeaker, Speaker, type SpeakerOptions, type StopMode } from './speaker.ts';
export {
  type SessionKeys,
  type TcpAoAlgorithm,
  type TcpAoFault,
  type TcpAoKey,
  tcpAoAlgorithms,
  tcpAoKeysFault,
  tcpAoKeysMax,
  tcpAoSecretBytesMax,
} from './tcp-ao.ts';
export * from './types.ts';
