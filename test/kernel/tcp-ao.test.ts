/** TCP-AO keys on real sockets: of a kernel that has it, what it signs and refuses; of one that has not, that nothing goes unsigned. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import {
  type ByteConnection,
  createSpeaker,
  type PeerConfig,
  type PeerRange,
  type Speaker,
  type SpeakerConfig,
  type TcpAoKey,
} from '#bgp';
import { silentLogger, systemClock } from '#kit';
import { TcpTransport } from '#speaker';
import { aoFault, inNetns } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { link, makeNamespace, type Namespace } from './route-world.ts';

const listener = '172.16.1.2';
const dialler = '172.16.1.1';
const one: TcpAoKey = { sendId: 1, recvId: 101, algorithm: 'hmac-sha-1-96', secret: 'first' };
const two: TcpAoKey = { sendId: 2, recvId: 102, algorithm: 'aes-128-cmac-96', secret: 'second, of no 16 bytes' };
const swapped = (keys: readonly TcpAoKey[]): TcpAoKey[] =>
  keys.map((key) => ({ ...key, sendId: key.recvId, recvId: key.sendId }));

const template: Omit<PeerRange, 'prefix' | 'limit'> = {
  asn: 64512,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  import: 'accept',
  export: 'accept',
};

/** A listening transport and a dialling one, each in a namespace of its own. */
class World {
  readonly a: Namespace = makeNamespace();
  readonly b: Namespace = makeNamespace();
  readonly accepted: ByteConnection[] = [];
  readonly received: string[] = [];
  readonly #listening: TcpTransport;
  readonly #dialling: TcpTransport;
  readonly #range: boolean;

