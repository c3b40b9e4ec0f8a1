/** A monitoring station for tests: reads BMP by its own reading of the RFCs and keeps the tables it was told of. */
import assert from 'node:assert/strict';
import { formatIp } from '#kit';
import type { Network, Pipe } from '../speaker/test-network.ts';
import {
  type AttributeText,
  canonicalAttributes,
  createPrefixCursor,
  createUpdateView,
  decodeOpen,
  decodeUpdate,
  describeAttributes,
} from '../wire/index.ts';

export interface BmpMessage {
  readonly type: 'route' | 'statistics' | 'down' | 'up' | 'initiation' | 'termination';
  /** Of the per-peer header. */
  readonly peer?: {
    readonly type: number;
    readonly flags: number;
    readonly distinguisher: string;
    readonly address: string;
    readonly asn: number;
    readonly routerId: string;
    readonly sec: number;
    readonly usec: number;
  };
  /** After the headers. */
  readonly body: Buffer;
}

const types = ['route', 'statistics', 'down', 'up', 'initiation', 'termination'] as const;

/** RFC 7854 4.1 and 4.2. Whole messages only. */
export function parseBmp(bytes: Buffer): { messages: BmpMessage[]; left: Buffer } {
  const messages: BmpMessage[] = [];
  let at = 0;
  while (bytes.length - at >= 6) {
    assert.equal(bytes[at], 3, 'version');
    const length = bytes.readUInt32BE(at + 1);
    if (bytes.length - at < length) break;
    const type = types[bytes[at + 5]!]!;
    const message = bytes.subarray(at + 6, at + length);
    at += length;
    if (type === 'initiation' || type === 'termination') {
      messages.push({ type, body: message });
      continue;
    }
    const flags = message[1]!;
    const ipv6 = message[0] === 0 && (flags & 0x80) !== 0;
    const peer = {
      type: message[0]!,
      flags,
      distinguisher: message.toString('hex', 2, 10),
      address: ipv6 ? formatIp(message, 10, 16) : formatIp(message, 22, 4),
      asn: message.readUInt32BE(26),
      routerId: formatIp(message, 30, 4),
      sec: message.readUInt32BE(34),
      usec: message.readUInt32BE(38),
    };
    if (!ipv6)
      assert.equal(message.toString('hex', 10, 22), '0'.repeat(24), 'IPv4 addresses stand in the last 4 octets');
    messages.push({ type, peer, body: message.subarray(42) });
  }
  return { messages, left: bytes.subarray(at) };
}

/** TLVs of RFC 7854 4.4. */
export function parseTlvs(bytes: Buffer): [number, Buffer][] {
  const out: [number, Buffer][] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt16BE(at + 2);
    assert.ok(at + 4 + length <= bytes.length);
    out.push([bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length)]);
    at += 4 + length;
  }
  return out;
}

/** RFC 7854 4.8. */
export function parseStatistics(body: Buffer): Map<string, number> {
  const out = new Map<string, number>();
  const tlvs = parseTlvs(body.subarray(4));
  assert.equal(tlvs.length, body.readUInt32BE(0));
  for (const [type, value] of tlvs) {
    if (value.length === 4) out.set(`${type}`, value.readUInt32BE(0));
    else if (value.length === 8) out.set(`${type}`, Number(value.readBigUInt64BE(0)));
    else {
      assert.equal(value.length, 11);
      assert.equal(value[2], 1, 'SAFI unicast');
      out.set(`${type}/${value.readUInt16BE(0)}`, Number(value.readBigUInt64BE(3)));
    }
  }
  return out;
}

const view = createUpdateView();
const cursor = createPrefixCursor();
const scratch = new Uint8Array(9000);

export interface ParsedUpdate {
  readonly announced: readonly string[];
  readonly withdrawn: readonly string[];
  readonly endOfRib: number;
  readonly attributes: AttributeText;
  readonly nextHop: string;
}

/** @param pathIds prefixes of the message have path identifiers (RFC 7911); they come out as `10.0.0.0/8 id 3`. */
export function parseUpdate(bytes: Buffer, pathIds = false): ParsedUpdate {
  const context = {
    addPath4: pathIds,
    addPath6: pathIds,
    asn4: true,
    ipv4: true,
    ipv6: true,
    ebgp: false,
    localAsn: 0,
    peerAsn: 0,
    localRouterId: 0,
    acceptAsSet: true,
  };
  const disposition = decodeUpdate(view, context, bytes, 0, bytes.length);
  const list = (family: 4 | 6 | 0, start: number, end: number): string[] => {
    if (family === 0) return [];
    const out: string[] = [];
    cursor.reset(family, bytes, start, end, pathIds);
    while (cursor.next()) {
      const octets = Uint8Array.from([...cursor.words].flatMap((w) => [w >>> 24, w >>> 16, w >>> 8, w]));
      const id = pathIds ? ` id ${cursor.pathId}` : '';
      out.push(`${formatIp(octets, 0, family === 4 ? 4 : 16)}/${cursor.bits}${id}`);
    }
    return out;
  };
  const announced = [
    ...list(4, view.nlriStart, view.nlriEnd),
    ...list(view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd),
  ];
  // The next hop of what the router itself originates is 0.0.0.0 in its Loc-RIB, which no peer may say.
  if (announced.length > 0 && view.error) assert.match(view.error.reason, /next.?hop/i);
  else assert.notEqual(disposition, 'reset');
  const length = canonicalAttributes(view, scratch, 0);
  const hop = view.mpNextHopLength > 0 ? [view.mpNextHopStart, view.mpNextHopLength] : [view.nextHopStart, 4];
  return {
    announced,
    withdrawn: [
      ...list(4, view.withdrawnStart, view.withdrawnEnd),
      ...list(view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd),
    ],
    endOfRib: view.endOfRib,
    attributes: describeAttributes(scratch, 0, length),
    nextHop: hop[0]! >= 0 && announced.length > 0 ? formatIp(bytes, hop[0]!, hop[1] === 32 ? 16 : hop[1]!) : '',
  };
}

