/** MRT for tests: records as `bgpdump -m` prints them, and dumps as the messages of a peer, for replay. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import zlib from 'node:zlib';
import { mrt, wire } from '#bgp';
import { formatIp, type IpFamily, parseCidr, toCidr, toIpAddress } from '#kit';
import { until } from './wait.ts';

const fixtures = path.join(import.meta.dirname, '../fixtures/bgp/mrt');

/** Names of the recorded dumps. */
export const mrtFixtures: readonly string[] = fs
  .readdirSync(fixtures)
  .filter((name) => name.endsWith('.gz') && !name.includes('.bgpdump.'));
export const mrtFixturePath = (name: string): string => path.join(fixtures, name);
export function mrtFixture(name: string): Buffer {
  return zlib.gunzipSync(fs.readFileSync(mrtFixturePath(name)));
}
export function hasMrtFixture(name: string): boolean {
  return fs.existsSync(mrtFixturePath(name));
}

/** One UPDATE that says what a record says. */
export interface ReplayedUpdate {
  readonly kind: 'BGP4MP' | 'TABLE_DUMP2' | 'TABLE_DUMP';
  readonly time: mrt.MrtTime;
  readonly extendedTime: boolean;
  readonly peerAddress: string;
  readonly peerAsn: number;
  readonly asn4: boolean;
  readonly addPath: boolean;
  /** RFC 8050, of a RIB entry: the message itself has none. */
  readonly pathId?: number;
  readonly message: Uint8Array;
}

const updateMessage = 2;

/** Every UPDATE of a dump, and every route of a table as an UPDATE. */
export function* replayOf(bytes: Uint8Array): Generator<ReplayedUpdate> {
  let peers: readonly mrt.MrtPeer[] = [];
  for (const record of mrt.readMrt(bytes)) {
    if (record.type === 'peerIndex') peers = record.peers;
    else if (record.type === 'message' && record.message[18] === updateMessage) {
      const { time, peerAddress, peerAsn, asn4, addPath, message } = record;
      yield { kind: 'BGP4MP', time, extendedTime: time.usec > 0, peerAddress, peerAsn, asn4, addPath, message };
    } else if (record.type === 'rib' && !record.multicast) {
      for (const { peerIndex, attributes, pathId } of record.entries) {
        const peer = peers[peerIndex];
        assert.ok(peer, `peer ${peerIndex} is in the index`);
        const message = routeMessage(record.family, record.prefix, attributes);
        const common = { kind: 'TABLE_DUMP2', time: record.time, extendedTime: false, asn4: true } as const;
        const path = pathId === undefined ? {} : { pathId };
        yield { ...common, ...path, addPath: false, peerAddress: peer.address, peerAsn: peer.asn, message };
      }
    } else if (record.type === 'tableEntry') {
      const { time, family, prefix, attributes, peerAddress, peerAsn } = record;
      const message = routeMessage(family, prefix, attributes);
      const kind = 'TABLE_DUMP';
      yield { kind, time, extendedTime: false, peerAddress, peerAsn, asn4: false, addPath: false, message };
    }
  }
}

/** An UPDATE from a RIB entry, whose MP_REACH is whole or only the next hop (RFC 6396 4.3.4). */
function routeMessage(family: IpFamily, prefix: string, attributes: Uint8Array): Uint8Array {
  const { bytes, length } = parseCidr(prefix)!;
  const nlri = [length, ...bytes.subarray(0, (length + 7) >> 3)];
  const kept: number[] = [];
  let reach: number[] = [];
  for (let at = 0; at < attributes.length; ) {
    const extended = (attributes[at]! & 0x10) !== 0;
    const size = extended ? (attributes[at + 2]! << 8) | attributes[at + 3]! : attributes[at + 2]!;
    const value = at + (extended ? 4 : 3);
    const end = value + size;
    if (attributes[at + 1] === 14) {
      // Whole ones begin with the address family, of which the first octet is 0.
      const hopAt = attributes[value] === 0 ? value + 3 : value;
      const hop = attributes.subarray(hopAt + 1, hopAt + 1 + attributes[hopAt]!);
      const body = [0, family === 4 ? 1 : 2, 1, hop.length, ...hop, 0, ...nlri];
      reach = [0x90, 14, body.length >> 8, body.length & 255, ...body];
    } else {
      for (let i = at; i < end; i++) kept.push(attributes[i]!);
    }
    at = end;
  }
  const list = [...reach, ...kept];
  const classic = reach.length === 0 ? nlri : [];
  const total = 23 + list.length + classic.length;
  const head = [...new Array<number>(16).fill(255), total >> 8, total & 255, updateMessage];
  return Uint8Array.from([...head, 0, 0, list.length >> 8, list.length & 255, ...list, ...classic]);
}

const view = wire.createUpdateView();
const cursor = wire.createPrefixCursor();
const scratch = new Uint8Array(2 * 65536);

function prefixes(family: IpFamily | 0, start: number, end: number): string[] {
  if (family === 0) return [];
  const out: string[] = [];
  cursor.reset(family, view.bytes, start, end);
  while (cursor.next()) {
    const bytes = Uint8Array.from([...cursor.words].flatMap((w) => [w >>> 24, w >>> 16, w >>> 8, w]));
    out.push(`${formatIp(bytes, 0, family === 4 ? 4 : 16)}/${cursor.bits}`);
  }
  return out;
}

/**
 * The first fields of the lines of `bgpdump -m`: kind, time, A (B in tables), W or STATE, peer, AS, prefix, AS path, origin.
 * Left out are messages with ADD-PATH, and routes that RFC 7606 does not let pass, which bgpdump prints all the same.
 */
