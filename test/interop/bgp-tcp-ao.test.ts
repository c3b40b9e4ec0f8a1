/**
 * TCP-AO between two speakers: where the kernel has it, what it signs and refuses; where it has not, that nothing goes on unsigned. BIRD
 * without keys stands for a peer that knows nothing of it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { PeerConfig, SpeakerConfig, TcpAoKey } from '#bgp';
import { aoFault } from '#sys';
import { BgpLink, birdConfig, linkConfig, linkPeer } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const root = { root: true, commands: ['ip'] };
const wants = needs(root);
const wantsBird = needs({ ...root, provided: ['bird', 'birdc'] });
const ends = { a: 1, b: 2 } as const;
type End = keyof typeof ends;

/** As end `a` has it; the other end has the ids the other way round. */
const key = (id: number, more: Partial<TcpAoKey> = {}): TcpAoKey => ({
  sendId: id,
  recvId: id + 100,
  algorithm: 'hmac-sha-1-96',
  secret: `secret ${id}`,
  ...more,
});
const one = key(1);
const two = key(2, { algorithm: 'aes-128-cmac-96', secret: 'of any length, which RFC 5926 3.1.1.2 makes a key of' });
const at = (end: End, keys: readonly TcpAoKey[]): TcpAoKey[] =>
  keys.map((each) => (end === 'a' ? each : { ...each, sendId: each.recvId, recvId: each.sendId }));

function config(end: End, keys: readonly TcpAoKey[] | undefined, more: Partial<PeerConfig> = {}): SpeakerConfig {
  const [own, other] = end === 'a' ? [1, 2] : [2, 1];
  const peer = linkPeer({
    name: 'other',
    address: `10.9.0.${other}`,
    asn: 64512,
    nextHop4: `10.9.0.${own}`,
    nextHop6: `fd09::${own}`,
    holdTimeSec: 9,
    ...(keys ? { tcpAo: at(end, keys) } : {}),
    ...more,
  });
  return linkConfig({ routerId: `10.9.0.${own}`, originate: [`10.5${own}.0.0/16`], peers: [peer] });
}

/** Segments that the kernel there refused for their signature or for want of one, or that were good: TCPAOBad, TCPAOGood ... */
function counter(namespace: string, name: RegExp): number {
  const text = execFileSync('ip', ['netns', 'exec', namespace, 'cat', '/proc/net/netstat'], { encoding: 'utf8' });
  const [names, values] = text.split('\n').filter((line) => line.startsWith('TcpExt:'));
  const numbers = values!.split(' ');
  return names!.split(' ').reduce((sum, each, index) => sum + (name.test(each) ? Number(numbers[index]) : 0), 0);
}
const refused = /^TCPAO(Bad|Required|KeyNotFound)$/;

