/**
 * What a peer says in a rehearsal: mostly one prefix at a time, announced, announced otherwise, withdrawn; now and then many. Prefixes are of all
 * lengths and both families, alone and beside others that stay, so that little is left that real peers say first.
 */
import { wire } from '#bgp';

/** In a block, which is announced, in part announced anew, and withdrawn. */
const blockPrefixes = 4;
const blocks = 48;
/** Every so many blocks there is a burst, larger than what counts as little (read-budget.ts). */
const burstEvery = 16;
/** The last one is a table: what grows with the number of prefixes, and is made small, has grown once; and it is decided in more than one slice. */
const burstsPrefixes = [120, 120, 2000] as const;
/** Announced at first and withdrawn at last: both peers have them for a while. */
const standingPrefixes = 6;

/** Between the first prefixes of one peer and another. */
const apart = 4096;
/** Of a peer; those behind have a length that tells them all apart. */
const shortPrefixes = 512;

const nextHops = { 4: [192, 0, 2, 9], 6: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9] } as const;

/** Whole messages, to be sent one after the other, and then again. @param index of the peer, whose prefixes are mostly its alone. */
export function rehearsalScript(peerAsn: number, index: number): readonly Uint8Array[] {
  const out: Uint8Array[] = [];
  const writer = new ScriptWriter(peerAsn, (chunk) => void out.push(chunk));
  for (let n = 0; n < standingPrefixes; n++) writer.announce(n, n);
  for (let block = 0; block < blocks; block++) {
    const from = standingPrefixes + index * apart + block * blockPrefixes;
    for (let n = from; n < from + blockPrefixes; n++) writer.announce(n, block % 3 === 0 ? n : 0);
    for (let n = from; n < from + blockPrefixes; n += 2) writer.announce(n, n + 1);
    for (let n = from; n < from + blockPrefixes; n++) writer.withdraw(familyOf(n), n);
    if (block % burstEvery !== burstEvery - 1) continue;
    const burst = Array.from({ length: burstsPrefixes[(block + 1) / burstEvery - 1]! }, (_, n) => from + n);
    writer.together(() => {
      for (const n of burst) writer.announce(n, n);
    });
    writer.together(() => {
      for (const family of [4, 6] as const) writer.withdraw(family, ...burst.filter((n) => familyOf(n) === family));
    });
  }
  for (let n = 0; n < standingPrefixes; n++) writer.withdraw(familyOf(n), n);
  return out;
}

class ScriptWriter {
  readonly #asn: number;
  readonly #take: (chunk: Uint8Array) => void;
  readonly #attributes = wire.createExportedAttributes();
  readonly #packer = wire.createUpdatePacker((chunk) => this.#take(chunk.slice()));
  #together = false;

  constructor(asn: number, take: (chunk: Uint8Array) => void) {
    this.#asn = asn;
    this.#take = take;
  }

  /** @param variant of the attributes: equal ones are equal sets. */
  announce(n: number, variant: number): void {
    const asn = this.#asn;
    const octets = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, asn >>> 24, (asn >>> 16) & 255, (asn >>> 8) & 255, asn & 255];
    const split = octets.length;
    if (variant % 2 === 1) octets.push(0x80, 4, 4, 0, 0, variant >> 8, variant & 255);
    if (variant % 4 > 1 && variant % 16 <= 12)
      octets.push(0xc0, 8, 4, (asn >>> 8) & 255, asn & 255, variant >> 8, variant & 255);
    // Of the numbers that are put aside, and not well known; then a large one.
    if (variant % 16 > 12) octets.push(0xc0, 8, 8, 0xff, 0, 0, 1, 0xff, 0xff, 0x0f, variant & 15);
    if (variant % 32 > 27) octets.push(0xc0, 32, 12, 0, 0, asn >>> 8, asn & 255, 0, 0, 0, 1, 0, 0, 0, variant & 255);
    this.#attributes.bytes.set(octets);
    this.#attributes.split = split;
    this.#attributes.length = octets.length;
    const family = familyOf(n);
    this.#packer.startAnnounce(family, this.#attributes, Uint8Array.from(nextHops[family]));
    this.#add(n);
  }
  withdraw(family: 4 | 6, ...all: readonly number[]): void {
    this.#packer.startWithdraw(family);
    for (const n of all) this.#add(n);
  }
  /** What `write` writes is one chunk. */
  together(write: () => void): void {
    this.#together = true;
    write();
    this.#together = false;
    this.#packer.flush();
  }

  #add(n: number): void {
    // From those for benchmarking (RFC 2544) and for documentation (RFC 3849); what is shorter is whatever that begins with.
    if (familyOf(n) === 4)
      this.#packer.add4(0xc612_0000 + (n << 8) + (n & 255), n % apart < shortPrefixes ? 16 + (n % 17) : 24);
    else this.#packer.add6(0x2001_0db8, n << 16, n, n, 24 + ((5 * n) % 105));
    if (!this.#together) this.#packer.flush();
  }
}

function familyOf(n: number): 4 | 6 {
  return n % 4 === 3 ? 6 : 4;
}
