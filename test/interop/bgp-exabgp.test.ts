/** Our speaker against ExaBGP 4: the JSON it makes of what it hears is an independent decoding of what we send. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, linkConfig } from '../support/bgp.ts';
import { type Exabgp, exabgpConfig, needsExabgp, startExabgp } from '../support/bgp-exabgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needsExabgp(needs({ root: true, commands: ['ip'], provided: ['exabgp'] }));

/** What it heard last of a prefix. */
function last(exabgp: Exabgp, prefix: string): string | undefined {
  return exabgp.heard.findLast((line) => line.includes(`"${prefix}"`));
}

test('RFC 4271, RFC 4760: one session for both families, routes both ways, withdrawals both ways', wants, async () => {
  await using link = new BgpLink();
  const exabgp = await startExabgp(link, exabgpConfig());
  const speaker = await link.speaker(linkConfig());
  const peer = await speaker.established('bird');
  assert.deepEqual(peer.negotiated?.families, ['ipv4-unicast', 'ipv6-unicast']);
  await until(() => speaker.routes.size === 2, { what: 'its routes' });
  assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['10.9.0.2']);
  assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fd09::2']);
  await until(() => last(exabgp, '10.50.1.0/24') && last(exabgp, 'fd50:1::/64'), { what: 'our routes there' });
  assert.match(last(exabgp, '10.50.1.0/24')!, /"origin": "igp", "as-path": \[ 64512 \].*"ipv4 unicast".*"10\.9\.0\.1"/);
  assert.match(last(exabgp, 'fd50:1::/64')!, /"ipv6 unicast".*"fd09::1"/);
  speaker.configure({ ...linkConfig(), originate: ['10.50.1.0/24'] });
  await until(() => /"withdraw"/.test(last(exabgp, 'fd50:1::/64')!), { what: 'our withdrawal' });
  exabgp.command('withdraw route 10.60.1.0/24 next-hop 10.9.0.2');
  await until(() => !speaker.routes.has('10.60.1.0/24'), { what: 'its withdrawal' });
  assert.equal((await speaker.peer('bird')).establishedCount, 1);
});

test('RFC 8092, RFC 1997, RFC 4360: its communities of all three kinds reach us', wants, async () => {
  await using link = new BgpLink();
  const set = 'community [ 64513:7 no-export ] large-community [ 64513:1:2 ] extended-community [ target:64513:9 ]';
  const routes = [`10.60.1.0/24 next-hop 10.9.0.2 ${set}`, `fd60:1::/64 next-hop fd09::2 ${set}`];
  await startExabgp(link, exabgpConfig({ routes }));
  const speaker = await link.speaker(linkConfig());
  await until(() => speaker.routes.size === 2, { what: 'its routes', deadlineMs: 30_000 });
  const answer = JSON.stringify(await speaker.query({}));
  assert.equal(answer.match(/"largeCommunities":\["64513:1:2"\]/g)?.length, 2, answer);
  assert.equal(answer.match(/"communities":\["64513:7","no-export"\]/g)?.length, 2, answer);
  assert.equal(answer.match(/"extendedCommunities":\["0002fc0100000009"\]/g)?.length, 2, answer);
});

test(
  'RFC 2918: its request is answered on the same session; ours makes it start again, and the routes are there',
  wants,
  async () => {
    await using link = new BgpLink();
    const exabgp = await startExabgp(link, exabgpConfig());
    const speaker = await link.speaker(linkConfig({}, { import: 'reject' }));
    await speaker.established('bird');
    await until(() => last(exabgp, '10.50.1.0/24'), { what: 'our route there' });
    const { updatesOut, establishedCount } = await speaker.peer('bird');
    exabgp.command('announce route-refresh ipv4 unicast');
    await until(async () => (await speaker.peer('bird')).updatesOut > updatesOut, {
      what: 'our routes to be sent again',
    });
    assert.equal((await speaker.peer('bird')).establishedCount, establishedCount);
    // 4.2.21 hears of the request and then resets its side of the session, without a NOTIFICATION.
    speaker.configure(linkConfig());
    await until(() => exabgp.heard.some((line) => line.includes('"type": "refresh"')), { what: 'our request there' });
    await until(() => speaker.routes.size === 2, { what: 'its routes', deadlineMs: 20_000 });
  },
);

test('RFC 2385: the right key makes a session, a wrong one none', wants, async () => {
  await using link = new BgpLink();
  await startExabgp(link, exabgpConfig({ more: 'md5-password "s3cret"; md5-base64 false;' }));
  const speaker = await link.speaker(linkConfig({}, { password: 'wrong' }));
  await until(() => link.md5Failures(link.a) + link.md5Failures(link.b) > 0, {
    what: 'a segment with a wrong key to be dropped',
    deadlineMs: 20_000,
  });
  assert.notEqual((await speaker.peer('bird')).state, 'Established');
  speaker.configure(linkConfig({}, { password: 's3cret' }));
  await speaker.established('bird');
});

test('RFC 9003: its shutdown text is shown; ours ends its session', wants, async () => {
  await using link = new BgpLink();
  const exabgp = await startExabgp(link, exabgpConfig());
  const speaker = await link.speaker(linkConfig());
  await speaker.established('bird');
  // It closes as soon as it has written: with octets of ours unread there, its kernel sends a reset instead of what waits for an
  // acknowledgement (Nagle), the NOTIFICATION among it. So everything is to be said and heard first, both ways.
  const ended = (family: string): boolean => exabgp.heard.some((line) => line.includes(`"eor": { "afi" : "${family}"`));
  await until(
    async () =>
      ended('ipv4') &&
      ended('ipv6') &&
      (await speaker.peer('bird')).families.every(({ endOfRibReceived }) => endOfRibReceived),
    { what: 'every End-of-RIB' },
  );
  exabgp.command('neighbor 10.9.0.1 teardown 2');
  await until(
    () => speaker.peerEvents.some((event) => /received Cease.Administrative Shutdown: "\w+/.test(event.lastError)),
    {
      what: () => `its text; ${JSON.stringify([speaker.peerEvents.slice(-4), exabgp.heard.slice(-4)])}`,
    },
  );
  await speaker.established('bird');
  await speaker.stop('drain');
  // 4.2.21 itself cannot read a text (it formats octets with a string), and says so of the message.
  await until(() => exabgp.heard.at(-1)?.includes('"state": "down"'), { what: 'the end of the session there' });
});
