/** ONLY_TO_CUSTOMER in and out for each role, RFC 9234 5, against a plain reading of the clauses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bgpRole } from '../wire/index.ts';
import { asPath, attribute, global6, mpReach, nextHop, origin, sequence, u32, update } from '../wire/test-messages.ts';
import type { BgpRole, PeerConfig } from './config.ts';
import { config, Network, peer } from './test-network.ts';
import { RawPeer } from './test-raw-peer.ts';

const here = '10.0.0.1';
const [localAsn, fromAsn, toAsn, foreignAsn] = [64512, 64513, 64514, 64999];
const roles = Object.keys(bgpRole) as BgpRole[];
const prefixes = { 4: '10.60.0.0/16', 6: 'fd60::/64' } as const;

/** What the peer is, by what we are. */
const remote: Readonly<Record<BgpRole, string>> = {
  provider: 'Customer',
  customer: 'Provider',
  routeServer: 'RS-Client',
  routeServerClient: 'RS',
  peer: 'Peer',
};
/** RFC 9234 5, ingress, in the order of the text: undefined: ineligible; else OTC afterwards, -1: none. */
function ingress(role: BgpRole | undefined, otc: number): number | undefined {
  if (role === undefined) return otc;
  if (otc >= 0 && (remote[role] === 'Customer' || remote[role] === 'RS-Client')) return undefined;
  if (otc >= 0 && remote[role] === 'Peer' && otc !== fromAsn) return undefined;
  if (otc < 0 && ['Provider', 'Peer', 'RS'].includes(remote[role])) return fromAsn;
  return otc;
}
/** Egress. */
function egress(role: BgpRole | undefined, otc: number): number | undefined {
  if (role === undefined) return otc;
  if (otc >= 0 && ['Provider', 'Peer', 'RS'].includes(remote[role])) return undefined;
  if (otc < 0 && ['Customer', 'Peer', 'RS-Client'].includes(remote[role])) return localAsn;
  return otc;
}

function announcements(otc: number): Uint8Array[] {
  const list = [...(otc < 0 ? [] : [attribute(0xc0, 35, u32(otc))]), attribute(0xc0, 99, [1, 2])];
  return [
    update({ attributes: [origin, asPath, nextHop, ...list], nlri: [16, 10, 60] }),
    update({ attributes: [mpReach([64, 0xfd, 0x60, 0, 0, 0, 0, 0, 0], global6), origin, asPath, ...list] }),
  ];
}

test('every pair of roles, with OTC of the peer, of another AS and without, in both families (RFC 9234 5)', () => {
  for (const inRole of [undefined, ...roles]) {
    for (const outRole of [undefined, ...roles]) {
      const network = new Network();
      const withRole = (role: BgpRole | undefined): Partial<PeerConfig> => ({
        passive: true,
        ...(role ? { role } : {}),
      });
      const peers = [peer('10.0.0.2', fromAsn, withRole(inRole)), peer('10.0.0.3', toAsn, withRole(outRole))];
      const speaker = network.add(here, config(here, localAsn, peers, ['10.1.0.0/16']));
      const source = new RawPeer(network, '10.0.0.2', here, { asn: fromAsn }).establish();
      const target = new RawPeer(network, '10.0.0.3', here, { asn: toAsn }).establish();
      network.run();
      assert.equal(
        target.attributes.get('10.1.0.0/16')?.onlyToCustomer,
        orAbsent(egress(outRole, -1)),
        'our own route',
      );
      for (const otc of [-1, fromAsn, foreignAsn]) {
        source.say(...announcements(otc));
        network.run();
        const wanted = ingress(inRole, otc);
        const out = wanted === undefined ? undefined : egress(outRole, wanted);
        for (const prefix of Object.values(prefixes)) {
          const what = `${inRole} -> ${outRole}, OTC ${otc}, ${prefix}`;
          const path = speaker.routes({ prefix }).routes[0]?.paths[0]?.attributes;
          assert.equal(path !== undefined, wanted !== undefined, what);
          if (wanted !== undefined) assert.equal(path!.onlyToCustomer, orAbsent(wanted), what);
          const told = target.attributes.get(prefix);
          assert.equal(told !== undefined, out !== undefined, `to the peer: ${what}`);
          if (out === undefined) continue;
          assert.equal(told!.onlyToCustomer, orAbsent(out), `to the peer: ${what}`);
          assert.deepEqual(
            told!.others?.map(({ type }) => type),
            [99],
            'the rest stays in its place',
          );
        }
      }
    }
  }
});
const orAbsent = (otc: number | undefined): number | undefined => (otc === -1 ? undefined : otc);

test('a leak takes the older route of the peer away (RFC 9234 5, RFC 4271 9.1.2)', () => {
  const network = new Network();
  const speaker = network.add(
    here,
    config(here, localAsn, [peer('10.0.0.2', fromAsn, { passive: true, role: 'provider' })]),
  );
  const source = new RawPeer(network, '10.0.0.2', here, { asn: fromAsn }).establish();
  const say = (otc: number): number => {
    source.say(...announcements(otc));
    network.run();
    return network.routesOf(here).size;
  };
  assert.deepEqual([say(-1), say(fromAsn), say(-1)], [2, 0, 2]);
  assert.equal(speaker.peerStatuses()[0]!.state, 'Established', 'the session stays');
});

test('within an AS a role changes nothing: OTC goes through as it is (RFC 9234 5)', () => {
  const network = new Network();
  const peers = [
    peer('10.0.0.2', localAsn, { passive: true, role: 'provider' }),
    peer('10.0.0.3', toAsn, { passive: true }),
  ];
  network.add(here, config(here, localAsn, peers));
  const source = new RawPeer(network, '10.0.0.2', here, { asn: localAsn }).establish();
  const target = new RawPeer(network, '10.0.0.3', here, { asn: toAsn }).establish();
  network.run();
  const list = [origin, attribute(0x40, 2, sequence(65000)), nextHop, attribute(0xc0, 35, u32(foreignAsn))];
  source.say(update({ attributes: list, nlri: [16, 10, 60] }));
  network.run();
  assert.equal(target.attributes.get('10.60.0.0/16')!.onlyToCustomer, foreignAsn);
});

test('roles that do not go together end the session with 2/11, and status says which (RFC 9234 4.2)', () => {
  const network = new Network();
  const settings = (more: Partial<PeerConfig>) =>
    config(here, localAsn, [peer('10.0.0.2', fromAsn, { passive: true, ...more })]);
  const speaker = network.add(here, settings({ role: 'provider' }));
  const dial = (roles?: readonly number[]): RawPeer => {
    const raw = new RawPeer(network, '10.0.0.2', here, { asn: fromAsn, ...(roles ? { roles } : {}) }).establish();
    network.run();
    return raw;
  };
  const mismatch = dial([bgpRole.peer]);
  assert.deepEqual([mismatch.notification!.code, mismatch.notification!.subcode], [2, 11]);
  assert.match(speaker.peerStatuses()[0]!.lastError, /peer says that it is peer, we are provider and want customer/);
  dial([bgpRole.customer]);
  assert.equal(speaker.peerStatuses()[0]!.negotiated!.peerRole, 'customer');
  speaker.configure(settings({ role: 'provider', strictRole: true }));
  network.run();
  assert.notEqual(speaker.peerStatuses()[0]!.state, 'Established', 'a role is settled by a new session');
  assert.equal(dial().notification!.subcode, 11);
  dial([bgpRole.customer]);
  assert.equal(speaker.peerStatuses()[0]!.state, 'Established');
});
