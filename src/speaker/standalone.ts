/** `poplin speaker --config FILE`: the speaker alone, without Kubernetes and without a kernel table. */
import fs from 'node:fs';
import type { SpeakerStatus } from '#bgp';
import type { Logger } from '#kit';
import { runSpeaker } from './runner.ts';
import { parseSpeakerFile } from './speaker-file.ts';

export interface StandaloneOptions {
  readonly configFile: string;
  readonly log: Logger;
}

export interface StandaloneSpeaker {
  /** `graceful` (SIGTERM): peers keep our routes for the restart time; `drain`: Cease. */
  stop(mode: 'graceful' | 'drain'): Promise<void>;
  status(): SpeakerStatus;
}

/**
 * Reads the file and runs until `stop`. Signals are the caller's: SIGTERM should mean `stop('graceful')`.
 *
 * @throws SpeakerFileError with file, line and column; SysError when an address cannot be listened on.
 */
export async function runStandaloneSpeaker(options: StandaloneOptions): Promise<StandaloneSpeaker> {
  const { configFile, log } = options;
  const config = parseSpeakerFile(configFile, fs.readFileSync(configFile, 'utf8'), (file) =>
    fs.readFileSync(file, 'utf8'),
  );
  for (const peer of config.peers) {
    if (peer.import === 'reject' && peer.export === 'reject') {
      log.warn({ peer: peer.name }, 'peer has neither import nor export: accept: no route will pass (RFC 8212)');
    }
  }
  const runner = runSpeaker(
    config,
    log,
    {
      onRoutes: () => undefined,
      onPeerState: ({ name, state, lastError }) => log.info({ peer: name, state, lastError }, 'peer'),
    },
    { withoutFeed: true },
  );
  return { stop: (mode) => runner.stop(mode), status: () => runner.speaker.status() };
}
