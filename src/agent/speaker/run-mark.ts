/**
 * The mark of a speaker that leaves the kernel's table alone, by which the next run knows that it is a restart (RFC 4724 4.1: R). What such a
 * speaker announces is forwarded by others, whom its end does not touch, in either family: F. The mark names what they live in, the boot of
 * the machine and the network namespace; where either is another one nothing was preserved, and it says neither.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { GracefulRestartConfig } from '#bgp';
import { errorText, type Logger } from '#kit';
import { durableFile, ownNetnsId, sysctlFiles } from '#sys';

export interface SpeakerRun {
  readonly earlier: Pick<GracefulRestartConfig, 'restarting' | 'forwardingPreserved'>;
  /** From now on this run is an earlier one to the next. Where that cannot be written it is said, and the next run is a first one. */
  mark(): void;
  /** Peers were told that it is over: the next run is a first one. */
  unmark(): void;
}

/** @param routerId of the speaker: several may have one folder. */
export function openSpeakerRun(stateDir: string, routerId: string, log: Logger): SpeakerRun {
  const file = path.join(stateDir, `speaker-run-${routerId}`);
  const state = durableFile(file);
  const place = `${sysctlFiles().read('kernel/random/boot_id')} ${ownNetnsId()}\n`;
  const restarting = state.read() === place;
  const tried = (act: () => void): void => {
    try {
      act();
    } catch (error) {
      log.warn({ file, reason: errorText(error) }, 'the next run of this speaker cannot tell whether it is a restart');
    }
  };
  return {
    earlier: { restarting, forwardingPreserved: restarting ? ['ipv4-unicast', 'ipv6-unicast'] : [] },
    mark: () =>
      tried(() => {
        fs.mkdirSync(stateDir, { recursive: true, mode: 0o755 });
        state.write(place);
      }),
    unmark: () => tried(() => state.remove()),
  };
}
