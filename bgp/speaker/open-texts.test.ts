/** FQDN and software version capabilities, for people: sent on request, shown escaped, without a new session. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeKeepalive, encodeOpen } from '../wire/index.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const [here, there] = ['10.0.0.1', '10.0.0.2'] as const;
const settings = (more: object) => config(here, 64512, [peer(there, 64513, { passive: true })], [], more);

test('host name and version go out on request, and not without (draft-walton-bgp-hostname-capability, draft-ietf-idr-software-version)', () => {
  for (const [more, hostName, softwareVersion] of [
    [{}, undefined, undefined],
    [{ hostName: 'node1' }, { host: 'node1', domain: '' }, undefined],
    [{ hostName: 'node1.a.example', softwareVersion: 'Poplin 1' }, { host: 'node1', domain: 'a.example' }, 'Poplin 1'],
    [{ hostName: '', softwareVersion: '' }, undefined, undefined],
    [{ softwareVersion: 'ä'.repeat(40) }, undefined, 'ä'.repeat(32)],
    [{ softwareVersion: `x${'ä'.repeat(40)}` }, undefined, `x${'ä'.repeat(31)}`],
  ] as const) {
    const network = new Network();
    network.add(here, settings(more));
    const raw = new RawPeer(network, there, here, { asn: 64513 });
    network.run();
    assert.deepEqual([raw.theirOpen!.hostName, raw.theirOpen!.softwareVersion], [hostName, softwareVersion]);
  }
});

test('what the peer calls itself is shown so that it can do nothing to a terminal', () => {
  const network = new Network();
  const speaker = network.add(here, settings({}));
  const softwareVersion = '\u001b[2JFRR "9"\u202e';
  new RawPeer(network, there, here, {
    asn: 64513,
    hostName: { host: 'tor1', domain: 'rack\n' },
    softwareVersion,
  }).establish();
  network.run();
  const { peerHostName, peerSoftwareVersion } = speaker.peerStatuses()[0]!.negotiated!;
  assert.equal(peerHostName, 'tor1.rack\\u{a}');
  assert.equal(peerSoftwareVersion, '\\u{1b}[2JFRR \\"9\\"\\u{202e}');
});

test('a capability whose lengths overrun is as if it were not there (RFC 5492 4)', () => {
  for (const [from, to] of [
    [
      [73, 7, 4, 0x74, 0x6f, 0x72, 0x31, 1],
      [73, 7, 9],
    ],
    [
      [75, 3, 2, 0x76, 0x31],
      [75, 3, 3],
    ],
  ] as const) {
    const network = new Network();
    const speaker = network.add(here, settings({}));
    const raw = new RawPeer(network, there, here, {
      asn: 64513,
      hostName: { host: 'tor1', domain: 'x' },
      softwareVersion: 'v1',
    });
    const open = encodeOpen(raw.open);
    const at = Buffer.from(open).indexOf(Buffer.from(from.slice(0, 3)));
    assert.ok(at > 0);
    open.set(to, at);
    raw.say(open, encodeKeepalive());
    network.run();
    const { state, negotiated } = speaker.peerStatuses()[0]!;
    assert.equal(state, 'Established');
    assert.equal(from[0] === 73 ? negotiated!.peerHostName : negotiated!.peerSoftwareVersion, undefined);
    assert.notEqual(from[0] === 73 ? negotiated!.peerSoftwareVersion : negotiated!.peerHostName, undefined);
  }
});

test('a change is told by the next OPEN and costs no session', () => {
  const network = new Network();
  const speaker = network.add(here, settings({ softwareVersion: 'one' }));
  const raw = new RawPeer(network, there, here, { asn: 64513 }).establish();
  network.run();
  speaker.configure(settings({ softwareVersion: 'two', hostName: 'b' }));
  network.run();
  assert.equal(raw.closed, false);
  raw.pipe.close();
  network.run();
  const again = new RawPeer(network, there, here, { asn: 64513 });
  network.run();
  assert.deepEqual([again.theirOpen!.softwareVersion, again.theirOpen!.hostName?.host], ['two', 'b']);
});
