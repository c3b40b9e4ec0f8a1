/** DNS messages for tests, written plainly, with the compression that servers use. */
import { parseIp } from '#kit';

export const types = { A: 1, CNAME: 5, TXT: 16, AAAA: 28 } as const;
export type DnsType = keyof typeof types;

export interface TestRecord {
  readonly owner: string;
  readonly type: DnsType;
  /** An address, a name, or text. */
  readonly data: string;
  readonly ttlSec?: number;
}

export interface TestAnswer {
  readonly id?: number;
  readonly question: string;
  readonly type?: DnsType;
  readonly records: readonly TestRecord[];
  readonly rcode?: number;
  /** Of the additional section: nobody asked for them. */
  readonly beside?: readonly TestRecord[];
}

export function dnsQuery(name: string, type: DnsType = 'A', id = 1): Buffer {
  return Buffer.concat([header(id, 0x0100, 1, 0, 0), nameBytes(name), u16(types[type]), u16(1)]);
}

export function dnsAnswer({ id = 1, question, type = 'A', records, rcode = 0, beside = [] }: TestAnswer): Buffer {
  const parts: Buffer[] = [];
  const known = new Map<string, number>();
  let at = 0;
  const put = (bytes: Buffer): void => {
    parts.push(bytes);
    at += bytes.length;
  };
  const putName = (name: string): void => {
    for (let rest = name; rest !== ''; rest = rest.slice(rest.indexOf('.') + 1 || rest.length)) {
      const pointer = known.get(rest);
      if (pointer !== undefined) {
        put(u16(0xc000 | pointer));
        return;
      }
      if (at < 0x4000) known.set(rest, at);
      const label = rest.split('.', 1)[0]!;
      put(Buffer.from([label.length, ...Buffer.from(label, 'latin1')]));
    }
    put(Buffer.from([0]));
  };
  put(header(id, 0x8180 | rcode, 1, records.length, beside.length));
  putName(question);
  put(Buffer.concat([u16(types[type]), u16(1)]));
  for (const { owner, type: recordType, data, ttlSec = 60 } of [...records, ...beside]) {
    putName(owner);
    put(Buffer.concat([u16(types[recordType]), u16(1), u32(ttlSec)]));
    const bytes = dataBytes(recordType, data);
    put(u16(bytes.length));
    put(bytes);
  }
  return Buffer.concat(parts);
}

/** The name and type that a query asks for, as a server reads it. */
export function readQuery(bytes: Buffer): { readonly id: number; readonly name: string; readonly type: DnsType } {
  const labels: string[] = [];
  let at = 12;
  for (let length = bytes[at]!; length > 0; length = bytes[at]!) {
    labels.push(bytes.toString('latin1', at + 1, at + 1 + length));
    at += length + 1;
  }
  const number = bytes.readUInt16BE(at + 1);
  const type = (Object.keys(types) as DnsType[]).find((key) => types[key] === number) ?? 'TXT';
  return { id: bytes.readUInt16BE(0), name: labels.join('.'), type };
}

function dataBytes(type: DnsType, data: string): Buffer {
  if (type === 'CNAME') return nameBytes(data);
  if (type === 'TXT') return Buffer.concat([Buffer.from([data.length]), Buffer.from(data, 'latin1')]);
  return Buffer.from(parseIp(data)!);
}
function nameBytes(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([...labels.map((l) => Buffer.from([l.length, ...Buffer.from(l, 'latin1')])), Buffer.from([0])]);
}
function header(id: number, flags: number, questions: number, answers: number, additional: number): Buffer {
  return Buffer.concat([id, flags, questions, answers, 0, additional].map(u16));
}
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
