/** Peers without a configured address, as data; then in a network in memory. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import type { PeerConfig, PeerRange, SpeakerConfig } from './config.ts';
import { deferralGraceSec, neighbourAgeSec, rangePeerIdleSec, rangePeerOpeningSec } from './limits.ts';
import { Neighbours } from './neighbours.ts';
import { config, fresh, Network, Pipe, peer } from './test-network.ts';

const unnumbered = (name: string, more: Partial<PeerConfig> = {}): PeerConfig =>
  peer('', 64513, { name, interface: name, asn: 'external', ...more });
const range = (prefix: string, more: Partial<PeerRange> = {}): PeerRange => ({
  prefix,
  limit: 2,
  asn: [64513, 64514],
  families: ['ipv4-unicast'],
  holdTimeSec: 9,
  import: 'accept',
  export: 'accept',
  ...more,
});
function neighbours(peers: PeerConfig[], ranges: PeerRange[] = []): Neighbours {
  return new Neighbours(silentLogger, { ...config('10.0.0.1', 64512, []), peers, ranges });
}
const address = (n: Neighbours): string => n.effective().peers[0]!.address;

test('RFC 4861: the first router on an interface is its peer, and stays while it is heard of or has a session', () => {
  const n = neighbours([unnumbered('eth0')]);
  const ageMs = neighbourAgeSec * 1000;
  assert.equal(address(n), '');
  assert.match(n.effective().peers[0]!.heldDown!, /no router was heard of on eth0/);
  assert.equal(n.found('eth1', 'fe80::1', 0, true, false), false, 'an interface that is not configured');
  assert.equal(n.found('eth0', 'fe80::1', 0, true, false), true);
  assert.equal(address(n), 'fe80::1%eth0');
  assert.equal(n.effective().peers[0]!.heldDown, undefined);
  assert.equal(n.found('eth0', 'fe80::2', 1, true, false), false, 'a second router');
  assert.equal(n.found('eth0', 'fe80::1', 1000, true, false), false);
  assert.equal(n.found('eth0', 'fe80::2', ageMs, true, false), false, 'the first was heard of a moment ago');
  assert.equal(n.found('eth0', 'fe80::2', ageMs + 1000, true, true), false, 'the first is silent and has a session');
  assert.equal(n.found('eth0', 'fe80::2', ageMs + 1000, true, false), true, 'the first is gone');
  assert.equal(address(n), 'fe80::2%eth0');
  n.linkDown('eth0');
  assert.equal(
    n.found('eth0', 'fe80::3', ageMs + 1001, true, false),
    true,
    'whoever comes first after a loss of carrier',
  );
});

test('a neighbour that does not say that it is a router gives way to one that does', () => {
  const n = neighbours([unnumbered('eth0')]);
  assert.equal(n.found('eth0', 'fe80::a', 0, false, false), true);
  assert.equal(n.found('eth0', 'fe80::b', 1, false, false), false);
  assert.equal(n.found('eth0', 'fe80::1', 2, true, false), true);
  assert.equal(n.found('eth0', 'fe80::a', 3, false, false), false);
  assert.equal(address(n), 'fe80::1%eth0');
});

test('two peers on one interface: the first, and the other says why not', () => {
  const n = neighbours([unnumbered('eth0'), unnumbered('eth0', { name: 'other' })]);
  n.found('eth0', 'fe80::1', 0, true, false);
  const [first, second] = n.effective().peers;
  assert.equal(first!.address, 'fe80::1%eth0');
  assert.deepEqual([second!.address, second!.heldDown], ['', 'peer eth0 is on eth0 already']);
});

test('ranges: the longest prefix counts, up to its limit, and never beyond', () => {
  const n = neighbours([], [range('10.0.0.0/8', { asn: 1 }), range('10.1.0.0/16'), range('fe80::/10')]);
  const admit = (from: string) => {
    const admission = n.admit(from, '10.0.0.99');
    return admission.type === 'peer' ? `${admission.config.name} ${admission.config.range}` : admission.type;
  };
  assert.equal(admit('192.0.2.1'), 'stranger');
  assert.equal(admit('10.1.0.1'), '10.1.0.1 10.1.0.0/16');
  assert.equal(admit('10.2.0.1'), '10.2.0.1 10.0.0.0/8');
  assert.equal(admit('10.1.0.2'), '10.1.0.2 10.1.0.0/16');
  assert.equal(admit('10.1.0.3'), 'full');
  assert.equal(admit('fe80::1%eth0'), 'fe80::1%eth0 fe80::/10');
  const made = n.effective().peers;
  assert.deepEqual(
    made.map(({ passive, port }) => [passive, port]),
    made.map(() => [true, 179]),
    'never dialled',
  );
  assert.deepEqual(
    n.rangeStatuses().find(({ prefix }) => prefix === '10.1.0.0/16'),
    { prefix: '10.1.0.0/16', limit: 2, peers: 2, refused: 1 },
  );
  n.forget(made.find(({ address }) => address === '10.1.0.1')!);
  assert.equal(admit('10.1.0.3'), '10.1.0.3 10.1.0.0/16');
});

test('RFC 2385: a peer without password in a range that has one can only be dialled', () => {
  const keyed = [range('10.0.0.0/8', { password: 'secret' })];
  const heldDown = (more: Partial<PeerConfig>) =>
    neighbours([peer('10.0.0.2', 1, more)], keyed).effective().peers[0]!.heldDown;
  assert.match(heldDown({ passive: true }) ?? '', /lies in the range 10\.0\.0\.0\/8/);
  assert.equal(heldDown({ passive: false }), undefined);
  assert.equal(heldDown({ passive: true, password: 'own' }), undefined);
});

function rangeSpeaker(network: Network, ranges: PeerRange[], more: Partial<SpeakerConfig> = {}) {
  return network.add('10.0.0.1', { ...config('10.0.0.1', 64512, [], ['10.244.1.0/24']), ranges, ...more });
}

test('who connects from a range becomes a peer, gets and gives routes, and is forgotten a while after it is gone', () => {
  const network = new Network();
  const speaker = rangeSpeaker(network, [range('10.0.0.0/24')]);
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)], ['10.244.2.0/24']));
  network.advance(2000);
  const [status] = speaker.status().peers;
  assert.deepEqual(
    [status?.name, status?.state, status?.asn, status?.range],
    ['10.0.0.2', 'Established', 64513, '10.0.0.0/24'],
  );
  assert.deepEqual([...network.routesOf('10.0.0.1').keys()], ['10.244.2.0/24']);
  assert.deepEqual([...network.routesOf('10.0.0.2').keys()], ['10.244.1.0/24']);
  network.kill('10.0.0.2');
  network.advance(1000);
  assert.equal(speaker.status().peers.length, 1);
  assert.deepEqual([...network.routesOf('10.0.0.1').keys()], ['10.244.2.0/24'], 'RFC 4724 4.2: kept over a restart');
  // The restart time of 30 s, and two looks.
  network.advance((2 * rangePeerIdleSec + 31) * 1000);
  assert.deepEqual(speaker.status().peers, []);
  assert.equal(speaker.status().ranges[0]!.peers, 0);
  assert.equal(network.routesOf('10.0.0.1').size, 0);
});

test('RFC 4271 6.2: a range says which ASes its peers may have', () => {
  for (const [asn, accepted, peerAsn = 64513] of [
    ['internal', true, 64512],
    ['external', false, 64512],
    ['auto', true, 64512],
    [[64514], false],
    [[64513], true],
    ['internal', false],
    ['external', true],
    ['auto', true],
    [64513, true],
  ] as const) {
    const network = new Network();
    const speaker = rangeSpeaker(network, [range('10.0.0.0/24', { asn })]);
    network.add('10.0.0.2', config('10.0.0.2', peerAsn, [peer('10.0.0.1', 64512)]));
    network.advance(2000);
    assert.equal(speaker.status().peers[0]?.state === 'Established', accepted, `${asn} ${peerAsn}`);
  }
});

test('a silent connection holds a place in a full range for seconds only, a session as long as it lasts', () => {
  const network = new Network();
  const speaker = rangeSpeaker(network, [range('10.0.0.0/24', { limit: 1 })]);
  const connect = (from: string): Pipe => {
    const [here, there] = [new Pipe('10.0.0.1', from, (fn) => fn()), new Pipe(from, '10.0.0.1', (fn) => fn())];
    here.other = there;
    there.other = here;
    speaker.accept(here);
    return here;
  };
  const names = () => speaker.status().peers.map(({ name }) => name);
  connect('10.0.0.8');
  assert.ok(connect('10.0.0.9').closed, 'RFC 4486 4: refused');
  assert.deepEqual(names(), ['10.0.0.8']);
  network.advance((rangePeerOpeningSec + 1) * 1000);
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)]));
  network.advance(2000);
  assert.deepEqual(names(), ['10.0.0.2']);
  network.advance((rangePeerOpeningSec + 1) * 1000);
  assert.ok(connect('10.0.0.9').closed);
  assert.deepEqual(names(), ['10.0.0.2']);
  assert.equal(speaker.status().ranges[0]!.refused, 3);
});

test('peers of a range that has a name are called by it and their address; another name makes them other peers', () => {
  const network = new Network();
  const speaker = rangeSpeaker(network, [range('10.0.0.0/24', { name: 'peer/rack' })]);
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)]));
  network.advance(2000);
  const names = () => speaker.status().peers.map(({ name, state, range: from }) => [name, state, from]);
  assert.deepEqual(names(), [['peer/rack/10.0.0.2', 'Established', '10.0.0.0/24']]);
  speaker.configure({ ...config('10.0.0.1', 64512, []), ranges: [range('10.0.0.0/24', { name: 'peer/row' })] });
  assert.deepEqual(names(), []);
  network.advance(10_000);
  assert.deepEqual(names(), [['peer/row/10.0.0.2', 'Established', '10.0.0.0/24']]);
});

test('RFC 4724 4.1: after our restart, peers that are not known yet are waited for, for the grace', () => {
  for (const more of [{ ranges: [range('10.0.0.0/24')] }, { peers: [unnumbered('eth0')] }]) {
    const network = new Network();
    const speaker = network.add('10.0.0.1', {
      ...config('10.0.0.1', 64512, []),
      ...more,
      gracefulRestart: { ...fresh, restarting: true, forwardingPreserved: ['ipv4-unicast'] },
    });
    network.advance(deferralGraceSec * 1000 - 500);
    assert.equal(speaker.status().deferring, true);
    network.advance(2000);
    assert.equal(speaker.status().deferring, false);
  }
});

test('a peer of a range that is configured by its address from then on is that peer, once', () => {
  const network = new Network();
  const speaker = rangeSpeaker(network, [range('10.0.0.0/24')]);
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)]));
  network.advance(2000);
  const configured = { ...config('10.0.0.1', 64512, [peer('10.0.0.2', 64513)]), ranges: [range('10.0.0.0/24')] };
  speaker.configure(configured);
  network.advance(5000);
  const { peers, ranges } = speaker.status();
  assert.deepEqual(
    peers.map(({ name, state, range: from }) => [name, state, from]),
    [['10.0.0.2', 'Established', undefined]],
  );
  assert.equal(ranges[0]!.peers, 0);
});

test('a range that is bound to an address of ours takes nobody who connects to another', () => {
  const n = neighbours([], [range('10.0.0.0/8', { localAddress: '10.0.0.1' })]);
  assert.equal(n.admit('10.0.0.2', '10.0.0.9').type, 'stranger');
  assert.equal(n.admit('10.0.0.2', '10.0.0.1').type, 'peer');
  assert.equal(n.admit('10.0.0.2', '10.0.0.1').type, 'stranger', 'it is a peer already');
});

test('a changed template reaches the peers of a range, a range that goes takes them along', () => {
  const network = new Network();
  const speaker = rangeSpeaker(network, [range('10.0.0.0/24')]);
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)], ['10.244.2.0/24']));
  network.advance(2000);
  const base = config('10.0.0.1', 64512, [], ['10.244.1.0/24']);
  speaker.configure({ ...base, ranges: [range('10.0.0.0/24', { import: 'reject' })] });
  network.advance(500);
  assert.equal(network.routesOf('10.0.0.1').size, 0);
  assert.equal(speaker.status().peers[0]!.establishedCount, 1, 'without a new session');
  speaker.configure(base);
  network.advance(500);
  assert.deepEqual(speaker.status().peers, []);
});

test('a plan knows the addresses of peers that were found and of those of ranges', () => {
  const network = new Network();
  const base = config('10.0.0.1', 64512, []);
  const speaker = network.add('10.0.0.1', { ...base, peers: [unnumbered('eth0')], ranges: [range('10.0.0.0/24')] });
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)]));
  speaker.neighbourFound('eth0', 'fe80::2', true);
  network.advance(2000);
  const plan = (holdTimeSec: number) =>
    speaker.plan({
      ...base,
      peers: [unnumbered('eth0', { holdTimeSec })],
      ranges: [range('10.0.0.0/24', { holdTimeSec })],
    });
  assert.deepEqual(plan(9).peers, []);
  assert.deepEqual(
    plan(30).peers.map((entry) => [entry.peer, entry.change]),
    [
      ['eth0', 'reset'],
      ['10.0.0.2', 'reset'],
    ],
  );
});

test('an unnumbered peer has its session when it is found, and loses it with the link', () => {
  const network = new Network();
  const here = network.add('fe80::1%eth0', {
    ...config('10.0.0.1', 64512, [], ['10.244.1.0/24']),
    peers: [unnumbered('eth0')],
  });
  network.add('fe80::2%eth0', {
    ...config('10.0.0.2', 64513, [], ['10.244.2.0/24', 'fd00:2::/64']),
    peers: [unnumbered('eth0')],
  });
  network.advance(2000);
  assert.match(here.status().peers[0]!.lastError, /no router/);
  // Only one side has heard of the other: the connection tells the other side.
  here.neighbourFound('eth0', 'fe80::2', true);
  network.advance(2000);
  const [status] = here.status().peers;
  assert.deepEqual(
    [status!.state, status!.address, status!.interface, status!.asn],
    ['Established', 'fe80::2%eth0', 'eth0', 64513],
  );
  assert.deepEqual(network.routesOf('fe80::1%eth0').get('10.244.2.0/24'), ['fe80::2%eth0'], 'RFC 8950');
  assert.deepEqual(network.routesOf('fe80::1%eth0').get('fd00:2::/64'), ['fe80::2%eth0']);
  network.speakers.delete('fe80::2%eth0');
  here.pathLost({ interface: 'eth1' });
  assert.equal(here.status().peers[0]!.state, 'Established');
  here.pathLost({ interface: 'eth0' });
  network.advance(100);
  assert.notEqual(here.status().peers[0]!.state, 'Established');
  assert.equal(network.routesOf('fe80::1%eth0').size, 0, 'graceful restart keeps nothing over a loss of carrier');
});
