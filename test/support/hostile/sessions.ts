/** Headers, messages out of their state, ROUTE-REFRESH, NOTIFICATION, and OPEN: RFC 4271 6.1, 6.2, 6.4, 6608, 7313, 9072. */
import {
  asn4,
  bothFamilies,
  capabilities,
  capability,
  fill,
  goodOpen,
  goodParameters,
  type HostileInput,
  input,
  localAsn,
  message,
  multiprotocol,
  type Outcome,
  open,
  peerAsn,
  u16,
  u32,
  update,
  withMore,
} from './build.ts';

const text = (value: string): Uint8Array => Uint8Array.from(value, (c) => c.charCodeAt(0));
const keepalive = message(4, []);
const refresh = (...body: number[]): Uint8Array => message(5, body);
const connected = { state: 'connected' } as const;
const confirming = { state: 'openConfirm' } as const;

export const sessionInputs: readonly HostileInput[] = [
  input('header-marker-first-octet', 'RFC 4271 6.1', keepalive.with(0, 0), '1/1'),
  input('header-marker-last-octet', 'RFC 4271 6.1', keepalive.with(15, 0xfe), '1/1'),
  input('header-zeros', 'RFC 4271 6.1', new Uint8Array(19), '1/1'),
  input('header-length-0', 'RFC 4271 6.1', message(4, [], 0), '1/2'),
  input('header-length-18', 'RFC 4271 6.1', message(4, [], 18), '1/2'),
  input('header-length-4097-alone', 'RFC 4271 6.1', message(2, [], 4097), '1/2'),
  input('header-length-65535-alone', 'RFC 4271 6.1', message(2, [], 65535), '1/2'),
  ...[0, 6, 9, 255].map((type) => input(`header-type-${type}`, 'RFC 4271 6.1', message(type, []), '1/3')),
  input('header-type-9-before-open', 'RFC 4271 6.1', message(9, []), '1/3', connected),
  input('keepalive-bytes-20', 'RFC 4271 6.1', message(4, [0]), '1/2'),
  input('keepalive-bytes-4096', 'RFC 4271 6.1', message(4, fill(4077)), '1/2'),
  input('open-bytes-28', 'RFC 4271 6.1', message(1, fill(9)), '1/2', connected),
  input('notification-bytes-20', 'RFC 4271 6.4', message(3, [6]), 'closed'),
  input('notification-bytes-19', 'RFC 4271 6.4', message(3, []), 'closed'),
  input('notification-unknown', 'RFC 4271 6.4', message(3, [200, 200]), 'closed'),
  input('notification-in-opensent', 'RFC 4271 8.2.2', message(3, [2, 2]), 'closed', connected),
  input('shutdown-text-not-utf8', 'RFC 9003 3', message(3, [6, 2, 3, 0xff, 0xfe, 0xc0]), 'closed'),
  input('shutdown-text-overrun', 'RFC 9003 3', message(3, [6, 2, 200, 0x41]), 'closed'),
  input('shutdown-text-control-characters', 'RFC 9003 6', message(3, [6, 4, 4, 0x1b, 0x5b, 0x32, 0x4a]), 'closed'),
  input('hard-reset-nested', 'RFC 8538 3.1', message(3, [6, 9, 6, 9, 6, 9, 6, 2, 1, 0x41]), 'closed'),
  input('open-in-established', 'RFC 6608 3', goodOpen('ebgp'), '5/3'),
  input('open-in-openconfirm', 'RFC 6608 3', goodOpen('ebgp'), '5/2', confirming),
  input('keepalive-before-open', 'RFC 6608 3', keepalive, '5/1', connected),
  input('update-before-open', 'RFC 6608 3', withMore('ebgp'), '5/1', connected),
  input('update-in-openconfirm', 'RFC 6608 3', withMore('ebgp'), '5/2', confirming),
  input('end-of-rib-before-open', 'RFC 6608 3', update({}), '5/1', connected),
  input('route-refresh-before-open', 'RFC 6608 3', refresh(0, 1, 0, 1), '5/1', connected),
  input('route-refresh-in-openconfirm', 'RFC 6608 3', refresh(0, 1, 0, 1), '5/2', confirming),
  input('route-refresh-good', 'RFC 2918 4', refresh(0, 1, 0, 1), 'ignore'),
  input('route-refresh-bytes-22', 'RFC 7313 5', refresh(0, 1, 0), '7/1'),
  input('route-refresh-bytes-24', 'RFC 7313 5', refresh(0, 1, 0, 1, 0), '7/1'),
  input('route-refresh-subtype-3', 'RFC 7313 5', refresh(0, 1, 3, 1), 'ignore'),
  input('route-refresh-subtype-255-long', 'RFC 7313 5', refresh(0, 1, 255, 1, 9, 9), 'ignore'),
  input('route-refresh-afi-99', 'RFC 2918 4', refresh(0, 99, 0, 1), 'ignore'),
  input('route-refresh-orf-immediate', 'RFC 5291 5', refresh(0, 1, 0, 1, 1, 64, 0, 1, 0x80), '7/1'),
  input('route-refresh-orf-overrun', 'RFC 5291 5', refresh(0, 1, 0, 1, 1, 64, 0xff, 0xff, 0), '7/1'),
  input('not-bgp-http', 'RFC 4271 6.1', text('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), '1/1', connected),
  input('not-bgp-short', 'RFC 4271 6.1', text('A'), '1/1', connected),
  input(
    'not-bgp-tls',
    'RFC 4271 6.1',
    Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, ...fill(32)),
    '1/1',
    connected,
  ),
  input('not-bgp-ssh', 'RFC 4271 6.1', text('SSH-2.0-OpenSSH_9.2\r\n'), '1/1', connected),
];

const start = (id: string, clause: string, bytes: Uint8Array, outcome: Outcome): HostileInput =>
  input(`open-${id}`, clause, bytes, outcome, connected);
/** A good OPEN with one capability more. */
const offering = (id: string, clause: string, more: readonly number[], outcome: Outcome = 'up'): HostileInput =>
  start(`capability-${id}`, clause, open({ parameters: capabilities(...bothFamilies, asn4(peerAsn), more) }), outcome);
/** RFC 9072: parameters with 2-octet lengths; `length` may lie. */
const extended = (parameters: readonly number[], length = parameters.length): number[] => [
  255,
  255,
  ...u16(length),
  ...parameters,
];
const extendedCapabilities = (value: readonly number[], length = value.length): number[] => [
  2,
  ...u16(length),
  ...value,
];
const known = [...bothFamilies.flat(), ...asn4(peerAsn)];

const fields: readonly HostileInput[] = [
  start('version-3', 'RFC 4271 6.2', open({ version: 3 }), '2/1'),
  start('version-5', 'RFC 4271 6.2', open({ version: 5 }), '2/1'),
  start('as-0', 'RFC 7607 2', open({ asn: 0 }), '2/2'),
  start('as-0-without-capability', 'RFC 7607 2', open({ asn: 0, parameters: capabilities(...bothFamilies) }), '2/2'),
  start('as-other', 'RFC 4271 6.2', open({ asn: 64999, parameters: capabilities(...bothFamilies) }), '2/2'),
  start('as-trans-without-capability', 'RFC 6793 4.1', open({ asn: 23456, parameters: [] }), '2/2'),
  start('id-0', 'RFC 6286 2.2', open({ id: [0, 0, 0, 0] }), '2/3'),
  start('id-ours-ebgp', 'RFC 6286 2.3', open({ id: [10, 10, 10, 10] }), 'up'),
  input(
    'open-id-ours-ibgp',
    'RFC 6286 2.2',
    open({ asn: localAsn, id: [10, 10, 10, 10], parameters: goodParameters('ibgp') }),
    '2/3',
    {
      state: 'connected',
      peer: 'ibgp',
    },
  ),
  start('id-multicast', 'RFC 6286 2.1', open({ id: [224, 0, 0, 1] }), 'up'),
  ...[1, 2].map((hold) => start(`hold-${hold}`, 'RFC 4271 6.2', open({ hold }), '2/6')),
  ...[0, 3, 65535].map((hold) => start(`hold-${hold}`, 'RFC 4271 4.2', open({ hold }), 'up')),
];

const parameters: readonly HostileInput[] = [
  ...[0, 1, 3, 254].map((type) =>
    start(`parameter-${type}`, 'RFC 4271 6.2', open({ parameters: [type, 1, 0, ...goodParameters()] }), '2/4'),
  ),
  start('parameter-overrun', 'RFC 4271 6.2', open({ parameters: [2, 200, 1, 4] }), '2/0'),
  start('parameter-cut', 'RFC 4271 6.2', open({ parameters: [...goodParameters(), 2] }), '2/0'),
  start('parameters-length-long', 'RFC 4271 6.2', open({ raw: [200, ...goodParameters()] }), '2/0'),
  start('parameters-length-short', 'RFC 4271 6.2', open({ raw: [2, ...goodParameters()] }), '2/0'),
  start('parameters-none', 'RFC 4271 4.2', open({ parameters: [] }), 'up'),
  start('parameter-empty', 'RFC 5492 4', open({ parameters: [2, 0, ...goodParameters()] }), 'up'),
  start(
    'parameters-one-each',
    'RFC 5492 4',
    open({
      parameters: [
        ...capabilities(multiprotocol(1)),
        ...capabilities(multiprotocol(2)),
        ...capabilities(asn4(peerAsn)),
      ],
    }),
    'up',
  ),
  start('extended', 'RFC 9072 2', open({ raw: extended(extendedCapabilities(known)) }), 'up'),
  start(
    'extended-long',
    'RFC 9072 2',
    open({
      raw: extended(
        extendedCapabilities([...known, ...Array.from({ length: 14 }, () => capability(200, fill(250))).flat()]),
      ),
    }),
    'up',
  ),
  start('extended-cut', 'RFC 9072 2', open({ raw: [255, 255, 0] }), '2/0'),
  start('extended-length-long', 'RFC 9072 2', open({ raw: extended(extendedCapabilities(known), 4000) }), '2/0'),
  start('extended-length-short', 'RFC 9072 2', open({ raw: extended(extendedCapabilities(known), 1) }), '2/0'),
  start(
    'extended-parameter-overrun',
    'RFC 9072 2',
    open({ raw: extended(extendedCapabilities(known, 0xffff)) }),
    '2/0',
  ),
  start('extended-parameter-cut', 'RFC 9072 2', open({ raw: extended([2, 0]) }), '2/0'),
  start(
    'extended-capability-overrun',
    'RFC 9072 2',
    open({ raw: extended(extendedCapabilities([65, 200, 1])) }),
    '2/0',
  ),
  start('extended-twice', 'RFC 9072 2', open({ raw: extended([255, 0, 0, ...extendedCapabilities(known)]) }), '2/4'),
];

const offered: readonly HostileInput[] = [
  start('capability-overrun', 'RFC 5492 5', open({ parameters: [2, 3, 65, 4, 0] }), '2/0'),
  start('capability-overrun-by-one', 'RFC 5492 5', open({ parameters: [2, 5, 65, 4, 0, 0, 0] }), '2/0'),
  start('capability-cut', 'RFC 5492 5', open({ parameters: [2, 1, 65] }), '2/0'),
  start('capability-as-0', 'RFC 7607 2', open({ parameters: capabilities(...bothFamilies, asn4(0)) }), '2/2'),
  start('capability-as-other', 'RFC 4271 6.2', open({ parameters: capabilities(...bothFamilies, asn4(64999)) }), '2/2'),
  start(
    'capability-no-common-family',
    'RFC 5492 3',
    open({ parameters: capabilities(multiprotocol(25, 70), asn4(peerAsn)) }),
    '2/7',
  ),
  offering('unknown', 'RFC 5492 4', capability(200, [1, 2, 3])),
  offering('type-0', 'RFC 5492 4', capability(0, [])),
  offering('type-255-long', 'RFC 5492 4', capability(255, fill(180, 9))),
  offering('repeated', 'RFC 5492 4', [...multiprotocol(1), ...multiprotocol(1), ...multiprotocol(2)]),
  offering('multiprotocol-len-3', 'RFC 4760 8', capability(1, [0, 1, 0])),
  offering('multiprotocol-len-5', 'RFC 4760 8', capability(1, [0, 1, 0, 1, 0])),
  offering('route-refresh-len-1', 'RFC 2918 2', capability(2, [0])),
  offering('orf-garbage', 'RFC 5291 4', capability(3, [0, 1, 0, 1, 255, 64, 3])),
  offering('orf-cut', 'RFC 5291 4', capability(3, [0, 1])),
  offering('extended-next-hop-len-5', 'RFC 8950 4', capability(5, fill(5, 1))),
  offering('extended-messages-len-1', 'RFC 8654 3', capability(6, [1])),
  offering('role-len-2', 'RFC 9234 4.1', capability(9, [1, 2])),
  offering('role-unknown', 'RFC 9234 4.1', capability(9, [99])),
  offering('graceful-restart-len-1', 'RFC 4724 3', capability(64, [0])),
  offering('graceful-restart-len-5', 'RFC 4724 3', capability(64, [0x80, 9, 0, 1, 1])),
  offering('as4-len-3', 'RFC 6793 3', capability(65, [0, 0, 1])),
  offering('dynamic-garbage', 'RFC 5492 4', capability(67, fill(9, 9))),
  offering('add-path-len-3', 'RFC 7911 4', capability(69, [0, 1, 1])),
  offering('add-path-mode-9', 'RFC 7911 4', capability(69, [0, 1, 1, 9])),
  offering('enhanced-refresh-len-2', 'RFC 7313 3', capability(70, [0, 0])),
  offering('llgr-len-6', 'RFC 9494 3', capability(71, fill(6, 1))),
  offering('llgr-len-0', 'RFC 9494 3', capability(71, [])),
  offering('host-name-overrun', 'draft-walton-bgp-hostname-capability', capability(73, [200, 65])),
  offering('host-name-domain-overrun', 'draft-walton-bgp-hostname-capability', capability(73, [1, 65, 200, 65])),
  offering('host-name-empty', 'draft-walton-bgp-hostname-capability', capability(73, [])),
  offering('software-version-overrun', 'draft-ietf-idr-software-version', capability(75, [255, 1])),
  offering('software-version-not-utf8', 'draft-ietf-idr-software-version', capability(75, [2, 0xff, 0xc0])),
  start(
    'capability-60-unknown',
    'RFC 5492 4',
    open({
      parameters: capabilities(
        ...bothFamilies,
        asn4(peerAsn),
        ...Array.from({ length: 60 }, (_, i) => capability(100 + i, [])),
      ),
    }),
    'up',
  ),
  start(
    'capability-as4-len-3-alone',
    'RFC 6793 3',
    open({ parameters: capabilities(...bothFamilies, capability(65, u32(peerAsn).slice(1))) }),
    'up',
  ),
];

export const openInputs: readonly HostileInput[] = [...fields, ...parameters, ...offered];
