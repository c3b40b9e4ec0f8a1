import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import { rehearse, rehearsedChunks, rehearsedSpeakers } from './rehearsal.ts';
import { TcpTransport } from './tcp-transport.ts';

const transport = (): TcpTransport => new TcpTransport(silentLogger, () => assert.fail('nobody connects'));

test('all that peers say in a rehearsal go through, and nothing of it stays', async () => {
  const own = transport();
  const { promise, resolve } = Promise.withResolvers<number>();
  rehearse(own, { defer: own.defer, random: Math.random }, resolve);
  assert.equal(own.openConnections, 6);
  assert.equal(await promise, rehearsedSpeakers * rehearsedChunks);
  assert.equal(own.openConnections, 0);
});

test('a rehearsal ends when it is told to', async () => {
  const own = transport();
  const { promise, resolve } = Promise.withResolvers<number>();
  const end = rehearse(own, { defer: own.defer, random: Math.random }, resolve);
  end();
  end();
  assert.equal(await promise, 0);
  assert.equal(own.openConnections, 0);
});
