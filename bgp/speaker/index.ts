export type { BfdPort, PeerBfdStatus } from './bfd.ts';
export type { ChangePlan, PeerChange } from './change-plan.ts';
export * from './config.ts';
export { createSpeaker, Speaker, type SpeakerOptions, type StopMode } from './speaker.ts';
export * from './types.ts';
