/** BFD beside BGP with BIRD and FRR: what ends a session, what does not, and what a restart of either side costs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BfdConfig, PeerConfig, SpeakerConfig } from '#bgp';
import { type Frr, startFrr } from '../support/bfd-frr.ts';
import { BgpLink, type Bird, birdConfig, linkConfig } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const withBird = needs({ root: true, commands: ['ip', 'iptables'], provided: ['bird', 'birdc'] });
const withFrr = needs({ root: true, commands: ['ip', 'unshare'], provided: ['zebra', 'bgpd', 'bfdd', 'vtysh'] });

const bfd: BfdConfig = { minTxMs: 100, minRxMs: 100, multiplier: 5 };
/** Hold time 90 s: what ends earlier was not ended by it. */
const ours = (peer: Partial<PeerConfig> = {}, more: Partial<SpeakerConfig> = {}): SpeakerConfig =>
  linkConfig(more, { holdTimeSec: 90, bfd, ...peer });
const restarting = {
  gracefulRestart: {
    restarting: true,
    forwardingPreserved: ['ipv4-unicast', 'ipv6-unicast'] as const,
    restartTimeSec: 30,
    deferralTimeSec: 20,
  },
};
function birdText(bgp: string, more: Parameters<typeof birdConfig>[0] = {}): string {
  return `protocol bfd bfd1 {
  interface "e0" { min tx interval 100 ms; min rx interval 100 ms; multiplier 10; };
  multihop { min tx interval 100 ms; min rx interval 100 ms; multiplier 10; };
}
${birdConfig({ holdSec: 90, bgp, ...more })}`;
}
const frrText = (neighbor = ''): string => `bfd
 profile quick
  receive-interval 100
  transmit-interval 100
  detect-multiplier 10
 exit
exit
ip route 10.60.1.0/24 blackhole
router bgp 64513
 bgp router-id 10.9.0.2
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor 10.9.0.1 remote-as 64512
 neighbor 10.9.0.1 timers connect 1
 neighbor 10.9.0.1 bfd profile quick
 ${neighbor}
 address-family ipv4 unicast
  network 10.60.1.0/24
 exit-address-family
exit
`;

type Speaker = Awaited<ReturnType<BgpLink['speaker']>>;
async function bothUp(speaker: Speaker): Promise<void> {
  await speaker.established('bird');
  await until(async () => (await speaker.peer('bird')).bfd?.state === 'Up', {
    what: 'BFD to be Up',
    deadlineMs: 40_000,
  });
}
const hasRoute = (bird: Bird): boolean => bird.birdc('show route').includes('10.50.1.0/24');
const bfdUp = (bird: Bird): boolean => /\bUp\b/.test(bird.birdc('show bfd sessions'));

for (const [what, neighbor, peer, bgp] of [
  ['RFC 5881, IPv4', undefined, {}, ''],
  [
    'RFC 5881, IPv6',
    'local fd09::2 as 64513; neighbor fd09::1 as 64512;',
    { address: 'fd09::2', localAddress: 'fd09::1' },
    '',
  ],
  ['RFC 5883, several hops', undefined, { localAddress: '10.9.0.1', bfd: { ...bfd, multihop: true } }, 'multihop 4;'],
] as const) {
  test(
    `${what}, RFC 5882 10.2, RFC 9384: BIRD: a path that loses all ends the session at once, not with the hold time`,
    withBird,
    async () => {
      await using link = new BgpLink();
      const bird = await link.bird(birdText(`bfd on; ${bgp}`, neighbor ? { neighbor } : {}));
      const speaker = await link.speaker(ours(peer));
      await bothUp(speaker);
      await until(() => bfdUp(bird), { what: 'BFD to be Up at BIRD' });
      await until(() => speaker.routes.has('10.60.1.0/24'), { what: 'the route of BIRD' });
      const status = await speaker.peer('bird');
      assert.deepEqual([status.bfd?.remoteControlPlaneIndependent, status.bfd?.flaps], [false, 0]);
      for (const name of [link.a, link.b]) {
        link.run(name, 'nft', 'table inet cut { chain in { type filter hook input priority 0; policy drop; }; }');
      }
      await until(
        () => speaker.peerEvents.some(({ lastError }) => /Cease\/BFD Down\)?: BFD: Control Detection/.test(lastError)),
        {
          what: 'the session to end for BFD',
        },
      );
      await until(() => speaker.routes.size === 0, { what: 'the routes to go' });
      await until(() => /BFD session down/.test(bird.birdc('show protocols all peer')), { what: 'BIRD to notice' });
      for (const name of [link.a, link.b]) link.run(name, 'nft', 'delete table inet cut');
      await bothUp(speaker);
      assert.equal((await speaker.peer('bird')).bfd?.flaps, 1);
    },
  );
}

