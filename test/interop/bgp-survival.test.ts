/**
 * What outlives a session beyond a restart: NOTIFICATIONs (RFC 8538), long absences (RFC 9494), planned ends (RFC 8326), and the
 * time until routes are selected after our own restart.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SpeakerConfig } from '#bgp';
import { BgpLink, birdConfig, linkConfig, linkPeer, type SpeakerProcess } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { needsGobgp, startGobgp } from '../support/bgp-gobgp.ts';
import { frrConfig, gobgpConfig } from '../support/bgp-peers.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const wantsIptables = needs({ root: true, commands: ['ip', 'iptables'], provided: ['bird', 'birdc'] });
const wantsFrr = needs({ root: true, commands: ['ip', 'nsenter'], provided: ['zebra', 'bgpd', 'vtysh'] });
const wantsGobgp = needsGobgp(needs({ root: true, commands: ['ip'] }));

const ours = '10.50.1.0/24';

interface Helper {
  /** What it knows of our IPv4 route; empty: it has none. */
  route(): string;
  established(): boolean;
}

async function bird(link: BgpLink, bgp: string): Promise<Helper> {
  const daemon = await link.bird(birdConfig({ bgp }));
  return {
    route: () => daemon.birdc(`show route ${ours} all`).split(ours)[1] ?? '',
    established: () => daemon.established('peer'),
  };
}
async function frrHelper(link: BgpLink): Promise<Helper> {
  const daemon = await startFrr(link, frrConfig({ bgp: ' bgp long-lived-graceful-restart stale-time 60' }));
  return {
    route: () => {
      const text = daemon.vtysh(`show bgp ipv4 unicast ${ours}`);
      return text.includes('Paths:') ? text : '';
    },
    established: () =>
      JSON.parse(daemon.vtysh('show bgp neighbor 10.9.0.1 json'))['10.9.0.1'].bgpState === 'Established',
  };
}
async function gobgp(link: BgpLink, restart: string, family = ''): Promise<Helper & { cli(command: string): string }> {
  const daemon = await startGobgp(link, gobgpConfig({ restart, family }));
  daemon.cli('global rib add 10.60.1.0/24 nexthop 10.9.0.2');
  return {
    cli: daemon.cli,
    route: () => /^\*?.*10\.50\.1\.0\/24.*$/m.exec(daemon.cli('global rib -a ipv4'))?.[0] ?? '',
    established: () => /BGP state = \w*ESTABLISHED/.test(daemon.cli('neighbor 10.9.0.1')),
  };
}

function afterRestart(config: SpeakerConfig): SpeakerConfig {
  const forwardingPreserved = ['ipv4-unicast', 'ipv6-unicast'] as const;
  return { ...config, gracefulRestart: { ...config.gracefulRestart, restarting: true, forwardingPreserved } };
}
const withdrawn = (speaker: SpeakerProcess): string[] =>
  speaker.changes.flatMap((change) => (change.type === 'withdraw' ? [change.prefix] : []));

for (const [name, options, start, stale] of [
  [
    'BIRD',
    wants,
    (link: BgpLink) => bird(link, 'graceful restart on; long lived graceful restart on; long lived stale time 60;'),
    /\(65535,6\)|\(65535, 6\)|llgr_stale/i,
  ],
  [
    'GoBGP',
    wantsGobgp,
    (link: BgpLink) =>
      gobgp(
        link,
        'long-lived-enabled = true',
        '[neighbors.afi-safis.long-lived-graceful-restart.config]\nenabled = true\nrestart-time = 60',
      ),
    /llgr-stale/i,
  ],
  ['FRR', wantsFrr, frrHelper, /llgr-stale/i],
] as const) {
  test(
    `RFC 9494 4.2: we stay away for longer than our restart time: ${name} keeps our routes with LLGR_STALE until we are back`,
    options,
    async () => {
      await using link = new BgpLink();
      const helper = await start(link);
      const config = linkConfig({}, { restartTimeSec: 1, longLivedStaleTimeSec: 60 });
      const first = await link.speaker(config);
      await first.established('bird');
      await until(() => helper.route() !== '', { what: `our route at ${name}` });
      assert.doesNotMatch(helper.route(), stale);
      await first.kill();
      await until(() => stale.test(helper.route()), {
        what: `LLGR_STALE at ${name}, which has ${helper.route()}`,
        deadlineMs: 20_000,
      });
      const second = await link.speaker(afterRestart(config));
      await second.established('bird');
      await until(() => helper.route() !== '' && !stale.test(helper.route()), {
        what: `our route to be a fresh one at ${name}, which has ${helper.route()}`,
      });
    },
  );
}

