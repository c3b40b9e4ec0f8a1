/**
 * One way of being a bad peer, in whatever namespace it was started in: `node bgp-attacker.ts MODE FROM TO COUNT [PORT [FAMILY]]`. Says `ready` when it has
 * begun, what it did as one line of JSON when it is done, and stays (with its connections) until it is killed.
 */
import net from 'node:net';
import { wire } from '#bgp';
import { AF_INET, libc, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, SysError, sockaddrIn } from '#sys';
import {
  asn4,
  attribute,
  bothFamilies,
  capabilities,
  capability,
  message,
  open,
  origin,
  sequence,
  u16,
  u32,
  update,
} from './hostile/build.ts';
import { largestUpdates } from './hostile/largest.ts';

const [mode, from, to, countText, port = '179', family = ''] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
  string?,
];
const count = Number(countText);
const attackerAsn = 64666;

const say = (what: object): void => void process.stdout.write(`${JSON.stringify(what)}\n`);
const capabilityOf = { refresh: 2, extendedMessages: 6, addPath: 69 } as const;
const openWith = (...more: readonly (readonly number[])[]): Uint8Array =>
  open({
    asn: attackerAsn,
    id: [10, 9, 0, 3],
    parameters: capabilities(...bothFamilies, capability(capabilityOf.refresh, []), asn4(attackerAsn), ...more),
  });
const goodOpen = openWith();
const keepalive = message(4, []);

function connect(localAddress = from): net.Socket {
  const socket = net.connect({ host: to, port: Number(port), localAddress });
  socket.on('error', () => undefined);
  return socket;
}
const ended = (socket: net.Socket): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()));

/** A session; resolves at the first KEEPALIVE. Keeps itself alive. */
async function establish(withOpen = goodOpen): Promise<net.Socket> {
  const socket = connect();
  socket.write(Buffer.concat([withOpen, keepalive]));
  const framer = wire.createFramer();
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk) => {
      framer.push(chunk, (type) => {
        if (type === wire.messageType.keepalive) resolve();
        return true;
      });
    });
  });
  setInterval(() => socket.writable && socket.write(keepalive), 1000);
  return socket;
}

/** Writes at the pace at which it is taken. */
async function pour(socket: net.Socket, chunks: Iterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for (const chunk of chunks) {
    bytes += chunk.length;
    if (!socket.write(chunk)) await new Promise<void>((resolve) => socket.once('drain', () => resolve()));
  }
  return bytes;
}

function* repeated(one: Uint8Array, times: number): Generator<Uint8Array> {
  const many = Math.max(1, Math.floor(65_536 / one.length));
  const block = Buffer.concat(new Array<Uint8Array>(many).fill(one));
  for (let left = times; left > 0; left -= many) yield block;
}

/** UPDATEs over 1,000 prefixes, each with attributes that were never there before. */
function* newSets(times: number): Generator<Uint8Array> {
  for (let n = 0; n < times; n += 200) {
    yield Buffer.concat(
      Array.from({ length: 200 }, (_, i) =>
        update({
          attributes: [
            origin,
            attribute(0x40, 2, sequence(attackerAsn, n + i + 1)),
            attribute(0x40, 3, [10, 9, 0, 3]),
            attribute(0xc0, 8, [...u32(n + i), ...u32(7)]),
          ],
          nlri: [24, 20, ...u16((n + i) % 1000)],
        }),
      ),
    );
  }
}

/** Different prefixes, many to an UPDATE. */
function* table(prefixes: number): Generator<Uint8Array> {
  for (let n = 0; n < prefixes; n += 500) {
    const nlri = Array.from({ length: 500 }, (_, i) => [24, 30 + ((n + i) >> 16), ((n + i) >> 8) & 255, (n + i) & 255]);
    yield update({
      attributes: [origin, attribute(0x40, 2, sequence(attackerAsn, n + 1)), attribute(0x40, 3, [10, 9, 0, 3])],
      nlri: nlri.flat(),
    });
  }
}

/** Octets of a message, without and with RFC 8654. */
const messageBytes = { plain: 4096, extended: 65_535 } as const;

