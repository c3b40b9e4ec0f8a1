import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPPeerObject, SecretObject, TCPAOKey } from '#model';
import { issueText } from './issue.ts';
import { speakerConfig } from './speaker-config.ts';
import { input, n1, n2, nodePeer, peer, ref, secret } from './test-input.ts';

const key = (sendID: number, recvID: number, more: Partial<TCPAOKey> = {}): TCPAOKey => ({
  sendID,
  recvID,
  algorithm: 'hmac-sha-1-96',
  secret: ref('bgp', `k${sendID}`),
  ...more,
});

function run(
  keys: readonly TCPAOKey[],
  secrets: readonly SecretObject[],
  { fault = (_: string): string | undefined => undefined, peers = [peer('tor', '172.16.0.1')], nodeName = 'n1' } = {},
) {
  const withKeys = peers.map((each): BGPPeerObject => ({ ...each, tcpAO: { keys } }));
  const result = speakerConfig(
    input({ peers: withKeys, secrets, nodeName, tcpAoFault: ({ algorithm }) => fault(algorithm) }),
  );
  const session = result.config!.peers.find(({ name }) => name.startsWith('peer/'));
  const issues = result.issues.map(({ field, effect, message }) => [field, effect, message] as const);
  return { session, issues, result };
}

test('RFC 5925: a BGPPeer has its TCP-AO keys, in their order', () => {
  const keys = [key(1, 2), key(3, 4, { algorithm: 'aes-128-cmac-96', excludeTCPOptions: true })];
  const { session, issues } = run(keys, [secret('bgp', { k1: 'one', k3: 'three' })]);
  assert.deepEqual(session!.tcpAo, [
    { sendId: 1, recvId: 2, algorithm: 'hmac-sha-1-96', secret: 'one' },
    { sendId: 3, recvId: 4, algorithm: 'aes-128-cmac-96', secret: 'three', excludeTcpOptions: true },
  ]);
  assert.deepEqual([session!.password, session!.heldDown, issues], [undefined, undefined, []]);
});

test('RFC 5925 3.1: at the other end of a BGPPeer the ids change places', () => {
  const peers = [peer('to-n2', '10.0.0.2', { asNumber: 64512, node: 'n1' })];
  const ends = ['n1', 'n2'].map(
    (nodeName) => run([key(1, 2)], [secret('bgp', { k1: 'x' })], { peers, nodeName }).session!.tcpAo![0]!,
  );
  assert.deepEqual(
    ends.map(({ sendId, recvId }) => [sendId, recvId]),
    [
      [1, 2],
      [2, 1],
    ],
  );
  const all = [nodePeer('all', { nodeSelector: 'all()', peerSelector: 'all()' })];
  const { session } = run([key(5, 5)], [secret('bgp', { k5: 'x' })], { peers: all });
  assert.deepEqual([session!.address, session!.tcpAo![0]!.sendId], [n2.internalIPs[0], 5]);
  assert.equal(n1.metadata.name, 'n1');
});

test('RFC 5925: a key whose Secret is missing is left out beside another, and else the session is held down', () => {
  const both = [key(1, 1), key(2, 2)];
  const half = run(both, [secret('bgp', { k2: 'two' })]);
  assert.deepEqual([half.session!.tcpAo!.map(({ sendId }) => sendId), half.session!.heldDown], [[2], undefined]);
  assert.deepEqual(
    half.issues.map(([field, effect]) => [field, effect]),
    [['spec.tcpAO.keys[0].secret', 'partial']],
  );
  assert.match(half.issues[0]![2], /has no key k1 \(it has k2\); .*; the key is left out/);
  const none = run(both, []);
  assert.equal(none.session!.tcpAo, undefined);
  assert.match(none.session!.heldDown!, /Secret poplin-system\/bgp is not there/);
  assert.deepEqual(
    none.issues.map(([field, effect]) => [field, effect]),
    [
      ['spec.tcpAO.keys[0].secret', 'heldDown'],
      ['spec.tcpAO.keys[1].secret', 'heldDown'],
    ],
  );
  const long = run([key(1, 1)], [secret('bgp', { k1: 'x'.repeat(81) })]);
  assert.match(long.session!.heldDown!, /has 81 bytes and TCP-AO takes 80 at most/);
});

test('RFC 5925: where the kernel cannot sign, the session is held down, with the remedy, and never goes on unsigned', () => {
  const fault = (algorithm: string) =>
    algorithm === 'aes-128-cmac-96' ? 'the kernel has no cmac; load it' : undefined;
  const keys = [key(1, 1), key(2, 2, { algorithm: 'aes-128-cmac-96' })];
  const { session, issues, result } = run(keys, [secret('bgp', { k1: 'hush', k2: 'hush' })], { fault });
  assert.deepEqual([session!.heldDown, session!.tcpAo], ['TCP-AO: the kernel has no cmac; load it', undefined]);
  assert.deepEqual(issues, [['spec.tcpAO', 'heldDown', 'the kernel has no cmac; load it; the session is kept down']]);
  assert.ok(!result.issues.map(issueText).join().includes('hush'));
  const fine = run([key(1, 1)], [secret('bgp', { k1: 'x' })], { fault });
  assert.equal(fine.session!.heldDown, undefined);
});
