/** BGPPeers without an address, and BGPFilter's interfaces, by a real agent: FRR and BIRD at the other end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BgpPeerView } from '#api';
import { aoFault } from '#sys';
import { outsideBird, outsideHost } from '../support/agent-outside.ts';
import { birdConfig } from '../support/bgp.ts';
import { startFrr } from '../support/bgp-frr.ts';
import { frrUnnumbered } from '../support/bgp-unnumbered.ts';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const commands = ['ip', 'iptables', 'ipset'];
const wantsBird = needs({ root: true, commands, provided: ['bird', 'birdc'] });
const wantsFrr = needs({
  root: true,
  commands: [...commands, 'unshare', 'nsenter'],
  provided: ['zebra', 'bgpd', 'vtysh'],
});

function put(agent: LoneAgent, kind: string, name: string, spec: object): void {
  agent.write(`${name}.yaml`, { apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec });
}
async function peer(agent: LoneAgent, name: string): Promise<BgpPeerView | undefined> {
  return (await agent.api.bgpPeers()).find((each) => each.name === name);
}
function established(agent: LoneAgent, name: string): Promise<BgpPeerView> {
  return until(
    async () => {
      const found = await peer(agent, name);
      return found?.state === 'Established' && found;
    },
    { what: `${name} to be Established; the log ends: ${agent.log.slice(-800)}`, deadlineMs: 60_000 },
  );
}
/** Where the node would send to. */
async function way(agent: LoneAgent, address: string): Promise<string> {
  return (await agent.inside('ip', 'route', 'get', address)).stdout;
}

test(
  'RFC 4861, RFC 8950: a BGPPeer with an interface is FRR there, both families over the one link',
  wantsFrr,
  async (t) => {
    const agent = await LoneAgent.node(t);
    const host = outsideHost(t, agent);
    const link = ['link', 'add', 'swp0', 'index', '77', 'type', 'veth', 'peer', 'name', 'e0', 'netns', agent.outside];
    await agent.must('ip', '-netns', agent.netns, ...link);
    for (const [netns, name] of [
      [agent.netns, 'swp0'],
      [agent.outside, 'e0'],
    ] as const) {
      await agent.must('ip', '-netns', netns, 'link', 'set', name, 'up');
    }
    put(agent, 'BGPPeer', 'tor', { interface: 'swp0', remoteAS: 'External', holdTime: '9s' });
    agent.start();
    await agent.untilReady();
    const frr = await startFrr(host, frrUnnumbered());
    const { address, asn, families } = await established(agent, 'peer/tor');
    assert.match(address, /^fe80::.*%swp0$/);
    assert.deepEqual([asn, families.map(({ family }) => family)], [64513, ['ipv4-unicast', 'ipv6-unicast']]);
    const gateway = address.split('%')[0]!;
    for (const [target, expected] of [
      ['10.60.1.1', `via inet6 ${gateway} dev swp0`],
      ['fd60:1::1', `via ${gateway} dev swp0`],
    ] as const) {
      await until(async () => (await way(agent, target)).includes(expected), { what: `${target} ${expected}` });
    }
    await until(() => /10\.42\.1\.0\/24 \[20\/0\] via fe80::\S+, e0/.test(frr.vtysh('show ip route bgp')), {
      what: () => `the pods' prefix at FRR: ${frr.vtysh('show ip route')}`,
    });
    await until(() => /fd00:42:1::\/64 \[20\/0\] via fe80::\S+, e0/.test(frr.vtysh('show ipv6 route bgp')), {
      what: "the pods' IPv6 prefix at FRR",
    });
    await agent.must('ip', '-netns', agent.outside, 'link', 'set', 'e0', 'down');
    await until(async () => (await peer(agent, 'peer/tor'))?.state !== 'Established', {
      what: 'the end of the session',
    });
    await until(async () => !(await way(agent, '10.60.1.1')).includes('swp0'), { what: 'its routes to be gone' });
  },
);

