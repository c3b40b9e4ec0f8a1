/**
 * The configuration file of the stand-alone speaker:
 *
 *   asn: 64512
 *   routerId: 10.0.0.1
 *   listen: ["0.0.0.0:179", "[::]:179"]        # this is the default; [] listens nowhere
 *   kernel: false                             # install what is learned; not to be changed while it runs
 *   originate: [10.1.0.0/16]
 *   clusterId: 10.0.0.1                         # as route reflector; default: routerId
 *   hostName: node1.example.org                 # told to peers' operators, as is softwareVersion
 *   gracefulShutdown: false                   # true: to all peers, see below
 *   multipath: { max: 64, asPathRelax: true }   # this is the default
 *   peers:
 *     - address: 10.0.0.2
 *       asn: 64513
 *       families: [ipv4, ipv6]                  # default: the address's own family
 *       holdTime: 90s                           # default 90s; 0, or at least 3s
 *       password: { file: /etc/poplin/bgp.key } # or { value: ... } or plain text
 *       import: accept                          # accept | reject | names of filters, see speaker-file-filters.ts
 *       export: [to-tor, reject]                # what no filter decides is accepted; a last accept or reject decides it
 *       adjRibIn: false                         # keep what is received as received, rejected routes included
 *       addPath: { receive: true, send: 4 }     # RFC 7911; default: neither; send: the best so many of each prefix
 *       localAddress: 10.0.0.1
 *       port: 179
 *       passive: false
 *       extendedMessages: true                  # RFC 8654; false: not offered
 *       role: customer                          # what we are to it (RFC 9234); strictRole: true refuses who says none
 *       routeReflectorClient: true              # iBGP
 *       maxPrefixes: { ipv4: { limit: 1000, warnPercent: 75, restartTime: 600s, warnOnly: false } }
 *       restartTime: 120s                       # how long it keeps our routes over a restart; 0s to 4095s
 *       notificationKeepsRoutes: true           # RFC 8538
 *       longLivedStaleTime: 3600s               # RFC 9494; default: not offered
 *       longLivedToAllInternal: false           # RFC 9494 4.6
 *       gracefulShutdown: false                 # RFC 8326: what is announced says that the session is about to end
 *       bfd: true                               # or { minTx: 300ms, minRx: 300ms, multiplier: 3, multihop: false, graceful: false }
 *     - interface: eth0                         # unnumbered: the router found there; families default to both
 *       asn: external                           # or internal, auto, a number, a list of numbers
 *     - range: 10.2.0.0/16                      # who connects from there
 *       limit: 100                              # peers at once, default 100
 *       asn: [64600, 64601]
 *   bmp:                                          # monitoring stations (RFC 7854)
 *     - name: noc                                 # default: address and port
 *       address: 192.0.2.10
 *       port: 11019
 *       monitor: [pre-policy, post-policy, adj-rib-out-pre-policy, adj-rib-out, loc-rib]
 *       statistics: 60s                           # default: none
 *       connectRetry: 30s                         # first wait between attempts; it doubles up to 720s
 *       localAddress: 192.0.2.1
 *   mrt:                                          # records of messages (RFC 6396)
 *     updates: { file: /var/log/bgp.mrt, rotateBytes: 100000000, rotate: 900s, sent: false }
 *
 * An eBGP peer without `import` or `export` gets and gives nothing (RFC 8212); iBGP peers default to accept. Every
 * unknown key and every value that is none is an error that names line and column.
 */
import { isMap, LineCounter, type Node, parseDocument } from 'yaml';
import type {
  AddPathConfig,
  BfdConfig,
  BgpRole,
  Family,
  MaxPrefixes,
  MultipathConfig,
  PeerConfig,
  PeerRange,
  SpeakerConfig,
} from '#bgp';
import { familyOf, toCidr, toIpAddress } from '#kit';
import {
  bfdDefaults,
  bfdIntervalMsMax,
  bfdIntervalMsMin,
  bfdMultiplierMax,
  parseBfdInterval,
} from './speaker-file-bfd.ts';
import { asPolicy, type NamedFilters, readFilters } from './speaker-file-filters.ts';
import { asMrt, asStations } from './speaker-file-monitoring.ts';
import { asInterface, asPeerAddress, asPeerAsn, asRangeLimit, nextHops } from './speaker-file-neighbours.ts';
import {
  asAsn,
  asBoolean,
  asInteger,
  asPort,
  asSeconds,
  asText,
  Fields,
  fail,
  listOf,
  type Reader,
  type Source,
  SpeakerFileError,
  scalar,
} from './speaker-file-yaml.ts';