/** What a table is called here: `10.0.0.2 0` (address and flags), `loc-rib`. */
function tableOf(peer: NonNullable<BmpMessage['peer']>): string {
  if (peer.type === 3) return 'loc-rib';
  const names = new Map([
    [0, 'pre-policy'],
    [0x40, 'post-policy'],
    [0x10, 'adj-rib-out-pre-policy'],
    [0x50, 'adj-rib-out'],
  ]);
  return `${peer.address} ${names.get(peer.flags & 0x7f)}`;
}

/** Of the Loc-RIB the best path is 1, and goes by the prefix alone here. */
const keyOf = (table: string, prefix: string): string => (table === 'loc-rib' ? prefix.replace(/ id 1$/, '') : prefix);

export class TestStation {
  readonly pipes: Pipe[] = [];
  messages: BmpMessage[] = [];
  /** Prefix -> AS path, next hop and communities, by table, as they stand after all messages of this connection. */
  readonly tables = new Map<string, Map<string, string>>();
  /** Tables whose End-of-RIB came, with the family. */
  readonly complete = new Set<string>();
  readonly up = new Set<string>();
  /** Tables whose messages have path identifiers, as the OPENs of their peer say (RFC 7911 4). */
  readonly #pathIdTables = new Set<string>();
  bytes = 0;
  #left: Buffer = Buffer.alloc(0);

  constructor(network: Network, address: string) {
    network.others.set(address, (pipe) => {
      this.pipes.push(pipe);
      this.forget();
      pipe.start({ onData: (chunk) => this.#read(chunk), onClosed: () => undefined, onDrained: () => undefined });
    });
  }

  forget(): void {
    this.messages = [];
    this.tables.clear();
    this.complete.clear();
    this.up.clear();
    this.#left = Buffer.alloc(0);
  }
  of(type: BmpMessage['type']): BmpMessage[] {
    return this.messages.filter((message) => message.type === type);
  }
  table(name: string): Record<string, string> {
    return Object.fromEntries([...(this.tables.get(name) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #read(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    const { messages, left } = parseBmp(Buffer.concat([this.#left, chunk]));
    this.#left = left;
    for (const message of messages) this.#take(message);
  }

  #noteOpens(who: string, body: Buffer): void {
    const sent = body.subarray(20, 20 + body.readUInt16BE(36));
    const received = body.subarray(20 + sent.length);
    const [ours, theirs] = [sent, received].map((bytes) => {
      const open = decodeOpen(bytes, 0, bytes.readUInt16BE(16));
      assert.ok(open.ok);
      return open.value.addPath ?? [];
    });
    const both = (a: typeof ours, b: typeof ours): boolean => !!(a?.some((x) => x.send) && b?.some((x) => x.receive));
    const note = (name: string, on: boolean): void =>
      void (on ? this.#pathIdTables.add(name) : this.#pathIdTables.delete(name));
    if (who === 'loc-rib') note('loc-rib', both(ours, theirs));
    for (const table of ['pre-policy', 'post-policy']) note(`${who} ${table}`, both(theirs, ours));
    for (const table of ['adj-rib-out-pre-policy', 'adj-rib-out']) note(`${who} ${table}`, both(ours, theirs));
  }

  #take(message: BmpMessage): void {
    this.messages.push(message);
    const { peer, type, body } = message;
    if (!peer) return;
    const who = peer.type === 3 ? 'loc-rib' : peer.address;
    if (type === 'up') {
      this.up.add(who);
      this.#noteOpens(who, body);
    }
    if (type !== 'down') assert.ok(this.up.has(who), `Peer Up of ${who} comes first (RFC 7854 3.3)`);
    if (type === 'down') {
      this.up.delete(who);
      for (const name of [...this.tables.keys()]) if (name.split(' ')[0] === who) this.tables.delete(name);
      for (const name of [...this.complete]) if (name.split(' ')[0] === who) this.complete.delete(name);
    }
    if (type !== 'route') return;
    const name = tableOf(peer);
    const table = this.tables.get(name) ?? new Map<string, string>();
    this.tables.set(name, table);
    const update = parseUpdate(body, this.#pathIdTables.has(name));
    for (const prefix of update.withdrawn) table.delete(keyOf(name, prefix));
    const { asPath, communities } = update.attributes;
    const tags = communities ? ` [${communities}]` : '';
    for (const prefix of update.announced) table.set(keyOf(name, prefix), `${asPath} via ${update.nextHop}${tags}`);
    if (update.endOfRib) this.complete.add(`${name} ${update.endOfRib}`);
  }
}