test(
  'RFC 8538 4: a NOTIFICATION of either side keeps routes at GoBGP and here; our Hard Reset ends them',
  wantsGobgp,
  async () => {
    await using link = new BgpLink();
    const helper = await gobgp(link, 'notification-enabled = true');
    const speaker = await link.speaker(linkConfig());
    const { negotiated } = await speaker.established('bird');
    assert.equal(negotiated?.gracefulRestart?.notification, true);
    await until(() => helper.route() !== '' && speaker.routes.size === 1, { what: 'routes both ways' });

    // Another hold time means another session: Cease/Other Configuration Change.
    speaker.configure(linkConfig({}, { holdTimeSec: 6 }));
    await until(() => !helper.established(), { what: 'GoBGP to notice' });
    assert.notEqual(helper.route(), '');
    assert.deepEqual(withdrawn(speaker), []);
    await until(() => helper.established(), { what: 'the session again', deadlineMs: 60_000 });
    await speaker.established('bird');
    assert.equal((await speaker.peer('bird')).negotiated?.holdTimeSec, 6);
    assert.notEqual(helper.route(), '');
    // GoBGP sets F after a restart only, not after a NOTIFICATION: what we kept of it goes once it is back (RFC 4724 4.2).
    await until(() => speaker.routes.size === 1, { what: 'its route' });

    speaker.configure(linkConfig({ peers: [] }));
    await until(() => helper.route() === '', { what: 'our route to go with the peer (Peer De-configured)' });
  },
);

test(
  'RFC 8538 4: with FRR: its reset of the session, a change of ours, and the end of the peer',
  wantsFrr,
  async () => {
    await using link = new BgpLink();
    const frr = await startFrr(
      link,
      frrConfig({ bgp: ' bgp graceful-restart notification\n no bgp hard-administrative-reset' }),
    );
    const has = (): boolean => frr.vtysh(`show bgp ipv4 unicast ${ours} json`).includes('"paths"');
    const neighbor = (): { readonly bgpState: string; readonly connectionsEstablished: number } =>
      JSON.parse(frr.vtysh('show bgp neighbor 10.9.0.1 json'))['10.9.0.1'];
    const state = (): string => neighbor().bgpState;
    const speaker = await link.speaker(linkConfig());
    await until(() => speaker.routes.size === 2 && has(), { what: 'routes both ways' });
    const before = await speaker.established('bird');
    assert.equal(before.negotiated?.gracefulRestart?.notification, true);

    frr.vtysh('clear bgp 10.9.0.1');
    await until(async () => (await speaker.peer('bird')).establishedCount > before.establishedCount, {
      what: 'a new session',
      deadlineMs: 60_000,
    });
    const seen = speaker.peerEvents.find(({ lastError }) => /received Cease/.test(lastError));
    assert.match(seen?.lastError ?? '', /Administrative Reset/);
    assert.ok(has());
    await until(() => state() === 'Established', { what: 'the session at FRR', deadlineMs: 60_000 });
    // A second loss before that would take what was not announced again (RFC 4724 4.2).
    await until(async () => (await speaker.peer('bird')).families.every((family) => family.endOfRibReceived), {
      what: 'End-of-RIB of FRR',
    });
    assert.deepEqual(withdrawn(speaker), [], 'its Administrative Reset took nothing');

    // It may be back before it is asked for its state.
    const { connectionsEstablished } = neighbor();
    assert.ok(connectionsEstablished >= 2, `${connectionsEstablished} sessions so far`);
    speaker.configure(linkConfig({}, { holdTimeSec: 6 }));
    let missing = 0;
    const another = (): boolean => {
      if (!has()) missing++;
      return neighbor().connectionsEstablished > connectionsEstablished && state() === 'Established';
    };
    await until(another, { what: 'another session at FRR', deadlineMs: 60_000 });
    assert.equal(missing, 0, 'our route was there all the while, with a session or without');
    assert.ok(has());
    assert.deepEqual(withdrawn(speaker), []);

    speaker.configure(linkConfig({ peers: [] }));
    await until(() => !has(), { what: 'our route to go with the peer (Peer De-configured)' });
  },
);

