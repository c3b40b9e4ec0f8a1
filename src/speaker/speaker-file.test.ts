import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSpeakerFile, SpeakerFileError } from './speaker-file.ts';

const parse = (text: string) => parseSpeakerFile('speaker.yaml', text, (file) => `key of ${file}\n`);

test('every key is read', () => {
  const config = parse(`
asn: 4200000000
routerId: 10.0.0.1
listen: ["10.0.0.1:1179", "[fd00::1]:179"]
originate: [10.1.2.3/16, "fd00:1::/64"]
clusterId: 244.0.0.1
hostName: node1.example.org
softwareVersion: Poplin 1
multipath: { max: 8, asPathRelax: false }
peers:
  - address: 10.0.0.2
    asn: 64513
    families: [ipv4, ipv6]
    holdTime: 30s
    password: { file: /etc/key }
    import: accept
    export: accept
    localAddress: 10.0.0.1
    port: 1179
    passive: true
    extendedMessages: false
    role: customer
    strictRole: true
    maxPrefixes:
      ipv4: { limit: 1000, warnPercent: 80, restartTime: 600s }
      ipv6: { limit: 50, warnOnly: true }
    addPath: { receive: true, send: 4, limit: 8 }
  - { address: 10.0.0.3, asn: 4200000000, routeReflectorClient: true }
`);
  assert.deepEqual(config.multipath, { max: 8, asPathRelax: false });
  assert.deepEqual(config.listen, [
    { address: '10.0.0.1', port: 1179 },
    { address: 'fd00::1', port: 179 },
  ]);
  assert.deepEqual(config.originate, ['10.1.0.0/16', 'fd00:1::/64']);
  const peer = config.peers[0]!;
  assert.equal(peer.password, 'key of /etc/key');
  assert.equal(peer.holdTimeSec, 30);
  assert.deepEqual(peer.addPath, { receive: true, send: 4, limit: 8 });
  assert.deepEqual(peer.families, ['ipv4-unicast', 'ipv6-unicast']);
  assert.deepEqual(
    [config.clusterId, config.hostName, config.softwareVersion],
    ['244.0.0.1', 'node1.example.org', 'Poplin 1'],
  );
  assert.deepEqual([peer.extendedMessages, peer.role, peer.strictRole], [false, 'customer', true]);
  assert.deepEqual(peer.maxPrefixes, {
    'ipv4-unicast': { limit: 1000, warnPercent: 80, restartSec: 600 },
    'ipv6-unicast': { limit: 50, warnOnly: true },
  });
  assert.equal(config.peers[1]!.routeReflectorClient, true);
  assert.deepEqual([peer.import, peer.export, peer.passive, peer.port], ['accept', 'accept', true, 1179]);
});

test('what outlives a session: restart and stale times, NOTIFICATIONs, graceful shutdown', () => {
  const head = 'asn: 64512\nrouterId: 10.0.0.1\n';
  const read = (text: string) => parse(`${head}peers:\n  - { address: 10.0.0.2, asn: 64513, ${text} }\n`).peers[0]!;
  const all =
    'restartTime: 90s, notificationKeepsRoutes: false, longLivedStaleTime: 3600s, longLivedToAllInternal: true, gracefulShutdown: true';
  const { restartTimeSec, notificationKeepsRoutes, longLivedStaleTimeSec, longLivedToAllInternal, gracefulShutdown } =
    read(all);
  assert.deepEqual(
    [restartTimeSec, notificationKeepsRoutes, longLivedStaleTimeSec, longLivedToAllInternal, gracefulShutdown],
    [90, false, 3600, true, true],
  );
  assert.equal('longLivedStaleTimeSec' in read('passive: true'), false, 'not offered by default');
  assert.equal(parse(`${head}gracefulShutdown: true\n`).gracefulShutdown, true);
});

test('how routes of a peer are taken in: BLACKHOLE, link bandwidth, our own AS; and what its session is bound to', () => {
  const head = 'asn: 64512\nrouterId: 10.0.0.1\n';
  const read = (text: string, asn = 64513) =>
    parse(`${head}peers:\n  - { address: 10.0.0.2, asn: ${asn}, ${text} }\n`).peers[0]!;
  const all = 'blackhole: { ipv4: 28 }, linkBandwidth: 2.5Gbit, ttlSecurity: 2, keepaliveTime: 10s, allowOwnAsn: 1';
  const { blackhole, linkBandwidthBytesPerSec, ttlSecurityHops, keepaliveSec, allowOwnAsn } = read(all);
  assert.deepEqual(blackhole, { minLength4: 28 });
  assert.deepEqual([linkBandwidthBytesPerSec, ttlSecurityHops, keepaliveSec, allowOwnAsn], [312_500_000, 2, 10, 1]);
  assert.deepEqual(read('blackhole: true').blackhole, {});
  assert.equal('blackhole' in read('blackhole: false'), false);
  const other = read('localAsn: 65000', 64512);
  assert.deepEqual([other.localAsn, other.import], [65000, 'reject'], 'as AS 65000 we are external to 64512');
  assert.deepEqual(read('localAsn: 64513').import, 'accept');
});

