/**
 * The configuration file of the stand-alone speaker:
 *
 *   asn: 64512
 *   routerId: 10.0.0.1
 *   listen: ["0.0.0.0:179", "[::]:179"]        # this is the default; [] listens nowhere
 *   originate: [10.1.0.0/16]
 *   gracefulShutdown: false                   # true: to all peers, see below
 *   peers:
 *     - address: 10.0.0.2
 *       asn: 64513
 *       families: [ipv4, ipv6]                  # default: the address's own family
 *       holdTime: 90s                           # default 90s; 0, or at least 3s
 *       password: { file: /etc/poplin/bgp.key } # or { value: ... } or plain text
 *       import: accept                          # accept | reject
 *       export: accept                          # accept | reject
 *       localAddress: 10.0.0.1
 *       port: 179
 *       passive: false
 *       restartTime: 120s                       # how long it keeps our routes over a restart; 0s to 4095s
 *       notificationKeepsRoutes: true           # RFC 8538
 *       longLivedStaleTime: 3600s               # RFC 9494; default: not offered
 *       longLivedToAllInternal: false           # RFC 9494 4.6
 *       gracefulShutdown: false                 # RFC 8326: what is announced says that the session is about to end
 *
 * An eBGP peer without `import` or `export` gets and gives nothing (RFC 8212); iBGP peers default to accept. Every
 * unknown key and every value that is none is an error that names line and column.
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLMap } from 'yaml';
import type { Family, PeerConfig, SpeakerConfig } from '#bgp';
import { familyOf, type IpAddress, PoplinError, toCidr, toIpAddress } from '#kit';

export type SpeakerFileFailure = {
  readonly code: 'BAD_SPEAKER_FILE';
  readonly file: string;
  readonly line: number;
  readonly column: number;
};
export class SpeakerFileError extends PoplinError<SpeakerFileFailure> {}

const defaultPort = 179;
const defaultHoldTimeSec = 90;
const connectRetrySec = 5;
/** Advertised: how long peers keep our routes while this daemon restarts. */
const restartTimeSec = 120;
const deferralTimeSec = 30;
const passwordBytesMax = 80;

interface Source {
  readonly file: string;
  readonly lines: LineCounter;
  readonly readFile: (file: string) => string;
}

function fail(source: Source, node: Node | null | undefined, message: string): never {
  const { line, col } = source.lines.linePos(node?.range?.[0] ?? 0);
  const failure = { code: 'BAD_SPEAKER_FILE', file: source.file, line, column: col } as const;
  throw new SpeakerFileError(`${source.file}:${line}:${col}: ${message}`, failure);
}

/** @throws SpeakerFileError */
export function parseSpeakerFile(file: string, text: string, readFile: (file: string) => string): SpeakerConfig {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const source: Source = { file, lines, readFile };
  const error = document.errors[0];
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    const message = `${file}:${line}:${col}: ${error.message.split('\n')[0]}`;
    throw new SpeakerFileError(message, { code: 'BAD_SPEAKER_FILE', file, line, column: col }, { cause: error });
  }
  const root = new Fields(source, document.contents, 'the file');
  const asn = root.required('asn', asAsn);
  const routerId = root.required('routerId', asRouterId);
  const listen = root.optional('listen', listOf(asListen)) ?? [
    { address: '0.0.0.0', port: defaultPort },
    { address: '::', port: defaultPort },
  ];
  const originate = root.optional('originate', listOf(asPrefix)) ?? [];
  const gracefulShutdown = root.optional('gracefulShutdown', asBoolean);
  const peers =
    root.optional(
      'peers',
      listOf((s, node) => asPeer(s, node, asn)),
    ) ?? [];
  root.done();
  const seen = new Set<string>();
  for (const peer of peers) {
    if (seen.has(peer.name)) fail(source, document.contents, `two peers have the address ${peer.name}`);
    seen.add(peer.name);
  }
  return {
    asn,
    routerId,
    listen,
    originate,
    peers,
    // It forwards nothing itself and keeps no state between runs, so it has nothing to say about an earlier one.
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec, deferralTimeSec },
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
  };
}

type Reader<T> = (source: Source, node: Node | null) => T;

/** The keys of one mapping: each is asked for once, and what nobody asked for is an error. */
class Fields {
  readonly #source: Source;
  readonly #map: YAMLMap;
  readonly #known = new Set<string>();
  readonly #what: string;

