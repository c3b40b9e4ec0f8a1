import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeCapabilities } from './capabilities.ts';
import { decodeOpen, encodeOpen, negotiate } from './open.ts';
import { message } from './test-messages.ts';
import type { OpenMessage } from './types.ts';

const base: OpenMessage = {
  asn: 64512,
  holdTimeSec: 90,
  routerId: 0x0a000001,
  families: ['ipv4-unicast'],
  asn4: false,
  routeRefresh: false,
};
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Octets of the capabilities that `more` adds, behind those of the family. */
const added = (more: Partial<OpenMessage>): string =>
  hexOf(encodeCapabilities({ ...base, ...more })).slice('010400010001'.length);

test('every capability octet by octet, with the clause that says so', () => {
  assert.equal(added({ routeRefresh: true }), '0200', 'RFC 2918 2');
  assert.equal(added({ extendedNextHop: true }), '0506000100010002', 'RFC 8950 4');
  assert.equal(added({ extendedMessages: true }), '0600', 'RFC 8654 3');
  assert.equal(added({ roles: [3] }), '090103', 'RFC 9234 4.1: Customer');
  const addPath = [
    { family: 'ipv4-unicast', receive: true, send: false },
    { family: 'ipv6-unicast', receive: true, send: true },
  ] as const;
  assert.equal(added({ addPath }), '45080001010100020103', 'RFC 7911 4');
  const limited = addPath.map((entry) => ({ ...entry, limit: 260 }));
  const pathsLimit = '4c0a' + '0001010104' + '0002010104';
  assert.equal(
    added({ addPath: limited }),
    `45080001010100020103${pathsLimit}`,
    'draft-abraitis-idr-addpath-paths-limit 3',
  );
  assert.equal(added({ enhancedRouteRefresh: true }), '4600', 'RFC 7313 3.1');
  const longLived = [{ family: 'ipv6-unicast', forwarding: true, staleTimeSec: 86_400 }] as const;
  assert.equal(added({ longLived }), '4707000201800151' + '80', 'RFC 9494 3');
  assert.equal(added({ hostName: { host: 'n1', domain: 'lab' } }), '4907026e31036c6162');
  assert.equal(added({ softwareVersion: 'poplin' }), '4b0706706f706c696e');
  assert.equal(added({ linkLocalNextHop: true }), '4d00');
});

const family = fc.constantFrom('ipv4-unicast' as const, 'ipv6-unicast' as const);
const present = fc.constant(true as const);
const anyOpen: fc.Arbitrary<OpenMessage> = fc
  .record(
    {
      enhancedRouteRefresh: present,
      extendedMessages: present,
      extendedNextHop: present,
      linkLocalNextHop: present,
      roles: fc.uniqueArray(fc.nat(255), { minLength: 1, maxLength: 3 }),
      addPath: fc.uniqueArray(
        fc.record({ family, receive: fc.boolean(), send: fc.boolean() }, { noNullPrototype: true }),
        {
          selector: (entry) => entry.family,
          minLength: 1,
        },
      ),
      longLived: fc.uniqueArray(
        fc.record({ family, forwarding: fc.boolean(), staleTimeSec: fc.nat(0xffffff) }, { noNullPrototype: true }),
        {
          selector: (entry) => entry.family,
          minLength: 1,
        },
      ),
      hostName: fc.record(
        { host: fc.string({ maxLength: 16 }), domain: fc.string({ maxLength: 16 }) },
        { noNullPrototype: true },
      ),
      softwareVersion: fc.string({ minLength: 1, maxLength: 16 }),
    },
    { requiredKeys: [], noNullPrototype: true },
  )
  .map((more) => ({ ...base, ...more }));

test('OPEN round trip of all capabilities, in any combination', () => {
  fc.assert(
    fc.property(anyOpen, (open) => {
      const bytes = encodeOpen(open);
      const back = decodeOpen(bytes, 0, bytes.length);
      assert.ok(back.ok);
      const addPath = open.addPath?.filter(({ receive, send }) => receive || send);
      const { addPath: _, ...rest } = open;
      assert.deepEqual(back.value, { ...rest, ...(addPath && addPath.length > 0 ? { addPath } : {}) });
    }),
  );
});

test('a capability of odd length is as if it were not there (RFC 5492 4), whatever its octets', () => {
  const open = (code: number, value: readonly number[]) => {
    const bytes = message(1, [
      4,
      0xfc,
      0,
      0,
      90,
      10,
      0,
      0,
      1,
      value.length + 4,
      2,
      value.length + 2,
      code,
      value.length,
      ...value,
    ]);
    return decodeOpen(bytes, 0, bytes.length);
  };
  const bare = open(200, []);
  for (const [code, value] of [
    [5, [0, 1, 0, 1, 0]],
    [5, [0, 2, 0, 1, 0, 2]],
    [6, [0]],
    [9, []],
    [9, [1, 2]],
    [69, [0, 1, 1]],
    [69, [0, 1, 1, 4]],
    [69, [0, 1, 1, 0]],
    [69, [0, 25, 70, 3]],
    [70, [1]],
    [71, [0, 1, 1, 0, 0, 0]],
    [73, [5, 97]],
    [73, [1, 97, 9, 98]],
    [73, []],
    [75, [9, 97]],
    [75, []],
    [77, [1]],
  ] as const) {
    assert.deepEqual(open(code, value), bare, `code ${code}, ${value.join(' ')}`);
  }
});

