/** Both sides dial at the same moment over real sockets: one session each time (RFC 4271 6.8). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig, SpeakerConfig } from '#bgp';
import { silentLogger } from '#kit';
import { type Runner, runSpeaker } from '#speaker';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/wait.ts';

const rounds = Number(process.env['COLLISION_ROUNDS'] ?? 300);

test(`${rounds} collisions over loopback end in one session each`, async () => {
  const ends = [
    { address: '127.0.0.1', asn: 64512, port: await freePort('127.0.0.1') },
    { address: '127.0.0.2', asn: 64513, port: await freePort('127.0.0.2') },
  ] as const;
  const config = (me: 0 | 1): SpeakerConfig => {
    const other = ends[me === 0 ? 1 : 0];
    const peer: PeerConfig = {
      name: 'other',
      address: other.address,
      port: other.port,
      asn: other.asn,
      localAddress: ends[me].address,
      families: ['ipv4-unicast'],
      holdTimeSec: 90,
      passive: false,
      connectRetrySec: 1,
      import: 'accept',
      export: 'accept',
    };
    return {
      asn: ends[me].asn,
      routerId: ends[me].address,
      listen: [{ address: ends[me].address, port: ends[me].port }],
      originate: [],
      peers: [peer],
      gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 0, deferralTimeSec: 0 },
    };
  };
  for (let round = 0; round < rounds; round++) {
    const hooks = { onRoutes: () => undefined, onPeerState: () => undefined };
    // Both listen before either's connection can arrive: everything here happens in one turn of the event loop.
    const runners: Runner[] = [runSpeaker(config(0), silentLogger, hooks), runSpeaker(config(1), silentLogger, hooks)];
    const peers = () => runners.map((runner) => runner.speaker.peerStatuses()[0]!);
    await until(
      () =>
        peers().every((peer) => peer.state === 'Established') && runners.every((r) => r.speaker.openConnections === 1),
      {
        what: `one session in round ${round}; ${JSON.stringify(peers().map((p) => [p.state, p.lastError]))}`,
        intervalMs: 1,
      },
    );
    assert.deepEqual(
      peers().map((peer) => peer.establishedCount),
      [1, 1],
      `round ${round}`,
    );
    await Promise.all(runners.map((runner) => runner.stop('graceful')));
  }
});