if (aoFault('hmac-sha-1-96') !== undefined) {
  test(
    'RFC 5925: the kernel has no TCP-AO: the session is held down, the log has the remedy, BIRD is refused',
    wantsBird,
    async () => {
      await using link = new BgpLink();
      const bird = await link.bird(birdConfig());
      const speaker = await link.speaker(linkConfig({}, { tcpAo: [one] }));
      await until(() => bird.birdc('show protocols all peer').includes('reset by peer'), {
        what: () => `the refusal at BIRD: ${bird.birdc('show protocols all peer')}`,
      });
      const { state, lastError, establishedCount } = await speaker.peer('bird');
      assert.deepEqual([state, establishedCount], ['Idle', 0]);
      assert.match(lastError, /^TCP-AO: the kernel has no TCP-AO; run one of 6\.7 or later with CONFIG_TCP_AO=y/);
      const told = speaker.logs.filter(({ level, message }) => level === 'error' && message === 'session is held down');
      assert.deepEqual(
        told.map(({ fields }) => fields),
        [{ peer: 'bird', reason: lastError }],
      );
      speaker.configure(linkConfig());
      await speaker.established('bird');
    },
  );
} else {
  for (const family of ['IPv4', 'IPv6'] as const) {
    const addressOf = (end: End) => (family === 'IPv4' ? `10.9.0.${ends[end]}` : `fd09::${ends[end]}`);
    const to = (end: End) => ({ address: addressOf(end === 'a' ? 'b' : 'a') });

    test(`RFC 5925: a session over ${family} with the right keys, none with a wrong one or none`, wants, async () => {
      await using link = new BgpLink();
      // Each end in turn is the one that is dialled.
      for (const listens of ['a', 'b'] as const) {
        const passive = (end: End) => ({ ...to(end), passive: end === listens });
        const dials = listens === 'a' ? 'b' : 'a';
        const a = await link.speaker(config('a', [one, two], passive('a')), link.a);
        const b = await link.speaker(config('b', [two, one], passive('b')), link.b);
        await until(() => a.routes.has('10.52.0.0/16') && b.routes.has('10.51.0.0/16'), { what: 'routes both ways' });
        assert.ok(counter(link.a, /^TCPAOGood$/) > 0);
        const [far, near] = dials === 'a' ? [a, b] : [b, a];
        for (const keys of [[key(1, { secret: 'wrong' })], undefined]) {
          const before = counter(link[listens], refused);
          far.configure(config(dials, keys, passive(dials)));
          await until(() => counter(link[listens], refused) > before + 1, { what: 'segments to be refused' });
          assert.notEqual((await far.peer('other')).state, 'Established');
        }
        far.configure(config(dials, [one], passive(dials)));
        await near.established('other');
        for (const speaker of [a, b]) await speaker.kill();
      }
    });
  }

  test(
    'RFC 5925 6.1: keys are changed, one end after the other, without a segment refused or a session lost',
    wants,
    async () => {
      for (const listens of ['a', 'b'] as const) {
        await using link = new BgpLink();
        const passive = (end: End) => ({ passive: end === listens });
        const speakers = {
          a: await link.speaker(config('a', [one], passive('a')), link.a),
          b: await link.speaker(config('b', [one], passive('b')), link.b),
        };
        await until(() => speakers.a.routes.has('10.52.0.0/16'), { what: 'a first route' });
        let round = 0;
        for (const keys of [[one, two], [two, one], [two]]) {
          for (const end of ['a', 'b'] as const) {
            const far = speakers[end === 'a' ? 'b' : 'a'];
            const prefix = `10.${100 + round++}.0.0/16`;
            speakers[end].configure({ ...config(end, keys, passive(end)), originate: [prefix] });
            // Signed with whichever key is in use by now, and acknowledged likewise.
            await until(() => far.routes.has(prefix), { what: `${prefix} from ${end} with ${keys.length} keys` });
          }
        }
        for (const end of ['a', 'b'] as const) {
          assert.equal((await speakers[end].peer('other')).establishedCount, 1);
          assert.equal(counter(link[end], refused), 0, `segments refused at ${end}`);
        }
      }
    },
  );

  test('RFC 5925 3.1: another secret under the ids of a key is a new session', wants, async () => {
    await using link = new BgpLink();
    const a = await link.speaker(config('a', [one], { passive: true }), link.a);
    const b = await link.speaker(config('b', [one]), link.b);
    await a.established('other');
    const other = key(1, { secret: 'other' });
    for (const [end, speaker] of [
      ['a', a],
      ['b', b],
    ] as const) {
      speaker.configure(config(end, [other], { passive: end === 'a' }));
    }
    await until(async () => (await a.peer('other')).establishedCount === 2, { what: 'a new session' });
    await a.established('other');
  });

  test('RFC 5925: a range has keys: who has one is a peer, and changes it without a session lost', wants, async () => {
    await using link = new BgpLink();
    const {
      name: _,
      address: __,
      port: ___,
      passive: ____,
      connectRetrySec: _____,
      ...template
    } = linkPeer({
      asn: 64512,
      nextHop4: '10.9.0.1',
      nextHop6: 'fd09::1',
      holdTimeSec: 9,
    });
    const ranged = (keys: readonly TcpAoKey[]): SpeakerConfig => ({
      ...config('a', undefined),
      peers: [],
      ranges: [{ ...template, prefix: '10.9.0.0/24', limit: 4, tcpAo: at('a', keys) }],
    });
    const a = await link.speaker(ranged([one]), link.a);
    const b = await link.speaker(config('b', undefined), link.b);
    await until(() => counter(link.a, /^TCPAORequired$/) > 0, { what: 'an unsigned SYN to be refused' });
    assert.deepEqual((await a.status()).peers, []);
    b.configure(config('b', [one]));
    await until(() => a.routes.has('10.52.0.0/16'), { what: 'a route of the peer of the range' });
    const before = counter(link.a, refused);
    for (const keys of [[one, two], [two, one], [two]]) {
      a.configure(ranged(keys));
      b.configure(config('b', keys));
    }
    b.configure({ ...config('b', [two]), originate: ['10.77.0.0/16'] });
    await until(() => a.routes.has('10.77.0.0/16'), { what: 'a route under the other key' });
    assert.equal((await a.peer('10.9.0.2')).establishedCount, 1);
    assert.equal(counter(link.a, refused), before);
  });

  test(
    'RFC 5925, RFC 2385: TCP-MD5 in the place of TCP-AO, and back, on the listener that is there',
    wants,
    async () => {
      await using link = new BgpLink();
      const a = await link.speaker(config('a', [one], { passive: true }), link.a);
      const b = await link.speaker(config('b', [one]), link.b);
      await a.established('other');
      for (const keys of [undefined, [two]]) {
        const password = keys ? {} : { password: 'md5' };
        a.configure(config('a', keys, { passive: true, ...password }));
        b.configure(config('b', keys, password));
        await until(async () => (await b.peer('other')).state !== 'Established', { what: 'the end of the session' });
        await a.established('other');
      }
      assert.ok(!a.logs.some(({ level }) => level === 'error'), JSON.stringify(a.logs));
    },
  );
}