test('RFC 5880 6.8.3: live: intervals change by a poll with BIRD, and no session ends', withBird, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdText('bfd on;'));
  const speaker = await link.speaker(ours());
  await bothUp(speaker);
  speaker.configure(ours({ bfd: { minTxMs: 300, minRxMs: 400, multiplier: 5 } }));
  await until(
    async () => {
      const { txIntervalMs, rxIntervalMs, detectionTimeMs } = (await speaker.peer('bird')).bfd!;
      assert.deepEqual([txIntervalMs, rxIntervalMs, detectionTimeMs], [300, 400, 4000]);
      return true;
    },
    { what: 'the intervals' },
  );
  await until(() => /e0\s+Up\s+\S+\s+0\.400\s+1\.500/.test(bird.birdc('show bfd sessions')), {
    what: () => `BIRD to send every 400 ms and wait for 5 of 300: ${bird.birdc('show bfd sessions')}`,
  });
  const { establishedCount, bfd: now } = await speaker.peer('bird');
  assert.deepEqual([establishedCount, now?.flaps], [1, 0]);
});

test(
  'RFC 5882 4.3.2: our restart, killed or stopped: BIRD with `bfd graceful` never loses the route; with `bfd on` it does',
  withBird,
  async () => {
    for (const [option, kept] of [
      ['graceful', true],
      ['on', false],
    ] as const) {
      for (const how of ['kill', 'stop'] as const) {
        await using link = new BgpLink();
        const bird = await link.bird(birdText(`bfd ${option}; graceful restart on;`));
        const first = await link.speaker(ours());
        await bothUp(first);
        await until(() => hasRoute(bird) && bfdUp(bird), { what: 'the route and BFD at BIRD' });
        await (how === 'kill' ? first.kill() : first.stop('graceful'));
        await until(() => /\bDown\b/.test(bird.birdc('show bfd sessions')), { what: 'BFD to fall at BIRD' });
        assert.equal(hasRoute(bird), kept, `after ${how} with bfd ${option}`);
        if (!kept) continue;
        const second = await link.speaker(ours({}, restarting));
        await until(
          async () => {
            assert.ok(hasRoute(bird), 'the route is there all the time');
            return (await second.peer('bird')).bfd?.state === 'Up';
          },
          { what: 'BFD to be Up again', intervalMs: 10 },
        );
        assert.equal((await second.peer('bird')).establishedCount, 1);
      }
    }
  },
);

test(
  'RFC 5882 4.3.2: BIRD restarts: its BFD falls during the restart, and its routes stay until it is back',
  withBird,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdText('bfd graceful; graceful restart on;'));
    const speaker = await link.speaker(ours());
    await bothUp(speaker);
    await until(() => speaker.routes.has('10.60.1.0/24'), { what: 'the route of BIRD' });
    const before = speaker.changes.length;
    await bird.kill();
    await until(async () => (await speaker.peer('bird')).bfd?.state === 'Down', { what: 'BFD to fall' });
    assert.ok((await speaker.peer('bird')).families.some(({ stale }) => stale > 0));
    await bird.restart();
    await bothUp(speaker);
    await until(async () => (await speaker.peer('bird')).families.every(({ endOfRibReceived }) => endOfRibReceived), {
      what: 'End-of-RIB',
    });
    assert.ok(!speaker.changes.slice(before).some(({ type }) => type === 'withdraw'), 'no route was withdrawn');
  },
);

