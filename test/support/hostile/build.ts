/**
 * Octets of BGP messages, right and wrong, for hostile inputs: written apart from the codec, which would not write them. (The codec's own
 * tests have the like in bgp/wire/test-messages.ts, where nothing outside of bgp may reach.)
 */

/** Which peer says it: AS 64513, AS 64513 without 4-octet AS numbers (RFC 6793), or AS 64512, which is ours. */
export type HostilePeer = 'ebgp' | 'old' | 'ibgp';

/**
 * What must come of an input. The session stays up with
 * - `accept`: the routes are used; `discard`: they are, one attribute less; `withdraw`: treat-as-withdraw; `unused`: not an error, and an
 *   older route of the prefix goes; `ignore`: nothing changes;
 * - `up`: an OPEN that makes a session.
 *
 * It ends with `code/subcode`: that NOTIFICATION; `closed`: none is sent.
 */
export type Outcome = 'accept' | 'discard' | 'withdraw' | 'unused' | 'ignore' | 'up' | 'closed' | `${number}/${number}`;

export interface HostileInput {
  /** Unique; families of inputs share a beginning. */
  readonly id: string;
  readonly clause: string;
  readonly peer: HostilePeer;
  /** `connected`: instead of OPEN; `openConfirm`: instead of the KEEPALIVE after it. */
  readonly state: 'connected' | 'openConfirm' | 'established';
  readonly bytes: Uint8Array;
  readonly outcome: Outcome;
  /** Prefixes of the input's peer afterwards, and those that must not be there; default by outcome. */
  readonly has: readonly string[];
  readonly hasNot: readonly string[];
  /** Which of the victims the message is about. */
  readonly about: readonly string[];
  /** Accepted only from a peer on a link of ours: the next hop means nothing elsewhere. */
  readonly onLink?: true;
}

export const localAsn = 64512;
export const peerAsn = 64513;
/** 10.10.10.10 */
export const localRouterId = 0x0a0a0a0a;

/** What the peer announced before the input came (with MED 7), and what no input touches. */
export const victim4 = '10.1.2.0/24';
export const victim6 = '2001:db8::/32';
export const bystander = '10.99.0.0/16';

export const u16 = (value: number): number[] => [(value >> 8) & 255, value & 255];
export const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];
export const fill = (count: number, value = 0): number[] => new Array<number>(count).fill(value);
export const marker = fill(16, 0xff);

export function message(type: number, body: readonly number[], length = 19 + body.length): Uint8Array {
  return Uint8Array.from([...marker, ...u16(length), type, ...body]);
}

/** One attribute; the extended form where it must be. */
export function attribute(flags: number, type: number, value: readonly number[]): number[] {
  return value.length > 255
    ? [flags | 0x10, type, ...u16(value.length), ...value]
    : [flags, type, value.length, ...value];
}

export interface UpdateParts {
  readonly withdrawn?: readonly number[];
  readonly attributes?: readonly (readonly number[])[];
  readonly nlri?: readonly number[];
}
export function update({ withdrawn = [], attributes = [], nlri = [] }: UpdateParts): Uint8Array {
  const list = attributes.flat();
  return message(2, [...u16(withdrawn.length), ...withdrawn, ...u16(list.length), ...list, ...nlri]);
}

export const sequence = (...asns: number[]): number[] => [2, asns.length, ...asns.flatMap(u32)];
/** Of a peer without 4-octet AS numbers. */
export const sequence2 = (...asns: number[]): number[] => [2, asns.length, ...asns.flatMap(u16)];

export const origin = attribute(0x40, 1, [0]);
export const asPath = attribute(0x40, 2, sequence(peerAsn));
export const asPath2 = attribute(0x40, 2, sequence2(peerAsn));
export const nextHop = attribute(0x40, 3, [192, 0, 2, 1]);
export const prefix4 = [24, 10, 1, 2];
export const prefix6 = [32, 0x20, 1, 0xd, 0xb8];
export const global6 = [0x20, 1, 0xd, 0xb8, 0, 9, ...fill(9), 1];

