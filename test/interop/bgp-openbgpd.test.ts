/** Our speaker against OpenBGPD, which announces each family on a session of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BgpLink, linkConfig, linkPeer, type SpeakerProcess } from '../support/bgp.ts';
import { openbgpdConfig, startOpenbgpd } from '../support/bgp-openbgpd.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip', 'unshare'], provided: ['openbgpd', 'openbgpctl'] });

const four = linkPeer({ name: 'four', families: ['ipv4-unicast'] });
const six = linkPeer({ name: 'six', address: 'fd09::2', families: ['ipv6-unicast'] });
const both = (more: Partial<typeof four> = {}) =>
  linkConfig({
    peers: [
      { ...four, ...more },
      { ...six, ...more },
    ],
  });

async function bothUp(speaker: SpeakerProcess): Promise<void> {
  await until(async () => (await speaker.status()).peers.every(({ state }) => state === 'Established'), {
    what: () => `both sessions; last: ${JSON.stringify(speaker.peerEvents.at(-1))}`,
    deadlineMs: 60_000,
  });
}

test('RFC 4271, RFC 4760: sessions over both families, routes both ways, withdrawals both ways', wants, async () => {
  await using link = new BgpLink();
  const openbgpd = await startOpenbgpd(link, openbgpdConfig());
  const speaker = await link.speaker(both());
  await bothUp(speaker);
  await until(() => speaker.routes.size === 2, { what: 'its routes' });
  assert.deepEqual(speaker.routes.get('10.60.1.0/24'), ['10.9.0.2']);
  assert.deepEqual(speaker.routes.get('fd60:1::/64'), ['fd09::2']);
  const rib = (): string => openbgpd.cli('show rib in');
  await until(() => rib().includes('10.50.1.0/24') && rib().includes('fd50:1::/64'), { what: 'our routes there' });
  speaker.configure({ ...both(), originate: ['10.50.2.0/24'] });
  await until(() => rib().includes('10.50.2.0/24') && !/10\.50\.1\.0|fd50:1::/.test(rib()), { what: 'our change' });
  openbgpd.cli('network delete 10.60.1.0/24');
  openbgpd.configure(openbgpdConfig({ networks: ['fd60:1::/64'] }));
  await until(() => !speaker.routes.has('10.60.1.0/24'), { what: 'its withdrawal' });
  for (const { establishedCount } of (await speaker.status()).peers) assert.equal(establishedCount, 1);
});

test('RFC 2918: it counts our request and keeps the session; its own is answered', wants, async () => {
  await using link = new BgpLink();
  const openbgpd = await startOpenbgpd(link, openbgpdConfig());
  const speaker = await link.speaker(both({ import: 'reject' }));
  await bothUp(speaker);
  await until(async () => (await speaker.peer('four')).families[0]!.endOfRibReceived, { what: 'End-of-RIB' });
  assert.equal(speaker.routes.size, 0);
  // 7.7 counts a request and sends nothing again, whoever asks (BIRD's `reload in` has no effect either).
  speaker.configure(both());
  const shown = (): string => openbgpd.cli('show neighbor 10.9.0.1');
  await until(() => /Request +0 +1\n/.test(shown()), { what: 'our request to be counted' });
  const before = (await speaker.peer('four')).updatesOut;
  openbgpd.cli('neighbor 10.9.0.1 refresh');
  await until(async () => (await speaker.peer('four')).updatesOut > before, { what: 'our routes to be sent again' });
  assert.equal((await speaker.peer('four')).establishedCount, 1);
});

test('RFC 2385: the right key makes a session, a wrong one none', wants, async () => {
  await using link = new BgpLink();
  await startOpenbgpd(link, openbgpdConfig({ neighbor: 'tcp md5sig password "s3cret"' }));
  const speaker = await link.speaker(both({ password: 'wrong' }));
  await until(() => link.md5Failures(link.a) + link.md5Failures(link.b) > 0, {
    what: 'a segment with a wrong key to be dropped',
    deadlineMs: 20_000,
  });
  assert.ok((await speaker.status()).peers.every(({ state }) => state !== 'Established'));
  speaker.configure(both({ password: 's3cret' }));
  await bothUp(speaker);
});

test('RFC 8092, RFC 1997: its communities reach us', wants, async () => {
  await using link = new BgpLink();
  const set = 'set { community 64513:7 large-community 64513:1:2 }';
  await startOpenbgpd(link, openbgpdConfig({ networks: [`10.60.1.0/24 ${set}`, `fd60:1::/64 ${set}`] }));
  const speaker = await link.speaker(both());
  await until(() => speaker.routes.size === 2, { what: 'its routes', deadlineMs: 30_000 });
  const answer = JSON.stringify(await speaker.query({}));
  assert.equal(answer.match(/"largeCommunities":\["64513:1:2"\]/g)?.length, 2, answer);
  assert.equal(answer.match(/"communities":\["64513:7"\]/g)?.length, 2, answer);
});

test('RFC 9003: shutdown texts, both ways', wants, async () => {
  await using link = new BgpLink();
  const openbgpd = await startOpenbgpd(link, openbgpdConfig());
  const speaker = await link.speaker(both());
  await bothUp(speaker);
  openbgpd.cli('neighbor 10.9.0.1 down maintenance');
  await until(async () => /Administrative Shutdown: "maintenance"/.test((await speaker.peer('four')).lastError), {
    what: 'its text',
  });
  await speaker.stop('drain');
  await until(() => /drain/.test(openbgpd.cli('show neighbor fd09::1')), { what: 'our text there' });
});