async function frrUp(link: BgpLink, neighbor = ''): Promise<{ frr: Frr; speaker: Speaker }> {
  const frr = await startFrr(link, frrText(neighbor));
  const speaker = await link.speaker(ours({ families: ['ipv4-unicast'] }));
  await bothUp(speaker);
  await until(() => frr.hasRoute('10.50.1.0/24') && frr.bfd('10.9.0.1')?.status === 'up', { what: 'the route at FRR' });
  return { frr, speaker };
}

test('RFC 5881, RFC 9384: FRR: each side notices a path that loses all, and ends its session', withFrr, async () => {
  await using link = new BgpLink();
  const { frr, speaker } = await frrUp(link);
  link.cut();
  await until(() => speaker.peerEvents.some(({ lastError }) => /Cease\/BFD Down/.test(lastError)), {
    what: 'the session to end for BFD',
  });
  await until(() => /BFD down|Bfd/i.test(frr.vtysh('show bgp neighbors 10.9.0.1')) && !frr.hasRoute('10.50.1.0/24'), {
    what: 'FRR to notice',
  });
});

test(
  'RFC 5882 4.3.2: our restart, killed or stopped: FRR as helper never loses the route, with its defaults or strict control plane check',
  withFrr,
  async () => {
    for (const neighbor of ['', 'neighbor 10.9.0.1 bfd check-control-plane-failure']) {
      await using link = new BgpLink();
      const { frr, speaker } = await frrUp(link, neighbor);
      let current = speaker;
      for (const how of ['kill', 'stop'] as const) {
        await (how === 'kill' ? current.kill() : current.stop('graceful'));
        await until(() => frr.bfd('10.9.0.1')?.status === 'down', { what: 'BFD to fall at FRR' });
        assert.ok(frr.hasRoute('10.50.1.0/24'), `kept after ${how} ${neighbor}`);
        current = await link.speaker(ours({ families: ['ipv4-unicast'] }, restarting));
        await until(
          async () => {
            assert.ok(frr.hasRoute('10.50.1.0/24'), 'the route is there all the time');
            return (await current.peer('bird')).bfd?.state === 'Up' && frr.bfd('10.9.0.1')?.status === 'up';
          },
          { what: 'BFD to be Up again', deadlineMs: 60_000, intervalMs: 10 },
        );
        assert.equal((await current.peer('bird')).establishedCount, 1);
      }
    }
  },
);

test(
  'RFC 5882 4.3.2: a restart that is quicker than the BFD of FRR: the session made after it lasts, and the route stays',
  withFrr,
  async () => {
    // FRR waits for 60 of our packets: 6 s.
    const slow = { bfd: { ...bfd, multiplier: 60 }, families: ['ipv4-unicast' as const] };
    await using link = new BgpLink();
    const frr = await startFrr(link, frrText());
    const first = await link.speaker(ours(slow));
    await bothUp(first);
    await until(() => frr.hasRoute('10.50.1.0/24') && frr.bfd('10.9.0.1')?.status === 'up', {
      what: 'the route at FRR',
    });
    await first.kill();
    const second = await link.speaker(ours(slow, restarting));
    let fell = false;
    await until(
      async () => {
        assert.ok(frr.hasRoute('10.50.1.0/24'), 'the route is there all the time');
        const status = frr.bfd('10.9.0.1')?.status;
        fell ||= status === 'down';
        return fell && status === 'up' && (await second.peer('bird')).bfd?.state === 'Up';
      },
      { what: 'BFD to fall at FRR, and to be Up again', deadlineMs: 60_000, intervalMs: 10 },
    );
    assert.equal((await second.peer('bird')).establishedCount, 1);
  },
);
