/** Framing and the rare messages. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createFramer,
  decodeNotification,
  decodeOpen,
  decodeRouteRefresh,
  describeNotification,
  encodeEndOfRib,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  encodeRouteRefresh,
  negotiate,
  type OpenMessage,
  shutdownData,
} from './index.ts';
import { encodeParameters } from './open.ts';
import { bytesOf, hexOf, message } from './test-messages.ts';

// ------------------------------------------------------------------------------------------------------------- framing

const marker = new Array<number>(16).fill(0xff);
const header = (length: number, type: number) => Uint8Array.from([...marker, length >> 8, length & 255, type]);

/** [clause, what, octets, code, subcode, data, silent] */
const badFrames: readonly [string, string, Uint8Array, string, string, boolean?][] = [
  ['RFC 4271 6.1', 'marker wrong', Uint8Array.from([...marker.slice(1), 0, 0, 19, 4]), '1/1', ''],
  ['RFC 4271 6.1', 'an HTTP request', new TextEncoder().encode('GET / HTTP/1.0\r\n\r\n'), '1/1', ''],
  ['RFC 4271 6.1', 'the first octet of something else', Uint8Array.of(0x16), '1/1', ''],
  ['RFC 4271 6.1', 'length 18', header(18, 4), '1/2', '0012'],
  ['RFC 4271 6.1', 'length 4097, from the header alone', header(4097, 2), '1/2', '1001'],
  ['RFC 4271 6.1', 'length 65535, from the header alone', header(65535, 2), '1/2', 'ffff'],
  ['RFC 4271 6.1', 'type 0', header(19, 0), '1/3', '00'],
  ['RFC 4271 6.1', 'type 6', header(19, 6), '1/3', '06'],
  ['RFC 4271 6.1', 'type 255', header(19, 255), '1/3', 'ff'],
  ['RFC 4271 6.1', 'KEEPALIVE of 20', header(20, 4), '1/2', '0014'],
  ['RFC 4271 6.1', 'OPEN of 28', header(28, 1), '1/2', '001c'],
  ['RFC 4271 6.1', 'UPDATE of 22', header(22, 2), '1/2', '0016'],
  ['RFC 4271 6.4', 'NOTIFICATION of 20 is not answered', header(20, 3), '1/2', '0014', true],
];
for (const [clause, what, octets, error, data, silent = false] of badFrames) {
  test(`${clause}: ${what}: ${error}`, () => {
    for (const chunkBytes of [octets.length, 1, 7]) {
      const framer = createFramer();
      let found: ReturnType<typeof framer.push>;
      for (let at = 0; at < octets.length && !found; at += chunkBytes) {
        found = framer.push(octets.subarray(at, at + chunkBytes), () => assert.fail('no message here'));
      }
      assert.equal(`${found?.code}/${found?.subcode}`, error);
      assert.equal(hexOf(found!.data), data);
      assert.equal(found?.silent === true, silent);
    }
  });
}

test('messages come out whole and in order, however the stream is cut', () => {
  const body = fc.uint8Array({ maxLength: 300 });
  const type = fc.constantFrom(2, 3, 4);
  const messages = fc.array(fc.tuple(type, body), { maxLength: 20 });
  const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(messages, cuts, (list, sizes) => {
      const wanted = list.map(([t, b]) => message(t, t === 4 ? [] : [0, 0, 0, 0, ...b]));
      const stream = Uint8Array.from(wanted.flatMap((m) => [...m]));
      const got: string[] = [];
      const framer = createFramer();
      for (let at = 0, i = 0; at < stream.length; i++) {
        const size = sizes[i % sizes.length]!;
        const error = framer.push(stream.slice(at, at + size), (t, bytes, start, end) => {
          assert.equal(bytes[start + 18], t);
          got.push(hexOf(bytes.subarray(start, end)));
          return true;
        });
        assert.equal(error, undefined);
        at += size;
      }
      assert.deepEqual(got, wanted.map(hexOf));
      assert.equal(framer.pendingBytes, 0);
    }),
  );
});