export { SpeakerFileError };

const defaultPort = 179;
const defaultHoldTimeSec = 90;
const defaultRangeLimit = 100;
const connectRetrySec = 5;
/** Advertised: how long peers keep our routes while this daemon restarts. */
const restartTimeSec = 120;
const deferralTimeSec = 30;
const passwordBytesMax = 80;
const addPathSendMax = 128;
/** Of a host name or version in OPEN. */
const labelBytesMax = 64;
/** A week. */
const restartSecMax = 604_800;
const multipathMax = 64;

/** What a file says. */
export interface SpeakerFile extends SpeakerConfig {
  /** Learned routes go into the kernel's table. */
  readonly kernel: boolean;
}

/** @throws SpeakerFileError */
export function parseSpeakerFile(file: string, text: string, readFile: (file: string) => string): SpeakerFile {
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
  const routerId = root.required('routerId', asQuad('routerId'));
  const listen = root.optional('listen', listOf(asListen)) ?? [
    { address: '0.0.0.0', port: defaultPort },
    { address: '::', port: defaultPort },
  ];
  const kernel = root.optional('kernel', asBoolean) ?? false;
  const clusterId = root.optional('clusterId', asQuad('clusterId'));
  const hostName = root.optional('hostName', asLabel);
  const softwareVersion = root.optional('softwareVersion', asLabel);
  const originate = root.optional('originate', listOf(asPrefix)) ?? [];
  const filters = root.optional('filters', readFilters) ?? new Map();
  const gracefulShutdown = root.optional('gracefulShutdown', asBoolean);
  const entries =
    root.optional(
      'peers',
      listOf((s, node) => asPeer(s, node, asn, filters)),
    ) ?? [];
  const bmp = root.optional('bmp', asStations);
  const mrt = root.optional('mrt', asMrt);
  const multipath = root.optional('multipath', asMultipath);
  root.done();
  const peers = entries.flatMap((entry) => ('prefix' in entry ? [] : [entry]));
  const ranges = entries.flatMap((entry) => ('prefix' in entry ? [entry] : []));
  const seen = new Set<string>();
  for (const name of [...peers.map((peer) => peer.name), ...ranges.map((range) => range.prefix)]) {
    if (seen.has(name)) fail(source, document.contents, `two peers have the address ${name}`);
    seen.add(name);
  }
  return {
    asn,
    routerId,
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(hostName === undefined ? {} : { hostName }),
    ...(softwareVersion === undefined ? {} : { softwareVersion }),
    listen,
    kernel,
    originate,
    peers,
    ...optionalKey('multipath', multipath),
    ...(ranges.length > 0 ? { ranges } : {}),
    // It forwards nothing itself and keeps no state between runs, so it has nothing to say about an earlier one.
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec, deferralTimeSec },
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
    ...(bmp ? { bmp } : {}),
    ...(mrt ? { mrt } : {}),
  };
}

