import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type IpAddress, silentLogger } from '#kit';
import { readMsPerTurn } from './read-budget.ts';
import { rereadsMax } from './tcp-connection.ts';
import { TcpTransport } from './tcp-transport.ts';

const end = (host: number) => ({ address: `192.0.2.${host}` as IpAddress, port: 179 });
const octet = new Uint8Array(1);
const rounds = 100;

test('who says the next thing while we work on the last one is heard at once, a few times, then others are', async (t) => {
  const transport = new TcpTransport(silentLogger, () => assert.fail('nobody connects'));
  t.after(() => transport.close());
  const handlers = { onClosed: () => undefined, onDrained: () => undefined };
  const [ours, hasty] = transport.pair(end(1), end(2));
  const [alsoOurs, patient] = transport.pair(end(1), end(3));
  let inRow = 0;
  let heard = Promise.withResolvers<number>();
  ours.start({
    ...handlers,
    onData: () => {
      inRow++;
      if (inRow <= 2 * rereadsMax) hasty.write(octet);
    },
  });
  alsoOurs.start({ ...handlers, onData: () => heard.resolve(inRow) });
  const seen: number[] = [];
  for (let round = 0; round < rounds; round++) {
    heard = Promise.withResolvers();
    inRow = 0;
    hasty.write(octet);
    patient.write(octet);
    seen.push(await heard.promise);
    // What was said in vain is out of the way.
    while (inRow <= 2 * rereadsMax) await nextTurn();
  }
  // Now and then reading takes so long, of code that has not run yet or on a busy machine, that the others come first.
  assert.equal(Math.max(...seen), 1 + rereadsMax, seen.join(' '));
});

test('who said nothing behind a message that took long is not taken for one who waits to be read: his hold time would never end', async (t) => {
  const transport = new TcpTransport(silentLogger, () => assert.fail('nobody connects'));
  t.after(() => transport.close());
  const handlers = { onClosed: () => undefined, onDrained: () => undefined };
  const [ours, theirs] = transport.pair(end(1), end(2));
  const heard = Promise.withResolvers<void>();
  ours.start({
    ...handlers,
    onData: () => {
      const until = performance.now() + readMsPerTurn;
      while (performance.now() < until);
      heard.resolve();
    },
  });
  theirs.write(octet);
  await heard.promise;
  await nextTurn();
  assert.equal(ours.unread, false);
});
