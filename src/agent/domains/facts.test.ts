import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type { DnsRecord } from './dns-message.ts';
import { factsOf } from './facts.ts';

const address = (owner: string, text: string, ttlSec = 60): DnsRecord => ({
  owner,
  ttlSec,
  data: { type: 'address', address: text as IpAddress },
});
const alias = (owner: string, of: string, ttlSec = 60): DnsRecord => ({ owner, ttlSec, data: { type: 'alias', of } });
const told = (question: string, ...records: DnsRecord[]): string[] =>
  factsOf({ question, records }).map((fact) => `${fact.name} ${fact.address} ${fact.ttlSec}`);

test('an answer is about its question, and the names that aliases lead to, whatever their order', () => {
  assert.deepEqual(told('a', address('a', '192.0.2.1'), address('a', '192.0.2.2', 5), address('b', '192.0.2.3')), [
    'a 192.0.2.1 60',
    'a 192.0.2.2 5',
  ]);
  assert.deepEqual(told('a', address('c', '192.0.2.1', 30), alias('b', 'c', 40), alias('a', 'b', 20)), [
    'c 192.0.2.1 30',
    'b 192.0.2.1 30',
    'a 192.0.2.1 20',
  ]);
  assert.deepEqual(told('a', alias('b', 'c'), address('c', '192.0.2.1')), [], 'no way leads there');
  assert.deepEqual(told('a'), []);
});

test('of two aliases of one name the first counts, and aliases in a circle end', () => {
  assert.deepEqual(told('a', alias('a', 'b'), alias('a', 'c'), address('c', '192.0.2.1')), []);
  assert.deepEqual(told('a', alias('a', 'b'), alias('b', 'a'), address('c', '192.0.2.1')), []);
  const long = Array.from({ length: 100 }, (_, i) => alias(`n${i}`, `n${i + 1}`));
  assert.deepEqual(told('n0', ...long, address('n100', '192.0.2.1')), []);
});