function asPeer(source: Source, node: Node | null, localAsn: number, filters: NamedFilters): PeerConfig | PeerRange {
  const fields = new Fields(source, node, 'a peer');
  const address = fields.optional('address', asPeerAddress);
  const interfaceName = fields.optional('interface', asInterface);
  const prefix = fields.optional('range', asPrefix);
  const where = address ?? interfaceName ?? prefix;
  if (where === undefined || [address, interfaceName, prefix].filter((given) => given !== undefined).length > 1) {
    fail(source, node, 'a peer needs one of the keys address, interface and range');
  }
  const asn = fields.required('asn', asPeerAsn);
  const external = asn !== localAsn && asn !== 'internal';
  const own: readonly Family[] =
    interfaceName === undefined
      ? [where.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast']
      : ['ipv4-unicast', 'ipv6-unicast'];
  const families = fields.optional('families', listOf(asFamily)) ?? own;
  const policy = external ? 'reject' : 'accept';
  const password = fields.optional('password', asPassword);
  const bfd = fields.optional('bfd', asBfd);
  const common = {
    asn,
    families: [...new Set(families)],
    holdTimeSec: fields.optional('holdTime', asHoldTime) ?? defaultHoldTimeSec,
    ...(password === undefined ? {} : { password }),
    ...importPolicy(fields, filters, policy),
    ...exportPolicy(fields, filters, policy),
    ...optionalKey('addPath', fields.optional('addPath', asAddPath)),
    ...nextHops(fields),
    ...sessionSettings(source, node, fields, external),
    ...survival(fields),
    ...(bfd ? { bfd } : {}),
  };
  if (prefix !== undefined) {
    const range: PeerRange = { ...common, prefix, limit: fields.optional('limit', asRangeLimit) ?? defaultRangeLimit };
    fields.done();
    return range;
  }
  const localAddress = fields.optional('localAddress', asPeerAddress);
  const peer: PeerConfig = {
    ...common,
    name: where,
    address: address ?? '',
    ...(interfaceName === undefined ? {} : { interface: interfaceName }),
    port: fields.optional('port', asPort) ?? defaultPort,
    ...(localAddress === undefined ? {} : { localAddress }),
    passive: fields.optional('passive', asBoolean) ?? false,
    connectRetrySec,
  };
  fields.done();
  if (localAddress !== undefined && address !== undefined && localAddress.includes(':') !== address.includes(':')) {
    fail(source, node, `localAddress ${localAddress} and address ${address} are of different families`);
  }
  return peer;
}

function optionalKey<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: T });
}

function asMultipath(source: Source, node: Node | null): MultipathConfig {
  const fields = new Fields(source, node, 'multipath');
  const max = fields.optional('max', asInteger(1, multipathMax, 'the number of next hops')) ?? multipathMax;
  const asPathRelax = fields.optional('asPathRelax', asBoolean) ?? true;
  fields.done();
  return { max, asPathRelax };
}

function asAddPath(source: Source, node: Node | null): AddPathConfig {
  const fields = new Fields(source, node, 'addPath');
  const receive = fields.optional('receive', asBoolean) ?? false;
  const send = fields.optional('send', asInteger(0, addPathSendMax, 'the number of paths to send')) ?? 0;
  fields.done();
  return { receive, send };
}

function importPolicy(
  fields: Fields,
  filters: NamedFilters,
  otherwise: 'accept' | 'reject',
): Pick<PeerConfig, 'import' | 'importFilter' | 'adjRibIn'> {
  const { action = otherwise, filter } = fields.optional('import', asPolicy(filters)) ?? {};
  const adjRibIn = fields.optional('adjRibIn', asBoolean);
  return {
    import: action,
    ...(filter ? { importFilter: filter } : {}),
    ...(adjRibIn === undefined ? {} : { adjRibIn }),
  };
}
function exportPolicy(
  fields: Fields,
  filters: NamedFilters,
  otherwise: 'accept' | 'reject',
): Pick<PeerConfig, 'export' | 'exportFilter'> {
  const { action = otherwise, filter } = fields.optional('export', asPolicy(filters)) ?? {};
  return { export: action, ...(filter ? { exportFilter: filter } : {}) };
}

const bgpRoles: readonly BgpRole[] = ['provider', 'customer', 'routeServer', 'routeServerClient', 'peer'];

function sessionSettings(source: Source, node: Node | null, fields: Fields, external: boolean): Partial<PeerConfig> {
  const extendedMessages = fields.optional('extendedMessages', asBoolean);
  const role = fields.optional('role', asOneOf(bgpRoles));
  const strictRole = fields.optional('strictRole', asBoolean);
  const routeReflectorClient = fields.optional('routeReflectorClient', asBoolean);
  const maxPrefixes = fields.optional('maxPrefixes', asMaxPrefixes);
  if (role !== undefined && !external) fail(source, node, 'role is for peers of another AS (RFC 9234 4.1)');
  if (strictRole !== undefined && role === undefined) fail(source, node, 'strictRole goes with role');
  if (routeReflectorClient && external)
    fail(source, node, 'routeReflectorClient is for peers of our own AS (RFC 4456)');
  return {
    ...(extendedMessages === undefined ? {} : { extendedMessages }),
    ...(role === undefined ? {} : { role }),
    ...(strictRole === undefined ? {} : { strictRole }),
    ...(routeReflectorClient === undefined ? {} : { routeReflectorClient }),
    ...(maxPrefixes === undefined ? {} : { maxPrefixes }),
  };
}

