import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { planChange } from './change-plan.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import { Network, config as networkConfig, peer as networkPeer } from './test-network.ts';

const peer = (name: string, more: Partial<PeerConfig> = {}): PeerConfig => ({
  name,
  address: `10.0.0.${name.slice(1)}`,
  port: 179,
  asn: 64513,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  passive: false,
  connectRetrySec: 5,
  import: 'accept',
  export: 'accept',
  ...more,
});
const speaker = (peers: readonly PeerConfig[], more: Partial<SpeakerConfig> = {}): SpeakerConfig => ({
  asn: 64512,
  routerId: '10.0.0.1',
  listen: [{ address: '0.0.0.0', port: 179 }],
  originate: ['10.1.0.0/16'],
  peers,
  gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 120, deferralTimeSec: 30 },
  ...more,
});

test('each peer that a change touches, how, and because of what', () => {
  const before = speaker([peer('p2'), peer('p3'), peer('p4', { password: 'old' }), peer('p5'), peer('p6')]);
  const after = speaker(
    [
      peer('p2', { holdTimeSec: 30 }),
      peer('p3', { export: 'reject' }),
      peer('p4', { password: 'new' }),
      peer('p5'),
      peer('p7'),
    ],
    {
      originate: ['10.2.0.0/16'],
      listen: [{ address: '10.0.0.1', port: 1179 }],
      gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 60, deferralTimeSec: 30 },
    },
  );
  assert.deepEqual(planChange(before, after), {
    peers: [
      { peer: 'p6', change: 'removed' },
      { peer: 'p2', change: 'reset', because: ['holdTimeSec: 90 -> 30'] },
      { peer: 'p3', change: 'live', because: ['export: "accept" -> "reject"'] },
      { peer: 'p4', change: 'live', because: ['password changed'] },
      { peer: 'p7', change: 'added' },
    ],
    unchangedPeers: 1,
    originate: { added: ['10.2.0.0/16'], removed: ['10.1.0.0/16'] },
    listen: { added: ['10.0.0.1 port 1179'], removed: ['0.0.0.0 port 179'] },
    settings: ['gracefulRestart.restartTimeSec: 120 -> 60'],
  });
});

test("a router id is everybody's; a peer without ROUTE-REFRESH is reset where rejected routes are wanted", () => {
  const plan = planChange(
    speaker([peer('p2'), peer('p3')]),
    speaker([peer('p2'), peer('p3')], { routerId: '10.0.0.9' }),
  );
  assert.deepEqual(
    plan.peers.map((each) => each.change),
    ['reset', 'reset'],
  );
  const [again] = planChange(speaker([peer('p2', { import: 'reject' })]), speaker([peer('p2')]), () => true).peers;
  assert.equal(again?.change, 'reset');
  assert.match('because' in again! ? again.because.join() : '', /no ROUTE-REFRESH/);
});

test('no secret is in a plan', () => {
  const secret = fc.string({ minLength: 8, maxLength: 20 }).filter((text) => !/^[a-z >:,"-]*$/i.test(text));
  fc.assert(
    fc.property(secret, secret, fc.integer({ min: 3, max: 90 }), (from, to, holdTimeSec) => {
      const text = JSON.stringify(
        planChange(speaker([peer('p2', { password: from })]), speaker([peer('p2', { password: to, holdTimeSec })])),
      );
      assert.ok(!text.includes(JSON.stringify(from).slice(1, -1)) && !text.includes(JSON.stringify(to).slice(1, -1)));
    }),
  );
});

test('the plan is what happens: sessions that it calls reset are those that end, and no others', () => {
  const change: fc.Arbitrary<Partial<PeerConfig>> = fc.record(
    {
      holdTimeSec: fc.constantFrom(9, 12),
      export: fc.constantFrom('accept' as const, 'reject' as const),
      import: fc.constantFrom('accept' as const, 'reject' as const),
      keepaliveSec: fc.constantFrom(2, 3),
      families: fc.constantFrom<PeerConfig['families']>(['ipv4-unicast'], ['ipv4-unicast', 'ipv6-unicast']),
      restartTimeSec: fc.constantFrom(30, 60),
      allowOwnAsn: fc.constantFrom(0, 1),
      addPath: fc.constantFrom({ receive: true, send: 0 }, { receive: false, send: 2 }, { receive: false, send: 3 }),
      maxPrefixes: fc.constant({ 'ipv4-unicast': { limit: 1000 } }),
      extendedMessages: fc.boolean(),
      blackhole: fc.constantFrom({}, { minLength4: 24 }),
      linkBandwidthBytesPerSec: fc.constantFrom(1e9, 1e10),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(change, change, change, (first, second, third) => {
      const network = new Network();
      const others = ['10.0.0.2', '10.0.0.3'];
      const config = (changes: readonly Partial<PeerConfig>[]): SpeakerConfig =>
        networkConfig(
          '10.0.0.1',
          64512,
          others.map((address, i) => networkPeer(address, 64513 + i, changes[i])),
          ['10.1.0.0/16'],
        );
      for (const [i, address] of others.entries()) {
        network.add(address, networkConfig(address, 64513 + i, [networkPeer('10.0.0.1', 64512)]));
      }
      const subject = network.add('10.0.0.1', config([first, second]));
      network.advance(5_000);
      const established = (): number[] => subject.peerStatuses().map((status) => status.establishedCount);
      assert.deepEqual(established(), [1, 1]);
      const next = config([third, second]);
      const plan = subject.plan(next);
      network.advance(1_000);
      subject.configure(next);
      network.advance(5_000);
      const reset = plan.peers.filter((each) => each.change === 'reset').map((each) => each.peer);
      const younger = subject.peerStatuses().filter((status) => status.stateForMs <= 5_000);
      assert.deepEqual(
        younger.map((status) => status.name),
        reset,
      );
      assert.ok(subject.peerStatuses().every((status) => status.state === 'Established'));
    }),
    { numRuns: 60 },
  );
});
