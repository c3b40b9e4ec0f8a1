/** Everything that we encode, read by tshark: nothing is malformed to it, and it sees the prefixes that we meant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wire } from '#bgp';
import { generateUpdate } from '../fuzz/generate.ts';
import { Random } from '../fuzz/random.ts';
import { passivePeer, type VirtualClient, VirtualSpeaker, virtualConfig } from '../support/bgp-virtual.ts';
import { asn4, before, bothFamilies, capabilities, capability, message, open } from '../support/hostile/build.ts';
import { attributeInputs, multiprotocolInputs, nlriInputs } from '../support/hostile/index.ts';
import { needs } from '../support/needs.ts';
import { tshark } from '../support/tshark.ts';

const wants = needs({ provided: ['tshark'] });

/** Expert severity `Error` and what is beyond it. */
const malformed = '_ws.malformed or _ws.expert.severity >= 8388608';

/** Numbers of the messages that tshark finds fault with, with its line about each. */
function faults(messages: readonly Uint8Array[], asnOctets: 2 | 4): string[] {
  const lines = tshark(messages, [
    '-o',
    `bgp.asn_len:${asnOctets} octet`,
    '-Y',
    malformed,
    '-T',
    'fields',
    '-e',
    'frame.number',
    '-e',
    '_ws.expert.message',
  ]);
  return lines.map((line) => `${line} ${Buffer.from(messages[Number.parseInt(line, 10) - 1]!).toString('hex')}`);
}

// An OPEN with more than 255 octets of parameters is not among them: tshark 4.0 reads the lengths of RFC 9072 as one octet.
test('RFC 4271 4, RFC 5492: OPEN, NOTIFICATION, KEEPALIVE, ROUTE-REFRESH and End-of-RIB', wants, () => {
  const full: wire.OpenMessage = {
    asn: 4_200_000_000,
    holdTimeSec: 90,
    routerId: 0x0a000001,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    asn4: true,
    routeRefresh: true,
    gracefulRestart: {
      restarting: true,
      notification: true,
      restartTimeSec: 120,
      families: [
        { family: 'ipv4-unicast', forwarding: true },
        { family: 'ipv6-unicast', forwarding: false },
      ],
    },
    enhancedRouteRefresh: true,
    extendedMessages: true,
    extendedNextHop: true,
    longLived: [{ family: 'ipv4-unicast', forwarding: true, staleTimeSec: 3600 }],
    addPath: [{ family: 'ipv6-unicast', receive: true, send: true }],
    roles: [wire.bgpRole.customer],
    hostName: { host: 'node-1', domain: 'example.org' },
    softwareVersion: 'Poplin 0.1.0',
  };
  const messages = [
    wire.encodeOpen(full),
    wire.encodeOpen({ ...full, asn: 64512, families: ['ipv4-unicast'] }),
    wire.encodeNotification({ code: 6, subcode: 2, data: wire.shutdownData('maintenance, back at six') }),
    wire.encodeNotification({ code: 3, subcode: 5, data: Uint8Array.of(0x40, 1, 2, 0, 0) }),
    wire.encodeNotification({ code: 8, subcode: 0, data: new Uint8Array(0) }),
    wire.encodeKeepalive(),
    wire.encodeRouteRefresh('ipv4-unicast'),
    wire.encodeRouteRefresh('ipv6-unicast'),
    wire.encodeEndOfRib(4),
    wire.encodeEndOfRib(6),
  ];
  assert.deepEqual(faults(messages, 4), []);
  const types = tshark(messages, ['-T', 'fields', '-e', 'bgp.type']);
  assert.deepEqual(types, ['1', '1', '3', '3', '3', '4', '5', '5', '2', '2']);
  const [first] = tshark(messages, ['-T', 'fields', '-e', 'bgp.cap.type', '-c', '1']);
  for (const code of [1, 2, 5, 6, 9, 64, 65, 69, 70, 71, 73])
    assert.ok(first!.split(',').includes(String(code)), `${code}`);
});

