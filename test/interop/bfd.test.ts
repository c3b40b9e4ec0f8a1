/** BFD alone on real sockets: two of ours, BIRD and FRR at the other end, and packets that nobody should take. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { type BfdSessionConfig, type ControlPacket, emptyControlPacket, encodeControlPacket } from '#bgp';
import { BfdProcess, bfdSessionTo } from '../support/bfd.ts';
import { startFrr } from '../support/bfd-frr.ts';
import { BgpLink } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const alone = needs({ root: true, commands: ['ip', 'nft', 'ss', 'setpriv'] });
const withBird = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });
const withFrr = needs({ root: true, commands: ['ip', 'unshare'], provided: ['zebra', 'bgpd', 'bfdd', 'vtysh'] });

/** Ten packets may be lost: other processes of a busy machine are no failure. */
const session = (key: string, more: Partial<BfdSessionConfig> = {}): BfdSessionConfig =>
  bfdSessionTo(key, { multiplier: 10, ...more });

function linkLocal(link: BgpLink, namespace: string): string {
  const text = link.run(namespace, 'ip', '-6', 'addr', 'show', 'dev', 'e0', 'scope', 'link');
  return /inet6 (fe80:[0-9a-f:]+)/.exec(text)![1]!;
}
async function linkLocalReady(link: BgpLink): Promise<[string, string]> {
  for (const name of [link.a, link.b]) {
    await until(
      () => !/tentative/.test(link.run(name, 'ip', '-6', 'addr', 'show', 'dev', 'e0')) && linkLocal(link, name),
      {
        what: 'the link-local address',
      },
    );
  }
  return [linkLocal(link, link.a), linkLocal(link, link.b)];
}

/** Sends one datagram from a namespace. */
function sendFrom(
  link: BgpLink,
  namespace: string,
  packet: Uint8Array,
  to: { address: string; port?: number; ttl: number },
): void {
  const { address, port = 3784, ttl } = to;
  const script = `const s=require('node:dgram').createSocket('udp${address.includes(':') ? 6 : 4}');
s.bind(()=>{s.setTTL(${ttl});s.send(Buffer.from('${Buffer.from(packet).toString('hex')}','hex'),${port},'${address}',()=>s.close())})`;
  link.run(namespace, process.execPath, '-e', script);
}
function packet(more: Partial<ControlPacket> = {}): Uint8Array {
  const bytes = new Uint8Array(24);
  const defaults = { detectMult: 3, myDiscriminator: 77, desiredMinTxUs: 1_000_000, requiredMinRxUs: 1_000_000 };
  encodeControlPacket({ ...emptyControlPacket(), ...defaults, ...more }, bytes);
  return bytes;
}

test(
  'RFC 5881, RFC 5883: two of ours over IPv4, IPv6, link-local and several hops; all fall when nothing gets through',
  alone,
  async () => {
    await using link = new BgpLink();
    const [localA, localB] = await linkLocalReady(link);
    const sessions = (end: 'a' | 'b') => {
      const [own, other] = end === 'a' ? [1, 2] : [2, 1];
      return [
        session('ipv4', { peerAddress: `10.9.0.${other}` }),
        session('ipv6', { peerAddress: `fd09::${other}`, localAddress: `fd09::${own}` }),
        session('local', { peerAddress: end === 'a' ? localB : localA, interface: 'e0' }),
        session('far4', { peerAddress: `10.9.0.${other}`, multihop: true, maxHops: 3 }),
        session('far6', { peerAddress: `fd09::${other}`, multihop: true, maxHops: 1 }),
      ];
    };
    const [a, b] = [new BfdProcess(link, link.a), new BfdProcess(link, link.b)];
    a.configure(...sessions('a'));
    b.configure(...sessions('b'));
    const keys = sessions('a').map(({ key }) => key);
    for (const end of [a, b]) for (const key of keys) await end.reaches(key, 'Up');
    const sockets = link.run(link.a, 'ss', '-Hlnu');
    const ports = [...sockets.matchAll(/:(\d+)\s+(?:0\.0\.0\.0|\[::\]|\*):\*/g)].map((match) => Number(match[1]));
    const sources = ports.filter((port) => port >= 49_152);
    assert.equal(new Set(sources).size, keys.length, `RFC 5881 4: a source port each, 49152..65535: ${sockets}`);
    assert.deepEqual([...new Set(ports.filter((port) => port < 49_152))].sort(), [3784, 4784]);
    for (const name of [link.a, link.b]) {
      link.run(name, 'nft', 'table inet cut { chain in { type filter hook input priority 0; policy drop; }; }');
    }
    for (const end of [a, b]) {
      for (const key of keys) {
        const { diagnostic } = await end.reaches(key, 'Down');
        // The end that was cut off first noticed by itself; it may have told the other.
        assert.ok(diagnostic === 1 || (diagnostic === 3 && end === b), `${key}: diagnostic ${diagnostic}`);
      }
    }
    assert.deepEqual([a.errors, b.errors], ['', '']);
  },
);