test('a broken stream gives the same messages and the same error, however it is cut', () => {
  const stream = Uint8Array.from([
    ...encodeKeepalive(),
    ...encodeEndOfRib(6),
    ...encodeRouteRefresh('ipv4-unicast'),
    ...encodeKeepalive(),
  ]);
  const read = (bytes: Uint8Array, size: number) => {
    const framer = createFramer();
    const got: unknown[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      const error = framer.push(
        bytes.slice(at, at + size),
        (_type, b, start, end) => got.push(hexOf(b.subarray(start, end))) > 0,
      );
      if (error) return [...got, `${error.code}/${error.subcode}`, hexOf(error.data)];
    }
    return [...got, framer.pendingBytes];
  };
  const change = fc.tuple(fc.nat(stream.length - 1), fc.nat(255));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 3 }), fc.integer({ min: 1, max: 60 }), (changes, size) => {
      const broken = stream.slice();
      for (const [at, value] of changes) broken[at] = value;
      assert.deepEqual(read(broken, size), read(broken, broken.length));
    }),
    { numRuns: 1000 },
  );
});

test('a whole message is handed on in place, and a handler that says stop gets no more', () => {
  const chunk = Uint8Array.from([...encodeKeepalive(), ...encodeKeepalive()]);
  let calls = 0;
  createFramer().push(chunk, (_type, bytes) => {
    assert.equal(bytes, chunk);
    calls++;
    return false;
  });
  assert.equal(calls, 1);
});

// ---------------------------------------------------------------------------------------------------------------- OPEN

const family = fc.constantFrom('ipv4-unicast' as const, 'ipv6-unicast' as const);
const anyOpen: fc.Arbitrary<OpenMessage> = fc
  .record({
    asn: fc.integer({ min: 1, max: 0xffffffff }),
    holdTimeSec: fc.oneof(fc.constant(0), fc.integer({ min: 3, max: 65535 })),
    routerId: fc.integer({ min: 1, max: 0xffffffff }),
    families: fc.uniqueArray(family, { minLength: 1 }),
    routeRefresh: fc.boolean(),
    restart: fc.option(
      fc.record({
        restarting: fc.boolean(),
        notification: fc.boolean(),
        restartTimeSec: fc.integer({ min: 0, max: 4095 }),
        families: fc.uniqueArray(fc.record({ family, forwarding: fc.boolean() }, { noNullPrototype: true }), {
          selector: (f) => f.family,
        }),
      }),
    ),
  })
  .map(({ restart, ...open }) => ({ ...open, asn4: true, ...(restart ? { gracefulRestart: { ...restart } } : {}) }));

function decoded(bytes: Uint8Array) {
  return decodeOpen(bytes, 0, bytes.length);
}

test('OPEN round trip, in place inside a larger buffer', () => {
  fc.assert(
    fc.property(anyOpen, (open) => {
      const bytes = encodeOpen(open);
      assert.deepEqual(decoded(bytes), { ok: true, value: open });
      const shifted = Uint8Array.from([1, 2, 3, ...bytes, 4]);
      assert.deepEqual(decodeOpen(shifted, 3, shifted.length - 1), { ok: true, value: open });
    }),
  );
});

/** Version 4, AS 65001, hold 180, id 10.0.0.1, then optional parameters. */
const open = (...parameters: number[]) => message(1, [4, 0xfd, 0xe9, 0, 180, 10, 0, 0, 1, ...parameters]);
const capabilities = (...list: number[]) => open(list.length + 2, 2, list.length, ...list);

const badOpens: readonly [string, string, Uint8Array, string, string?][] = [
  ['RFC 4271 6.2', 'version 3', message(1, [3, 0xfd, 0xe9, 0, 180, 10, 0, 0, 1, 0]), '2/1', '0004'],
  ['RFC 7607 2', 'AS 0', message(1, [4, 0, 0, 0, 180, 10, 0, 0, 1, 0]), '2/2'],
  ['RFC 7607 2', 'AS 0 in the capability', capabilities(65, 4, 0, 0, 0, 0), '2/2'],
  ['RFC 4271 6.2', 'hold time 1', message(1, [4, 0xfd, 0xe9, 0, 1, 10, 0, 0, 1, 0]), '2/6'],
  ['RFC 4271 6.2', 'hold time 2', message(1, [4, 0xfd, 0xe9, 0, 2, 10, 0, 0, 1, 0]), '2/6'],
  ['RFC 6286 2.1', 'router id 0', message(1, [4, 0xfd, 0xe9, 0, 180, 0, 0, 0, 0, 0]), '2/3'],
  ['RFC 4271 6.2', 'optional parameter 1 (authentication)', open(3, 1, 1, 0), '2/4'],
  ['RFC 4271 6.2', 'optional parameter 77', open(2, 77, 0), '2/4'],
  ['RFC 4271 6.2', 'parameters longer than the message', open(10, 2, 2, 2, 0), '2/0'],
  ['RFC 4271 6.2', 'parameters shorter than the message', open(0, 2, 2, 2, 0), '2/0'],
  ['RFC 4271 6.2', 'a parameter overruns', open(4, 2, 9, 2, 0), '2/0'],
  ['RFC 4271 6.2', 'half a parameter', open(1, 2), '2/0'],
  ['RFC 5492 4', 'a capability overruns', capabilities(65, 40, 0, 0), '2/0'],
  ['RFC 5492 4', 'half a capability', capabilities(65), '2/0'],
  ['RFC 9072 2', 'extended parameters cut short', open(255, 255, 0), '2/0'],
  ['RFC 9072 2', 'extended parameter overruns', open(255, 255, 0, 3, 2, 0, 9), '2/0'],
];
for (const [clause, what, bytes, error, data] of badOpens) {
  test(`${clause}: OPEN, ${what}: ${error}`, () => {
    const result = decoded(bytes);
    assert.ok(!result.ok);
    assert.equal(`${result.error.code}/${result.error.subcode}`, error);
    if (data) assert.equal(hexOf(result.error.data), data);
  });
}

