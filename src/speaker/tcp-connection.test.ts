import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type IpAddress, silentLogger } from '#kit';
import {
  acceptTcp,
  connectTo,
  Fd,
  listenTcp,
  localEnd,
  SocketSet,
  sendTcp,
  tcpSocket,
  unacknowledgedSegments,
} from '#sys';
import { AfterReads } from './after-reads.ts';
import { ReadBudget, readMsPerTurn } from './read-budget.ts';
import { rereadsMax, TcpConnection } from './tcp-connection.ts';
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

test('what an answer leaves to be done comes behind what the peer says to it', async (t) => {
  const transport = new TcpTransport(silentLogger, () => assert.fail('nobody connects'));
  t.after(() => transport.close());
  const [ours, theirs] = transport.pair(end(1), end(2));
  let order: string[] = [];
  let left = Promise.withResolvers<void>();
  ours.start({
    onDrained: () => undefined,
    onClosed: () => undefined,
    onData: () => {
      order.push('heard');
      transport.defer(() => {
        if (order.length === 1) theirs.write(octet);
        order.push('answered');
        transport.afterwards(() => {
          order.push('rest');
          left.resolve();
        });
      });
    },
  });
  const seen: string[] = [];
  while (seen.length < rounds) {
    [order, left] = [[], Promise.withResolvers()];
    theirs.write(octet);
    await left.promise;
    while (order.filter((what) => what === 'rest').length < 2) await nextTurn();
    seen.push(order.join());
  }
  // Now and then reading takes so long that the rest comes first.
  const right = seen.filter((text) => text === 'heard,answered,heard,answered,rest,rest').length;
  assert.ok(2 * right > rounds, seen.join('; '));
});

test('what is left to be done is done where the connection ended meanwhile', async (t) => {
  const transport = new TcpTransport(silentLogger, () => assert.fail('nobody connects'));
  t.after(() => transport.close());
  const [ours, theirs] = transport.pair(end(1), end(2));
  const left = Promise.withResolvers<void>();
  ours.start({
    onDrained: () => undefined,
    onClosed: () => undefined,
    onData: () => {
      ours.destroy();
      transport.defer(() => transport.afterwards(left.resolve));
    },
  });
  theirs.write(octet);
  await left.promise;
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

/** Of a TCP connection over loopback: what of one octet after another is unacknowledged when it is read, and after that turn of the loop. */
async function acknowledgements(t: TestContext, octets: number): Promise<string[]> {
  const local = '127.0.0.1' as IpAddress;
  using listener = tcpSocket({ local, port: 0 });
  listenTcp(listener.number, 1);
  const remote = { address: local, port: localEnd(listener.number).port };
  using theirs = tcpSocket({ local, port: 0 });
  connectTo(theirs.number, local, remote.port);
  let accepted = acceptTcp(listener.number);
  for (; accepted < 0; accepted = acceptTcp(listener.number)) await nextTurn();
  const sockets = new SocketSet();
  t.after(() => sockets.close());
  const later = (fn: () => void): void => void setImmediate(fn);
  const ours = new TcpConnection({
    fd: new Fd(accepted),
    remote,
    keys: undefined,
    sockets,
    budget: new ReadBudget(() => performance.now(), later),
    afterReads: new AfterReads(later),
    onClosing: () => undefined,
    onEnd: () => undefined,
  });
  t.after(() => ours.destroy());
  let heard = Promise.withResolvers<number>();
  ours.start({
    onData: () => heard.resolve(unacknowledgedSegments(theirs.number)),
    onClosed: () => undefined,
    onDrained: () => undefined,
  });
  const seen: string[] = [];
  while (seen.length < octets) {
    heard = Promise.withResolvers();
    sendTcp(theirs.number, octet, 1);
    const atRead = await heard.promise;
    await nextTurn();
    seen.push(`${atRead}, then ${unacknowledgedSegments(theirs.number)}`);
  }
  return seen;
}

test('RFC 1122 4.2.3.2: what was read is acknowledged behind what it leads to, and without delay', async (t) => {
  const [first, others] = [[] as string[], [] as string[]];
  for (let n = 0; n < 20; n++) {
    const [one, ...more] = await acknowledgements(t, 5);
    first.push(one!);
    others.push(...more);
  }
  // Whoever is kept from the processor for 40 ms finds that the kernel has done it.
  for (const seen of [first, others]) {
    const right = seen.filter((text) => text === '1, then 0').length;
    assert.ok(2 * right > seen.length, seen.join('; '));
  }
});