test('bfd: true for the defaults, or a mapping; RFC 5880 intervals with their bounds', () => {
  const head = 'asn: 64512\nrouterId: 10.0.0.1\npeers:\n  - address: 10.0.0.2\n    asn: 64513\n';
  const bfd = (text: string) => parse(`${head}    bfd: ${text}\n`).peers[0]!.bfd;
  const defaults = { minTxMs: 300, minRxMs: 300, multiplier: 3 };
  assert.deepEqual(bfd('true'), defaults);
  assert.equal(bfd('false'), undefined);
  assert.deepEqual(bfd('{}'), { ...defaults, multihop: false, graceful: false });
  assert.deepEqual(bfd('{ minTx: 50ms, minRx: 1s, multiplier: 5, multihop: true, graceful: true }'), {
    minTxMs: 50,
    minRxMs: 1000,
    multiplier: 5,
    multihop: true,
    graceful: true,
  });
  const cases: [string, RegExp][] = [
    ['{ minTx: 5ms }', /:6:19: an interval of BFD must be from 10ms to 60000ms, for example 300ms, not 5ms/],
    ['{ minRx: 2min }', /:6:19: an interval of BFD .* not 2min/],
    ['{ multiplier: 0 }', /:6:24: multiplier must be a whole number from 1 to 255, not 0/],
    ['{ echo: true }', /:6:12: unknown key echo in bfd; known are minTx, minRx, multiplier, multihop, graceful/],
    ['often', /:6:10: true or false is wanted here, not often/],
  ];
  for (const [text, message] of cases) assert.throws(() => bfd(text), message, text);
});

test('peers by interface and by range', () => {
  const config = parse(`
asn: 64512
routerId: 10.0.0.1
peers:
  - { interface: eth0, asn: external, import: accept, export: accept, linkLocalNextHopFormat: native }
  - { range: 10.2.3.4/16, asn: [64600, 64601], limit: 5, password: secret }
  - { range: "fd00:2::/64", asn: internal, extendedNextHop: true }
  - { address: "FE80::1%eth1", asn: auto, localAddress: "fe80::2%eth1" }
`);
  const [unnumbered, linkLocal] = config.peers;
  assert.deepEqual([unnumbered!.name, unnumbered!.interface, unnumbered!.address], ['eth0', 'eth0', '']);
  assert.deepEqual([unnumbered!.asn, unnumbered!.families], ['external', ['ipv4-unicast', 'ipv6-unicast']]);
  assert.equal(unnumbered!.linkLocalNextHopFormat, 'native');
  assert.deepEqual(
    [linkLocal!.address, linkLocal!.localAddress, linkLocal!.asn],
    ['fe80::1%eth1', 'fe80::2%eth1', 'auto'],
  );
  assert.deepEqual(
    config.ranges?.map(({ prefix, asn, limit, password, families, import: policy, extendedNextHop }) => [
      prefix,
      asn,
      limit,
      password,
      families,
      policy,
      extendedNextHop,
    ]),
    [
      ['10.2.0.0/16', [64600, 64601], 5, 'secret', ['ipv4-unicast'], 'reject', undefined],
      ['fd00:2::/64', 'internal', 100, undefined, ['ipv6-unicast'], 'accept', true],
    ],
  );
});

test('RFC 8212: an eBGP peer without policy gets and gives nothing, an iBGP peer everything', () => {
  const config = parse(`
asn: 64512
routerId: 10.0.0.1
peers: [{ address: 10.0.0.2, asn: 64513 }, { address: 10.0.0.3, asn: 64512 }]
`);
  assert.deepEqual(
    config.peers.map((peer) => [peer.import, peer.export]),
    [
      ['reject', 'reject'],
      ['accept', 'accept'],
    ],
  );
});

