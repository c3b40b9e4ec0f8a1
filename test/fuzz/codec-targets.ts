/** The codec under fuzz: each target makes one input and holds what comes of it against what must be true of any. */
import assert from 'node:assert/strict';
import { wire } from '#bgp';
import { checkUpdate, updateContexts } from './check-update.ts';
import type { Corpus } from './corpus.ts';
import {
  type Dialect,
  generateNotification,
  generateOpen,
  generateRefresh,
  generateUpdate,
  mutate,
} from './generate.ts';
import type { Random } from './random.ts';

export interface Target {
  readonly name: string;
  /** Of 100 cases how many are this target's. */
  readonly share: number;
  /** One case, or several in a row; throws when something is wrong. @returns how many. */
  run(random: Random): number;
}

function checkOpen(bytes: Uint8Array): void {
  if (bytes.length < 29) return;
  const decoded = wire.decodeOpen(bytes, 0, bytes.length);
  if (!decoded.ok) {
    assert.equal(decoded.error.code, 2);
    return;
  }
  const open = decoded.value;
  assert.ok(open.asn > 0 && open.routerId > 0 && open.holdTimeSec !== 1 && open.holdTimeSec !== 2);
  const encoded = wire.encodeOpen(open);
  assert.ok(encoded.length <= 4096, 'no OPEN is longer (RFC 8654 4)');
  const back = wire.decodeOpen(encoded, 0, encoded.length);
  assert.ok(back.ok, 'what we encode we decode');
  // One that offers families of others alone is no OPEN of ours.
  if (open.families.length > 0 && textsAreShort(open)) assert.deepEqual(back.value, open);
  const negotiated = wire.negotiate(open, open);
  assert.equal(negotiated.asn4, open.asn4);
}

/** Longer ones than the drafts allow are cut when they are sent, and what is no UTF-8 is replaced. */
function textsAreShort(open: wire.OpenMessage): boolean {
  const texts = [open.hostName?.host, open.hostName?.domain, open.softwareVersion];
  return texts.every((text) => text === undefined || Buffer.byteLength(text) <= 64);
}

const shownMax = 4096;

function checkNotification(bytes: Uint8Array): void {
  if (bytes.length < 21) return;
  const decoded = wire.decodeNotification(bytes, 0, bytes.length);
  const text = wire.describeNotification(decoded);
  assert.ok(text.length <= shownMax, 'bounded');
  assert.doesNotMatch(text, /\p{Cc}/u, 'no control characters reach a terminal');
  assert.ok(Buffer.from(wire.encodeNotification(decoded)).equals(bytes), 'encode(decode(x)) is x');
}

function checkRefresh(bytes: Uint8Array): void {
  if (bytes.length < 19) return;
  const decoded = wire.decodeRouteRefresh(bytes, 0, bytes.length);
  if (!decoded.ok) {
    assert.deepEqual([decoded.error.code, decoded.error.subcode], [7, 1]);
    assert.notEqual(bytes.length, 23);
  } else if (decoded.value.family && decoded.value.subtype === 0 && bytes.length === 23) {
    assert.ok(Buffer.from(wire.encodeRouteRefresh(decoded.value.family)).equals(bytes), 'encode(decode(x)) is x');
  }
}

/** Messages of a stream, as text, then the error that ended it. */
function read(chunks: readonly Uint8Array[], extended: boolean): string[] {
  const framer = wire.createFramer();
  if (extended) framer.allowExtended();
  const out: string[] = [];
  for (const chunk of chunks) {
    const error = framer.push(chunk, (type, bytes, start, end) => {
      assert.equal(end - start, (bytes[start + 16]! << 8) | bytes[start + 17]!);
      out.push(`${type}:${end - start}:${bytes[end - 1]}`);
      return true;
    });
    if (error) return [...out, `${error.code}/${error.subcode}`];
    assert.ok(framer.pendingBytes < (extended ? 65_535 : 4096), 'less than a message is held');
  }
  return out;
}

/** The message with octets behind it that its header counts: over 4096 in most (RFC 8654). */
function longer(message: Uint8Array, random: Random): Uint8Array {
  const bytes = new Uint8Array(Math.min(65_535, message.length + random.below(20_000)));
  bytes.set(message);
  bytes[16] = bytes.length >> 8;
  bytes[17] = bytes.length;
  return bytes;
}