/** Made before they are sent: that takes longer than to work them off. */
function largest(make: (typeof largestUpdates)[string], bytes: number): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, n) => make(attackerAsn, bytes, n));
}

/** UPDATEs of a few hundred prefixes, with a next hop that no other has; they change hands with each. */
function* madeUpNextHops(updates: number): Generator<Uint8Array> {
  for (let n = 0; n < updates; n++) {
    yield update({
      attributes: [
        origin,
        attribute(0x40, 2, sequence(attackerAsn, 7)),
        attribute(0x40, 3, [11, n >> 16, (n >> 8) & 255, n & 255]),
      ],
      nlri: [24, 31, 0, n & 255],
    });
  }
}

/** Every prefix with 128 paths, each by another next hop and with another MED, over and over. */
function* manyPaths(updates: number): Generator<Uint8Array> {
  for (let n = 0; n < updates; n++) {
    const nlri = Array.from({ length: 400 }, (_, i) => [...u32(n % 128), 24, 32, i >> 8, i & 255]);
    yield update({
      attributes: [
        origin,
        attribute(0x40, 2, sequence(attackerAsn, 7)),
        attribute(0x40, 3, [10, 9, 5, 1 + (n % 128)]),
        attribute(0x80, 4, u32(n)),
      ],
      nlri: nlri.flat(),
    });
  }
}

/** Two long sets of communities, which prefixes have in turn, in the order in which they are decided. */
function* setsInTurn(rounds: number): Generator<Uint8Array> {
  const prefixes = (of: (i: number) => boolean): number[] =>
    Array.from({ length: 2000 }, (_, i) => (of(i) ? [24, 33, i >> 8, i & 255] : [])).flat();
  const attributes = [origin, attribute(0x40, 2, sequence(attackerAsn, 7)), attribute(0x40, 3, [10, 9, 0, 3])];
  const long = (n: number): number[] =>
    attribute(0xc0, 8, Array.from({ length: 5000 }, (_, i) => u32(0xf000_0000 + n + i)).flat());
  for (let n = 0; n < rounds; n++) {
    yield Buffer.concat([
      update({ attributes, nlri: prefixes(() => true) }),
      update({ attributes: [...attributes, long(2 * n)], nlri: prefixes((i) => i % 2 === 0) }),
      update({ attributes: [...attributes, long(2 * n + 1)], nlri: prefixes((i) => i % 2 === 1) }),
    ]);
  }
}

const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_ESTABLISHED = 1;
const SO_LINGER = 13;
/** Connections open at once; each is reset when its place in the ring is needed again. */
const floodRing = 64;
/** Between looks at the clock and at signals. */
const floodBatch = 512;

/**
 * `net` would make 3,000 a second of it. Nothing waits: what is not connected when its turn comes to be reset (the other side's queue was
 * full) is counted as that.
 */
async function connectFlood(): Promise<object> {
  const started = performance.now();
  const linger = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
  const target = sockaddrIn(to, Number(port));
  const sources = Array.from({ length: 256 }, (_, n) => sockaddrIn(n % 4 === 0 ? from : `10.9.1.${1 + (n % 200)}`, 0));
  const info = Buffer.alloc(8);
  const infoLength = Buffer.from([8, 0, 0, 0]);
  const ring = new Int32Array(floodRing).fill(-1);
  let connected = 0;
  const end = (place: number): void => {
    const fd = ring[place]!;
    ring[place] = -1;
    if (fd < 0) return;
    libc.getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, infoLength);
    if (info[0] === TCP_ESTABLISHED) connected++;
    libc.close(fd);
  };
  let attempts = 0;
  while (attempts < count) {
    for (let left = floodBatch; left > 0; left--, attempts++) {
      const place = attempts % floodRing;
      end(place);
      const fd = libc.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) throw new SysError('socket', -fd);
      ring[place] = fd;
      libc.setsockopt(fd, SOL_SOCKET, SO_LINGER, linger, linger.length);
      const source = sources[attempts % sources.length]!;
      const bound = libc.bind(fd, source, source.length);
      if (bound < 0) throw new SysError('bind', -bound);
      libc.connect(fd, target, target.length);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let place = 0; place < floodRing; place++) end(place);
  const { user, system } = process.cpuUsage();
  const perCpuSecond = Math.round((1e6 * attempts) / (user + system));
  return {
    attempts,
    connected,
    perSecond: Math.round((1000 * attempts) / (performance.now() - started)),
    perCpuSecond,
  };
}