  constructor(source: Source, node: Node | null, what: string) {
    if (!isMap(node)) fail(source, node, `${what} must be a mapping of keys to values`);
    this.#source = source;
    this.#map = node;
    this.#what = what;
  }
  optional<T>(key: string, read: Reader<T>): T | undefined {
    this.#known.add(key);
    const pair = this.#map.items.find((item) => isScalar(item.key) && item.key.value === key);
    return pair ? read(this.#source, pair.value as Node | null) : undefined;
  }
  required<T>(key: string, read: Reader<T>): T {
    const value = this.optional(key, read);
    if (value === undefined) fail(this.#source, this.#map, `${this.#what} lacks the key ${key}`);
    return value;
  }
  done(): void {
    for (const item of this.#map.items as Pair<Node, Node | null>[]) {
      const key = isScalar(item.key) ? String(item.key.value) : undefined;
      if (key !== undefined && this.#known.has(key)) continue;
      const known = [...this.#known].join(', ');
      fail(this.#source, item.key, `unknown key ${key ?? ''} in ${this.#what}; known are ${known}`);
    }
  }
}

function asPeer(source: Source, node: Node | null, localAsn: number): PeerConfig {
  const fields = new Fields(source, node, 'a peer');
  const address = fields.required('address', asAddress);
  const asn = fields.required('asn', asAsn);
  const own: Family = familyOf(address) === 4 ? 'ipv4-unicast' : 'ipv6-unicast';
  const families = fields.optional('families', listOf(asFamily)) ?? [own];
  const policy = asn === localAsn ? 'accept' : 'reject';
  const password = fields.optional('password', asPassword);
  const localAddress = fields.optional('localAddress', asAddress);
  const peer: PeerConfig = {
    name: address,
    address,
    port: fields.optional('port', asPort) ?? defaultPort,
    asn,
    ...(localAddress === undefined ? {} : { localAddress }),
    families: [...new Set(families)],
    holdTimeSec: fields.optional('holdTime', asHoldTime) ?? defaultHoldTimeSec,
    ...(password === undefined ? {} : { password }),
    passive: fields.optional('passive', asBoolean) ?? false,
    connectRetrySec,
    import: fields.optional('import', asPolicy) ?? policy,
    export: fields.optional('export', asPolicy) ?? policy,
    ...nextHops(source, fields),
    ...survival(fields),
  };
  fields.done();
  if (localAddress !== undefined && familyOf(localAddress) !== familyOf(address)) {
    fail(source, node, `localAddress ${localAddress} and address ${address} are of different families`);
  }
  return peer;
}

/** What outlives a session: RFC 4724, 8538, 9494, 8326. */
function survival(fields: Fields): Partial<PeerConfig> {
  const restartTimeSec = fields.optional('restartTime', asSeconds(0, 4095, 'restartTime'));
  const notificationKeepsRoutes = fields.optional('notificationKeepsRoutes', asBoolean);
  const longLivedStaleTimeSec = fields.optional('longLivedStaleTime', asSeconds(0, 0xffffff, 'longLivedStaleTime'));
  const longLivedToAllInternal = fields.optional('longLivedToAllInternal', asBoolean);
  const gracefulShutdown = fields.optional('gracefulShutdown', asBoolean);
  return {
    ...(restartTimeSec === undefined ? {} : { restartTimeSec }),
    ...(notificationKeepsRoutes === undefined ? {} : { notificationKeepsRoutes }),
    ...(longLivedStaleTimeSec === undefined ? {} : { longLivedStaleTimeSec }),
    ...(longLivedToAllInternal === undefined ? {} : { longLivedToAllInternal }),
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
  };
}

function nextHops(source: Source, fields: Fields): { nextHop4?: string; nextHop6?: string } {
  const read =
    (family: 4 | 6): Reader<IpAddress> =>
    (_, node) => {
      const address = asAddress(source, node);
      if (familyOf(address) !== family) fail(source, node, `${address} is not an IPv${family} address`);
      return address;
    };
  const nextHop4 = fields.optional('nextHop4', read(4));
  const nextHop6 = fields.optional('nextHop6', read(6));
  return { ...(nextHop4 === undefined ? {} : { nextHop4 }), ...(nextHop6 === undefined ? {} : { nextHop6 }) };
}

function listOf<T>(read: Reader<T>): Reader<T[]> {
  return (source, node) => {
    if (!isSeq(node)) fail(source, node, 'a list is wanted here');
    return node.items.map((item) => read(source, item as Node | null));
  };
}
function scalar(source: Source, node: Node | null): unknown {
  if (!isScalar(node)) fail(source, node, 'a single value is wanted here');
  return node.value;
}
function asText(source: Source, node: Node | null): string {
  const value = scalar(source, node);
  if (typeof value !== 'string') fail(source, node, `text is wanted here, not ${String(value)}`);
  return value;
}
function asInteger(min: number, max: number, what: string): Reader<number> {
  return (source, node) => {
    const value = scalar(source, node);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    fail(source, node, `${what} must be a whole number from ${min} to ${max}, not ${String(value)}`);
  };
}
const asAsn = asInteger(1, 0xffffffff, 'an AS number');
const asPort = asInteger(1, 65535, 'a port');

function asBoolean(source: Source, node: Node | null): boolean {
  const value = scalar(source, node);
  if (typeof value !== 'boolean') fail(source, node, `true or false is wanted here, not ${String(value)}`);
  return value;
}
function asAddress(source: Source, node: Node | null): IpAddress {
  const text = asText(source, node);
  return toIpAddress(text) ?? fail(source, node, `${text} is not an IP address`);
}
function asRouterId(source: Source, node: Node | null): string {
  const address = toIpAddress(asText(source, node));
  if (!address || familyOf(address) !== 4 || address === '0.0.0.0') {
    fail(source, node, 'routerId must be a dotted quad other than 0.0.0.0, for example 10.0.0.1');
  }
  return address;
}
function asPrefix(source: Source, node: Node | null): string {
  const text = asText(source, node);
  return (
    (text.includes('/') ? toCidr(text) : undefined) ?? fail(source, node, `${text} is not a prefix such as 10.1.0.0/16`)
  );
}
function asListen(source: Source, node: Node | null): { address: string; port: number } {
  const text = asText(source, node);
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
  const address = toIpAddress(match?.[1] ?? match?.[2] ?? text);
  const port = match?.[3] === undefined ? defaultPort : Number(match[3]);
  if (!address || port < 1 || port > 65535) {
    fail(source, node, `${text} is not an address and port such as 0.0.0.0:179 or [::]:179`);
  }
  return { address, port };
}
function asFamily(source: Source, node: Node | null): Family {
  const text = asText(source, node);
  if (text === 'ipv4' || text === 'ipv4-unicast') return 'ipv4-unicast';
  if (text === 'ipv6' || text === 'ipv6-unicast') return 'ipv6-unicast';
  fail(source, node, `${text} is not a family; known are ipv4 and ipv6`);
}
function asPolicy(source: Source, node: Node | null): 'accept' | 'reject' {
  const text = asText(source, node);
  if (text === 'accept' || text === 'reject') return text;
  fail(source, node, `${text} is neither accept nor reject`);
}
function asSeconds(min: number, max: number, what: string): Reader<number> {
  return (source, node) => {
    const value = scalar(source, node);
    const match = /^(\d{1,9})s?$/.exec(String(value));
    const seconds = match ? Number(match[1]) : -1;
    if (seconds >= min && seconds <= max) return seconds;
    fail(source, node, `${what} must be from ${min}s to ${max}s, not ${String(value)}`);
  };
}
function asHoldTime(source: Source, node: Node | null): number {
  const value = scalar(source, node);
  const match = /^(\d+)s?$/.exec(String(value));
  const seconds = match ? Number(match[1]) : -1;
  if (seconds === 0 || (seconds >= 3 && seconds <= 65535)) return seconds;
  fail(source, node, `holdTime must be 0 or from 3s to 65535s, for example 90s, not ${String(value)}`);
}
function asPassword(source: Source, node: Node | null): string {
  let text: string;
  if (isMap(node)) {
    const fields = new Fields(source, node, 'password');
    const value = fields.optional('value', asText);
    const file = fields.optional('file', asText);
    fields.done();
    if ((value === undefined) === (file === undefined)) fail(source, node, 'password needs either value or file');
    text = value ?? readPassword(source, node, file!);
  } else {
    text = asText(source, node);
  }
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > passwordBytesMax)
    fail(source, node, `a password has 1 to ${passwordBytesMax} bytes, not ${bytes}`);
  return text;
}
function readPassword(source: Source, node: Node, file: string): string {
  try {
    return source.readFile(file).replace(/\r?\n$/, '');
  } catch (error) {
    fail(
      source,
      node,
      `cannot read the password file ${file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