test(
  'RFC 4724 4.1: two of three peers dead: routes are selected within 1 s of the End-of-RIB of BIRD',
  wantsIptables,
  async () => {
    await using link = new BgpLink();
    await link.bird(birdConfig({ bgp: 'graceful restart on;' }));
    // One host is not there at all, of the other not even a refusal comes back.
    link.run(link.b, 'ip', 'addr', 'add', '10.9.0.4/24', 'dev', 'e0');
    link.run(link.b, 'iptables', '-A', 'INPUT', '-d', '10.9.0.4', '-j', 'DROP');
    const dead = ['10.9.0.3', '10.9.0.4'].map((address) => linkPeer({ name: address, address, asn: 64999 }));
    const speaker = await link.speaker(afterRestart(linkConfig({ peers: [linkPeer(), ...dead] })));
    await until(async () => (await speaker.peer('bird')).families.every((family) => family.endOfRibReceived), {
      what: 'End-of-RIB of BIRD',
      intervalMs: 5,
    });
    await until(() => speaker.deferralEnded, { what: 'selection', deadlineMs: 1000, intervalMs: 5 });
    assert.equal(speaker.routes.size, 2);
  },
);

test('RFC 8326 4: GRACEFUL_SHUTDOWN on what BIRD has of us, live, and taken back; before a drain', wants, async () => {
  await using link = new BgpLink();
  const daemon = await link.bird(birdConfig());
  const marked = (): boolean => /BGP\.community:.*\(65535,0\)/.test(daemon.birdc(`show route ${ours} all`));
  const speaker = await link.speaker(linkConfig());
  await until(() => daemon.birdc(`show route ${ours}`).includes(ours), { what: 'our route' });
  assert.equal(marked(), false);
  for (const on of [{ gracefulShutdown: true }, {}]) {
    speaker.configure(linkConfig({}, on));
    await until(() => marked() === (on.gracefulShutdown ?? false), { what: `the community: ${JSON.stringify(on)}` });
  }
  speaker.configure(linkConfig({ gracefulShutdown: true }));
  await until(marked, { what: 'the community, for all peers' });
  speaker.configure(linkConfig());
  await until(() => !marked(), { what: 'the community to be gone' });
  const { establishedCount, gracefulShutdown } = await speaker.peer('bird');
  assert.deepEqual([establishedCount, gracefulShutdown], [1, undefined]);

  const stopped = speaker.stop('drain');
  await until(marked, { what: 'the community before the end of the session', intervalMs: 5 });
  await stopped;
  await until(() => !daemon.birdc('show route').includes(ours), { what: 'our route to go' });
});

test(
  'RFC 8326 4: within one AS LOCAL_PREF 0 goes with it; a route of another AS that has it comes in with LOCAL_PREF 0',
  wants,
  async () => {
    await using link = new BgpLink();
    const neighbor = 'local 10.9.0.2 as 64512; neighbor 10.9.0.1 as 64512;';
    const daemon = await link.bird(birdConfig({ neighbor }));
    const shown = (): string => daemon.birdc(`show route ${ours} all`);
    const speaker = await link.speaker(linkConfig({}, { asn: 64512, gracefulShutdown: true }));
    await until(() => /BGP\.local_pref: 0\b[\s\S]*\(65535,0\)/.test(shown()), { what: `both at BIRD` });
    speaker.configure(linkConfig({}, { asn: 64512 }));
    await until(() => /BGP\.local_pref: 100\b/.test(shown()) && !shown().includes('(65535,0)'), { what: 'neither' });
  },
);
