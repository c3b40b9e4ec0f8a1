/** Netlink framing: messages appended to one reused Buffer, and views into what was received. */
import { errnoName } from '../sys-error.ts';

export const NLM_F_REQUEST = 1;
export const NLM_F_ACK = 4;
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
/** NLA_F_NESTED: nfnetlink insists on it, rtnetlink's older attributes do not. */
export const NESTED = 0x8000;
const ATTRIBUTE_TYPE_MASK = 0x3fff;
const NLMSGERR_ATTR_MSG = 1;
const HEADER_BYTES = 16;

/** Appends messages; attributes are padded to 4 bytes, lengths are patched by `nest` and `end`. Grows as needed. */
export class MessageWriter {
  bytes: Buffer;
  offset = 0;
  /** Messages begun since `reset`. */
  count = 0;
  #start = 0;

  constructor(initialBytes = 1 << 16) {
    this.bytes = Buffer.alloc(initialBytes);
  }
  reset(): this {
    this.offset = 0;
    this.count = 0;
    this.#start = 0;
    return this;
  }
  begin(type: number, flags: number, sequence: number): this {
    this.#room(HEADER_BYTES + 64);
    this.#start = this.offset;
    this.count++;
    this.bytes.writeUInt16LE(type, this.offset + 4);
    this.bytes.writeUInt16LE(flags | NLM_F_REQUEST, this.offset + 6);
    this.bytes.writeUInt32LE(sequence >>> 0, this.offset + 8);
    this.bytes.writeUInt32LE(0, this.offset + 12);
    this.offset += HEADER_BYTES;
    return this;
  }
  end(): this {
    this.bytes.writeUInt32LE(this.offset - this.#start, this.#start);
    return this;
  }
  /** Asks for an acknowledgement of the last message. */
  acknowledgeLast(): this {
    this.bytes.writeUInt16LE(this.bytes.readUInt16LE(this.#start + 6) | NLM_F_ACK, this.#start + 6);
    return this;
  }
  /** Asks for one of every message. */
  acknowledgeAll(): this {
    for (let at = 0; at < this.offset; at += (this.bytes.readUInt32LE(at) + 3) & ~3)
      this.bytes.writeUInt16LE(this.bytes.readUInt16LE(at + 6) | NLM_F_ACK, at + 6);
    return this;
  }
  /** What was written: a view, valid until the next change. */
  written(): Buffer {
    return this.bytes.subarray(0, this.offset);
  }
  raw(...values: readonly number[]): this {
    this.#room(values.length);
    for (const value of values) this.bytes[this.offset++] = value;
    return this;
  }
  u32(value: number): this {
    this.#room(4);
    this.offset = this.bytes.writeUInt32LE(value >>> 0, this.offset);
    return this;
  }
  attr(type: number, value: Uint8Array): this {
    this.#room(value.length + 8);
    this.bytes.writeUInt16LE(4 + value.length, this.offset);
    this.bytes.writeUInt16LE(type, this.offset + 2);
    this.bytes.set(value, this.offset + 4);
    const end = this.offset + 4 + value.length;
    this.offset = (end + 3) & ~3;
    this.bytes.fill(0, end, this.offset);
    return this;
  }
  attrU8(type: number, value: number): this {
    this.#room(8);
    this.bytes.writeUInt16LE(5, this.offset);
    this.bytes.writeUInt16LE(type, this.offset + 2);
    this.bytes.writeUInt32LE(value & 0xff, this.offset + 4);
    this.offset += 8;
    return this;
  }
  attrU32(type: number, value: number): this {
    this.#room(8);
    this.bytes.writeUInt16LE(8, this.offset);
    this.bytes.writeUInt16LE(type, this.offset + 2);
    this.bytes.writeUInt32LE(value >>> 0, this.offset + 4);
    this.offset += 8;
    return this;
  }
  /** nfnetlink's numbers are big endian. */
  attrU32be(type: number, value: number): this {
    this.#room(8);
    this.bytes.writeUInt16LE(8, this.offset);
    this.bytes.writeUInt16LE(type, this.offset + 2);
    this.bytes.writeUInt32BE(value >>> 0, this.offset + 4);
    this.offset += 8;
    return this;
  }
  attrFlag(type: number): this {
    return this.attr(type, new Uint8Array(0));
  }
  attrString(type: number, text: string): this {
    return this.attr(type, Buffer.from(`${text}\0`));
  }
  nest(type: number, fill: (writer: this) => void): this {
    this.#room(4);
    const at = this.offset;
    this.offset += 4;
    fill(this);
    this.bytes.writeUInt16LE(this.offset - at, at);
    this.bytes.writeUInt16LE(type, at + 2);
    return this;
  }

  #room(more: number): void {
    if (this.offset + more <= this.bytes.length) return;
    const larger = Buffer.alloc(Math.max(this.bytes.length * 2, this.offset + more));
    this.bytes.copy(larger, 0, 0, this.offset);
    this.bytes = larger;
  }
}

export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  /** Port of the socket whose request caused a notification; 0: the kernel itself. */
  readonly port: number;
  /** Behind the header: a view, valid until the next receive. Copy what is kept. */
  readonly body: Buffer;
}

export function* parseMessages(bytes: Buffer, length: number): Generator<NetlinkMessage> {
  for (let at = 0; at + HEADER_BYTES <= length; ) {
    const size = bytes.readUInt32LE(at);
    if (size < HEADER_BYTES || at + size > length) return;
    yield {
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      port: bytes.readUInt32LE(at + 12),
      body: bytes.subarray(at + HEADER_BYTES, at + size),
    };
    at += (size + 3) & ~3;
  }
}

export type Attributes = ReadonlyMap<number, Buffer>;

/** Attributes of `body` from `offset` on, by type without the nested and byte-order flags; the last of a repeated type. */
export function parseAttributes(body: Buffer, offset = 0): Attributes {
  const found = new Map<number, Buffer>();
  for (let at = offset; at + 4 <= body.length; ) {
    const length = body.readUInt16LE(at);
    if (length < 4 || at + length > body.length) break;
    found.set(body.readUInt16LE(at + 2) & ATTRIBUTE_TYPE_MASK, body.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return found;
}

export function attributeText(value: Buffer | undefined): string | undefined {
  if (!value) return undefined;
  const end = value.indexOf(0);
  return value.toString('utf8', 0, end < 0 ? value.length : end);
}

export function attributeU32(value: Buffer | undefined): number | undefined {
  return value && value.length >= 4 ? value.readUInt32LE(0) : undefined;
}

export interface Acknowledgement {
  readonly sequence: number;
  /** 0: done. */
  readonly errno: number;
  /** `ENOENT`; empty when done. */
  readonly code: string;
  /** The kernel's own words (extended acknowledgement), or empty: some errors have none. */
  readonly text: string;
}

/** The TLVs stand behind the echoed header when the echo is capped, else behind the whole echoed message. */
export function parseAcknowledgement(message: NetlinkMessage): Acknowledgement {
  const errno = -message.body.readInt32LE(0);
  let text = '';
  if (message.flags & NLM_F_ACK_TLVS) {
    const echoed = message.flags & NLM_F_CAPPED ? HEADER_BYTES : (message.body.readUInt32LE(4) + 3) & ~3;
    text = attributeText(parseAttributes(message.body, 4 + echoed).get(NLMSGERR_ATTR_MSG)) ?? '';
  }
  return { sequence: message.sequence, errno, code: errno ? errnoName(errno) : '', text };
}
