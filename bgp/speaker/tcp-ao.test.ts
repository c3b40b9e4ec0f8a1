import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PeerConfig, PeerRange } from './config.ts';
import { holdUnsigned, type TcpAoKey, tcpAoKeysFault } from './tcp-ao.ts';
import { config, Network, peer } from './test-network.ts';

const first: TcpAoKey = { sendId: 1, recvId: 2, algorithm: 'hmac-sha-1-96', secret: 'first' };
const second: TcpAoKey = { sendId: 3, recvId: 4, algorithm: 'aes-128-cmac-96', secret: 'second' };

test('RFC 5925 3.1: ids of keys of one connection do not overlap, in either direction', () => {
  assert.equal(tcpAoKeysFault([first, second]), undefined);
  assert.equal(tcpAoKeysFault([first, { sendId: 2, recvId: 1 }]), undefined, 'the directions have ids of their own');
  assert.match(tcpAoKeysFault([first, { ...second, sendId: 1 }])!, /the id 1 to send/);
  assert.match(tcpAoKeysFault([first, { ...second, recvId: 2 }])!, /the id 2 to receive/);
  assert.match(tcpAoKeysFault([])!, /no key/);
  assert.match(
    tcpAoKeysFault(Array.from({ length: 17 }, (_, id) => ({ sendId: id, recvId: id })))!,
    /17 keys are more than 16/,
  );
});

const { name: _, address: __, port: ___, passive: ____, connectRetrySec: _____, ...template } = peer('x', 1);

test('RFC 5925: what cannot be signed as it is told is held down, peers and ranges, and nobody else', () => {
  const no = ({ algorithm }: Pick<TcpAoKey, 'algorithm'>) => (algorithm === 'hmac-sha-1-96' ? undefined : 'no cmac');
  const reasons = (...peers: readonly Partial<PeerConfig>[]) =>
    holdUnsigned(
      config(
        '10.0.0.1',
        1,
        peers.map((each) => ({ ...peer('10.0.0.2', 2), ...each })),
      ),
      no,
    ).peers.map(({ heldDown }) => heldDown);
  assert.deepEqual(reasons({}, { tcpAo: [first] }, { tcpAo: [first, second] }, { tcpAo: [second], heldDown: 'so' }), [
    undefined,
    undefined,
    'TCP-AO: no cmac',
    'so',
  ]);
  assert.deepEqual(reasons({ tcpAo: [first], password: 'too' }), [
    'it has a TCP-MD5 password and TCP-AO keys; keep one of them',
  ]);
  assert.deepEqual(reasons({ tcpAo: [] }), ['TCP-AO: there is no key']);
  const range: PeerRange = { ...template, prefix: '10.0.0.0/8', limit: 1, tcpAo: [second] };
  const held = holdUnsigned({ ...config('10.0.0.1', 1, []), ranges: [range] }, no);
  assert.equal(held.ranges![0]!.heldDown, 'TCP-AO: no cmac');
  const plain = config('10.0.0.1', 1, [peer('10.0.0.2', 2)]);
  assert.equal(holdUnsigned(plain, no), plain);
});

function pair(ours: Partial<PeerConfig>, tcpAoFault = (): string | undefined => undefined) {
  const network = new Network();
  network.tcpAoFault = tcpAoFault;
  const config1 = (more: Partial<PeerConfig>) => config('10.0.0.1', 64512, [{ ...peer('10.0.0.2', 64513), ...more }]);
  const speaker = network.add('10.0.0.1', config1(ours));
  network.add('10.0.0.2', config('10.0.0.2', 64513, [peer('10.0.0.1', 64512)]));
  network.advance(10_000);
  const session = () => speaker.status().peers[0]!;
  return { network, speaker, config1, session };
}

test('RFC 5925: without TCP-AO in the system the session stays down and says why; it comes up once there is another way', () => {
  const { network, speaker, config1, session } = pair({ tcpAo: [first] }, () => 'the kernel has no TCP-AO');
  assert.deepEqual([session().state, session().lastError], ['Idle', 'TCP-AO: the kernel has no TCP-AO']);
  assert.equal(network.pipes.filter((each) => !each.closed).length, 0);
  const plan = speaker.plan(config1({ tcpAo: [first, second] }));
  assert.deepEqual(plan.peers, [{ peer: '10.0.0.2', change: 'live', because: ['tcpAo changed'] }]);
  speaker.configure(config1({ password: 'md5' }));
  network.advance(10_000);
  assert.equal(session().state, 'Established');
});

test('RFC 5925 6.1: keys added, put in another order and removed keep the session; TCP-MD5 in their place does not', () => {
  const { network, speaker, config1, session } = pair({ tcpAo: [first] });
  const pipe = network.pipes.find((each) => each.localAddress === '10.0.0.1' && !each.closed)!;
  for (const tcpAo of [[first, second], [second, first], [second]]) {
    const next = config1({ tcpAo });
    assert.deepEqual(speaker.plan(next).peers, [{ peer: '10.0.0.2', change: 'live', because: ['tcpAo changed'] }]);
    speaker.configure(next);
    network.advance(3000);
    assert.deepEqual(pipe.keys.at(-1), { tcpAo });
    assert.deepEqual([session().state, session().establishedCount], ['Established', 1]);
  }
  const md5 = config1({ password: 'md5' });
  assert.deepEqual(speaker.plan(md5).peers, [
    { peer: '10.0.0.2', change: 'reset', because: ['authentication: "TCP-AO" -> "TCP-MD5"'] },
  ]);
  speaker.configure(md5);
  assert.notEqual(session().state, 'Established');
});

test('RFC 5925: a passive peer in a range with keys of another kind is held down', () => {
  const network = new Network();
  const range: PeerRange = { ...template, prefix: '10.0.0.0/8', limit: 1, tcpAo: [first] };
  const passive = { ...peer('10.0.0.2', 64513), passive: true };
  const errorOf = (more: Partial<PeerConfig>): string => {
    const speaker = network.add('10.0.0.1', {
      ...config('10.0.0.1', 64512, [{ ...passive, ...more }]),
      ranges: [range],
    });
    return speaker.status().peers[0]!.lastError;
  };
  assert.match(errorOf({}), /never dials and has no TCP-AO keys, but its address lies in the range 10.0.0.0\/8/);
  assert.match(errorOf({ password: 'x' }), /never dials and has TCP-MD5, but .* which has TCP-AO/);
  assert.equal(errorOf({ tcpAo: [second] }), '');
  assert.equal(errorOf({ passive: false }), '', 'it can be dialled');
});