  constructor(range: boolean) {
    this.#range = range;
    link(this.a, 'e0', this.b, 'e0', 16, 0);
    this.#listening = new TcpTransport(silentLogger, (connection) => {
      this.accepted.push(connection);
      connection.start({
        onData: (chunk, length) => void this.received.push(Buffer.from(chunk.subarray(0, length)).toString()),
        onClosed: () => undefined,
        onDrained: () => undefined,
      });
    });
    this.#dialling = new TcpTransport(silentLogger, (connection) => connection.destroy());
  }
  listen(keys: Pick<PeerConfig, 'password' | 'tcpAo'>): void {
    const peer = { name: 'p', address: dialler, port: 179, passive: true, connectRetrySec: 1 };
    const config: SpeakerConfig = {
      asn: 64512,
      routerId: '10.0.0.1',
      listen: [{ address: '0.0.0.0', port: 179 }],
      originate: [],
      peers: this.#range ? [] : [{ ...template, ...peer, ...keys }],
      ranges: this.#range ? [{ ...template, ...keys, prefix: '172.16.0.0/12', limit: 1 }] : [],
      gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 0, deferralTimeSec: 0 },
    };
    inNetns(this.a.netns, () => this.#listening.configure(config));
  }
  /** Resolves to the dialling end once it is connected, and to the reason when it cannot be. */
  dial(keys: Pick<PeerConfig, 'password' | 'tcpAo'>): {
    readonly result: Promise<ByteConnection | string>;
    abort(): void;
  } {
    const { promise, resolve } = Promise.withResolvers<ByteConnection | string>();
    const request = { peer: 'p', address: listener, port: 179, ...keys };
    const abort = inNetns(this.b.netns, () => this.#dialling.dial(request, resolve, resolve));
    return { result: promise, abort };
  }
  /** Segments refused or good there, by the kernel's own count. */
  count(space: Namespace, name: RegExp): number {
    const text = inNetns(space.netns, () => fs.readFileSync('/proc/thread-self/net/netstat', 'utf8'));
    const [names, values] = text.split('\n').filter((line) => line.startsWith('TcpExt:'));
    const numbers = values!.split(' ');
    return names!.split(' ').reduce((sum, each, index) => sum + (name.test(each) ? Number(numbers[index]) : 0), 0);
  }
  close(): void {
    for (const transport of [this.#listening, this.#dialling]) transport.close();
    for (const { netlink, netns } of [this.a, this.b]) {
      netlink.close();
      netns.close();
    }
  }
}

const refused = /^TCPAO(Bad|Required|KeyNotFound)$/;

function withKernel(fault: string | undefined): void {
  if (fault !== undefined) {
    test('RFC 5925: a kernel without it: nothing is dialled unsigned, and nobody gets in where keys should be', async (t) => {
      const world = new World(false);
      t.after(() => world.close());
      world.listen({ tcpAo: [one] });
      assert.match(String(await world.dial({ tcpAo: [one] }).result), /TCP_AO_ADD_KEY\): ENOPROTOOPT/);
      const unsigned = (await world.dial({}).result) as ByteConnection;
      const ended = Promise.withResolvers<void>();
      unsigned.start({ onData: () => undefined, onClosed: () => ended.resolve(), onDrained: () => undefined });
      await ended.promise;
      assert.equal(world.accepted.length, 0);
      world.listen({});
      assert.notEqual(typeof (await world.dial({}).result), 'string');
      await until(() => world.accepted.length === 1, { what: 'who connects where no keys are wanted' });
    });
    return;
  }
  for (const range of [false, true]) {
    const what = range ? 'a range' : 'a peer';
    test(`RFC 5925: ${what} with keys: right ones connect, wrong ones and none do not`, async (t) => {
      const world = new World(range);
      t.after(() => world.close());
      world.listen({ tcpAo: [one, two] });
      for (const keys of [
        {},
        { tcpAo: swapped([{ ...one, secret: 'wrong' }]) },
        { tcpAo: swapped([{ ...two, recvId: 9 }]) },
      ]) {
        const before = world.count(world.a, refused);
        const attempt = world.dial(keys);
        await until(() => world.count(world.a, refused) > before, { what: 'a segment to be refused' });
        attempt.abort();
      }
      assert.equal(world.accepted.length, 0);
      for (const keys of [[one], [two], [one, two], [two, one]]) {
        const connection = await world.dial({ tcpAo: swapped(keys) }).result;
        assert.notEqual(typeof connection, 'string', String(connection));
        (connection as ByteConnection).write(Buffer.from(keys[0]!.secret));
        await until(() => world.received.includes(keys[0]!.secret), { what: 'what was signed' });
        world.received.length = 0;
      }
      assert.equal(world.accepted.length, 4);
    });

    test(`RFC 5925 6.1: keys of ${what} change under a connection, no segment refused`, async (t) => {
      const world = new World(range);
      t.after(() => world.close());
      world.listen({ tcpAo: [one] });
      const far = (await world.dial({ tcpAo: swapped([one]) }).result) as ByteConnection;
      far.start({
        onData: (chunk, length) => void world.received.push(Buffer.from(chunk.subarray(0, length)).toString()),
        onClosed: () => undefined,
        onDrained: () => undefined,
      });
      await until(() => world.accepted.length === 1, { what: 'the connection' });
      const near = world.accepted[0]!;
      let round = 0;
      for (const keys of [[one, two], [two, one], [two]]) {
        for (const [end, own, other] of [
          ['near', keys, far],
          ['far', swapped(keys), near],
        ] as const) {
          const connection = end === 'near' ? near : far;
          if (end === 'near') world.listen({ tcpAo: keys });
          assert.equal(connection.rekey({ tcpAo: own }), true, `${keys.length} keys at ${end}`);
          // Each way, so that both have heard which key is asked for.
          for (const writer of [connection, other, connection]) {
            const text = `round ${round++}`;
            writer.write(Buffer.from(text));
            await until(() => world.received.includes(text), { what: text });
          }
        }
      }
      assert.equal(world.count(world.a, refused) + world.count(world.b, refused), 0);
      assert.equal(near.rekey({ tcpAo: [{ ...two, secret: 'other' }] }), false, 'RFC 5925 3.1');
      const old = world.dial({ tcpAo: swapped([one]) });
      await until(() => world.count(world.a, refused) > 0, { what: 'the key that is gone to be refused' });
      old.abort();
    });
  }

  test('RFC 5925, RFC 2385: one kind of key in the place of the other on a listener', async (t) => {
    const world = new World(false);
    t.after(() => world.close());
    for (const [near, far] of [
      [{ tcpAo: [one] }, { tcpAo: swapped([one]) }],
      [{ password: 'md5' }, { password: 'md5' }],
      [{ tcpAo: [two] }, { tcpAo: swapped([two]) }],
    ]) {
      world.listen(near!);
      const connection = await world.dial(far!).result;
      assert.notEqual(typeof connection, 'string', String(connection));
    }
    await until(() => world.accepted.length === 3, { what: 'all three' });
  });
  sessionTest();
}

/** A speaker in a namespace of the link, with neither BFD nor discovery. */
function speakerIn(space: Namespace, config: SpeakerConfig): { readonly speaker: Speaker; close(): void } {
  const transport = new TcpTransport(silentLogger, (connection) => speaker.accept(connection));
  const speaker: Speaker = createSpeaker(
    {
      clock: systemClock(),
      transport: {
        dial: (...request) => inNetns(space.netns, () => transport.dial(...request)),
        configure: (effective) => inNetns(space.netns, () => transport.configure(effective)),
        tcpAoFault: transport.tcpAoFault,
      },
      log: silentLogger,
      random: Math.random,
      defer: (work) => void setImmediate(work),
      onRoutes: () => undefined,
      onPeerState: () => undefined,
    },
    config,
    { withoutFeed: true },
  );
  speaker.start();
  return {
    speaker,
    close() {
      speaker.stop('graceful');
      transport.close();
    },
  };
}

function sessionTest(): void {
  test('RFC 5925 6.1: a BGP session goes on while keys are replaced at one end after the other, whoever dialled', async (t) => {
    for (const passive of ['a', 'b'] as const) {
      const spaces = { a: makeNamespace(), b: makeNamespace() };
      link(spaces.a, 'e0', spaces.b, 'e0', 16, 0);
      const config = (end: 'a' | 'b', keys: readonly TcpAoKey[], prefix: string): SpeakerConfig => ({
        asn: 64512,
        routerId: end === 'a' ? '10.0.0.1' : '10.0.0.2',
        listen: [{ address: '0.0.0.0', port: 179 }],
        originate: [prefix],
        peers: [
          {
            ...template,
            name: 'other',
            address: end === 'a' ? dialler : listener,
            port: 179,
            passive: end === passive,
            connectRetrySec: 1,
            tcpAo: end === 'a' ? keys : swapped(keys),
          },
        ],
        gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 0, deferralTimeSec: 0 },
      });
      const ends = {
        a: speakerIn(spaces.a, config('a', [one], '10.51.0.0/16')),
        b: speakerIn(spaces.b, config('b', [one], '10.52.0.0/16')),
      };
      t.after(() => {
        for (const end of ['a', 'b'] as const) {
          ends[end].close();
          spaces[end].netlink.close();
          spaces[end].netns.close();
        }
      });
      const has = (end: 'a' | 'b', prefix: string): boolean => ends[end].speaker.routes({ prefix }).routes.length > 0;
      await until(() => has('a', '10.52.0.0/16') && has('b', '10.51.0.0/16'), { what: 'routes both ways' });
      let round = 0;
      for (const keys of [[one, two], [two, one], [two]]) {
        for (const [end, far] of [
          ['a', 'b'],
          ['b', 'a'],
        ] as const) {
          const prefix = `10.${100 + round++}.0.0/16`;
          ends[end].speaker.configure(config(end, keys, prefix));
          await until(() => has(far, prefix), { what: `${prefix} from ${end}` });
        }
      }
      for (const { speaker } of Object.values(ends)) assert.equal(speaker.status().peers[0]!.establishedCount, 1);
      ends.a.speaker.configure(config('a', [{ ...two, secret: 'other' }], '10.51.0.0/16'));
      await until(() => ends.a.speaker.status().peers[0]!.state !== 'Established', { what: 'the end of the session' });
      ends.b.speaker.configure(config('b', [{ ...two, secret: 'other' }], '10.52.0.0/16'));
      await until(() => has('a', '10.52.0.0/16') && has('b', '10.51.0.0/16'), { what: 'a new session' });
    }
  });
}

describe('TCP-AO', needs({ root: true }), () => withKernel(aoFault('aes-128-cmac-96')));