/** A default route beside other prefixes makes tshark take them for prefixes with path identifiers (RFC 7911), which it guesses. */
function hasDefaultRoute({ bytes, ...view }: wire.UpdateView): boolean {
  const cursor = wire.createPrefixCursor();
  for (const [family, start, end] of [
    [4, view.nlriStart, view.nlriEnd],
    [4, view.withdrawnStart, view.withdrawnEnd],
    [view.mpReachFamily, view.mpReachNlriStart, view.mpReachNlriEnd],
    [view.mpUnreachFamily, view.mpUnreachStart, view.mpUnreachEnd],
  ] as const) {
    if (family === 0) continue;
    cursor.reset(family, bytes, start, end);
    while (cursor.next()) if (cursor.bits === 0) return true;
  }
  return false;
}

const senderAddress = '10.0.0.2';

/** A speaker that hears every good UPDATE of the lists and of the fuzzer, and what it says of them to one peer. */
function relayed(peer: 'ebgp' | 'ibgp' | 'old'): Uint8Array[] {
  const asn = peer === 'ibgp' ? 64512 : 64999;
  const world = new VirtualSpeaker(virtualConfig([passivePeer(senderAddress, 64513), passivePeer('10.0.0.9', asn)]));
  const up = (address: string, as: number, wide: boolean, id: number): VirtualClient => {
    const client = world.connect(address);
    const list = [...bothFamilies, capability(2, []), ...(wide ? [asn4(as)] : [])];
    client.send(open({ asn: as, id: [10, 0, 0, id], parameters: capabilities(...list) }));
    client.send(message(4, []));
    world.run();
    return client;
  };
  const receiver = up('10.0.0.9', asn, peer !== 'old', 9);
  const sender = up(senderAddress, 64513, true, 2);
  const random = new Random(9);
  const context = { asn4: true, ipv4: true, ipv6: true, ebgp: true, localAsn: 64512, peerAsn: 64513, localRouterId: 1 };
  const view = wire.createUpdateView();
  const all = [
    before('ebgp'),
    ...[...attributeInputs, ...nlriInputs, ...multiprotocolInputs]
      .filter(({ id, peer: from, outcome }) => from === 'ebgp' && !outcome.includes('/') && id !== 'nlri-default')
      .map(({ bytes }) => bytes),
    ...Array.from({ length: 3000 }, () => generateUpdate(random, true)).filter(
      (bytes) =>
        bytes.length >= 23 &&
        wire.decodeUpdate(view, context, bytes, 0, bytes.length) === 'accept' &&
        !hasDefaultRoute(view),
    ),
  ];
  for (const bytes of all) {
    sender.send(bytes);
    world.run();
  }
  assert.ok(!sender.closed && !receiver.closed);
  return receiver.messages().map(({ bytes }) => bytes);
}

for (const peer of ['ebgp', 'ibgp', 'old'] as const) {
  test(`RFC 4271 4.3, RFC 4760, RFC 6793: UPDATEs relayed to a peer (${peer})`, wants, () => {
    const messages = relayed(peer);
    const updates = messages.filter((bytes) => bytes[18] === wire.messageType.update);
    assert.ok(updates.length > 500, `${updates.length} UPDATEs`);
    assert.deepEqual(
      faults(
        messages.filter((bytes) => !passesOnUnread(bytes)),
        peer === 'old' ? 2 : 4,
      ),
      [],
    );
  });
}

/** Whether an attribute has Partial set: we passed it on octet by octet without understanding it, and what is in it is not ours. */
function passesOnUnread(bytes: Uint8Array): boolean {
  if (bytes[18] !== wire.messageType.update) return false;
  let at = 21 + ((bytes[19]! << 8) | bytes[20]!);
  const end = at + 2 + ((bytes[at]! << 8) | bytes[at + 1]!);
  for (at += 2; at < end; ) {
    if ((bytes[at]! & 0x20) !== 0) return true;
    at += (bytes[at]! & 0x10) === 0 ? 3 + bytes[at + 2]! : 4 + ((bytes[at + 2]! << 8) | bytes[at + 3]!);
  }
  return false;
}