/** A stream in one piece and the same in pieces give the same messages and the same error. */
function framerTarget(corpus: Corpus): Target {
  return {
    name: 'framer',
    share: 3,
    run(random) {
      const extended = random.oneIn(4);
      const parts = Array.from({ length: 1 + random.below(5) }, () => {
        const bytes = random.oneIn(12) ? longer(anything(random, corpus), random) : anything(random, corpus);
        if (random.oneIn(8) && bytes.length > 19) bytes[random.below(19)] = random.below(256);
        return bytes;
      });
      const stream = Uint8Array.from(Buffer.concat(parts));
      const chunks: Uint8Array[] = [];
      const single = random.oneIn(50);
      for (let at = 0; at < stream.length; ) {
        const size = single ? 1 : 1 + random.below(random.oneIn(3) ? 30 : 2000);
        chunks.push(stream.slice(at, at + size));
        at += size;
      }
      try {
        assert.deepEqual(read(chunks, extended), read([stream], extended));
      } catch (error) {
        throw new CaseError(stream, error);
      }
      return 1;
    },
  };
}

/** A message of any type, made, recorded or mutated. */
export function anything(random: Random, corpus: Corpus): Uint8Array {
  const wide = !random.oneIn(3);
  switch (random.below(8)) {
    case 0:
      return generateOpen(random);
    case 1:
      return generateNotification(random);
    case 2:
      return generateRefresh(random);
    case 3:
      return mutate(random, random.pick(corpus.all));
    case 4: {
      const bytes = generateUpdate(random, wide);
      return mutate(random, bytes);
    }
    default:
      return generateUpdate(random, wide);
  }
}

export function codecTargets(corpus: Corpus): Target[] {
  const target = (
    name: string,
    share: number,
    make: (random: Random) => Uint8Array,
    check: (bytes: Uint8Array) => void,
  ): Target => ({
    name,
    share,
    run(random) {
      const bytes = make(random);
      try {
        check(bytes);
      } catch (error) {
        throw new CaseError(bytes, error);
      }
      return 1;
    },
  });
  type Make = (random: Random, wide: boolean, agreed: Dialect) => Uint8Array;
  const updates = (name: string, share: number, make: Make): Target => {
    let context = updateContexts[0];
    const makeFor = (random: Random): Uint8Array => {
      context = random.pick(updateContexts);
      return make(random, context.asn4, context);
    };
    return target(name, share, makeFor, (bytes) => checkUpdate(bytes, context));
  };
  return [
    updates('update', 42, generateUpdate),
    updates('update-mutated', 15, (random, ...how) => mutate(random, generateUpdate(random, ...how))),
    updates('update-recorded', 10, (random) => mutate(random, random.pick(corpus.updates))),
    updates('update-octets', 5, (random) => octets(random, 2)),
    target('open', 6, generateOpen, checkOpen),
    target('open-mutated', 2, (random) => mutate(random, generateOpen(random)), checkOpen),
    target('open-octets', 2, (random) => octets(random, 1), checkOpen),
    target('notification', 2, generateNotification, checkNotification),
    target('notification-octets', 1, (random) => octets(random, 3), checkNotification),
    target('route-refresh', 2, generateRefresh, checkRefresh),
    framerTarget(corpus),
  ];
}

/** A header and anything behind it. */
function octets(random: Random, type: number): Uint8Array {
  const length = 19 + random.below(random.oneIn(10) ? 400 : 60);
  const bytes = new Uint8Array(length).fill(0xff, 0, 16);
  bytes[16] = length >> 8;
  bytes[17] = length;
  bytes[18] = type;
  for (let at = 19; at < length; at++) bytes[at] = random.oneIn(3) ? random.below(8) : random.below(256);
  return bytes;
}

/** What went wrong, with the octets that did it. */
export class CaseError extends Error {
  constructor(bytes: Uint8Array, cause: unknown) {
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    super(`${Buffer.from(bytes).toString('hex')}\n${why}`, { cause });
  }
}
