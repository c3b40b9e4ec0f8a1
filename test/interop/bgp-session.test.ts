/** What a session can do beside routes, against BIRD 2: refresh, roles, limits, reflection, subcodes and texts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, type Bird, birdConfig, linkConfig, linkPeer } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const tracing = 'debug { states, packets };';

const routesAt = (bird: Bird): string => bird.birdc('show route protocol peer all');
const trace = (bird: Bird, what: string | RegExp): Promise<unknown> =>
  until(() => (typeof what === 'string' ? bird.output.includes(what) : what.test(bird.output)), {
    what: () => `${what} in what BIRD says: ${bird.output.slice(-2000)}`,
  });

/** Another BIRD beside the first one, at 10.9.0.3. */
async function secondBird(link: BgpLink, asn: number, bgp: string, more = ''): Promise<Bird> {
  link.run(link.b, 'ip', 'addr', 'add', '10.9.0.3/24', 'dev', 'e0');
  return link.bird(`router id 10.9.0.3;
log stderr all;
protocol device { }
${more}
protocol bgp peer { local 10.9.0.3 as ${asn}; neighbor 10.9.0.1 as 64512; strict bind on; hold time 9; connect delay time 1; connect retry time 1; ${bgp} }
`);
}

test('enhanced route refresh both ways (RFC 2918, RFC 7313)', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig({ bgp: tracing }));
  const speaker = await link.speaker(linkConfig());
  const { negotiated } = await speaker.established('bird');
  assert.equal(negotiated!.enhancedRouteRefresh, true);
  await until(() => routesAt(bird).includes('fd50:1::/64') && speaker.routes.size === 2, { what: 'routes both ways' });
  bird.birdc('reload in peer');
  for (const what of ['Sending ROUTE-REFRESH', 'Got BEGIN-OF-RR', 'Got END-OF-RR']) await trace(bird, what);
  assert.match(routesAt(bird), /10\.50\.1\.0\/24[\s\S]*fd50:1::\/64/, 'nothing went');
  speaker.configure(linkConfig({}, { importFilter: { ipv4: [{ action: 'reject' }], ipv6: [] } }));
  for (const what of ['Got ROUTE-REFRESH', 'Sending BEGIN-OF-RR', 'Sending END-OF-RR']) await trace(bird, what);
  await until(() => speaker.routes.size === 1, { what: 'the rejected route to go' });
  speaker.configure(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'it to come back' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('without ROUTE-REFRESH at BIRD a policy that lets more in makes a new session (RFC 2918 3)', wants, async () => {
  await using link = new BgpLink();
  await link.bird(birdConfig({ bgp: 'enable route refresh off;' }));
  const speaker = await link.speaker(linkConfig({}, { import: 'reject' }));
  const { negotiated } = await speaker.established('bird');
  assert.deepEqual([negotiated!.routeRefresh, negotiated!.enhancedRouteRefresh], [false, false]);
  speaker.configure(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'routes', deadlineMs: 20_000 });
});

test(
  'a route of more than 4096 octets from BIRD and back to it; not at all to a BIRD without (RFC 8654)',
  wants,
  async () => {
    const many = Array.from({ length: 1500 }, (_, i) => `bgp_community.add((64513, ${i + 1}));`).join(' ');
    const channels = `ipv4 { import all; export filter { if net = 10.60.1.0/24 then { ${many} } accept; }; };
    ipv6 { import all; export filter { if net = fd60:1::/64 then { ${many} } accept; }; next hop address fd09::2; };`;
    for (const back of [true, false]) {
      await using link = new BgpLink();
      const bird = await link.bird(birdConfig({ bgp: 'strict bind on; enable extended messages on;', channels }));
      const second = await secondBird(
        link,
        64514,
        `enable extended messages ${back ? 'on' : 'off'}; ipv4 { import all; export none; }; ipv6 { import all; export none; };`,
      );
      const two = linkPeer({ name: 'second', address: '10.9.0.3', asn: 64514, export: 'accept', passive: false });
      const speaker = await link.speaker(linkConfig({ peers: [linkPeer(), two] }));
      const first = await speaker.established('bird');
      assert.equal(first.negotiated!.extendedMessages, true);
      const { negotiated } = await speaker.established('second');
      assert.equal(negotiated!.extendedMessages, back);
      await until(() => speaker.routes.size === 2, { what: 'both routes' });
      await until(() => routesAt(second).includes('10.50.1.0/24'), { what: 'a short route at the second' });
      for (const prefix of ['10.60.1.0/24', 'fd60:1::/64']) {
        if (back) {
          await until(() => routesAt(second).includes(prefix), { what: `${prefix} at the second` });
          assert.match(second.birdc(`show route ${prefix} all`), /\(64513,1500\)/);
        } else assert.ok(!routesAt(second).includes(prefix));
      }
      assert.ok(bird.established('peer'));
    }
  },
);

test(
  'roles: those that go together, a mismatch, and strict mode against BIRD without one (RFC 9234 4.2)',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ bgp: 'local role customer;' }));
    const speaker = await link.speaker(linkConfig({}, { role: 'provider', strictRole: true }));
    const { negotiated } = await speaker.established('bird');
    assert.equal(negotiated!.peerRole, 'customer');
    // OTC of ours, since BIRD is our customer (RFC 9234 5, egress 1).
    await until(() => /10\.50\.1\.0\/24[\s\S]*?BGP\.otc: 64512/.test(routesAt(bird)), { what: 'OTC at BIRD' });
    speaker.configure(linkConfig({}, { role: 'peer' }));
    await until(async () => /Role Mismatch/i.test((await speaker.peer('bird')).lastError), {
      what: '2/11 said or heard',
    });
    bird.configure(birdConfig());
    speaker.configure(linkConfig({}, { role: 'peer', strictRole: true }));
    await until(async () => /peer says no role/.test((await speaker.peer('bird')).lastError), {
      what: '2/11 by strict mode',
    });
    speaker.configure(linkConfig({}, { role: 'peer' }));
    await speaker.established('bird');
  },
);

