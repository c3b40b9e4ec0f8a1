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
 *       tcpAO:                                  # RFC 5925, in place of password; keys in order of preference
 *         keys: [{ sendID: 1, recvID: 1, algorithm: hmac-sha-1-96, secret: { file: /etc/poplin/ao.key }, excludeTCPOptions: false }]
 *       import: accept                          # accept | reject | names of filters, see speaker-file-filters.ts
 *       export: [to-tor, reject]                # what no filter decides is accepted; a last accept or reject decides it
 *       adjRibIn: false                         # keep what is received as received, rejected routes included
 *       addPath: { receive: true, send: 4 }     # RFC 7911; default: neither; send: the best so many of each prefix; limit: ask for so many
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
 *       blackhole: true                         # obeyed (RFC 7999); or { ipv4: 32, ipv6: 128 }, the shortest prefixes of which it is
 *       linkBandwidth: 10Gbit                   # of the link to it (RFC 10005): of routes from it that say none
 *       ttlSecurity: 1                          # RFC 5082: at most so many hops away; the peer must send with TTL 255
 *       localAsn: 64999                         # ours on this session
 *       keepaliveTime: 30s                      # default: a third of the hold time
 *       allowOwnAsn: 0                          # how often our AS may stand in a path that is used
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
 *       multipath: true                           # loc-rib: every path that shares the load, by ADD-PATH (RFC 9069 5.2); false: the best
 *       statistics: 60s                           # default: none
 *       connectRetry: 30s                         # first wait between attempts; it doubles up to 720s
 *       localAddress: 192.0.2.1
 *   mrt:                                          # records of messages (RFC 6396)
 *     updates: { file: /var/log/bgp.mrt, rotateBytes: 100000000, rotate: 900s, sent: false }
 *
 * An eBGP peer without `import` or `export` gets and gives nothing (RFC 8212); iBGP peers default to accept. Every
 * unknown key and every value that is none is an error that names line and column.
 */
import { LineCounter, type Node, parseDocument } from 'yaml';
import type { MultipathConfig, SpeakerConfig } from '#bgp';
import { familyOf, toIpAddress } from '#kit';
import { readyFilters } from './ready-filters.ts';
import { readFilters } from './speaker-file-filters.ts';
import { asMrt, asStations } from './speaker-file-monitoring.ts';
import { asPeer, defaultPort } from './speaker-file-peer.ts';
import {
  asAsn,
  asBoolean,
  asInteger,
  asPrefix,
  asText,
  Fields,
  fail,
  listOf,
  optionalKey,
  type Reader,
  type Source,
  SpeakerFileError,
} from './speaker-file-yaml.ts';

export { SpeakerFileError };

/** Advertised: how long peers keep our routes while this daemon restarts. */
const restartTimeSec = 120;
const deferralTimeSec = 30;
/** Of a host name or version in OPEN. */
const labelBytesMax = 64;
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
  const filters = new Map([...readyFilters(originate), ...(root.optional('filters', readFilters) ?? [])]);
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
    // Whether there was an earlier run, and what of it is left, the file does not know.
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec, deferralTimeSec },
    ...(gracefulShutdown === undefined ? {} : { gracefulShutdown }),
    ...(bmp ? { bmp } : {}),
    ...(mrt ? { mrt } : {}),
  };
}

function asMultipath(source: Source, node: Node | null): MultipathConfig {
  const fields = new Fields(source, node, 'multipath');
  const max = fields.optional('max', asInteger(1, multipathMax, 'the number of next hops')) ?? multipathMax;
  const asPathRelax = fields.optional('asPathRelax', asBoolean) ?? true;
  fields.done();
  return { max, asPathRelax };
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