export function dumpLines(bytes: Uint8Array): string[] {
  const lines: string[] = [];
  for (const record of mrt.readMrt(bytes)) {
    if (record.type !== 'stateChange') continue;
    const { time, peerAddress, peerAsn, oldState, newState } = record;
    const stamp = time.usec > 0 ? `_ET|${time.sec}.${String(time.usec).padStart(6, '0')}` : `|${time.sec}`;
    lines.push(`BGP4MP${stamp}|STATE|${peerAddress}|${peerAsn}|${oldState}|${newState}`);
  }
  lines.push(...ribLines(bytes));
  for (const update of replayOf(bytes)) {
    if (update.kind !== 'TABLE_DUMP2' && !update.addPath) lines.push(...updateLines(update));
  }
  return lines.sort();
}

/** RIB entries, whose attributes are canonical enough to be read as they are. */
function* ribLines(bytes: Uint8Array): Generator<string> {
  let peers: readonly mrt.MrtPeer[] = [];
  for (const record of mrt.readMrt(bytes)) {
    if (record.type === 'peerIndex') peers = record.peers;
    if (record.type !== 'rib') continue;
    for (const { peerIndex, pathId, attributes } of record.entries) {
      const { address, asn } = peers[peerIndex]!;
      const { asPath, origin } = wire.describeAttributes(attributes, 0, attributes.length);
      const [kind, id] = pathId === undefined ? ['TABLE_DUMP2', ''] : ['TABLE_DUMP2_AP', `${pathId}|`];
      yield `${kind}|${record.time.sec}|B|${address}|${asn}|${record.prefix}|${id}${asPath}|${origin}`;
    }
  }
}

function updateLines(update: ReplayedUpdate): string[] {
  const { kind, time, peerAddress, peerAsn, asn4, message, pathId } = update;
  const context = {
    asn4,
    ipv4: true,
    ipv6: true,
    ebgp: false,
    localAsn: 0,
    peerAsn,
    localRouterId: 0,
    acceptAsSet: true,
  };
  const disposition = wire.decodeUpdate(view, context, message, 0, message.length);
  if (disposition === 'reset') return [];
  const stamp = update.extendedTime ? `_ET|${time.sec}.${String(time.usec).padStart(6, '0')}` : `|${time.sec}`;
  const about = `${peerAddress}|${peerAsn}`;
  const head = pathId === undefined ? `${kind}${stamp}` : `${kind}_AP${stamp}`;
  const gone = [
    ...prefixes(4, view.withdrawnStart, view.withdrawnEnd),
    ...prefixes(view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd),
  ];
  const lines = gone.map((prefix) => `${head}|W|${about}|${prefix}`);
  if (disposition === 'withdraw') return lines;
  const text = wire.describeAttributes(scratch, 0, wire.canonicalAttributes(view, scratch, 0));
  const path = pathId === undefined ? '' : `${pathId}|`;
  const letter = kind === 'BGP4MP' ? 'A' : 'B';
  const come = [
    ...prefixes(4, view.nlriStart, view.nlriEnd),
    ...prefixes(view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd),
  ];
  for (const prefix of come) lines.push(`${head}|${letter}|${about}|${prefix}|${path}${text.asPath}|${text.origin}`);
  return lines;
}

/** What bgpdump printed, cut to the fields of `dumpLines`; addresses in one spelling. */
export function expectedLines(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => /^(BGP4MP(_ET)?|TABLE_DUMP2?(_AP)?)\|/.test(line))
    .map((line) => {
      const fields = line.split('|');
      fields[3] = toIpAddress(fields[3]!.replace(/^::ffff:(?=\d+\.)/, '')) ?? fields[3]!;
      fields[5] = toCidr(fields[5]!) ?? fields[5]!;
      if (fields[2] === 'STATE') return fields.slice(0, 7).join('|');
      if (fields[2] === 'W') return fields.slice(0, 6).join('|');
      return fields.slice(0, fields[0]!.endsWith('_AP') ? 9 : 8).join('|');
    })
    .sort();
}

/**
 * Plays a dump to a speaker as its peer would: a session from `localAddress`, then every UPDATE that has the session's width of
 * AS numbers, then End-of-RIB. The connection stays until `close`.
 */
export async function playDump(
  bytes: Uint8Array,
  to: { readonly address: string; readonly port: number; readonly localAddress: string; readonly asn: number },
): Promise<{ readonly sent: number; close(): void }> {
  const socket = net.connect({ host: to.address, port: to.port, localAddress: to.localAddress });
  const framer = wire.createFramer();
  let keepalives = 0;
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    framer.push(chunk, (type) => {
      if (type === wire.messageType.keepalive) keepalives++;
      return true;
    });
  });
  const families = ['ipv4-unicast', 'ipv6-unicast'] as const;
  const open = { asn: to.asn, holdTimeSec: 0, routerId: 77, families, asn4: true, routeRefresh: false };
  socket.write(wire.encodeOpen(open));
  socket.write(wire.encodeKeepalive());
  await until(() => keepalives > 0, { what: 'the session that a dump is played on' });
  let sent = 0;
  for (const { asn4, addPath, message } of replayOf(bytes)) {
    if (!asn4 || addPath) continue;
    socket.write(message);
    sent++;
  }
  for (const family of [4, 6] as const) socket.write(wire.encodeEndOfRib(family));
  return { sent, close: () => void socket.destroy() };
}
