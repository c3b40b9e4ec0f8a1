/** The speaker's core with real sockets, clock and chance: what the thread and the stand-alone daemon have in common. */

import os from 'node:os';
import { createBfdProcess } from '#bfd';
import {
  createSpeaker,
  type PeerStatus,
  type Speaker,
  type SpeakerConfig,
  type SpeakerOptions,
  type StopMode,
} from '#bgp';
import { type Logger, systemClock } from '#kit';
import { zeroesInLargePages } from '#sys';
import { Discovery } from './discovery.ts';
import { UpdateFiles, type UpdateFilesStatus } from './mrt-files.ts';
import { rehearse } from './rehearsal.ts';
import { TcpTransport } from './tcp-transport.ts';

/** How long a stop waits for NOTIFICATIONs to be sent. */
const stopMsMax = 1500;
const stopPollMs = 10;

export interface RunnerHooks {
  readonly onRoutes: () => void;
  readonly onPeerState: (status: PeerStatus) => void;
}

export interface Runner {
  readonly speaker: Speaker;
  /** Of the files of `config.mrt`. */
  mrtStatus(): UpdateFilesStatus;
  /** Ends sessions as `mode` says, a drain after peers had their time; stops listening, resolves when the connections are closed. */
  stop(mode: StopMode): Promise<void>;
}

/** @throws SysError when an address cannot be listened on. */
export function runSpeaker(config: SpeakerConfig, log: Logger, hooks: RunnerHooks, options?: SpeakerOptions): Runner {
  const transport = new TcpTransport(log, (connection) => speaker.accept(connection));
  const clock = systemClock();
  const wallMs = (): number => Date.now();
  const files = new UpdateFiles({ clock: systemClock({ unref: true }), log, wallMs });
  const bfd = createBfdProcess(log, (status) => speaker.bfdChanged(status));
  const discovery = new Discovery(log, {
    onRouter: (name, address, certain) => speaker.neighbourFound(name, address, certain),
    onLinkDown: (name) => speaker.pathLost({ interface: name }),
    onLinkUp: (name) => speaker.pathBack({ interface: name }),
    onAddresses: () => {
      transport.linksChanged();
      speaker.linksChanged();
    },
  });
  const deps = {
    clock,
    transport: {
      dial: transport.dial.bind(transport),
      linkOf: transport.linkOf.bind(transport),
      tcpAoFault: transport.tcpAoFault,
      configure: (effective: SpeakerConfig) => {
        transport.configure(effective);
        discovery.configure(effective);
      },
    },
    bfd,
    log,
    random: Math.random,
    zeroes: zeroesInLargePages,
    defer: transport.defer,
    afterwards: transport.afterwards,
    wallMs,
    processAgeMs: process.uptime() * 1000,
    system: { name: os.hostname(), description: 'Poplin BGP speaker' },
    tap: files.recorder,
    onConfigured: ({ mrt }: SpeakerConfig) => files.configure(mrt),
    ...hooks,
  };
  const speaker = createSpeaker(deps, config, options);
  let endRehearsal: () => void;
  try {
    speaker.start();
    const withoutFeed = options?.withoutFeed === true;
    endRehearsal = rehearse(transport, { random: Math.random, withoutFeed });
  } catch (error) {
    speaker.stop('graceful');
    discovery.close();
    transport.close();
    void bfd.stop('silent');
    throw error;
  }
  return {
    speaker,
    mrtStatus: () => files.status(),
    async stop(mode) {
      endRehearsal();
      discovery.close();
      transport.stopListening();
      if (mode === 'drain') await new Promise<void>((resolve) => speaker.announceShutdown(resolve));
      speaker.stop(mode);
      const end = performance.now() + stopMsMax;
      while (transport.openConnections > 0 && performance.now() < end) {
        await new Promise((resolve) => setTimeout(resolve, stopPollMs));
      }
      transport.close();
      await files.close();
      // After the connections, and without a word where routes are to be kept (RFC 5882 4.3.2.2): to FRR 8.4 AdminDown is a failure, which
      // ends graceful restart unless that has begun.
      await bfd.stop(mode === 'drain' ? 'adminDown' : 'silent');
    },
  };
}
