/** `poplin speaker --config FILE`: the speaker alone, without Kubernetes. What it learns goes to whoever runs it. */
import fs from 'node:fs';
import type { ChangePlan, GracefulRestartConfig, RouteChange, Speaker, StopMode } from '#bgp';
import { decodeRouteChanges } from '#bgp';
import type { Logger } from '#kit';
import { dumpTableToFile, type TableDumpCounts } from './mrt-files.ts';
import { runSpeaker } from './runner.ts';
import { parseSpeakerFile, type SpeakerFile, SpeakerFileError } from './speaker-file.ts';

export interface StandaloneOptions {
  readonly configFile: string;
  readonly log: Logger;
  /** Asked for when the file says `kernel: true`. */
  readonly kernel?: StandaloneKernel;
  /** What an earlier run left. Default: there was none. */
  readonly earlier?: Pick<GracefulRestartConfig, 'restarting' | 'forwardingPreserved'>;
}

/** Where learned routes go. */
export interface StandaloneKernel {
  onRoutes(changes: Iterable<RouteChange>): void;
}

export interface StandaloneSpeaker {
  readonly speaker: Speaker;
  /** `graceful` (SIGTERM): peers keep our routes for the restart time; `drain`: Cease. */
  stop(mode: StopMode): Promise<void>;
  /** What `reload` would do now. @throws SpeakerFileError */
  plan(): ChangePlan;
  /** Reads the file again and puts it in force. @throws SpeakerFileError; then everything stays as it is. */
  reload(): ChangePlan;
  /** The tables as MRT (RFC 6396 4.3) into a file, which is there whole or not at all. */
  dumpTable(file: string): Promise<TableDumpCounts>;
}

/** @throws SpeakerFileError with file, line and column. */
export function readSpeakerFile(file: string): SpeakerFile {
  return parseSpeakerFile(file, fs.readFileSync(file, 'utf8'), (name) => fs.readFileSync(name, 'utf8'));
}

/**
 * Reads the file and runs until `stop`. Signals are the caller's: SIGTERM should mean `stop('graceful')`.
 *
 * @throws SpeakerFileError with file, line and column; SysError when an address cannot be listened on.
 */
export async function runStandaloneSpeaker(options: StandaloneOptions): Promise<StandaloneSpeaker> {
  const { configFile, log, kernel, earlier } = options;
  const first = readSpeakerFile(configFile);
  const inForce = (file: SpeakerFile): SpeakerFile => ({
    ...file,
    gracefulRestart: { ...file.gracefulRestart, ...earlier },
  });
  const read = (): SpeakerFile => {
    const file = readSpeakerFile(configFile);
    if (file.kernel === first.kernel) return inForce(file);
    const message = `${configFile}: kernel cannot be changed while the speaker runs; restart it`;
    throw new SpeakerFileError(message, { code: 'BAD_SPEAKER_FILE', file: configFile, line: 1, column: 1 });
  };
  warnOfSilentPeers(log, first);
  const hand = (): void => {
    for (let buffer = runner.speaker.takeRoutes(); buffer; buffer = runner.speaker.takeRoutes()) {
      kernel?.onRoutes(decodeRouteChanges(buffer));
    }
  };
  const runner = runSpeaker(
    inForce(first),
    log,
    {
      onRoutes: () => void setImmediate(hand),
      onPeerState: ({ name, state, lastError }) => log.info({ peer: name, state, lastError }, 'peer'),
    },
    { withoutFeed: kernel === undefined },
  );
  return {
    speaker: runner.speaker,
    stop: (mode) => runner.stop(mode),
    plan: () => runner.speaker.plan(read()),
    reload() {
      const file = read();
      const plan = runner.speaker.plan(file);
      runner.speaker.configure(file);
      warnOfSilentPeers(log, file);
      log.info({ ...plan }, 'configuration is read again');
      return plan;
    },
    dumpTable: (file) => dumpTableToFile(runner.speaker, file),
  };
}

function warnOfSilentPeers(log: Logger, { peers, ranges = [] }: SpeakerFile): void {
  for (const peer of [...peers, ...ranges.map((range) => ({ ...range, name: range.prefix }))]) {
    if (peer.import === 'reject' && peer.export === 'reject') {
      log.warn({ peer: peer.name }, 'peer has neither import nor export: accept: no route will pass (RFC 8212)');
    }
  }
}