test('errors name line, column and remedy', () => {
  const head = 'asn: 64512\nrouterId: 10.0.0.1\n';
  const peer = (text: string): string => `${head}peers:\n  - address: 10.0.0.2\n    asn: 64513\n    ${text}\n`;
  const cases: [string, RegExp][] = [
    ['asn: 0\nrouterId: 10.0.0.1\n', /^speaker\.yaml:1:6: an AS number must be a whole number from 1/],
    ['routerId: 10.0.0.1\n', /lacks the key asn/],
    ['asn: 1\nrouterId: 0.0.0.0\n', /:2:11: routerId must be a dotted quad/],
    [`${head}colour: red\n`, /:3:1: unknown key colour in the file; known are asn, routerId/],
    [`${head}originate: [10.1.0.0]\n`, /:3:13: 10\.1\.0\.0 is not a prefix/],
    [`${head}originate: [10.1.0.0/33]\n`, /is not a prefix/],
    [peer('holdTime: 2'), /:6:15: holdTime must be 0 or from 3s/],
    [peer('restartTime: 4096s'), /:6:18: restartTime must be from 0s to 4095s, not 4096s/],
    [peer('longLivedStaleTime: 16777216'), /longLivedStaleTime must be from 0s to 16777215s/],
    [peer('gracefulShutdown: soon'), /true or false is wanted here/],
    [peer('import: maybe'), /:6:13: maybe is neither accept nor reject/],
    [peer('families: [ipv5]'), /ipv5 is not a family/],
    [peer('password: { value: a, file: b }'), /either value or file/],
    [peer(`password: ${'x'.repeat(81)}`), /1 to 80 bytes, not 81/],
    [peer('localAddress: fd00::1'), /different families/],
    [`${head}clusterId: 0.0.0.0\n`, /:3:12: clusterId must be a dotted quad/],
    [`${head}hostName: ${'x'.repeat(65)}\n`, /:3:11: 1 to 64 bytes of text/],
    [peer('role: friend'), /:6:11: friend is none of provider, customer/],
    [peer('strictRole: true'), /strictRole goes with role/],
    [peer('routeReflectorClient: true'), /for peers of our own AS/],
    [`${head}peers: [{ address: 10.0.0.2, asn: 64512, role: peer }]`, /role is for peers of another AS/],
    [peer('maxPrefixes: { ipv4: {} }'), /:6:26: a limit lacks the key limit/],
    [peer('maxPrefixes: { ipv4: { limit: 0 } }'), /limit must be a whole number from 1/],
    [peer('maxPrefixes: { ipv4: { limit: 1, warnPercent: 101 } }'), /warnPercent must be a whole number from 1 to 100/],
    [peer('maxPrefixes: { ipv4: { limit: 1, restartTime: 0s } }'), /restartTime must be from 1s/],
    [peer('maxPrefixes: { ipv5: { limit: 1 } }'), /unknown key ipv5 in maxPrefixes/],
    [peer('blackhole: { ipv4: 33 }'), /:6:24: the shortest prefix must be a whole number from 1 to 32, not 33/],
    [peer('blackhole: 32'), /true or false is wanted here/],
    [peer('linkBandwidth: 10'), /:6:20: a bandwidth is wanted such as 10Gbit or 2\.5Gbit, not 10/],
    [peer('ttlSecurity: 0'), /:6:18: the number of hops must be a whole number from 1 to 255/],
    [peer('allowOwnAsn: 256'), /allowOwnAsn must be a whole number from 0 to 255/],
    [peer('addPath: { send: 129 }'), /:6:22: the number of paths to send must be a whole number from 0 to 128/],
    [
      peer('addPath: { receive: true, limit: 0 }'),
      /the number of paths to ask for must be a whole number from 1 to 128/,
    ],
    [peer('addPath: { send: 1, limit: 4 }'), /limit goes with receive: true/],
    [peer('addPath: { sends: 1 }'), /:6:16: unknown key sends in addPath; known are receive, send, limit/],
    [`${head}multipath: { max: 0 }\n`, /:3:19: the number of next hops must be a whole number from 1 to 64/],
    [`${head}multipath: { relax: true }\n`, /:3:14: unknown key relax in multipath/],
    [peer('interface: eth0'), /:4:5: a peer needs one of the keys address, interface and range/],
    [`${head}peers: [{ asn: 1 }]`, /:3:9: a peer needs one of/],
    [`${head}peers: [{ address: "fe80::1", asn: 1 }]`, /fe80::1 needs its interface, for example fe80::1%eth0/],
    [`${head}peers: [{ interface: a/b, asn: 1 }]`, /a\/b is not the name of an interface/],
    [`${head}peers: [{ interface: eth0, asn: any }]`, /any is no AS number, and none of external/],
    [`${head}peers: [{ range: 10.0.0.0/8, asn: 1, limit: 0 }]`, /limit must be a whole number from 1 to 65535/],
    [`${head}peers: [{ range: 10.0.0.0/8, asn: 1, passive: true }]`, /unknown key passive in a peer/],
    [peer('linkLocalNextHopFormat: both'), /both is none of native, single, double/],
    [peer('typo: 1'), /:6:5: unknown key typo in a peer/],
    ['asn: [1\n', /^speaker\.yaml:2:1: /],
    ['- 1\n', /must be a mapping/],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(
      () => parse(text),
      (error) => error instanceof SpeakerFileError && wanted.test(error.message) && error.failure.line > 0,
      `${text} -> ${wanted}`,
    );
  }
});