test(
  'RFC 5882 8: what is deconfigured, or stopped in order, says AdminDown; a killed one says nothing',
  alone,
  async () => {
    await using link = new BgpLink();
    const a = new BfdProcess(link, link.a);
    const there = (key: string) => session(key, { peerAddress: '10.9.0.1' });
    a.configure(session('peer'));
    const start = async (): Promise<BfdProcess> => {
      const b = new BfdProcess(link, link.b);
      b.configure(there('peer'));
      await a.reaches('peer', 'Up');
      return b;
    };
    const first = await start();
    first.configure();
    assert.deepEqual(await a.reaches('peer', 'Down').then((s) => [s.remoteState, s.diagnostic]), ['AdminDown', 3]);
    first.configure(there('peer'));
    await a.reaches('peer', 'Up');
    await first.stop('adminDown');
    assert.equal((await a.reaches('peer', 'Down')).remoteState, 'AdminDown');
    const second = await start();
    await second.stop('silent');
    assert.deepEqual(await a.reaches('peer', 'Down').then((s) => [s.remoteState, s.diagnostic]), ['Down', 1]);
    const third = await start();
    await third.kill();
    assert.deepEqual(await a.reaches('peer', 'Down').then((s) => [s.remoteState, s.diagnostic]), ['Down', 1]);
  },
);

test(
  'RFC 5881 5, RFC 5880 6.8.6: wrong TTL, discriminator, length, authentication, port: counted, and nothing moves',
  alone,
  async () => {
    await using link = new BgpLink();
    const a = new BfdProcess(link, link.a);
    a.configure(
      session('near'),
      session('near6', { peerAddress: 'fd09::2' }),
      session('far', { peerAddress: '10.9.0.2', multihop: true, maxHops: 2 }),
    );
    await a.has('far');
    const authenticated = new Uint8Array(28);
    authenticated.set(packet());
    authenticated[1] = authenticated[1]! | 4;
    authenticated[3] = 28;
    const lying = packet();
    lying[3] = 200;
    const hostile: [Uint8Array, Parameters<typeof sendFrom>[3]][] = [
      [packet(), { address: '10.9.0.1', ttl: 254 }],
      [packet(), { address: 'fd09::1', ttl: 64 }],
      [packet(), { address: '10.9.0.1', port: 4784, ttl: 253 }],
      [packet({ state: 3, yourDiscriminator: 12_345 }), { address: '10.9.0.1', ttl: 255 }],
      [authenticated, { address: '10.9.0.1', ttl: 255 }],
      [lying, { address: '10.9.0.1', ttl: 255 }],
      [packet().subarray(0, 11), { address: '10.9.0.1', ttl: 255 }],
    ];
    for (const [bytes, to] of hostile) sendFrom(link, link.b, bytes, to);
    const drops = await until(
      async () => {
        const { received, drops } = await a.timing();
        return received >= hostile.length && drops;
      },
      { what: 'the packets' },
    );
    assert.deepEqual(Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0)), {
      hops: 3,
      unknownSession: 1,
      authentication: 1,
      length: 2,
    });
    for (const key of ['near', 'near6', 'far']) assert.equal(a.status(key)!.state, 'Down');
    // The same packets with what they lacked.
    sendFrom(link, link.b, packet(), { address: '10.9.0.1', ttl: 255 });
    sendFrom(link, link.b, packet(), { address: 'fd09::1', ttl: 255 });
    sendFrom(link, link.b, packet(), { address: '10.9.0.1', port: 4784, ttl: 254 });
    for (const key of ['near', 'near6', 'far']) await a.reaches(key, 'Init');
  },
);

test(
  'without CAP_SYS_NICE it works and says so once; an interface that goes and comes is sent on again',
  alone,
  async () => {
    await using link = new BgpLink();
    const a = new BfdProcess(link, link.a, ['setpriv', '--bounding-set', '-sys_nice', '--inh-caps', '-sys_nice']);
    const b = new BfdProcess(link, link.b);
    a.configure(session('peer', { interface: 'e0' }));
    b.configure(session('peer', { peerAddress: '10.9.0.1' }));
    await a.reaches('peer', 'Up');
    assert.equal((await a.timing()).realtime, false);
    assert.equal((await b.timing()).realtime, true);
    assert.equal(a.logs.filter(({ message }) => /real-time/.test(message)).length, 1);
    link.run(link.a, 'ip', 'link', 'set', 'e0', 'name', 'other');
    link.run(link.a, 'ip', 'link', 'set', 'other', 'down');
    await a.reaches('peer', 'Down');
    link.run(link.a, 'ip', 'link', 'set', 'other', 'up');
    link.run(link.a, 'ip', 'link', 'set', 'other', 'name', 'e0');
    await a.reaches('peer', 'Up');
    assert.equal(a.errors, '');
  },
);