test(
  'BGPPeer with a range: who connects is a peer of it, by AS numbers and up to the limit (RFC 4486 4)',
  wantsBird,
  async (t) => {
    const agent = await LoneAgent.ready(t);
    const neighbor = 'local 192.0.2.2 as 64513; neighbor 192.0.2.1 as 64512;';
    const channels = 'ipv4 { import all; export all; };';
    const late = `protocol bgp late { disabled on; local 192.0.2.3 as 64514; neighbor 192.0.2.11 as 64512; ${channels}
  connect delay time 1; connect retry time 1; error wait time 1, 2; }\n`;
    await agent.must('ip', '-netns', agent.outside, 'addr', 'add', '192.0.2.3/24', 'dev', 'up0');
    // BIRD wants another neighbour for another session.
    await agent.must('ip', '-netns', agent.netns, 'addr', 'add', '192.0.2.11/24', 'dev', 'up0');
    const bird = await outsideBird(t, agent, birdConfig({ neighbor, channels }) + late);
    const range = { range: '192.0.2.0/24', limit: 1, holdTime: '9s' };
    put(agent, 'BGPPeer', 'rack', { ...range, asNumbers: [64514] });
    await until(() => /Bad peer AS/i.test(bird.birdc('show protocols all peer')), {
      what: () => `RFC 4271 6.2, Bad Peer AS, at BIRD: ${bird.birdc('show protocols all peer')}`,
    });
    put(agent, 'BGPPeer', 'rack', { ...range, asNumbers: [64513, 64514] });
    const found = await established(agent, 'peer/rack/192.0.2.2');
    assert.equal(found.asn, 64513);
    await until(async () => (await way(agent, '10.60.1.1')).includes('via 192.0.2.2'), {
      what: "BIRD's route in force",
    });
    await until(() => /10\.42\.1\.0\/24/.test(bird.birdc('show route')), { what: "the pods' prefix at BIRD" });
    bird.birdc('enable late');
    await until(() => bird.birdc('show protocols all late').includes('Connection rejected'), {
      what: () => `the refusal beyond the limit: ${bird.birdc('show protocols all late')}`,
    });
    put(agent, 'BGPPeer', 'rack', { ...range, limit: 2, remoteAS: 'External' });
    await established(agent, 'peer/rack/192.0.2.3');
    await established(agent, 'peer/rack/192.0.2.2');
    const counts = async () => {
      const { peersEstablished, peersConfigured } = (await agent.status()).bgp;
      return [peersEstablished, peersConfigured].join();
    };
    await until(async () => (await counts()) === '2,2', { what: 'both to be counted' });
    agent.drop('rack.yaml');
    await until(async () => (await agent.api.bgpPeers()).length === 0, { what: 'the peers to be gone' });
  },
);

/** BIRD at 192.0.2.2, and with `address` at another address of its own, several hops away as far as BGP knows. */
const birdAt = (address = '192.0.2.2', routes4 = ''): string =>
  birdConfig({
    neighbor: `local ${address} as 64513; neighbor 192.0.2.1 as 64512; multihop;`,
    channels: 'ipv4 { import all; export all; };',
    routes4,
  });

test(
  'RFC 7999 3.3: BGPPeer blackhole: packets are dropped, of prefixes as long as it says, live',
  wantsBird,
  async (t) => {
    const agent = await LoneAgent.ready(t);
    const marked = (prefix: string): string => `route ${prefix} blackhole { bgp_community.add((65535, 666)); };`;
    await outsideBird(t, agent, birdAt('192.0.2.2', [marked('10.60.7.8/30'), marked('10.60.7.9/32')].join(' ')));
    const spec = { peerIP: '192.0.2.2', asNumber: 64513 };
    put(agent, 'BGPPeer', 'tor', { ...spec, blackhole: {} });
    await established(agent, 'peer/tor');
    const shown = async (prefix: string): Promise<string> => (await agent.inside('ip', 'route', 'show', prefix)).stdout;
    const dropped = async (prefix: string): Promise<boolean> => (await shown(prefix)).startsWith('blackhole');
    await until(() => dropped('10.60.7.9/32'), { what: 'the host to be dropped' });
    assert.equal(await shown('10.60.7.8/30'), '', 'too short for it');
    const { routes } = await agent.api.bgpRoutes({ prefix: '10.60.7.9/32' });
    assert.equal(routes[0]?.paths[0]?.blackhole, true);
    put(agent, 'BGPPeer', 'tor', { ...spec, blackhole: { ipv4: 30 } });
    await until(() => dropped('10.60.7.8/30'), { what: 'the shorter prefix to be dropped' });
    put(agent, 'BGPPeer', 'tor', spec);
    for (const address of ['10.60.7.9', '10.60.7.10']) {
      await until(async () => (await way(agent, address)).includes('via 192.0.2.2'), { what: `a way to ${address}` });
    }
    assert.equal((await peer(agent, 'peer/tor'))?.timesEstablished, 1);
  },
);

