import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Cidr, IpAddress } from '#kit';
import type { EndpointProgram, PolicyRule, PolicyUpdate } from '#model';
import { PolicyStateStore } from '../explain/policy-state.ts';
import { AffectedFlows } from './affected-flows.ts';
import { type EstablishedFlow, flowAllowed } from './flow-allowed.ts';
import { Users } from './users.ts';

const ip = (text: string): IpAddress => text as IpAddress;
const open: EndpointProgram = { ingress: [], egress: [] };
const tier = (...policies: string[]) => [{ tier: 'default', policies, endOfTier: 'deny' as const }];
const policy = (id: string, ingress: PolicyRule[], egress: PolicyRule[] = []): PolicyUpdate => ({
  type: 'policy',
  id,
  program: { ingress, egress },
});
const endpoint = (id: string, program: EndpointProgram): PolicyUpdate => ({ type: 'endpoint', id, program });
const from = (set: string): PolicyRule => ({ action: 'allow', source: { type: 'set', set } });

test('what an update may judge anew: users of a policy or a set of prefixes, members of a set, an endpoint itself', () => {
  const affected = new AffectedFlows();
  const note = (...updates: PolicyUpdate[]) => {
    const { endpoints, addresses } = affected.note(updates);
    return [...endpoints, ...addresses].sort();
  };
  assert.deepEqual(
    note(
      { type: 'set', id: 'S', setType: 'ip', members: ['10.0.0.1'] },
      { type: 'set', id: 'N', setType: 'net', members: ['10.0.0.0/8'] },
      { type: 'set', id: 'P', setType: 'ip,port', members: [] },
      policy('p', [from('S')]),
      policy('q', [from('N')], [{ action: 'allow', destinationNamedPorts: 'P' }]),
      endpoint('a', { ingress: tier('p'), egress: [] }),
      endpoint('b', { ingress: tier('q'), egress: tier('q') }),
      endpoint('c', open),
    ),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(note(policy('p', [])), ['a']);
  assert.deepEqual(note({ type: 'setDelta', id: 'S', added: ['10.0.0.2'], removed: ['fd00::1'] }), [
    '10.0.0.2',
    'fd00::1',
  ]);
  assert.deepEqual(note({ type: 'setDelta', id: 'P', added: ['10.0.0.3,tcp:80'], removed: [] }), ['10.0.0.3']);
  assert.deepEqual(note({ type: 'setDelta', id: 'N', added: ['11.0.0.0/8'], removed: [] }), ['b']);
  assert.deepEqual(note({ type: 'setDelta', id: 'N', added: ['10.0.0.4/32'], removed: [] }), ['10.0.0.4']);
  assert.deepEqual(note({ type: 'set', id: 'P', setType: 'ip,port', members: [] }), ['b']);
  assert.deepEqual(note(endpoint('a', open), { type: 'policyRemove', id: 'p' }, { type: 'setRemove', id: 'S' }), ['a']);
  assert.deepEqual(note(policy('p', []), { type: 'set', id: 'S', setType: 'ip', members: [] }), [], 'nobody uses them');
  assert.deepEqual(note({ type: 'endpointRemove', id: 'b' }), ['b']);
  assert.deepEqual(note(policy('q', [])), []);
});

test('sets that only staged policies name judge nothing anew, until a policy in force names them', () => {
  const affected = new AffectedFlows();
  const set = { type: 'set', id: 'S', setType: 'ip' } as const;
  const delta = (address: string): PolicyUpdate => ({ type: 'setDelta', id: 'S', added: [address], removed: [] });
  const note = (...updates: PolicyUpdate[]) => [...affected.note(updates).addresses];
  note({ ...set, members: [], staged: true }, policy('p', []), endpoint('a', { ingress: tier('p'), egress: [] }));
  assert.deepEqual(note(delta('10.0.0.1')), []);
  const { endpoints } = affected.note([{ ...set, members: ['10.0.0.1'] }, policy('p', [from('S')])]);
  assert.deepEqual([...endpoints], ['a']);
  assert.deepEqual(note(delta('10.0.0.2')), ['10.0.0.2']);
  affected.note([policy('p', []), { ...set, members: ['10.0.0.1', '10.0.0.2'], staged: true }]);
  assert.deepEqual(note(delta('10.0.0.3')), []);
});

test('an established flow is judged at both local ends, by who began it and what is behind a service', () => {
  const state = new PolicyStateStore();
  const port = { first: 80, last: 80 };
  state.apply([
    { type: 'set', id: 'C', setType: 'ip', members: ['10.0.0.3'] },
    { type: 'set', id: 'P', setType: 'ip,port', members: ['10.0.0.1,sctp:9'] },
    policy('web', [
      { ...from('C'), protocol: 6, destinationPorts: [port] },
      { action: 'allow', protocol: 1, source: { type: 'cidr', cidr: '10.0.0.0/8' as Cidr, except: [] } },
      { action: 'allow', destinationNamedPorts: 'P' },
    ]),
    endpoint('a', { ingress: tier('web'), egress: [] }),
    endpoint('b', { ingress: [], egress: tier() }),
  ]);
  const ids: Readonly<Record<string, string>> = { '10.0.0.1': 'a', '10.0.0.2': 'b', '10.0.0.9': 'without program' };
  const allowed = (source: string, destination: string, more: Partial<EstablishedFlow> = {}): boolean =>
    flowAllowed(
      state,
      {
        source: ip(source),
        destination: ip(destination),
        fromHost: false,
        protocol: 6,
        sourcePort: 1024,
        destinationPort: 80,
        ...more,
      },
      (address) => ids[address],
    );
  assert.deepEqual([allowed('10.0.0.3', '10.0.0.1'), allowed('10.0.0.4', '10.0.0.1')], [true, false]);
  assert.equal(allowed('10.0.0.3', '10.0.0.1', { destinationPort: 81 }), false);
  assert.equal(allowed('10.0.0.3', '10.0.0.1', { protocol: 17 }), false);
  assert.equal(allowed('10.0.0.4', '10.0.0.1', { protocol: 132, destinationPort: 9 }), true);
  assert.equal(allowed('10.0.0.4', '10.0.0.1', { protocol: 1, destinationPort: 0 }), true);
  assert.equal(allowed('10.0.0.4', '10.0.0.1', { protocol: 47, destinationPort: 0 }), false);
  assert.equal(allowed('10.0.0.1', '10.0.0.4'), true, 'the way back of what a began is not asked');
  assert.equal(allowed('10.0.0.2', '10.0.0.4'), false, 'egress of b');
  assert.equal(allowed('10.0.0.4', '10.0.0.2'), true);
  assert.equal(allowed('10.0.0.8', '10.0.0.1', { fromHost: true }), true, 'the node itself');
  assert.equal(allowed('10.0.0.1', '10.0.0.1'), false, 'by way of a service');
  assert.equal(allowed('10.0.0.4', '10.0.0.9'), false);
  assert.equal(allowed('10.0.0.7', '10.0.0.8'), true, 'no pod of this node');
});

test('users of names: any history ends in what its last words say', () => {
  const names = fc.uniqueArray(fc.constantFrom('x', 'y', 'z'));
  const word = fc.record({ user: fc.constantFrom('u', 'v'), names: fc.option(names) });
  fc.assert(
    fc.property(fc.array(word), (words) => {
      const users = new Users();
      const last = new Map<string, readonly string[]>();
      for (const { user, names } of words) {
        if (names) users.set(user, new Set(names));
        else users.remove(user);
        last.set(user, names ?? []);
      }
      for (const name of ['x', 'y', 'z'])
        assert.deepEqual(
          [...users.of(name)].sort(),
          [...last]
            .filter(([, named]) => named.includes(name))
            .map(([user]) => user)
            .sort(),
        );
    }),
  );
});