test('OPEN: capabilities that are unknown, repeated or of odd length keep nothing down (RFC 5492 3)', () => {
  const value = (bytes: Uint8Array) => {
    const result = decoded(bytes);
    assert.ok(result.ok, result.ok ? '' : result.error.reason);
    return result.value;
  };
  const plain: OpenMessage = {
    asn: 65001,
    holdTimeSec: 180,
    routerId: 0x0a000001,
    families: ['ipv4-unicast'],
    asn4: false,
    routeRefresh: false,
  };
  assert.deepEqual(value(open(0)), plain, 'no parameters: IPv4 unicast (RFC 4760 8)');
  assert.deepEqual(value(capabilities(77, 3, 1, 2, 3, 73, 2, 200, 1)), plain, 'unknown, and an overrunning FQDN');
  assert.deepEqual(value(capabilities(65, 3, 0, 1, 2)), plain, '4-octet AS of 3 octets');
  assert.deepEqual(value(capabilities(2, 1, 0)), plain, 'route refresh of 1 octet');
  assert.deepEqual(value(capabilities(64, 3, 0, 0, 0)), plain, 'graceful restart of 3 octets');
  assert.deepEqual(value(capabilities(1, 3, 0, 1, 1)), plain, 'multiprotocol of 3 octets');
  assert.deepEqual(value(capabilities(1, 4, 0, 25, 0, 70)).families, [], 'EVPN only: no family of ours');
  const twice = value(capabilities(1, 4, 0, 2, 0, 1, 1, 4, 0, 2, 0, 1, 64, 2, 0x40, 5, 64, 2, 0x80, 9));
  assert.deepEqual(twice.families, ['ipv6-unicast']);
  assert.equal(twice.gracefulRestart?.restartTimeSec, 9, 'the last one counts (RFC 4724 3)');
  const parts = value(open(8, 2, 2, 2, 0, 2, 2, 70, 0));
  assert.equal(parts.routeRefresh, true, 'capabilities in several parameters');
});

test('OPEN: RFC 9072 form, made where 255 octets do not do and read always', () => {
  const short = open(255, 255, 0, 5, 2, 0, 2, 2, 0);
  const result = decoded(short);
  assert.ok(result.ok && result.value.routeRefresh);
  const many = Uint8Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? 200 : 0));
  const long = decoded(message(1, [4, 0xfd, 0xe9, 0, 180, 10, 0, 0, 1, ...encodeParameters(many)]));
  assert.ok(long.ok, long.ok ? '' : long.error.reason);
  assert.deepEqual([...encodeParameters(many).subarray(0, 7)], [255, 255, 1, 47, 2, 1, 44]);
});

test('negotiation: the lower hold time, the common families, each feature only from both', () => {
  const local: OpenMessage = {
    asn: 1,
    holdTimeSec: 90,
    routerId: 1,
    families: ['ipv6-unicast', 'ipv4-unicast'],
    asn4: true,
    routeRefresh: true,
  };
  const remote: OpenMessage = {
    ...local,
    asn: 2,
    routerId: 2,
    holdTimeSec: 10,
    families: ['ipv4-unicast'],
    asn4: false,
  };
  const result = negotiate(local, remote);
  assert.deepEqual(
    [result.ebgp, result.asn4, result.families, result.holdTimeSec, result.keepaliveSec, result.gracefulRestart],
    [true, false, ['ipv4-unicast'], 10, 3, undefined],
  );
  assert.equal(negotiate(local, { ...remote, holdTimeSec: 0 }).keepaliveSec, 0);
});

// ------------------------------------------------------------------------------------- NOTIFICATION, ROUTE-REFRESH, EOR