test('BGPPeer adjRibIn: what a filter rejects is held and shown, or is not, live', wantsBird, async (t) => {
  const agent = await LoneAgent.ready(t);
  await outsideBird(t, agent, birdAt());
  const spec = { peerIP: '192.0.2.2', asNumber: 64513, filters: ['none'] };
  put(agent, 'BGPFilter', 'none', { importV4: [{ action: 'Reject' }] });
  put(agent, 'BGPPeer', 'tor', { ...spec, adjRibIn: false });
  await established(agent, 'peer/tor');
  const received = async (): Promise<unknown> => {
    const { routes } = await agent.api.bgpRoutes({ peer: 'peer/tor', received: 'true' });
    return routes.map(({ prefix, paths }) => [prefix, paths[0]?.rejected]);
  };
  const isHeld = async (): Promise<boolean> => JSON.stringify(await received()) === JSON.stringify(held);
  const held = [['10.60.1.0/24', { by: 'filter', filter: 'none', term: 0 }]];
  await until(async () => (await peer(agent, 'peer/tor'))?.families.some(({ endOfRib }) => endOfRib), {
    what: 'End-of-RIB of BIRD',
  });
  assert.deepEqual(await received(), []);
  put(agent, 'BGPPeer', 'tor', { ...spec, adjRibIn: true });
  await until(isHeld, { what: 'the rejected route, with the rule that rejects it' });
  put(agent, 'BGPPeer', 'tor', { ...spec, adjRibIn: false });
  await until(async () => !(await isHeld()), { what: 'the rejected route to be let go' });
  assert.equal((await peer(agent, 'peer/tor'))?.timesEstablished, 1);
});

test(
  'BGPFilter interface: where the next hop leads, of a peer on no link, as the kernel changes its mind',
  wantsBird,
  async (t) => {
    const agent = await LoneAgent.ready(t);
    await addWan(agent);
    const route = (...words: string[]) =>
      agent.must('ip', '-netns', agent.netns, 'route', 'replace', '198.51.100.1', ...words);
    await route('via', '192.0.2.2');
    const bird = await outsideBird(t, agent, birdAt('198.51.100.1'));
    put(agent, 'BGPFilter', 'not-by-wan', {
      importV4: [{ action: 'Reject', interface: 'wan*' }],
      exportV4: [{ action: 'Reject', interface: 'up0' }],
    });
    put(agent, 'BGPPeer', 'tor', { peerIP: '198.51.100.1', asNumber: 64513, filters: ['not-by-wan'] });
    await established(agent, 'peer/tor');
    const taken = async (): Promise<boolean> => {
      const { routes } = await agent.api.bgpRoutes({ peer: 'peer/tor' });
      return routes.some(({ prefix }) => prefix === '10.60.1.0/24');
    };
    await until(taken, { what: 'the route, whose next hop is behind up0' });
    await route('via', '203.0.113.2', 'dev', 'wan0');
    await until(async () => !(await taken()), { what: 'the route to be rejected: its next hop is behind wan0' });
    await route('via', '192.0.2.2');
    await until(taken, { what: 'the route again' });
    // The node's own routes have no interface: `*` alone matches.
    await until(() => bird.birdc('show route').includes('10.42.1.0/24'), { what: "the pods' prefix at BIRD" });
    put(agent, 'BGPFilter', 'not-by-wan', { exportV4: [{ action: 'Reject', interface: '*' }] });
    await until(() => !bird.birdc('show route').includes('10.42.1.0/24'), { what: "the pods' prefix to be withdrawn" });
    assert.equal((await peer(agent, 'peer/tor'))?.timesEstablished, 1, 'on one session');
  },
);

