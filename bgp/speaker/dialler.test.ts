import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Dialler } from './dialler.ts';
import type { ByteConnection, DialRequest } from './types.ts';

function world() {
  const seen = {
    connected: 0,
    failed: [] as string[],
    destroyed: 0,
    aborted: 0,
    passwords: [] as (string | undefined)[],
  };
  /** The attempts, oldest first. */
  const attempts: { connect(): void; fail(reason: string): void }[] = [];
  const connection: ByteConnection = {
    remoteAddress: '10.0.0.2',
    remotePort: 179,
    localAddress: '10.0.0.1',
    queuedBytes: 0,
    start: () => undefined,
    write: () => undefined,
    rekey: () => true,
    close: () => undefined,
    destroy: () => seen.destroyed++,
  };
  const transport = {
    configure: () => undefined,
    dial: (request: DialRequest, onConnected: (c: ByteConnection) => void, onFailed: (reason: string) => void) => {
      seen.passwords.push(request.password);
      attempts.push({ connect: () => onConnected(connection), fail: onFailed });
      return () => seen.aborted++;
    },
  };
  const dialler = new Dialler(
    transport,
    { peer: 'p', address: '10.0.0.2', port: 179, password: 'old' },
    { onConnected: () => seen.connected++, onFailed: (reason) => seen.failed.push(reason) },
  );
  return { dialler, attempts, seen };
}

test('an attempt that was given up says nothing any more, and a connection that it gets all the same is ended', () => {
  const { dialler, attempts, seen } = world();
  dialler.dial();
  dialler.abort();
  assert.equal(seen.aborted, 1);
  attempts[0]!.connect();
  attempts[0]!.fail('ECONNREFUSED');
  assert.deepEqual([seen.connected, seen.failed, seen.destroyed], [0, [], 1]);
});

test('an attempt has one outcome, after which there is nothing to give up', () => {
  const { dialler, attempts, seen } = world();
  dialler.dial();
  attempts[0]!.fail('ECONNREFUSED');
  attempts[0]!.fail('ETIMEDOUT');
  dialler.dial();
  attempts[1]!.connect();
  attempts[1]!.connect();
  dialler.abort();
  assert.deepEqual([seen.failed, seen.connected, seen.destroyed, seen.aborted], [['ECONNREFUSED'], 1, 1, 0]);
});

test('another password is for attempts to come', () => {
  const { dialler, attempts, seen } = world();
  dialler.dial();
  dialler.rekey({ password: 'new' });
  attempts[0]!.fail('ETIMEDOUT');
  dialler.dial();
  assert.deepEqual(seen.passwords, ['old', 'new']);
});