test('monitoring stations and records (RFC 7854, RFC 6396)', () => {
  const head = 'asn: 64512\nrouterId: 10.0.0.1\n';
  const config = parse(`${head}bmp:
  - { name: noc, address: "fd00::9", port: 11019, monitor: [pre-policy, loc-rib, loc-rib], multipath: false, statistics: 60s, connectRetry: 5 }
  - { address: 10.0.0.9, port: 5000, monitor: [], localAddress: 10.0.0.1 }
mrt:
  updates: { file: /var/log/bgp.mrt, rotate: 300s, sent: true }
`);
  assert.deepEqual(config.bmp, [
    {
      name: 'noc',
      address: 'fd00::9',
      port: 11019,
      monitor: ['pre-policy', 'loc-rib'],
      multipath: false,
      statisticsSec: 60,
      connectRetrySec: 5,
    },
    { name: '10.0.0.9 port 5000', address: '10.0.0.9', port: 5000, localAddress: '10.0.0.1', monitor: [] },
  ]);
  assert.deepEqual(config.mrt, {
    updates: { file: '/var/log/bgp.mrt', rotateBytes: 100_000_000, rotateSec: 300, sent: true },
  });
  const station = (text: string): string => `${head}bmp:\n  - { address: 10.0.0.9, port: 1, ${text} }\n`;
  const cases: [string, RegExp][] = [
    [station('monitor: [all]'), /:4:45: all is no table that can be monitored; known are pre-policy, post-policy/],
    [station('statistics: 5m, monitor: []'), /:4:47: statistics must be from 1s to 86400s/],
    [station('monitor: [], colour: red'), /unknown key colour in a monitoring station/],
    [station('localAddress: "fd00::1", monitor: []'), /different families/],
    [`${head}bmp: [{ address: 10.0.0.9, port: 1 }]\n`, /lacks the key monitor/],
    [
      `${station('monitor: []')}  - { address: 10.0.0.9, port: 1, monitor: [] }\n`,
      /two monitoring stations have the name/,
    ],
    [`${head}mrt: { updates: { rotate: 5s } }\n`, /mrt\.updates lacks the key file/],
    [`${head}mrt: { tables: {} }\n`, /unknown key tables in mrt/],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(
      () => parse(text),
      (error) => error instanceof SpeakerFileError && wanted.test(error.message),
      `${text} -> ${wanted}`,
    );
  }
});

test('RFC 5925: TCP-AO keys, in place of a password', () => {
  const peers = (more: string) =>
    parse(`{ asn: 1, routerId: 10.0.0.1, peers: [{ address: 10.0.0.2, asn: 2, ${more} }] }`);
  const key = (more: string) =>
    `tcpAO: { keys: [{ sendID: 1, recvID: 2, algorithm: hmac-sha-1-96, secret: a }, { ${more} }] }`;
  const second =
    'sendID: 0, recvID: 255, algorithm: aes-128-cmac-96, secret: { file: /etc/ao }, excludeTCPOptions: true';
  const [peer] = peers(key(second)).peers;
  assert.deepEqual(peer!.tcpAo, [
    { sendId: 1, recvId: 2, algorithm: 'hmac-sha-1-96', secret: 'a' },
    { sendId: 0, recvId: 255, algorithm: 'aes-128-cmac-96', secret: 'key of /etc/ao', excludeTcpOptions: true },
  ]);
  assert.equal(peer!.password, undefined);
  for (const [text, message] of [
    [`password: b, ${key(second)}`, /speaker.yaml:1:39: password \(TCP-MD5\) stands beside tcpAO/],
    ['tcpAO: { keys: [] }', /there is no key/],
    ['tcpAO: {}', /tcpAO lacks the key keys/],
    [key('sendID: 1, recvID: 3, algorithm: hmac-sha-1-96, secret: b'), /two keys have the id 1 to send/],
    [key('sendID: 256, recvID: 3, algorithm: hmac-sha-1-96, secret: b'), /sendID must be .* from 0 to 255, not 256/],
    [key('sendID: 2, recvID: 3, algorithm: md5, secret: b'), /md5 is none of hmac-sha-1-96, aes-128-cmac-96/],
    [key("sendID: 2, recvID: 3, algorithm: hmac-sha-1-96, secret: ''"), /a secret has 1 to 80 bytes, not 0/],
    [key('sendID: 2, recvID: 3, algorithm: hmac-sha-1-96'), /lacks the key secret/],
  ] as const) {
    assert.throws(() => peers(text), message);
  }
});