test(
  'OTC that BIRD sends as our provider is put there, and a leak from a customer is not used (RFC 9234 5)',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ bgp: 'local role provider;' }));
    const speaker = await link.speaker(linkConfig({}, { role: 'customer' }));
    await speaker.established('bird');
    await until(() => speaker.routes.size === 2, { what: 'routes' });
    const answer = JSON.stringify(await speaker.query({ prefix: '10.60.1.0/24' }));
    assert.match(answer, /"onlyToCustomer":64513/);
    // BIRD as customer without its own check: OTC set by hand.
    bird.configure(
      birdConfig({ channels: 'ipv4 { import all; export filter { bgp_otc = 64999; accept; }; };', bgp: '' }),
    );
    speaker.configure(linkConfig({}, { role: 'provider' }));
    await speaker.established('bird');
    await until(async () => (await speaker.peer('bird')).families[0]!.endOfRibReceived, { what: 'End-of-RIB' });
    assert.equal(speaker.routes.has('10.60.1.0/24'), false);
  },
);

test(
  'too many prefixes: BIRD hears Cease/1, is refused until the restart time, and then welcome (RFC 4486 4)',
  wants,
  async () => {
    await using link = new BgpLink();
    const routes4 = 'route 10.61.0.0/16 blackhole; route 10.62.0.0/16 blackhole;';
    const bird = await link.bird(birdConfig({ routes4, bgp: tracing }));
    const limited = (limit: number) =>
      linkConfig({}, { maxPrefixes: { 'ipv4-unicast': { limit, restartSec: 2 }, 'ipv6-unicast': { limit: 10 } } });
    const speaker = await link.speaker(limited(2));
    await trace(bird, /Received: Maximum number of prefixes reached/i);
    await until(() => speaker.routes.size === 0, { what: 'no route of BIRD' });
    await until(async () => (await speaker.peer('bird')).establishedCount > 1, {
      what: 'another try after the restart time',
    });
    speaker.configure(limited(5));
    await speaker.established('bird');
    await until(() => speaker.routes.size === 4, { what: 'all routes under the higher limit' });
  },
);

test(
  'BIRD is told why: de-configured, other configuration change, shutdown with text (RFC 4486 4, RFC 9003 2)',
  wants,
  async () => {
    await using link = new BgpLink();
    const bird = await link.bird(birdConfig({ bgp: tracing }));
    const speaker = await link.speaker(linkConfig());
    await speaker.established('bird');
    speaker.configure(linkConfig({}, { holdTimeSec: 12 }));
    await trace(bird, /Received: Other configuration change/i);
    await speaker.established('bird');
    speaker.configure(linkConfig({ peers: [] }));
    await trace(bird, /Received: Peer de-configured/i);
    speaker.configure(linkConfig());
    await speaker.established('bird');
    await speaker.stop('drain');
    await trace(bird, /Received: Administrative shutdown.*drained/i);
  },
);

test('the text of BIRD when it is shut down is shown (RFC 9003 2)', wants, async () => {
  await using link = new BgpLink();
  const bird = await link.bird(birdConfig());
  const speaker = await link.speaker(linkConfig());
  await speaker.established('bird');
  bird.birdc('disable peer "line card \\t is changed"');
  await until(
    async () => /Administrative Shutdown: "line card .*changed"/.test((await speaker.peer('bird')).lastError),
    {
      what: 'the text',
    },
  );
});

test('BIRD as client of our reflector hears what another internal peer said (RFC 4456 6, 8)', wants, async () => {
  await using link = new BgpLink();
  const internal = 'local 10.9.0.2 as 64512; neighbor 10.9.0.1 as 64512;';
  const channels = 'ipv4 { import all; export all; }; ipv6 { import all; export all; next hop address fd09::2; };';
  const first = await link.bird(birdConfig({ neighbor: internal, channels, bgp: 'strict bind on;' }));
  const second = await secondBird(link, 64512, channels, 'protocol static s4 { ipv4; route 10.70.0.0/16 blackhole; }');
  const peers = (client: boolean) => [
    linkPeer({ asn: 64512, export: 'reflected', routeReflectorClient: client }),
    linkPeer({ name: 'second', address: '10.9.0.3', asn: 64512, export: 'reflected' }),
  ];
  const speaker = await link.speaker(linkConfig({ peers: peers(true), clusterId: '244.0.0.1' }));
  for (const name of ['bird', 'second']) await speaker.established(name);
  await until(() => routesAt(first).includes('10.70.0.0/16'), { what: 'the route of the non-client at the client' });
  await until(() => routesAt(second).includes('10.60.1.0/24'), { what: 'the route of the client at the non-client' });
  const at = second.birdc('show route 10.60.1.0/24 all');
  assert.match(at, /BGP\.originator_id: 10\.9\.0\.2/);
  assert.match(at, /BGP\.cluster_list: 244\.0\.0\.1/);
  assert.match(at, /BGP\.next_hop: 10\.9\.0\.2/);
  speaker.configure(linkConfig({ peers: peers(false), clusterId: '244.0.0.1' }));
  await until(() => !routesAt(first).includes('10.70.0.0/16'), { what: 'no reflection between non-clients' });
  assert.ok(routesAt(first).includes('10.50.1.0/24'));
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});
