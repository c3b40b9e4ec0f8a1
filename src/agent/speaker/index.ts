/** The stand-alone speaker, apart from the agent: whoever runs it loads nothing of policies, pods and Kubernetes. */
export { runSpeakerDaemon, type SpeakerDaemon, type SpeakerDaemonOptions } from './daemon.ts';