test(
  'RFC 5880 6.8.4: a process that was stopped for far longer than the detection time takes its own delay for no silence of its peers',
  alone,
  async () => {
    await using link = new BgpLink();
    const [a, b] = [new BfdProcess(link, link.a), new BfdProcess(link, link.b)];
    // b waits for 255 of our packets, 13 s: it must not see the stop itself. We wait for 10 of its own.
    const of = (own: 'a' | 'b', key: string, addresses: readonly [string, string]): BfdSessionConfig =>
      session(key, {
        peerAddress: addresses[own === 'a' ? 1 : 0],
        localAddress: addresses[own === 'a' ? 0 : 1],
        multihop: key === 'far',
        maxHops: key === 'far' ? 255 : 1,
        multiplier: own === 'a' ? 255 : 10,
      });
    const all = (own: 'a' | 'b'): BfdSessionConfig[] => [
      of(own, 'near', ['10.9.0.1', '10.9.0.2']),
      of(own, 'near6', ['fd09::1', 'fd09::2']),
      of(own, 'far', ['10.9.0.1', '10.9.0.2']),
    ];
    a.configure(...all('a'));
    b.configure(...all('b'));
    for (const end of [a, b]) {
      for (const { key } of all('a')) {
        await end.reaches(key, 'Up');
        await until(() => end.status(key)!.detectionTimeUs === (end === a ? 500_000 : 12_750_000), {
          what: `${key} to be as quick as agreed`,
        });
      }
    }
    for (let round = 0; round < 5; round++) {
      const { sent } = await b.timing();
      process.kill(a.pid, 'SIGSTOP');
      // 3 sessions, 20 intervals each.
      await until(async () => (await b.timing()).sent > sent + 60, { what: 'the time to pass' });
      process.kill(a.pid, 'SIGCONT');
      const { received } = await a.timing();
      await until(async () => (await a.timing()).received > received + 10, { what: 'the process to go on' });
    }
    for (const end of [a, b]) {
      for (const { key } of all('a'))
        assert.deepEqual([end.status(key)!.state, end.status(key)!.flaps], ['Up', 0], key);
    }
  },
);

test(
  'BFD shares the fate of its owner: exited with its own code, or killed; the owner does not survive it',
  alone,
  async () => {
    await using link = new BgpLink();
    const started = async (): Promise<BfdProcess> => {
      const owner = new BfdProcess(link, link.a);
      owner.configure(session('peer'));
      await owner.has('peer');
      return owner;
    };
    const gone = (pid: number): Promise<boolean> =>
      until(() => !fs.existsSync(`/proc/${pid}/exe`), { what: 'the process of BFD to be gone' });
    const exits = await started();
    const ofExits = exits.pid;
    assert.equal(await exits.exit(3), 3, exits.errors);
    await gone(ofExits);
    const isKilled = await started();
    const ofKilled = isKilled.pid;
    await isKilled.kill();
    await gone(ofKilled);
    const survives = await started();
    process.kill(survives.pid, 'SIGKILL');
    await until(() => survives.exited, { what: 'the owner to end' });
    assert.match(survives.errors, /the process of BFD ended: SIGKILL/);
  },
);

test(
  'signals that a terminal or a service manager sends to all processes: BFD leaves them to its owner',
  alone,
  async () => {
    await using link = new BgpLink();
    const [a, b] = [new BfdProcess(link, link.a), new BfdProcess(link, link.b)];
    a.configure(session('peer'));
    b.configure(session('peer', { peerAddress: '10.9.0.1' }));
    await a.reaches('peer', 'Up');
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(a.pid, signal);
    const { sent } = await a.timing();
    await until(async () => (await a.timing()).sent > sent + 40, { what: 'it to go on' });
    assert.deepEqual([a.status('peer')!.state, a.status('peer')!.flaps, a.exited], ['Up', 0, false]);
    await a.stop('adminDown');
    await until(() => b.status('peer')!.remoteState === 'AdminDown', { what: 'the farewell' });
  },
);

test('a port that another daemon has: said once, and taken when it is free', alone, async () => {
  await using link = new BgpLink();
  const first = new BfdProcess(link, link.a);
  first.configure(session('peer'));
  await first.has('peer');
  const second = new BfdProcess(link, link.a);
  second.configure(session('peer'));
  await until(() => second.logs.some(({ message }) => /BFD cannot receive/.test(message)), { what: 'the report' });
  const far = new BfdProcess(link, link.b);
  far.configure(session('peer', { peerAddress: '10.9.0.1' }));
  await far.reaches('peer', 'Up');
  await first.stop('adminDown');
  await second.reaches('peer', 'Up');
  assert.equal(second.logs.filter(({ message }) => /BFD cannot receive/.test(message)).length, 1);
});

