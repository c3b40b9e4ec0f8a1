/** Hostile bytes against a live speaker: the right NOTIFICATION, the session reset, and the speaker goes on. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { type SpeakerConfig, wire } from '#bgp';
import { silentLogger } from '#kit';
import { type Runner, runSpeaker } from '#speaker';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/wait.ts';

const address = '127.0.0.1';
const marker = new Array<number>(16).fill(0xff);

function config(port: number, asn = 64513): SpeakerConfig {
  return {
    asn: 64512,
    routerId: '10.0.0.1',
    listen: [{ address, port }],
    originate: ['10.50.1.0/24'],
    peers: [
      {
        name: 'client',
        address: '127.0.0.2',
        port: 179,
        asn,
        families: ['ipv4-unicast', 'ipv6-unicast'],
        holdTimeSec: 90,
        passive: true,
        connectRetrySec: 5,
        import: 'accept',
        export: 'accept',
      },
    ],
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 30, deferralTimeSec: 10 },
  };
}

/** A connection from the peer's address; keeps the NOTIFICATION it got. */
class Client {
  readonly socket: net.Socket;
  notification: wire.Notification | undefined;
  keepalives = 0;
  closed = false;

  constructor(port: number, localAddress = '127.0.0.2') {
    this.socket = net.connect({ host: address, port, localAddress });
    const framer = wire.createFramer();
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => (this.closed = true));
    this.socket.on('data', (chunk) => {
      framer.push(chunk, (type, bytes, start, end) => {
        if (type === wire.messageType.notification) this.notification = wire.decodeNotification(bytes, start, end);
        if (type === wire.messageType.keepalive) this.keepalives++;
        return true;
      });
    });
  }
  async establish(): Promise<this> {
    this.socket.write(
      wire.encodeOpen({
        asn: 64513,
        holdTimeSec: 90,
        routerId: 5,
        families: ['ipv4-unicast', 'ipv6-unicast'],
        asn4: true,
        routeRefresh: true,
      }),
    );
    this.socket.write(wire.encodeKeepalive());
    await until(() => this.keepalives > 0, { what: 'a KEEPALIVE' });
    return this;
  }
}

function message(type: number, body: readonly number[], length = 19 + body.length): Buffer {
  return Buffer.from([...marker, length >> 8, length & 255, type, ...body]);
}

async function start(asn?: number): Promise<{ runner: Runner; port: number }> {
  const port = await freePort(address);
  const hooks = { onRoutes: () => undefined, onPeerState: () => undefined };
  return { runner: runSpeaker(config(port, asn), silentLogger, hooks), port };
}

const route = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfc, 1, 0x40, 3, 4, 10, 0, 0, 2];
const update = (attributes: readonly number[], nlri: readonly number[]): Buffer =>
  message(2, [0, 0, attributes.length >> 8, attributes.length & 255, ...attributes, ...nlri]);

test('malformed messages: NOTIFICATION by the RFC, then closed, then a new session', async () => {
  const { runner, port } = await start();
  const cases: { name: string; established: boolean; bytes: Buffer; code: number; subcode: number }[] = [
    {
      name: 'HTTP request',
      established: false,
      bytes: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
      code: 1,
      subcode: 1,
    },
    { name: 'length 18', established: false, bytes: message(4, [], 18), code: 1, subcode: 2 },
    { name: 'length 65535, header alone', established: true, bytes: message(2, [], 65535), code: 1, subcode: 2 },
    { name: 'type 9', established: true, bytes: message(9, []), code: 1, subcode: 3 },
    {
      name: 'wrong AS',
      established: false,
      bytes: message(1, [4, 0xfc, 2, 0, 90, 0, 0, 0, 5, 0]),
      code: 2,
      subcode: 2,
    },
    {
      name: 'hold time 1',
      established: false,
      bytes: message(1, [4, 0xfc, 1, 0, 1, 0, 0, 0, 5, 0]),
      code: 2,
      subcode: 6,
    },
    { name: 'UPDATE before OPEN', established: false, bytes: update(route, [24, 10, 60, 1]), code: 5, subcode: 1 },
    {
      name: 'attributes longer than the message',
      established: true,
      bytes: message(2, [0, 0, 0xff, 0]),
      code: 3,
      subcode: 1,
    },
    { name: 'prefix length 33', established: true, bytes: update(route, [33, 10, 60, 1, 1, 1]), code: 3, subcode: 10 },
    {
      name: 'OPEN in Established',
      established: true,
      bytes: message(1, [4, 0xfc, 1, 0, 90, 0, 0, 0, 5, 0]),
      code: 5,
      subcode: 3,
    },
  ];
  for (const { name, established, bytes, code, subcode } of cases) {
    const client = new Client(port);
    if (established) await client.establish();
    client.socket.write(bytes);
    await until(() => client.notification && client.closed, { what: `the end of the session after: ${name}` });
    assert.deepEqual([client.notification?.code, client.notification?.subcode], [code, subcode], name);
    // Errors hold the next session back; a new start is what an operator would do.
    runner.speaker.configure({ ...config(port), peers: [] });
    runner.speaker.configure(config(port));
  }
  const last = await new Client(port).establish();
  last.socket.write(update(route, [24, 10, 60, 1]));
  await until(() => runner.speaker.status().paths.ipv4 === 2, { what: 'a route of a good session' });
  last.socket.destroy();
  await runner.stop('drain');
});

