import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeDnsAnswer } from '#agent';
import { type IpAddress, toIpAddress } from '#kit';
import { dnsAnswer, dnsQuery, type TestRecord } from '../support/dns.ts';

test('addresses and aliases of an answer, names in lower case, by compression or without', () => {
  const bytes = dnsAnswer({
    question: 'WWW.Example.COM',
    records: [
      { owner: 'WWW.Example.COM', type: 'CNAME', data: 'edge.example.com', ttlSec: 300 },
      { owner: 'edge.example.com', type: 'A', data: '192.0.2.1', ttlSec: 0x80000000 },
      { owner: 'edge.example.com', type: 'AAAA', data: '2001:db8::1', ttlSec: 0 },
      { owner: 'edge.example.com', type: 'TXT', data: 'nothing' },
    ],
    beside: [{ owner: 'www.example.com', type: 'A', data: '192.0.2.9' }],
  });
  assert.deepEqual(decodeDnsAnswer(bytes), {
    question: 'www.example.com',
    records: [
      { owner: 'www.example.com', ttlSec: 300, data: { type: 'alias', of: 'edge.example.com' } },
      { owner: 'edge.example.com', ttlSec: 0, data: { type: 'address', address: '192.0.2.1' } },
      { owner: 'edge.example.com', ttlSec: 0, data: { type: 'address', address: '2001:db8::1' } },
    ],
  });
});

test('questions, errors, several questions, other classes and other operations say nothing', () => {
  const record: TestRecord = { owner: 'a.b', type: 'A', data: '192.0.2.1' };
  const answer = (): Buffer => dnsAnswer({ question: 'a.b', records: [record] });
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = answer();
    change(bytes);
    return bytes;
  };
  assert.equal(decodeDnsAnswer(answer())?.records.length, 1);
  assert.equal(decodeDnsAnswer(dnsQuery('a.b')), undefined);
  assert.equal(decodeDnsAnswer(dnsAnswer({ question: 'a.b', records: [record], rcode: 3 })), undefined);
  assert.equal(decodeDnsAnswer(changed((bytes) => bytes.writeUInt16BE(2, 4))), undefined);
  assert.equal(decodeDnsAnswer(changed((bytes) => bytes.writeUInt16BE(0x9180, 2))), undefined, 'NOTIFY');
  assert.equal(decodeDnsAnswer(changed((bytes) => bytes.writeUInt16BE(3, 12 + 5 + 2))), undefined, 'question of CHAOS');
  assert.deepEqual(
    decodeDnsAnswer(changed((bytes) => bytes.writeUInt16BE(3, 12 + 9 + 2 + 2)))?.records,
    [],
    'record of CHAOS',
  );
});

test('a name with a dot or another odd octet in a label is none: no policy means it', () => {
  const bytes = dnsAnswer({
    question: 'www_example.com',
    records: [{ owner: 'www_example.com', type: 'A', data: '192.0.2.1' }],
  });
  assert.equal(decodeDnsAnswer(bytes)?.question, 'www_example.com');
  for (const odd of ['.', ' ', '\0', '"', '*', '\u00e9']) {
    const changed = Buffer.from(bytes);
    changed[12 + 4] = odd.charCodeAt(0);
    assert.equal(decodeDnsAnswer(changed), undefined, JSON.stringify(odd));
  }
});

test('pointers: loops, forward ones, to themselves and long chains of them end', () => {
  const answer = dnsAnswer({ question: 'a.b', records: [{ owner: 'a.b', type: 'A', data: '192.0.2.1' }] });
  const ownerAt = 12 + 9;
  for (const target of [ownerAt, ownerAt + 2, 0x3fff]) {
    const bytes = Buffer.from(answer);
    bytes.writeUInt16BE(0xc000 | target, ownerAt);
    assert.equal(decodeDnsAnswer(bytes), undefined, `${target}`);
  }
  const self = Buffer.from(answer);
  self.writeUInt16BE(0xc00c, 12);
  assert.equal(decodeDnsAnswer(self), undefined);
  // Each pointer goes to the one before: as many as the message holds, and nothing is walked twice.
  const chain = Buffer.alloc(12 + 2 * 5000);
  answer.copy(chain, 0, 0, 12);
  for (let i = 1; i < 5000; i++) chain.writeUInt16BE(0xc000 | Math.min(0x3fff, 12 + 2 * (i - 1)), 12 + 2 * i);
  assert.equal(decodeDnsAnswer(chain), undefined);
});

test('cut anywhere it says nothing, or in part what was whole', () => {
  const records: TestRecord[] = ['192.0.2.1', '192.0.2.2', '192.0.2.3'].map((data) => ({
    owner: 'a.b',
    type: 'A',
    data,
  }));
  const bytes = dnsAnswer({ question: 'a.b', records });
  for (let length = 0; length < bytes.length; length++) {
    const cut = bytes.subarray(0, length);
    assert.equal(decodeDnsAnswer(cut), undefined);
    const part = decodeDnsAnswer(cut, { partial: true });
    assert.equal(part?.records.length ?? 0, Math.max(0, Math.floor((length - 21) / 16)), `${length}`);
  }
});

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9_])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'));
const record: fc.Arbitrary<TestRecord> = fc.oneof(
  fc.record({ owner: name, type: fc.constant('A' as const), data: fc.ipV4(), ttlSec: fc.nat() }),
  fc.record({ owner: name, type: fc.constant('AAAA' as const), data: fc.ipV6(), ttlSec: fc.nat() }),
  fc.record({ owner: name, type: fc.constant('CNAME' as const), data: name, ttlSec: fc.nat() }),
);

test('what a server writes is what is read', () => {
  fc.assert(
    fc.property(name, fc.array(record, { maxLength: 20 }), (question, records) => {
      const expected = records.map(({ owner, type, data, ttlSec }) => ({
        owner,
        ttlSec,
        data: type === 'CNAME' ? { type: 'alias', of: data } : { type: 'address', address: toIpAddress(data) },
      }));
      assert.deepEqual(decodeDnsAnswer(dnsAnswer({ question, records })), { question, records: expected });
    }),
  );
});

test('any octets, and any change of an answer: total, and what is told is in range', () => {
  const check = (bytes: Uint8Array): void => {
    for (const partial of [false, true]) {
      const answer = decodeDnsAnswer(bytes, { partial });
      for (const { owner, ttlSec, data } of answer?.records ?? []) {
        assert.match(owner, /^[a-z0-9_.-]{1,254}$/);
        assert.ok(ttlSec >= 0 && ttlSec <= 0x7fffffff);
        if (data.type === 'address') assert.equal(toIpAddress(data.address), data.address as IpAddress);
      }
    }
  };
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), check), { numRuns: 3_000 });
  const changes = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(name, fc.array(record, { maxLength: 6 }), changes, (question, records, changed) => {
      const bytes = dnsAnswer({ question, records });
      for (const [at, value] of changed) if (at < bytes.length) bytes[at] = value;
      check(bytes);
    }),
    { numRuns: 3_000 },
  );
});
