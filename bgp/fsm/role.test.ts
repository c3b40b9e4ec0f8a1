/** Roles in OPEN, RFC 9234 4: the whole of table 2, and what is not in it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bgpRole, decodeOpen, encodeOpen, type OpenMessage } from '../wire/index.ts';
import { roleError } from './role.ts';
import { localOpen } from './state.ts';
import type { SessionConfig } from './types.ts';

const config: SessionConfig = {
  localAsn: 64512,
  peerAsn: 64513,
  routerId: 10,
  families: ['ipv4-unicast'],
  holdTimeSec: 90,
  connectRetrySec: 120,
  passive: false,
};
const open: OpenMessage = {
  asn: 64513,
  holdTimeSec: 30,
  routerId: 20,
  families: ['ipv4-unicast'],
  asn4: true,
  routeRefresh: true,
};
const { provider, customer, peer, routeServer, routeServerClient } = bgpRole;
const verdict = (mine: Partial<SessionConfig>, theirs: Partial<OpenMessage>): string => {
  const error = roleError({ ...config, ...mine }, { ...open, ...theirs });
  return error ? `${error.code}/${error.subcode}` : 'goes on';
};

test('roles go together as table 2 has it, and 2/11 is the answer otherwise (RFC 9234 4.2)', () => {
  const pairs = [
    [provider, customer],
    [customer, provider],
    [routeServer, routeServerClient],
    [routeServerClient, routeServer],
    [peer, peer],
  ];
  for (const role of Object.values(bgpRole)) {
    for (const theirs of [...Object.values(bgpRole), 5, 255]) {
      const fits = pairs.some(([a, b]) => a === role && b === theirs);
      for (const strictRole of [false, true]) {
        assert.equal(
          verdict({ role, strictRole }, { roles: [theirs] }),
          fits ? 'goes on' : '2/11',
          `${role} ${theirs}`,
        );
      }
    }
  }
});

test('a peer without a role: only strict mode refuses it (RFC 9234 4.2)', () => {
  assert.equal(verdict({ role: provider }, {}), 'goes on');
  assert.equal(verdict({ role: provider, strictRole: true }, {}), '2/11');
  assert.equal(verdict({}, { roles: [provider] }), 'goes on', 'we say none');
});

test('several role capabilities: equal ones are one, different ones a mismatch (RFC 9234 4.2)', () => {
  const read = (roles: readonly number[]): OpenMessage => {
    const bytes = encodeOpen({ ...open, roles });
    const decoded = decodeOpen(bytes, 0, bytes.length);
    assert.ok(decoded.ok);
    return decoded.value;
  };
  assert.equal(verdict({ role: provider }, read([customer, customer])), 'goes on');
  assert.equal(verdict({ role: provider }, read([customer, peer])), '2/11');
  assert.equal(verdict({}, read([customer, peer])), '2/11', 'whatever we are');
});

test('the capability is for external peers: within an AS it is neither sent nor looked at (RFC 9234 4.1)', () => {
  assert.deepEqual(localOpen({ ...config, role: customer }).roles, [customer]);
  assert.equal(localOpen(config).roles, undefined);
  assert.equal(localOpen({ ...config, role: customer, peerAsn: 64512 }).roles, undefined);
  const internal = { role: provider, strictRole: true, peerAsn: 64512 };
  assert.equal(verdict(internal, { asn: 64512, roles: [provider] }), 'goes on');
  assert.equal(verdict(internal, { asn: 64512, roles: [provider, customer] }), 'goes on');
});