export const mpReach = (
  nlri: readonly number[] = prefix6,
  next: readonly number[] = global6,
  afi = 2,
  safi = 1,
): number[] => attribute(0x80, 14, [...u16(afi), safi, next.length, ...next, 0, ...nlri]);
export const mpUnreach = (nlri: readonly number[] = prefix6, afi = 2, safi = 1): number[] =>
  attribute(0x80, 15, [...u16(afi), safi, ...nlri]);

/** AS_PATH as `peer` writes it. */
export const pathOf = (peer: HostilePeer): number[] => (peer === 'old' ? asPath2 : asPath);

/** A good announcement of 10.1.2.0/24 with attributes added. */
export const withMore = (peer: HostilePeer, ...more: readonly (readonly number[])[]): Uint8Array =>
  update({ attributes: [origin, pathOf(peer), nextHop, ...more], nlri: prefix4 });

type Options = Partial<Pick<HostileInput, 'peer' | 'state' | 'has' | 'hasNot' | 'about'>>;

export function input(
  id: string,
  clause: string,
  bytes: Uint8Array,
  outcome: Outcome,
  { peer = 'ebgp', state = 'established', about = [victim4], has, hasNot }: Options = {},
): HostileInput {
  const used = outcome === 'accept' || outcome === 'discard';
  const gone = outcome === 'withdraw' || outcome === 'unused';
  return {
    id,
    clause,
    peer,
    state,
    bytes,
    outcome,
    about,
    has: has ?? (used ? about : gone || state !== 'established' ? [] : [victim4, victim6]),
    hasNot: hasNot ?? (gone ? about : []),
  };
}

/** An OPEN by its fields; `parameters` with their length octet unless `raw`. */
export function open(
  fields: {
    readonly version?: number;
    readonly asn?: number;
    readonly hold?: number;
    readonly id?: readonly number[];
    readonly parameters?: readonly number[];
    /** What stands where the length of the parameters does, and all that follows. */
    readonly raw?: readonly number[];
  } = {},
): Uint8Array {
  const { version = 4, asn = peerAsn, hold = 90, id = [10, 0, 0, 2], parameters = goodParameters() } = fields;
  const tail = fields.raw ?? [parameters.length, ...parameters];
  return message(1, [version, ...u16(asn), ...u16(hold), ...id, ...tail]);
}

export const capability = (code: number, value: readonly number[]): number[] => [code, value.length, ...value];
/** One optional parameter of capabilities. */
export const capabilities = (...list: readonly (readonly number[])[]): number[] => {
  const value = list.flat();
  return [2, value.length, ...value];
};
export const multiprotocol = (afi: number, safi = 1): number[] => capability(1, [...u16(afi), 0, safi]);
export const bothFamilies = [multiprotocol(1), multiprotocol(2)] as const;
export const asn4 = (asn: number): number[] => capability(65, u32(asn));
export function goodParameters(peer: HostilePeer = 'ebgp'): number[] {
  const refresh = capability(2, []);
  if (peer === 'old') return capabilities(...bothFamilies, refresh);
  return capabilities(...bothFamilies, refresh, asn4(peer === 'ibgp' ? localAsn : peerAsn));
}
/** The OPEN with which `peer` begins. */
export const goodOpen = (peer: HostilePeer): Uint8Array =>
  open({ asn: peer === 'ibgp' ? localAsn : peerAsn, parameters: goodParameters(peer) });

/** What the peer says once the session is up: the victims with MED 7, and a bystander. */
export function before(peer: HostilePeer): Uint8Array {
  const attributes = [origin, pathOf(peer), nextHop, attribute(0x80, 4, u32(7))];
  return Buffer.concat([
    update({ attributes, nlri: [...prefix4, 16, 10, 99] }),
    update({ attributes: [mpReach(), ...attributes] }),
  ]);
}
