/** The speaker's connections on real sockets, with a peer that is node:net, in a namespace of this process's own. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ByteConnection, SpeakerConfig } from '#bgp';
import { silentLogger } from '#kit';
import { readBytesPerTurnMax, TcpTransport } from '#speaker';
import { CLONE_NEWNET, exec, libc, newNetns } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const port = 179;
const config = { listen: [{ address: '127.0.0.1', port }], peers: [] } as unknown as SpeakerConfig;

/** What the speaker's core would see. */
class Ours {
  readonly connection: ByteConnection;
  received = Buffer.alloc(0);
  readonly closed: string[] = [];
  drained = 0;
  onData: (chunk: Uint8Array) => void = (chunk) => {
    this.received = Buffer.concat([this.received, chunk]);
  };

  constructor(connection: ByteConnection) {
    this.connection = connection;
  }
  start(): this {
    this.connection.start({
      onData: (chunk, length) => this.onData(chunk.subarray(0, length)),
      onClosed: (reason) => this.closed.push(reason),
      onDrained: () => this.drained++,
    });
    return this;
  }
}

/** Of the process. */
function openSockets(): number {
  return fs.readdirSync('/proc/self/fd').filter((name) => {
    try {
      return fs.readlinkSync(`/proc/self/fd/${name}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
}

/** `count` octets, each of which says where it is. */
function numbered(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  for (let i = 0; i < count; i++) bytes[i] = (i * 31 + (i >> 8)) & 255;
  return bytes;
}

describe('connections of the speaker', needs({ root: true, commands: ['ip'] }), () => {
  const accepted: Ours[] = [];
  const transport = new TcpTransport(silentLogger, (connection) => void accepted.push(new Ours(connection)));

  /** Not of these tests. */
  let others = 0;
  const sockets = (): number => openSockets() - others;

  before(async () => {
    assert.equal(libc.setns(newNetns().number, CLONE_NEWNET), 0);
    assert.equal((await exec('ip', ['link', 'set', 'lo', 'up'])).code, 0);
    others = openSockets();
    transport.configure(config);
  });

  after(() => transport.close());

  /** Both ends of a new connection, ours not started. */
  async function pair(allowHalfOpen = false): Promise<[Ours, net.Socket]> {
    const socket = net.connect({ host: '127.0.0.1', port, allowHalfOpen });
    socket.on('error', () => undefined);
    const count = accepted.length;
    await until(() => accepted.length > count && !socket.connecting, { what: 'the connection' });
    return [accepted.at(-1)!, socket];
  }

  test('what the kernel does not take waits, in order, and goes when the peer reads again', async () => {
    const [ours, peer] = await pair();
    ours.start();
    const all = numbered(20 * 1024 * 1024);
    for (let at = 0; at < all.length; at += 70_001) ours.connection.write(all.subarray(at, at + 70_001));
    assert.ok(ours.connection.queuedBytes > 0, 'the window is shut');
    assert.equal(ours.drained, 0);
    let at = 0;
    peer.on('data', (chunk) => {
      assert.ok(chunk.equals(all.subarray(at, at + chunk.length)), `octets from ${at} on`);
      at += chunk.length;
    });
    await until(() => at === all.length, { what: 'all to arrive' });
    await until(() => ours.drained === 1, { what: 'the word that all is sent' });
    assert.equal(ours.connection.queuedBytes, 0);
    ours.connection.destroy();
  });

  test('what is lent for a write is the lender’s again, whether it went at once or has to wait', async () => {
    const [ours, peer] = await pair();
    ours.start();
    const lent = Buffer.alloc(100_000);
    const all: Buffer[] = [];
    const write = (length: number): void => {
      const bytes = numbered(length);
      bytes.writeUInt32BE(all.length);
      all.push(bytes);
      lent.set(bytes);
      ours.connection.write(lent, length);
      lent.fill(0);
    };
    write(30);
    assert.equal(ours.connection.queuedBytes, 0);
    while (ours.connection.queuedBytes < 1_000_000) write(99_000);
    const { queuedBytes } = ours.connection;
    write(30);
    assert.equal(ours.connection.queuedBytes, queuedBytes + 30);
    let received = Buffer.alloc(0);
    peer.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
    });
    const sent = Buffer.concat(all);
    await until(() => received.length === sent.length, { what: 'all to arrive' });
    assert.ok(received.equals(sent));
    ours.connection.destroy();
  });

  test('a slice of what came stays as it is when more comes', async () => {
    const [ours, peer] = await pair();
    const slices: Uint8Array[] = [];
    ours.onData = (chunk) => slices.push(chunk.slice());
    ours.start();
    for (const text of ['first', 'other']) {
      peer.write(text);
      await until(() => slices.at(-1)?.[0] === text.charCodeAt(0), { what: text });
    }
    assert.equal(Buffer.concat(slices).toString(), 'firstother');
    ours.connection.destroy();
  });

  test('octets in front of a reset are worked off before it is told, however many turns that takes', async () => {
    const [ours, peer] = await pair();
    // Less than the window: what a peer has not sent yet is lost with its reset.
    const all = numbered(100_000);
    peer.write(all, () => peer.resetAndDestroy());
    await until(() => peer.destroyed, { what: 'the reset' });
    ours.start();
    await until(() => ours.closed.length > 0, { what: 'the end' });
    assert.ok(ours.received.equals(all), `${ours.received.length} of ${all.length} octets`);
    assert.deepEqual(ours.closed, ['ECONNRESET']);
  });

  test('a write on a broken connection tells so once, later, and after what the peer said last', async () => {
    const [ours, peer] = await pair();
    peer.write('last words', () => peer.resetAndDestroy());
    await until(() => peer.destroyed, { what: 'the reset' });
    ours.start();
    for (let i = 0; i < 3; i++) ours.connection.write(numbered(100));
    assert.deepEqual(ours.closed, [], 'not from within the write');
    await until(() => ours.closed.length > 0, { what: 'the end' });
    assert.equal(ours.received.toString(), 'last words');
    ours.connection.write(numbered(100));
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(ours.closed.length, 1);
  });

  test('the peer ends its side: told once; nothing is told any more after close and destroy', async () => {
    const [ours, peer] = await pair();
    ours.start();
    peer.end('bye');
    await until(() => ours.closed.length > 0, { what: 'the end' });
    assert.deepEqual([ours.received.toString(), ...ours.closed], ['bye', 'connection closed']);
    for (const how of ['close', 'destroy'] as const) {
      const [other, itsPeer] = await pair();
      other.start().connection[how]();
      itsPeer.resume();
      await until(() => itsPeer.destroyed, { what: 'the peer to notice' });
      assert.deepEqual(other.closed, []);
    }
  });

  test('close sends all that is queued, also to a peer that has ended its side, and what it says meanwhile resets nothing', async () => {
    for (const ends of [false, true]) {
      const [ours, peer] = await pair(true);
      ours.start();
      const all = numbered(8 * 1024 * 1024);
      ours.connection.write(all);
      assert.ok(ours.connection.queuedBytes > 0);
      if (ends) peer.end();
      ours.connection.close();
      if (!ends) peer.end(numbered(3 * readBytesPerTurnMax));
      let error: Error | undefined;
      peer.on('error', (reason) => (error = reason));
      let at = 0;
      let over = false;
      peer.on('end', () => (over = true)).on('data', (chunk) => (at += chunk.length));
      await until(() => over, { what: `all to arrive: ${at}` });
      assert.deepEqual([at, error, ours.closed], [all.length, undefined, []]);
    }
  });

  test('RFC 4724 4.2: a peer is dialled when it has ended what we closed, not while our last words wait to be read', async (t) => {
    const peers: net.Socket[] = [];
    const server = net.createServer({ allowHalfOpen: true }, (socket) => void peers.push(socket));
    t.after(() => {
      server.close();
      for (const each of peers) each.destroy();
    });
    await new Promise<void>((resolve) => server.listen(port + 2, '127.0.0.1', resolve));
    const connected: ByteConnection[] = [];
    const dial = (): (() => void) =>
      transport.dial(
        { peer: 'p', address: '127.0.0.1', port: port + 2 },
        (connection) => connected.push(connection),
        (reason) => assert.fail(reason),
      );
    const before = transport.openConnections;
    dial();
    await until(() => peers.length === 1 && connected.length === 1, { what: 'the first connection' });
    connected[0]!.write(Buffer.from('last words'));
    connected[0]!.close();
    const giveUp = dial();
    dial();
    giveUp();
    let heard = '';
    peers[0]!
      .on('data', (chunk) => (heard += chunk))
      .on('end', () => {
        assert.equal(peers.length, 1, 'a new connection while this one was read');
        peers[0]!.end();
      });
    await until(() => peers.length === 2 && connected.length === 2, { what: 'the second connection' });
    assert.equal(heard, 'last words');
    assert.equal(transport.openConnections, before + 1);
    connected[1]!.close();
    dial();
    await until(() => peers.length === 3 && connected.length === 3, {
      what: 'a connection beside one that never ends',
    });
    assert.equal(transport.openConnections, before + 2);
    for (const each of connected) each.destroy();
    await nextTurn();
    assert.equal(peers.length, 3, 'the dial that was given up');
  });

  test('many that send at once have their turns: nobody reads twice before all others have read', async () => {
    const turns: number[] = [];
    const pairs: [Ours, net.Socket][] = [];
    for (let i = 0; i < 8; i++) pairs.push(await pair());
    const block = numbered(32 * readBytesPerTurnMax);
    for (const [, peer] of pairs) peer.write(block);
    await until(() => pairs.every(([, peer]) => peer.bytesWritten > 0), { what: 'octets to be there' });
    const counts = pairs.map(() => 0);
    let inTurn = 0;
    const most: number[] = [];
    const nextTurn = (): void => {
      turns.push(inTurn);
      inTurn = 0;
    };
    pairs.forEach(([ours], index) => {
      ours.onData = (chunk) => {
        if (inTurn === 0) setImmediate(nextTurn);
        inTurn += chunk.length;
        counts[index]!++;
        most.push(Math.max(...counts) - Math.min(...counts));
      };
    });
    for (const [ours] of pairs) ours.start();
    await until(() => counts.every((count) => count >= 20), { what: 'all to have read' });
    const limit = most.slice(0, 8 * 15);
    assert.ok(Math.max(...limit) <= 2, `one was ahead by ${Math.max(...limit)} reads`);
    assert.ok(Math.max(...turns) <= 2 * readBytesPerTurnMax, `${Math.max(...turns)} octets in one turn`);
    for (const [ours, peer] of pairs) {
      ours.connection.destroy();
      peer.destroy();
    }
  });

  test('a dial that is refused says so, one that is given up says nothing, and nothing stays open', async () => {
    await until(() => accepted.every(({ connection }) => connection.queuedBytes === 0), { what: 'quiet' });
    for (const { connection } of accepted) connection.destroy();
    await until(() => transport.openConnections === 0, { what: 'all to be closed' });
    await until(() => sockets() <= 1, { what: `sockets to be closed: ${sockets()}` });
    const told: string[] = [];
    const dial = (to: number): (() => void) =>
      transport.dial(
        { peer: 'p', address: '127.0.0.1', port: to },
        (connection) => {
          told.push('connected');
          connection.destroy();
        },
        (reason) => told.push(reason),
      );
    for (let i = 0; i < 50; i++) dial(port + 1);
    await until(() => told.length === 50, { what: 'refusals' });
    for (const reason of told) assert.match(reason, /ECONNREFUSED/);
    for (let i = 0; i < 50; i++) dial(port)();
    for (let i = 0; i < 50; i++) dial(port);
    await until(() => told.length === 100, { what: 'connections' });
    assert.equal(told.filter((what) => what === 'connected').length, 50);
    for (let i = 0; i < 100; i++)
      net.connect(port, '127.0.0.1', function (this: net.Socket) {
        this.resetAndDestroy();
      });
    const seen = accepted.length;
    await until(() => accepted.length >= seen + 50, { what: 'connections that are reset at once' });
    // A turn of the loop: of some the reset is known by then, of others it is not.
    await nextTurn();
    for (const { connection } of accepted) connection.destroy();
    await until(() => transport.openConnections === 0 && sockets() <= 1, {
      what: `sockets to be closed: ${sockets()}`,
    });
    transport.close();
    assert.equal(sockets(), 0);
  });
});