test(
  'RFC 5881 3: BIRD: link-local and several hops, intervals that each side changes while the session stays up',
  withBird,
  async () => {
    await using link = new BgpLink();
    const [localA, localB] = await linkLocalReady(link);
    const birdText = (minTxMs: number) => `router id 10.9.0.2;
log stderr all;
protocol device {}
protocol bfd b {
  interface "e0" { min tx interval ${minTxMs} ms; min rx interval 60 ms; multiplier 10; };
  multihop { min tx interval 70 ms; min rx interval 70 ms; multiplier 10; };
  neighbor ${localA} dev "e0" local ${localB};
  neighbor 10.9.0.1 local 10.9.0.2 multihop on;
}`;
    const bird = await link.bird(birdText(60));
    const a = new BfdProcess(link, link.a);
    const local = session('local', { peerAddress: localB, interface: 'e0' });
    const far = session('far', { multihop: true, maxHops: 255, localAddress: '10.9.0.1' });
    a.configure(local, far);
    await a.reaches('local', 'Up');
    await a.reaches('far', 'Up');
    const agree = (key: string, expected: object): Promise<unknown> =>
      until(
        () => {
          const { txIntervalUs, rxIntervalUs, detectionTimeUs } = a.status(key)!;
          assert.deepEqual({ txIntervalUs, rxIntervalUs, detectionTimeUs }, expected);
          return true;
        },
        { what: 'the intervals to be agreed upon' },
      );
    await agree('local', { txIntervalUs: 60_000, rxIntervalUs: 60_000, detectionTimeUs: 600_000 });
    await agree('far', { txIntervalUs: 70_000, rxIntervalUs: 70_000, detectionTimeUs: 700_000 });
    a.configure({ ...local, minTxUs: 200_000, minRxUs: 90_000 }, far);
    await agree('local', { txIntervalUs: 200_000, rxIntervalUs: 90_000, detectionTimeUs: 900_000 });
    await until(() => /e0\s+Up\s+\S+\s+0\.090\s+2\.000/.test(bird.birdc('show bfd sessions')), {
      what: () => `BIRD to send every 90 ms and wait for 10 of 200: ${bird.birdc('show bfd sessions')}`,
    });
    bird.configure(birdText(150));
    await agree('local', { txIntervalUs: 200_000, rxIntervalUs: 150_000, detectionTimeUs: 1_500_000 });
    for (const key of ['local', 'far']) assert.equal(a.status(key)!.flaps, 0);
  },
);

test(
  'RFC 5881, RFC 5883: FRR: IPv4, IPv6, link-local, several hops, an active and a passive end, intervals that change',
  withFrr,
  async () => {
    await using link = new BgpLink();
    const [localA, localB] = await linkLocalReady(link);
    const quick = ' receive-interval 60\n transmit-interval 60\n detect-multiplier 10';
    const frr = await startFrr(
      link,
      `bfd
peer 10.9.0.1
${quick}
passive-mode
exit
peer fd09::1 local-address fd09::2
${quick}
exit
peer ${localA} local-address ${localB} interface e0
${quick}
exit
peer 10.9.0.1 multihop local-address 10.9.0.2
${quick}
exit
exit
`,
    );
    const a = new BfdProcess(link, link.a);
    const sessions = [
      session('ipv4'),
      session('ipv6', { peerAddress: 'fd09::2' }),
      session('local', { peerAddress: localB, interface: 'e0' }),
      session('far', { multihop: true, maxHops: 255, localAddress: '10.9.0.1' }),
    ];
    a.configure(...sessions);
    for (const { key } of sessions) await a.reaches(key, 'Up');
    for (const { key } of sessions) {
      await until(() => a.status(key)!.detectionTimeUs === 600_000 && a.status(key)!.txIntervalUs === 60_000, {
        what: `${key}: intervals of FRR: ${JSON.stringify(a.status(key))}`,
      });
    }
    a.configure(...sessions.map((one) => ({ ...one, minTxUs: 250_000, minRxUs: 250_000 })));
    await until(() => frr.bfd('fd09::1')?.['remote-transmit-interval'] === 250, { what: 'our interval at FRR' });
    frr.configure('bfd', 'peer fd09::1 local-address fd09::2', 'transmit-interval 400');
    await until(() => a.status('ipv6')!.rxIntervalUs === 400_000, { what: 'the interval of FRR' });
    for (const { key } of sessions) assert.deepEqual([a.status(key)!.state, a.status(key)!.flaps], ['Up', 0], key);
    frr.configure('bfd', 'peer fd09::1 local-address fd09::2', 'shutdown');
    assert.equal((await a.reaches('ipv6', 'Down')).remoteState, 'AdminDown');
  },
);
