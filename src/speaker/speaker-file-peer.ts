/** The entries of `peers` in the file of the stand-alone speaker: see speaker-file.ts, which shows all keys. */
import { isMap, type Node } from 'yaml';
import {
  type AddPathConfig,
  type BfdConfig,
  type BgpRole,
  type BlackholeConfig,
  bfdDefaults,
  type Family,
  type MaxPrefixes,
  type PeerConfig,
  type PeerRange,
} from '#bgp';
import { parseBitRate } from '#kit';
import { bfdIntervalMsMax, bfdIntervalMsMin, bfdMultiplierMax, parseBfdInterval } from './speaker-file-bfd.ts';
import { asPolicy, type NamedFilters } from './speaker-file-filters.ts';
import { keysOf } from './speaker-file-keys.ts';
import { asInterface, asPeerAddress, asPeerAsn, asRangeLimit, nextHops } from './speaker-file-neighbours.ts';
import {
  asAsn,
  asBoolean,
  asInteger,
  asPort,
  asPrefix,
  asSeconds,
  asText,
  Fields,
  fail,
  listOf,
  optionalKey,
  type Reader,
  type Source,
  scalar,
} from './speaker-file-yaml.ts';

export const defaultPort = 179;
const defaultHoldTimeSec = 90;
const defaultRangeLimit = 100;
const connectRetrySec = 5;
const addPathMax = 128;
const allowOwnAsnMax = 255;
/** A week. */
const restartSecMax = 604_800;

/** @param localAsn ours, by which a peer is internal or external. */
export function asPeer(
  source: Source,
  node: Node | null,
  localAsn: number,
  filters: NamedFilters,
): PeerConfig | PeerRange {
  const fields = new Fields(source, node, 'a peer');
  const address = fields.optional('address', asPeerAddress);
  const interfaceName = fields.optional('interface', asInterface);
  const prefix = fields.optional('range', asPrefix);
  const where = address ?? interfaceName ?? prefix;
  if (where === undefined || [address, interfaceName, prefix].filter((given) => given !== undefined).length > 1) {
    fail(source, node, 'a peer needs one of the keys address, interface and range');
  }
  const asn = fields.required('asn', asPeerAsn);
  const ownAsn = fields.optional('localAsn', asAsn);
  const external = asn !== (ownAsn ?? localAsn) && asn !== 'internal';
  const own: readonly Family[] =
    interfaceName === undefined
      ? [where.includes(':') ? 'ipv6-unicast' : 'ipv4-unicast']
      : ['ipv4-unicast', 'ipv6-unicast'];
  const families = fields.optional('families', listOf(asFamily)) ?? own;
  const policy = external ? 'reject' : 'accept';
  const bfd = fields.optional('bfd', asBfd);
  const common = {
    asn,
    families: [...new Set(families)],
    holdTimeSec: fields.optional('holdTime', asHoldTime) ?? defaultHoldTimeSec,
    ...keysOf(source, node, fields),
    ...importPolicy(fields, filters, policy),
    ...exportPolicy(fields, filters, policy),
    ...optionalKey('addPath', fields.optional('addPath', asAddPath)),
    ...nextHops(fields),
    ...(ownAsn === undefined ? {} : { localAsn: ownAsn }),
    ...sessionSettings(source, node, fields, external),
    ...routeSettings(fields),
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

function asAddPath(source: Source, node: Node | null): AddPathConfig {
  const fields = new Fields(source, node, 'addPath');
  const receive = fields.optional('receive', asBoolean) ?? false;
  const send = fields.optional('send', asInteger(0, addPathMax, 'the number of paths to send')) ?? 0;
  const limit = fields.optional('limit', asInteger(1, addPathMax, 'the number of paths to ask for'));
  fields.done();
  if (limit !== undefined && !receive) fail(source, node, 'limit goes with receive: true');
  return { receive, send, ...(limit === undefined ? {} : { limit }) };
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
  const keepaliveSec = fields.optional('keepaliveTime', asSeconds('keepaliveTime', 1, 65_535));
  const ttlSecurityHops = fields.optional('ttlSecurity', asInteger(1, 255, 'the number of hops'));
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
    ...(keepaliveSec === undefined ? {} : { keepaliveSec }),
    ...(ttlSecurityHops === undefined ? {} : { ttlSecurityHops }),
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

/** How its routes are taken in. */
function routeSettings(fields: Fields): Partial<PeerConfig> {
  const allowOwnAsn = fields.optional('allowOwnAsn', asInteger(0, allowOwnAsnMax, 'allowOwnAsn'));
  const blackhole = fields.optional('blackhole', asBlackhole);
  const linkBandwidthBytesPerSec = fields.optional('linkBandwidth', asBitRate);
  return {
    ...(allowOwnAsn === undefined ? {} : { allowOwnAsn }),
    ...(blackhole ? { blackhole } : {}),
    ...(linkBandwidthBytesPerSec === undefined ? {} : { linkBandwidthBytesPerSec }),
  };
}
function asBlackhole(source: Source, node: Node | null): BlackholeConfig | false {
  if (!isMap(node)) return asBoolean(source, node) && {};
  const fields = new Fields(source, node, 'blackhole');
  const minLength4 = fields.optional('ipv4', asInteger(1, 32, 'the shortest prefix'));
  const minLength6 = fields.optional('ipv6', asInteger(1, 128, 'the shortest prefix'));
  fields.done();
  return {
    ...(minLength4 === undefined ? {} : { minLength4 }),
    ...(minLength6 === undefined ? {} : { minLength6 }),
  };
}
function asBitRate(source: Source, node: Node | null): number {
  const text = String(scalar(source, node));
  return parseBitRate(text) ?? fail(source, node, `a bandwidth is wanted such as 10Gbit or 2.5Gbit, not ${text}`);
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