const modes: Readonly<Record<string, () => Promise<object>>> = {
  /** Another protocol on the port. */
  async http() {
    for (let i = 0; i < count; i++) {
      const socket = connect();
      socket.end('GET / HTTP/1.1\r\nHost: router\r\n\r\n');
      socket.resume();
      await ended(socket);
    }
    return { connections: count };
  },
  /** Half a header, and nothing more. */
  async loris() {
    const sockets = Array.from({ length: count }, () => connect());
    for (const socket of sockets) socket.write(keepalive.subarray(0, 10));
    for (const socket of sockets) socket.resume();
    let open = count;
    for (const socket of sockets) socket.once('close', () => open--);
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (open > 16) return;
        clearInterval(timer);
        resolve();
      }, 20);
    });
    return { connections: count, open };
  },
  /** Attempts as fast as system calls make them, three of four from addresses that are no peers, one from one that is. */
  async connect() {
    return connectFlood();
  },
  /** A session whose window stays shut. */
  async deaf() {
    const socket = await establish();
    socket.pause();
    return {};
  },
  async table() {
    return { bytes: await pour(await establish(), table(count)) };
  },
  async sets() {
    return { bytes: await pour(await establish(), newSets(count)) };
  },
  /** Of one family of `largestUpdates`. */
  async largest() {
    const messages = largest(largestUpdates[family]!, messageBytes.extended);
    const session = await establish(openWith(capability(capabilityOf.extendedMessages, [])));
    return { bytes: await pour(session, messages) };
  },
  /** All families, as large as they are without RFC 8654. */
  async large() {
    const messages = Object.values(largestUpdates).flatMap((make) => largest(make, messageBytes.plain));
    return { bytes: await pour(await establish(), messages) };
  },
  async nextHops() {
    return { bytes: await pour(await establish(), madeUpNextHops(count)) };
  },
  async paths() {
    const receive = capability(capabilityOf.addPath, [...u16(1), 1, 3, ...u16(2), 1, 3]);
    return { bytes: await pour(await establish(openWith(receive)), manyPaths(count)) };
  },
  async setsInTurn() {
    const session = await establish(openWith(capability(capabilityOf.extendedMessages, [])));
    return { bytes: await pour(session, setsInTurn(count)) };
  },
  async refreshes() {
    return { bytes: await pour(await establish(), repeated(message(5, [0, 1, 0, 1]), count)) };
  },
  async keepalives() {
    return { bytes: await pour(await establish(), repeated(keepalive, count)) };
  },
  async endOfRibs() {
    return { bytes: await pour(await establish(), repeated(update({}), count)) };
  },
  /** UPDATEs that are tolerated, each worth a line in the log. */
  async malformed() {
    const bad = update({ attributes: [attribute(0x40, 1, [9])], nlri: [24, 40, 0, 0] });
    return { bytes: await pour(await establish(), repeated(bad, count)) };
  },
  /** Sessions that are up, say a route, and are gone. */
  async churn() {
    for (let i = 0; i < count; i++) {
      const socket = connect();
      const gone = ended(socket);
      socket.write(Buffer.concat([goodOpen, keepalive, ...table(500)]));
      await new Promise<void>((resolve) => {
        let seen = 0;
        socket.on('data', (chunk) => {
          seen += chunk.length;
          if (seen > 60) resolve();
        });
        void gone.then(resolve);
      });
      socket.resetAndDestroy();
      await gone;
    }
    return { sessions: count };
  },
};

say({ ready: mode });
say({ done: mode, ...(await modes[mode]!()) });
setInterval(() => undefined, 1000);