test('RFC 7911 4: paths go the way on which one side sends and the other receives', () => {
  const agreed = (local: [boolean, boolean], remote: [boolean, boolean]) => {
    const entry = ([receive, send]: [boolean, boolean]) => [{ family: 'ipv4-unicast' as const, receive, send }];
    return negotiate({ ...base, addPath: entry(local) }, { ...base, addPath: entry(remote) }).addPath;
  };
  assert.deepEqual(agreed([true, false], [true, true]), [{ family: 'ipv4-unicast', receive: true, send: false }]);
  assert.deepEqual(agreed([true, true], [true, true]), [{ family: 'ipv4-unicast', receive: true, send: true }]);
  assert.deepEqual(agreed([true, false], [true, false]), []);
  assert.deepEqual(negotiate({ ...base, addPath: [] }, base).addPath, []);
});

test('draft-abraitis-idr-addpath-paths-limit 3: a limit goes with ADD-PATH that receives; the first of a family counts, 0 and odd lengths say nothing', () => {
  const read = (...capabilities: readonly (readonly [number, readonly number[]])[]) => {
    const bytes = capabilities.flatMap(([code, value]) => [code, value.length, ...value]);
    const open = message(1, [4, 0xfc, 0, 0, 90, 10, 0, 0, 1, bytes.length + 2, 2, bytes.length, ...bytes]);
    const decoded = decodeOpen(open, 0, open.length);
    assert.ok(decoded.ok);
    return decoded.value.addPath;
  };
  const receives = [69, [0, 1, 1, 1]] as const;
  const entry = { family: 'ipv4-unicast', receive: true, send: false };
  assert.deepEqual(read(receives, [76, [0, 1, 1, 0, 3]]), [{ ...entry, limit: 3 }]);
  assert.deepEqual(read([76, [0, 1, 1, 0, 3]], receives), [{ ...entry, limit: 3 }], 'in either order');
  assert.deepEqual(read(receives, [76, [0, 1, 1, 0, 3, 0, 1, 1, 0, 9]]), [{ ...entry, limit: 3 }]);
  for (const value of [[0, 1, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0, 3, 0], [0, 2, 1, 0, 3], [0, 1, 128, 0, 3], []]) {
    assert.deepEqual(read(receives, [76, value]), [entry], value.join(' '));
  }
  assert.deepEqual(read([69, [0, 1, 1, 2]], [76, [0, 1, 1, 0, 3]]), [{ ...entry, receive: false, send: true }]);
  assert.equal(read([76, [0, 1, 1, 0, 3]]), undefined);
});

test('what is negotiated needs both sides; LLGR needs graceful restart too (RFC 9494 4.1)', () => {
  const flags = {
    enhancedRouteRefresh: true,
    extendedMessages: true,
    extendedNextHop: true,
    linkLocalNextHop: true,
  };
  const longLived = [{ family: 'ipv4-unicast', forwarding: true, staleTimeSec: 10 }] as const;
  const gracefulRestart = { restarting: false, notification: true, restartTimeSec: 1, families: [] };
  const one = negotiate({ ...base, ...flags, longLived }, { ...base, longLived, roles: [0], gracefulRestart });
  for (const flag of Object.keys(flags) as (keyof typeof flags)[]) assert.equal(one[flag], false, flag);
  assert.deepEqual(one.longLived, []);
  assert.equal(one.peerRole, 0);
  const all = negotiate(
    { ...base, ...flags, longLived, gracefulRestart },
    { ...base, ...flags, longLived, gracefulRestart, roles: [1, 2], hostName: { host: 'a', domain: '' } },
  );
  for (const flag of Object.keys(flags) as (keyof typeof flags)[]) assert.equal(all[flag], true, flag);
  assert.deepEqual(all.longLived, longLived);
  assert.equal(all.peerRole, undefined, 'says two things (RFC 9234 4.2)');
  assert.equal(all.peerHostName, 'a');
});

test('RFC 8538 4: N counts when both sides set it; RFC 9494 3.1: LLGR without families is known, and asks for nothing', () => {
  const gracefulRestart = (notification: boolean) => ({
    restarting: false,
    notification,
    restartTimeSec: 1,
    families: [],
  });
  for (const [ours, theirs] of [
    [true, true],
    [true, false],
    [false, true],
  ] as const) {
    const open = (notification: boolean) => ({ ...base, gracefulRestart: gracefulRestart(notification) });
    assert.equal(negotiate(open(ours), open(theirs)).gracefulRestart?.notification, ours && theirs);
  }
  const aware = { ...base, gracefulRestart: gracefulRestart(true), longLived: [] };
  assert.equal(added({ longLived: [] }), '4700');
  const decoded = decodeOpen(encodeOpen(aware), 0, encodeOpen(aware).length);
  assert.deepEqual(decoded.ok && decoded.value.longLived, []);
  const negotiated = negotiate({ ...base, gracefulRestart: gracefulRestart(true) }, aware);
  assert.deepEqual([negotiated.longLived, negotiated.longLivedAware], [[], true]);
  const { gracefulRestart: _, ...alone } = aware;
  assert.equal(negotiate(aware, alone).longLivedAware, false, 'RFC 9494 4.5: ignored without graceful restart');
});
