import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import oracleRoutes from 'netlink/dist/rt/gen_structs.js';
import oracle from 'netlink/dist/structs.js';
import { type Cidr, formatIp, parseCidr, parseIp, toCidr } from '#kit';
import { MessageWriter, parseAcknowledgement, parseAttributes, parseMessages } from './codec.ts';
import { addRoute, decodeRoute, type RouteSpec } from './route.ts';
import type { Netlink } from './socket.ts';

/** Collects what would be sent. */
function collect(send: (netlink: Netlink) => void): Buffer {
  const writer = new MessageWriter(64);
  let sequence = 7;
  const fake = {
    add(type: number, flags: number, fill: (w: MessageWriter) => void) {
      fill(writer.begin(type, flags, sequence++));
      writer.end();
      return fake;
    },
  };
  send(fake as unknown as Netlink);
  return writer.bytes.subarray(0, writer.offset);
}

const v4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => formatIp(b));
const v6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((b) => formatIp(b));
const spec = fc.boolean().chain((six) =>
  fc.record(
    {
      prefix: fc
        .tuple(six ? v6 : v4, fc.integer({ min: 0, max: six ? 128 : 32 }))
        .map(([a, n]) => toCidr(`${a}/${n}`) as Cidr),
      protocol: fc.integer({ min: 1, max: 255 }),
      table: fc.constantFrom(254, 255, 1000),
      metric: fc.integer({ min: 1, max: 0xffffffff }),
      nexthopId: fc.integer({ min: 1, max: 0xffffffff }),
      ifIndex: fc.integer({ min: 1, max: 1 << 20 }),
      gateway: six ? v6 : v4,
      prefsrc: six ? v6 : v4,
    },
    { requiredKeys: ['prefix', 'protocol'] },
  ),
);

test('routes as written are read by another implementation as they were meant', () => {
  fc.assert(
    fc.property(fc.array(spec, { minLength: 1, maxLength: 5 }), (routes) => {
      const bytes = collect((netlink) => {
        for (const route of routes) addRoute(netlink, route as RouteSpec, 'replace');
      });
      const messages = oracle.parseMessages(bytes);
      assert.equal(messages.length, routes.length);
      for (const [i, message] of messages.entries()) {
        const route = routes[i] as RouteSpec;
        const prefix = parseCidr(route.prefix)!;
        assert.deepEqual([message.type, message.flags, message.seq], [24, 0x501, 7 + i]);
        const head = oracleRoutes.parseRoute(message.data.subarray(0, 12));
        assert.equal(head.family, prefix.family === 4 ? 2 : 10);
        assert.equal(head.dstLen, prefix.length);
        const attributes = oracleRoutes.parseRouteAttrs(message.data.subarray(12));
        const bytesOf = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(parseIp(text)!));
        assert.deepEqual(attributes.dst, prefix.length ? Buffer.from(prefix.bytes) : undefined);
        assert.equal(attributes.table ?? head.table, route.table ?? 254);
        assert.equal(attributes.priority, route.metric);
        assert.equal(attributes.oif, route.ifIndex);
        assert.equal(attributes.nhId?.readUInt32LE(0), route.nexthopId);
        assert.deepEqual(attributes.gateway, bytesOf(route.gateway));
        assert.deepEqual(attributes.prefsrc, bytesOf(route.prefsrc));
      }
    }),
  );
});

test('multipath routes of another writer are decoded path by path', () => {
  const hop = fc.record({
    gateway: v4,
    ifIndex: fc.integer({ min: 1, max: 1000 }),
    weight: fc.integer({ min: 1, max: 256 }),
  });
  fc.assert(
    fc.property(fc.array(hop, { minLength: 1, maxLength: 8 }), (hops) => {
      const paths = hops.map(({ gateway, ifIndex, weight }) => {
        const attribute = Buffer.concat(oracle.formatAttribute({ type: 5, data: parseIp(gateway)! }));
        const head = oracleRoutes.formatRouteNextHop({ len: 8 + attribute.length, hops: weight - 1, ifindex: ifIndex });
        return Buffer.concat([head, attribute]);
      });
      const body = Buffer.concat([
        oracleRoutes.formatRoute({ family: 2, dstLen: 8, table: 254, protocol: 'STATIC', type: 'UNICAST' }),
        ...oracle.formatAttribute({ type: 1, data: Buffer.from([10, 0, 0, 0]) }),
        ...oracle.formatAttribute({ type: 9, data: Buffer.concat(paths) }),
      ]);
      const route = decodeRoute({ type: 24, flags: 0, sequence: 0, port: 0, body })!;
      assert.equal(route.prefix, '10.0.0.0/8');
      assert.equal(route.protocol, 4);
      assert.deepEqual(
        route.nextHops.map(({ gateway, ifIndex, weight }) => ({ gateway, ifIndex, weight })),
        hops.map((hop) => ({ ...hop })),
      );
    }),
  );
});

test('no bytes make the parsers read outside, loop or throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (input) => {
      const bytes = Buffer.from(input);
      for (const message of parseMessages(bytes, bytes.length)) {
        parseAttributes(message.body);
        if (message.body.length >= 12) decodeRoute(message);
      }
    }),
  );
});

test('the text of an extended acknowledgement is found behind a capped and a whole echo', () => {
  for (const capped of [true, false]) {
    const echo = Buffer.alloc(capped ? 16 : 28);
    echo.writeUInt32LE(28, 0);
    const text = Buffer.concat(oracle.formatAttribute({ type: 1, data: Buffer.from('no such thing\0') }));
    const errno = Buffer.alloc(4);
    errno.writeInt32LE(-2);
    const body = Buffer.concat([errno, echo, text]);
    const flags = 0x200 | (capped ? 0x100 : 0);
    assert.deepEqual(parseAcknowledgement({ type: 2, flags, sequence: 9, port: 0, body }), {
      sequence: 9,
      errno: 2,
      code: 'ENOENT',
      text: 'no such thing',
    });
  }
});

test('a message longer than the buffer makes it grow without losing what stands in it', () => {
  const writer = new MessageWriter(32);
  writer.begin(1, 0, 1).attr(1, Buffer.alloc(500, 7)).end();
  writer
    .begin(2, 0, 2)
    .nest(3, (w) => w.attrU32(4, 5))
    .end();
  const messages = [...parseMessages(writer.bytes, writer.offset)];
  assert.deepEqual(
    messages.map((m) => m.type),
    [1, 2],
  );
  assert.deepEqual(parseAttributes(messages[0]!.body).get(1), Buffer.alloc(500, 7));
  assert.equal(parseAttributes(parseAttributes(messages[1]!.body).get(3)!).get(4)!.readUInt32LE(0), 5);
});
