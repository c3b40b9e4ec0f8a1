/** Every hostile input through real sockets, against one speaker thread that lives through all of them. */
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import { wire } from '#bgp';
import { silentLogger } from '#kit';
import { type SpeakerThread, startSpeakerThread } from '#speaker';
import { passivePeer, virtualConfig } from '../support/bgp-virtual.ts';
import { freePort } from '../support/free-port.ts';
import {
  before,
  bystander,
  goodOpen,
  type HostileInput,
  type HostilePeer,
  localAsn,
  message,
  nextHop,
  origin,
  pathOf,
  peerAsn,
  update,
} from '../support/hostile/build.ts';
import { hostileInputs } from '../support/hostile/index.ts';
import { until } from '../support/wait.ts';

const address = '127.0.0.1';
const addresses: Readonly<Record<HostilePeer, string>> = { ebgp: '127.0.0.2', ibgp: '127.0.0.3', old: '127.0.0.4' };

/** A connection from the peer's address, and what came back. */
class Client {
  readonly socket: net.Socket;
  notification: string | undefined;
  keepalives = 0;
  updates = 0;
  opens = 0;
  closed = false;

  constructor(port: number, peer: HostilePeer) {
    this.socket = net.connect({ host: address, port, localAddress: addresses[peer] });
    const framer = wire.createFramer();
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('data', (chunk) => {
      framer.push(chunk, (type, bytes, start) => {
        if (type === wire.messageType.notification) this.notification = `${bytes[start + 19]}/${bytes[start + 20]}`;
        if (type === wire.messageType.keepalive) this.keepalives++;
        if (type === wire.messageType.update) this.updates++;
        if (type === wire.messageType.open) this.opens++;
        return true;
      });
    });
  }
}

async function routesOf(thread: SpeakerThread, peer: HostilePeer): Promise<Map<string, number | undefined>> {
  const { routes } = await thread.routes({ peer: addresses[peer], limit: 1000 });
  return new Map(routes.map(({ prefix, paths }) => [prefix, paths[0]!.attributes.med]));
}
const statusOf = async (thread: SpeakerThread, peer: HostilePeer) =>
  (await thread.status()).peers.find(({ name }) => name === addresses[peer])!;

/** Sends the input where it belongs, and checks what the RFC wants to come of it. */
async function play(thread: SpeakerThread, port: number, hostile: HostileInput): Promise<void> {
  const { peer, state, bytes, outcome, has, hasNot, about } = hostile;
  const client = new Client(port, peer);
  try {
    if (state !== 'connected') client.socket.write(goodOpen(peer));
    if (state === 'established') {
      client.socket.write(message(4, []));
      client.socket.write(before(peer));
      await until(async () => (await routesOf(thread, peer)).size === 3, { what: 'the routes before', intervalMs: 2 });
    } else await until(() => client.opens > 0, { what: 'its OPEN', intervalMs: 1 });
    client.socket.write(bytes);
    if (outcome === 'up') {
      client.socket.write(message(4, []));
      await until(async () => (await statusOf(thread, peer)).state === 'Established', { what: 'the session' });
      return;
    }
    if (outcome === 'closed' || outcome.includes('/')) {
      await until(() => client.closed, { what: 'the connection to be closed', intervalMs: 1 });
      assert.equal(client.notification, outcome === 'closed' ? undefined : outcome);
      assert.equal((await routesOf(thread, peer)).size, 0);
      return;
    }
    // A route of another prefix behind the input: once it is there, all before it was dealt with.
    client.socket.write(sentinel(peer));
    await until(async () => (await routesOf(thread, peer)).has('10.98.0.0/16'), {
      what: 'what came after',
      intervalMs: 2,
    });
    const routes = await routesOf(thread, peer);
    for (const prefix of has) assert.ok(routes.has(prefix), `${prefix} is there`);
    for (const prefix of hasNot) assert.ok(!routes.has(prefix), `${prefix} is gone`);
    assert.equal(routes.get(bystander), 7);
    const replaced = outcome === 'accept' || outcome === 'discard';
    for (const prefix of has) if (about.includes(prefix)) assert.equal(routes.get(prefix) !== 7, replaced, prefix);
    assert.equal((await statusOf(thread, peer)).state, 'Established');
  } finally {
    client.socket.destroy();
    await until(async () => (await statusOf(thread, peer)).state !== 'Established', { what: 'the end', intervalMs: 1 });
  }
}

/** Here nobody is on a link: connections are the machine's own. */
function offLink(hostile: HostileInput): HostileInput {
  const { about, has, hasNot } = hostile;
  return {
    ...hostile,
    outcome: 'withdraw',
    has: has.filter((prefix) => !about.includes(prefix)),
    hasNot: [...hasNot, ...about],
  };
}

const sentinel = (peer: HostilePeer): Uint8Array =>
  update({ attributes: [origin, pathOf(peer), nextHop], nlri: [16, 10, 98] });

test('RFC 4271 6, RFC 7606: hostile inputs over TCP', async (t) => {
  const port = await freePort(address);
  const peers = [
    passivePeer(addresses.ebgp, peerAsn),
    passivePeer(addresses.ibgp, localAsn),
    passivePeer(addresses.old, peerAsn),
  ];
  const thread = await startSpeakerThread({
    config: virtualConfig(peers, { listen: [{ address, port }] }),
    log: silentLogger,
    onRoutes: () => undefined,
    onPeerState: () => undefined,
  });
  for (const hostile of hostileInputs) {
    const expected = hostile.onLink ? offLink(hostile) : hostile;
    await t.test(`${hostile.clause}: ${hostile.id}: ${expected.outcome}`, () => play(thread, port, expected));
  }
  await thread.stop('drain');
});