test('treat-as-withdraw keeps the session and takes the route (RFC 7606)', async () => {
  const { runner, port } = await start();
  const client = await new Client(port).establish();
  client.socket.write(update(route, [24, 10, 60, 1]));
  await until(() => runner.speaker.status().paths.ipv4 === 2, { what: 'the route' });
  const badOrigin = [0x40, 1, 1, 9, ...route.slice(4)];
  client.socket.write(update(badOrigin, [24, 10, 60, 1]));
  await until(() => runner.speaker.status().paths.ipv4 === 1, { what: 'the route to go' });
  const peer = runner.speaker.peerStatuses()[0]!;
  assert.equal(peer.state, 'Established');
  assert.equal(peer.updateErrors, 1);
  // Our own AS in the path: not used (RFC 4271 9.1.2).
  const loop = [0x40, 1, 1, 0, 0x40, 2, 10, 2, 2, 0, 0, 0xfc, 1, 0, 0, 0xfc, 0, ...route.slice(13)];
  client.socket.write(update(loop, [24, 10, 60, 2]));
  client.socket.write(update(route, [24, 10, 60, 3]));
  await until(() => runner.speaker.status().paths.ipv4 === 2, { what: 'the route after the loop' });
  assert.deepEqual(runner.speaker.routes({ prefix: '10.60.2.0/24' }).routes, []);
  client.socket.destroy();
  await runner.stop('drain');
});

test('random bytes, in every state: the speaker is still there', async () => {
  const { runner, port } = await start();
  let seed = 42;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * below);
  };
  for (let round = 0; round < 200; round++) {
    const client = new Client(port);
    if (round % 2 === 0) await client.establish();
    const body = Array.from({ length: random(60) }, () => random(256));
    // Mostly well-framed, so that the codec and not only the framer sees it.
    const bytes = round % 5 === 0 ? Buffer.from(body) : message(1 + random(5), body);
    if (round % 4 === 2) client.socket.write(update([...route, ...body], [24, 10, 60, 1]));
    client.socket.end(bytes);
    await until(() => client.closed, { what: `round ${round} to end` });
    runner.speaker.configure({ ...config(port), peers: [] });
    runner.speaker.configure(config(port));
  }
  const last = await new Client(port).establish();
  last.socket.write(update(route, [24, 10, 60, 1]));
  await until(() => runner.speaker.status().paths.ipv4 === 2, { what: 'a route of a good session' });
  last.socket.destroy();
  await runner.stop('drain');
});

test('strangers are turned away at once, and connections of a peer that never sends OPEN do not add up', async () => {
  const { runner, port } = await start();
  const strangers = Array.from({ length: 200 }, () => new Client(port, '127.0.0.3'));
  await until(() => strangers.every(({ closed }) => closed), { what: 'all strangers to be turned away' });
  const silent = Array.from({ length: 50 }, () => new Client(port));
  await until(() => silent.filter(({ closed }) => closed).length === 49, { what: 'all but the newest to be closed' });
  assert.equal(runner.speaker.openConnections, 1);
  const last = await new Client(port).establish();
  assert.equal(runner.speaker.peerStatuses()[0]!.state, 'Established');
  for (const { socket } of [...silent, last]) socket.destroy();
  await runner.stop('drain');
});

test('one that sends faster than it is read leaves the others their turn', async () => {
  const { runner, port } = await start(64666);
  const attacker = path.join(import.meta.dirname, '../support/bgp-attacker.ts');
  const args = [attacker, 'keepalives', '127.0.0.2', address, '3000000', String(port)];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  let most = 0;
  let before = 0;
  const messages = (): number => runner.speaker.peerStatuses()[0]!.messagesIn;
  while (messages() < 3_000_000) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    most = Math.max(most, messages() - before);
    before = messages();
  }
  // 128 KiB in one turn, and what had been read when that was known.
  const bytesMax = (128 + 2 * 64) * 1024;
  assert.ok(most * 19 <= bytesMax, `${most * 19} octets in one turn`);
  child.kill('SIGKILL');
  await until(() => runner.speaker.peerStatuses()[0]!.state !== 'Established', { what: 'the end' });
  await runner.stop('drain');
});