test(
  "RFC 1997, RFC 8092: prefixAdvertisements mark the pods' prefix at BIRD, by value and by name, live",
  wantsBird,
  async (t) => {
    const agent = await LoneAgent.ready(t);
    const bird = await outsideBird(t, agent, birdAt());
    put(agent, 'BGPPeer', 'tor', { peerIP: '192.0.2.2', asNumber: 64513 });
    await established(agent, 'peer/tor');
    const shown = (): string => bird.birdc('show route 10.42.1.0/24 all');
    await until(() => shown().includes('BGP.as_path'), { what: "the pods' prefix at BIRD" });
    assert.doesNotMatch(shown(), /community/);
    put(agent, 'BGPConfiguration', 'default', {
      communities: [{ name: 'pods', value: '64512:1:2' }],
      prefixAdvertisements: [{ cidr: '10.42.0.0/16', communities: ['pods', '64512:300'] }],
    });
    await until(() => /BGP\.community: \(64512,300\)[\s\S]*BGP\.large_community: \(64512, 1, 2\)/.test(shown()), {
      what: `the communities at BIRD: ${shown()}`,
    });
    assert.equal((await peer(agent, 'peer/tor'))?.timesEstablished, 1, 'on one session');
  },
);

test('RFC 5925: a BGPPeer with tcpAO says what keeps it down, and signs where the kernel can', wantsBird, async (t) => {
  const agent = await LoneAgent.ready(t);
  const bird = await outsideBird(t, agent, birdAt());
  const key = { sendID: 1, recvID: 1, algorithm: 'hmac-sha-1-96', secret: { value: 'of the session' } };
  put(agent, 'BGPPeer', 'tor', { peerIP: '192.0.2.2', asNumber: 64513, tcpAO: { keys: [key] } });
  const fault = aoFault('hmac-sha-1-96');
  const told = fault === undefined ? /^$/ : /^TCP-AO: the kernel has no TCP-AO; run one of 6\.7 or later/;
  await until(async () => told.test((await peer(agent, 'peer/tor'))?.lastError ?? 'none'), { what: `${told}` });
  if (fault !== undefined) {
    const { problems } = await agent.status();
    assert.ok(
      problems.some((text) => /^BGPPeer tor: spec\.tcpAO: the kernel has no .*; the session is kept down$/.test(text)),
      problems.join(),
    );
  }
  assert.ok(!agent.log.includes('of the session'));
  assert.notEqual((await peer(agent, 'peer/tor'))?.state, 'Established', 'BIRD has no key');
  put(agent, 'BGPPeer', 'tor', { peerIP: '192.0.2.2', asNumber: 64513 });
  await established(agent, 'peer/tor');
  await until(() => bird.birdc('show route').includes('10.42.1.0/24'), { what: "the pods' prefix at BIRD" });
});

/** A second link to the outside host, which has 198.51.100.1 as an address of its own. */
async function addWan(agent: LoneAgent): Promise<void> {
  const { netns, outside } = agent;
  for (const line of [
    `-netns ${netns} link add wan0 index 78 type veth peer name wan0 netns ${outside}`,
    `-netns ${netns} addr add 203.0.113.1/24 dev wan0`,
    `-netns ${outside} addr add 203.0.113.2/24 dev wan0`,
    `-netns ${outside} addr add 198.51.100.1/32 dev lo`,
    `-netns ${outside} link set lo up`,
    `-netns ${netns} link set wan0 up`,
    `-netns ${outside} link set wan0 up`,
  ]) {
    await agent.must('ip', ...line.split(' '));
  }
}