function asMaxPrefixes(source: Source, node: Node | null): NonNullable<PeerConfig['maxPrefixes']> {
  const fields = new Fields(source, node, 'maxPrefixes');
  const ipv4 = fields.optional('ipv4', asFamilyLimit);
  const ipv6 = fields.optional('ipv6', asFamilyLimit);
  fields.done();
  return { ...(ipv4 ? { 'ipv4-unicast': ipv4 } : {}), ...(ipv6 ? { 'ipv6-unicast': ipv6 } : {}) };
}
function asFamilyLimit(source: Source, node: Node | null): MaxPrefixes {
  const fields = new Fields(source, node, 'a limit');
  const limit = fields.required('limit', asInteger(1, 0xffffffff, 'limit'));
  const warnPercent = fields.optional('warnPercent', asInteger(1, 100, 'warnPercent'));
  const restartSec = fields.optional('restartTime', asSeconds('restartTime', 1, restartSecMax));
  const warnOnly = fields.optional('warnOnly', asBoolean);
  fields.done();
  return {
    limit,
    ...(warnPercent === undefined ? {} : { warnPercent }),
    ...(restartSec === undefined ? {} : { restartSec }),
    ...(warnOnly === undefined ? {} : { warnOnly }),
  };
}

/** What outlives a session: RFC 4724, 8538, 9494, 8326. */
function survival(fields: Fields): Partial<PeerConfig> {
  const restartTimeSec = fields.optional('restartTime', asSeconds('restartTime', 0, 4095));
  const notificationKeepsRoutes = fields.optional('notificationKeepsRoutes', asBoolean);
  const longLivedStaleTimeSec = fields.optional('longLivedStaleTime', asSeconds('longLivedStaleTime', 0, 0xffffff));
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

function asQuad(what: string): Reader<string> {
  return (source, node) => {
    const address = toIpAddress(asText(source, node));
    if (!address || familyOf(address) !== 4 || address === '0.0.0.0') {
      fail(source, node, `${what} must be a dotted quad other than 0.0.0.0, for example 10.0.0.1`);
    }
    return address;
  };
}
/** Text for OPEN; what it cannot carry is an error here and not cut there. */
function asLabel(source: Source, node: Node | null): string {
  const text = asText(source, node);
  const bytes = Buffer.byteLength(text);
  if (bytes === 0 || bytes > labelBytesMax)
    fail(source, node, `1 to ${labelBytesMax} bytes of text are wanted, not ${bytes}`);
  return text;
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
function asOneOf<T extends string>(names: readonly T[]): Reader<T> {
  return (source, node) => {
    const text = asText(source, node);
    return names.find((name) => name === text) ?? fail(source, node, `${text} is none of ${names.join(', ')}`);
  };
}
function asHoldTime(source: Source, node: Node | null): number {
  const value = scalar(source, node);
  const match = /^(\d+)s?$/.exec(String(value));
  const seconds = match ? Number(match[1]) : -1;
  if (seconds === 0 || (seconds >= 3 && seconds <= 65535)) return seconds;
  fail(source, node, `holdTime must be 0 or from 3s to 65535s, for example 90s, not ${String(value)}`);
}
function asBfd(source: Source, node: Node | null): BfdConfig | false {
  if (!isMap(node)) return asBoolean(source, node) && bfdDefaults;
  const fields = new Fields(source, node, 'bfd');
  const config: BfdConfig = {
    minTxMs: fields.optional('minTx', asBfdInterval) ?? bfdDefaults.minTxMs,
    minRxMs: fields.optional('minRx', asBfdInterval) ?? bfdDefaults.minRxMs,
    multiplier: fields.optional('multiplier', asInteger(1, bfdMultiplierMax, 'multiplier')) ?? bfdDefaults.multiplier,
    multihop: fields.optional('multihop', asBoolean) ?? false,
    graceful: fields.optional('graceful', asBoolean) ?? false,
  };
  fields.done();
  return config;
}
function asBfdInterval(source: Source, node: Node | null): number {
  const text = String(scalar(source, node));
  const range = `from ${bfdIntervalMsMin}ms to ${bfdIntervalMsMax}ms, for example 300ms`;
  return parseBfdInterval(text) ?? fail(source, node, `an interval of BFD must be ${range}, not ${text}`);
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
