/**
 * What a DNS answer says of addresses (RFC 1035 4.1, RFC 3596 2.2): the question and the A, AAAA and CNAME records of the answer section. Total
 * and bounded: the octets come from outside. A name of which a label has other characters than letters, digits, `-` and `_` is none that a policy can
 * mean, and records that it owns are left out.
 */
import { formatIp, type IpAddress } from '#kit';

export const A = 1;
export const CNAME = 5;
export const AAAA = 28;

export interface DnsRecord {
  /** In lower case, without the last dot. */
  readonly owner: string;
  readonly ttlSec: number;
  readonly data:
    | { readonly type: 'address'; readonly address: IpAddress }
    | { readonly type: 'alias'; readonly of: string };
}

export interface DnsAnswer {
  readonly question: string;
  readonly records: readonly DnsRecord[];
}

const HEADER_BYTES = 12;
const IN = 1;
const RESPONSE = 0x8000;
const OPCODE = 0x7800;
const RCODE = 0x000f;
/** Records that are looked at; honest answers have some dozens. */
const RECORDS_MAX = 512;
/** RFC 1035 2.3.4: octets of a name with its lengths. */
const NAME_BYTES_MAX = 255;
/** A TTL with the highest bit set is 0 (RFC 2181 8). */
const TTL_SEC_MAX = 0x7fffffff;

/**
 * Undefined for what is no answer to one question without error.
 *
 * @param partial the end may be missing: what is whole counts. Else a message that is cut says nothing.
 */
export function decodeDnsAnswer(bytes: Uint8Array, { partial = false } = {}): DnsAnswer | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = u16(bytes, 2);
  if ((flags & RESPONSE) === 0 || (flags & (OPCODE | RCODE)) !== 0 || u16(bytes, 4) !== 1) return undefined;
  const question = readName(bytes, HEADER_BYTES);
  if (question?.text === undefined || question.end + 4 > bytes.length || u16(bytes, question.end + 2) !== IN)
    return undefined;
  const records: DnsRecord[] = [];
  let at = question.end + 4;
  for (let left = Math.min(u16(bytes, 6), RECORDS_MAX); left > 0; left--) {
    const owner = readName(bytes, at);
    const dataAt = owner ? owner.end + 10 : 0;
    const end = owner && dataAt <= bytes.length ? dataAt + u16(bytes, dataAt - 2) : Number.POSITIVE_INFINITY;
    if (!owner || end > bytes.length) return partial ? { question: question.text, records } : undefined;
    const record = owner.text === undefined ? undefined : readRecord(bytes, owner.text, owner.end, end);
    if (record) records.push(record);
    at = end;
  }
  return { question: question.text, records };
}

/** @param at of the type; `end` of the data. */
function readRecord(bytes: Uint8Array, owner: string, at: number, end: number): DnsRecord | undefined {
  const dataAt = at + 10;
  if (u16(bytes, at + 2) !== IN) return undefined;
  const type = u16(bytes, at);
  const ttl = u16(bytes, at + 4) * 0x10000 + u16(bytes, at + 6);
  const ttlSec = ttl > TTL_SEC_MAX ? 0 : ttl;
  const length = end - dataAt;
  if ((type === A && length === 4) || (type === AAAA && length === 16))
    return { owner, ttlSec, data: { type: 'address', address: formatIp(bytes.subarray(dataAt, end)) } };
  if (type !== CNAME) return undefined;
  const of = readName(bytes, dataAt);
  return of?.text === undefined || of.end !== end ? undefined : { owner, ttlSec, data: { type: 'alias', of: of.text } };
}

/**
 * Undefined when it is not whole. A pointer (RFC 1035 4.1.4) goes back to before the labels that it ends, so that no name loops.
 *
 * @returns `text` undefined: no name that a policy can mean, the root too. `end`: behind it, where it stands.
 */
function readName(
  bytes: Uint8Array,
  start: number,
): { readonly text: string | undefined; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  /** Labels of this part began here; pointers go further back. */
  let partAt = start;
  let end: number | undefined;
  let octets = 1;
  let plain = true;
  for (;;) {
    const length = bytes[at];
    if (length === undefined) return undefined;
    if (length === 0) {
      const text = plain && labels.length > 0 ? labels.join('.') : undefined;
      return { text, end: end ?? at + 1 };
    }
    if (length >= 0xc0) {
      if (at + 1 >= bytes.length) return undefined;
      const target = u16(bytes, at) & 0x3fff;
      if (target >= partAt) return undefined;
      end ??= at + 2;
      at = target;
      partAt = target;
      continue;
    }
    octets += length + 1;
    if (length > 63 || octets > NAME_BYTES_MAX || at + 1 + length > bytes.length) return undefined;
    const label = plain ? plainLabel(bytes, at + 1, at + 1 + length) : undefined;
    if (label === undefined) plain = false;
    else labels.push(label);
    at += length + 1;
  }
}

/** In lower case (RFC 4343); undefined when it has other characters than host names and service names have. */
function plainLabel(bytes: Uint8Array, from: number, to: number): string | undefined {
  let text = '';
  for (let at = from; at < to; at++) {
    const code = bytes[at]!;
    const isUpper = code >= 0x41 && code <= 0x5a;
    const isPlain =
      isUpper || (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x2d || code === 0x5f;
    if (!isPlain) return undefined;
    text += String.fromCharCode(isUpper ? code + 0x20 : code);
  }
  return text;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}