test('NOTIFICATION round trip; too much data is cut', () => {
  fc.assert(
    fc.property(fc.nat(255), fc.nat(255), fc.uint8Array({ maxLength: 5000 }), (code, subcode, data) => {
      const bytes = encodeNotification({ code, subcode, data });
      assert.ok(bytes.length <= 4096);
      const back = decodeNotification(bytes, 0, bytes.length);
      assert.deepEqual(back, { code, subcode, data: data.slice(0, 4075) });
      assert.equal(typeof describeNotification(back), 'string');
    }),
  );
});

test('NOTIFICATION for people', () => {
  const text = (code: number, subcode: number, data: number[] | Uint8Array = []) =>
    describeNotification({ code, subcode, data: Uint8Array.from(data) });
  assert.equal(text(4, 0), 'Hold Timer Expired');
  assert.equal(text(2, 2), 'OPEN Message Error/Bad Peer AS');
  assert.equal(text(5, 3, [1]), 'Finite State Machine Error/Unexpected Message in Established: 0x01');
  assert.equal(text(6, 2, shutdownData('wartung ü')), 'Cease/Administrative Shutdown: "wartung ü"');
  assert.equal(text(6, 2, [0]), 'Cease/Administrative Shutdown');
  assert.equal(text(6, 2, [9, 65]), 'Cease/Administrative Shutdown: 0x0941', 'overrunning (RFC 9003 3)');
  assert.equal(text(6, 4, [2, 0xff, 0xfe]), 'Cease/Administrative Reset: 0x02fffe', 'not UTF-8');
  assert.equal(
    text(6, 2, shutdownData('a\n"\u001b[2J\u202e')),
    'Cease/Administrative Shutdown: "a\\u{a}\\"\\u{1b}[2J\\u{202e}"',
  );
  assert.equal(text(6, 9, [4, 0]), 'Cease/Hard Reset (Hold Timer Expired)');
  assert.equal(text(6, 9, [6, 2, 1, 97]), 'Cease/Hard Reset (Cease/Administrative Shutdown: "a")');
  assert.equal(text(6, 9, [6, 9, 6, 9, 6, 9]), 'Cease/Hard Reset: 0x060906090609', 'nested without end: one level');
  assert.equal(text(99, 7), 'Error Code 99/Subcode 7');
  assert.equal(text(8, 0), 'Send Hold Timer Expired');
});

test('a long shutdown text is cut at a character (RFC 9003 2)', () => {
  const data = shutdownData('ü'.repeat(200));
  assert.deepEqual([data.length, data[0]], [255, 254]);
  assert.doesNotThrow(() => new TextDecoder('utf-8', { fatal: true }).decode(data.subarray(1)));
});

test('ROUTE-REFRESH: RFC 2918, RFC 7313 5', () => {
  const bytes = encodeRouteRefresh('ipv6-unicast');
  assert.equal(hexOf(bytes.subarray(16)), '00170500020001');
  const read = (...body: number[]) => decodeRouteRefresh(message(5, body), 0, 19 + body.length);
  assert.deepEqual(decodeRouteRefresh(bytes, 0, 23), { ok: true, value: { family: 'ipv6-unicast', subtype: 0 } });
  assert.deepEqual(read(0, 1, 2, 1), { ok: true, value: { family: 'ipv4-unicast', subtype: 2 } });
  assert.deepEqual(read(0, 25, 0, 70), { ok: true, value: { subtype: 0 } });
  assert.deepEqual(read(0, 1, 9, 1, 1, 2, 3), { ok: true, value: { family: 'ipv4-unicast', subtype: 9 } });
  for (const body of [[], [0], [0, 1, 0], [0, 1, 0, 1, 1, 3, 0, 1, 9]]) {
    const result = read(...body);
    assert.ok(!result.ok);
    assert.deepEqual([result.error.code, result.error.subcode], [7, 1]);
    assert.deepEqual(result.error.data, message(5, body), 'the whole message (RFC 7313 5)');
  }
});

test('End-of-RIB and KEEPALIVE, octet by octet (RFC 4724 2, RFC 4271 4.4)', () => {
  assert.deepEqual(encodeKeepalive(), bytesOf(`${'ff'.repeat(16)} 0013 04`));
  assert.deepEqual(encodeEndOfRib(4), bytesOf(`${'ff'.repeat(16)} 0017 02 0000 0000`));
  assert.deepEqual(encodeEndOfRib(6), bytesOf(`${'ff'.repeat(16)} 001d 02 0000 0006 800f03 000201`));
});
