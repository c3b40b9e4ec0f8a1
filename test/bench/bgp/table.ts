/**
 * The table of the bench, Internet-like: unique prefixes with the lengths of the default-free zone, 4.5 prefixes an UPDATE, every
 * UPDATE with attributes of its own (AS_PATH of 2 to 6, up to 11 communities, a large community), some 102 octets an UPDATE.
 */
import assert from 'node:assert/strict';
import { wire } from '#bgp';

export interface TableSpec {
  readonly family: 4 | 6;
  readonly prefixes: number;
  /** First AS of every path. */
  readonly asn: number;
  /** 4 or 16 octets. */
  readonly nextHop: readonly number[];
  /** AS numbers put behind the first one, to make the paths of one sender longer than another's. */
  readonly extraHops?: number;
  /** Other attributes for the same prefixes. Default 0. */
  readonly flavour?: number;
  /** One set of attributes for everything: small UPDATEs are not the point. Default false. */
  readonly oneSet?: boolean;
}

/** Whole messages back to back. */
export interface Table {
  readonly announce: Uint8Array;
  readonly withdraw: Uint8Array;
}

/** Share of prefix lengths in the Internet's table, roughly. */
const shares4 = { 24: 46, 23: 8, 22: 10, 21: 4, 20: 4, 19: 4, 18: 2, 16: 1 } as const;
const lengths4 = Object.entries(shares4).flatMap(([bits, share]) => Array.from({ length: share }, () => Number(bits)));
const lengths6 = [48, 48, 48, 48, 48, 44, 40, 36, 32, 32, 29];
const octets = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

type Add = (packer: wire.UpdatePacker) => void;

/** The prefixes in order, each as what adds it to a message. */
function* prefixesOf({ family, prefixes }: TableSpec, random: (below: number) => number): Generator<Add> {
  let address = family === 4 ? 0x01000000 : 0x2a000000;
  let low = 0;
  for (let n = 0; n < prefixes; n++) {
    if (family === 4) {
      const bits = lengths4[random(lengths4.length)]!;
      const size = 2 ** (32 - bits);
      address = Math.ceil(address / size) * size;
      // 127/8 is not a prefix that a speaker takes.
      if (address >>> 24 === 127) address = 0x80000000;
      assert.ok(address < 0xe0000000, 'the table fits the unicast space');
      const at = address;
      yield (packer) => packer.add4(at, bits);
      address += size;
    } else {
      const bits = lengths6[random(lengths6.length)]!;
      const step = bits <= 32 ? 0 : 2 ** (64 - bits);
      if (bits <= 32) {
        address = Math.ceil((address + 1) / 2 ** (32 - bits)) * 2 ** (32 - bits);
        low = 0;
      } else {
        low = Math.ceil(low / step) * step;
        if (low >= 2 ** 32) {
          address += 1;
          low = 0;
        }
      }
      const [w0, w1] = [address | 0, low | 0];
      yield (packer) => packer.add6(w0, w1, 0, 0, bits);
      if (bits <= 32) address += 2 ** (32 - bits);
      else low += step;
    }
  }
}

function randomFrom(start: number): (below: number) => number {
  let seed = start >>> 0;
  return (below) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 4294967296) * below);
  };
}

export function makeTable(spec: TableSpec): Table {
  const { family, asn, extraHops = 0, flavour = 0, oneSet = false } = spec;
  const collect = (write: (packer: wire.UpdatePacker) => void): Uint8Array => {
    const parts: Uint8Array[] = [];
    const packer = wire.createUpdatePacker((chunk) => parts.push(chunk.slice()));
    write(packer);
    packer.flush();
    return Buffer.concat(parts);
  };
  const nextHop = Uint8Array.from(spec.nextHop);
  const announce = collect((packer) => {
    const attributes = wire.createExportedAttributes();
    const random = randomFrom(11 + flavour);
    let left = 0;
    let set = 0;
    for (const add of prefixesOf(spec, randomFrom(7))) {
      if (left === 0) {
        const path = [
          asn,
          ...Array.from({ length: extraHops }, () => 65_100),
          ...Array.from({ length: oneSet ? 1 : 1 + random(5) }, () => 1 + random(60_000)),
        ];
        const communities = Array.from({ length: oneSet ? 0 : random(12) }, () => random(0xffff0000));
        const bytes = [0x40, 1, 1, 0, 0x40, 2, 2 + 4 * path.length, 2, path.length, ...path.flatMap(octets)];
        attributes.split = bytes.length;
        if (communities.length > 0) bytes.push(0xc0, 8, 4 * communities.length, ...communities.flatMap(octets));
        bytes.push(0xc0, 32, 12, ...octets(asn), ...octets(set++), ...octets(1 + flavour));
        attributes.bytes.set(bytes);
        attributes.length = bytes.length;
        assert.ok(packer.startAnnounce(family, attributes, nextHop));
        left = oneSet ? Number.POSITIVE_INFINITY : 2 + random(6);
      }
      add(packer);
      left--;
    }
  });
  const withdraw = collect((packer) => {
    packer.startWithdraw(family);
    for (const add of prefixesOf(spec, randomFrom(7))) add(packer);
  });
  return { announce, withdraw };
}
