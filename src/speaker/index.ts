export { type RouteDelta, type SpeakerThread, type SpeakerThreadOptions, startSpeakerThread } from './thread.ts';
