/** Random programs in the rule form: what packets do in the kernel is what the explainer says, for every pair, protocol, port and family. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import type { Cidr, IpFamily } from '#kit';
import type { EndpointProgram, PeerMatch, PolicyProgram, PolicyRule, PolicyUpdate } from '#model';
import { evaluateConnection, PolicyStateStore } from '#policy';
import { needs } from '../support/needs.ts';
import { type L4, PacketWorld } from './packet-world.ts';

const pods = ['a', 'b', 'c'];
const ports = [80, 81];
const policies = ['P', 'Q', 'R'];
const rounds = 12;
/** The same cases every time: a failure here can be looked at. */
const seed = 20_260_801;

/** Addresses as `PacketWorld` gives them: pods from .10 on, the outside host in its own prefix. */
const cidrs = [
  '0.0.0.0/0',
  '10.1.0.0/16',
  '10.1.0.10/32',
  '192.0.2.0/24',
  '::/0',
  'fd00:1::/64',
  'fd00:1::b/128',
] as Cidr[];
const excepts = ['10.1.0.11/32', '10.1.0.12/32', '192.0.2.2/32', 'fd00:1::c/128', '2001:db8:ff::2/128'] as Cidr[];

const peer: fc.Arbitrary<PeerMatch> = fc.oneof(
  fc.record({ type: fc.constant('set' as const), set: fc.constantFrom('S', 'T') }),
  fc.record({ type: fc.constant('cidr' as const), cidr: fc.constantFrom(...cidrs), except: fc.subarray(excepts) }),
);
const portRule = {
  destinationPorts: fc.constantFrom([{ first: 80, last: 80 }], [{ first: 81, last: 90 }], [{ first: 1, last: 65535 }]),
};
const action = fc.constantFrom<PolicyRule['action']>('allow', 'allow', 'allow', 'deny', 'pass');
const protocol = fc.constantFrom(6, 17);
const rule: fc.Arbitrary<PolicyRule> = fc.oneof(
  fc.record({ action, source: peer, destination: peer, protocol }, { requiredKeys: ['action'] }),
  fc.record(
    { action, source: peer, protocol, ...portRule },
    { requiredKeys: ['action', 'protocol', 'destinationPorts'] },
  ),
  fc.record({ action, destinationNamedPorts: fc.constant('N') }),
);
const program: fc.Arbitrary<PolicyProgram> = fc.record({
  ingress: fc.array(rule, { minLength: 1, maxLength: 4 }),
  egress: fc.array(rule, { minLength: 1, maxLength: 4 }),
});
const tiers = fc.array(
  fc.record({
    tier: fc.constantFrom('x', 'y'),
    policies: fc.shuffledSubarray(policies),
    endOfTier: fc.constantFrom('deny' as const, 'pass' as const),
  }),
  { maxLength: 2 },
);
const endpointProgram: fc.Arbitrary<EndpointProgram> = fc.record({ ingress: tiers, egress: tiers });

function stateArbitrary(world: PacketWorld): fc.Arbitrary<PolicyUpdate[]> {
  const addresses = [...pods, 'outside'].flatMap((name) => Object.values(world.host(name).addresses));
  const named = addresses.flatMap((address) => [`${address},tcp:80`, `${address},udp:81`]);
  return fc
    .record({
      S: fc.subarray(addresses),
      T: fc.subarray(addresses),
      N: fc.subarray(named),
      programs: fc.tuple(program, program, program),
      endpoints: fc.tuple(endpointProgram, endpointProgram, endpointProgram),
    })
    .map(({ S, T, N, programs, endpoints }) => [
      { type: 'set', id: 'S', setType: 'ip', members: S },
      { type: 'set', id: 'T', setType: 'ip', members: T },
      { type: 'set', id: 'N', setType: 'ip,port', members: N },
      ...policies.map((id, index): PolicyUpdate => ({ type: 'policy', id, program: programs[index]! })),
      ...pods.map((name, index): PolicyUpdate => ({ type: 'endpoint', id: `ns/${name}`, program: endpoints[index]! })),
    ]);
}

interface Probe {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly family: IpFamily;
  readonly protocol: L4;
}

function probes(): Probe[] {
  const hosts = [...pods, 'outside', 'node'];
  return hosts.flatMap((from) =>
    hosts
      .filter((to) => from !== to && (pods.includes(from) || pods.includes(to)))
      .flatMap((to) =>
        ports.flatMap((port) =>
          ([4, 6] as const).flatMap((family) =>
            (['tcp', 'udp'] as const).map((l4) => ({ from, to, port, family, protocol: l4 })),
          ),
        ),
      ),
  );
}

function said(world: PacketWorld, state: PolicyStateStore, probe: Probe): boolean {
  // What a node sends to its own pods always passes.
  if (probe.from === 'node') return true;
  const end = (name: string) => ({
    address: world.host(name).addresses[probe.family],
    ...(pods.includes(name) ? { endpoint: `ns/${name}` } : {}),
  });
  const { verdict } = evaluateConnection(state, {
    from: end(probe.from),
    to: end(probe.to),
    protocol: probe.protocol === 'tcp' ? 'TCP' : 'UDP',
    port: probe.port,
  });
  return verdict === 'allow';
}

for (const backend of ['nft', 'legacy'] as const) {
  suite(
    `random programs, iptables-${backend}`,
    needs({ root: true, commands: [`xtables-${backend}-multi`, 'ipset', 'nsenter'] }),
    () => {
      test('the kernel does what the explainer says', async () => {
        await using world = await PacketWorld.make(pods);
        const dataplane = await world.startDataplane({ backend });
        const state = new PolicyStateStore();
        let denied = 0;
        let allowed = 0;
        for (const updates of fc.sample(stateArbitrary(world), { numRuns: rounds, seed })) {
          state.apply(updates);
          dataplane.apply(updates);
          await dataplane.whenApplied();
          await Promise.all(
            probes().map(async (probe) => {
              const expected = said(world, state, probe);
              const { from, to, port, family, protocol: l4 } = probe;
              // A busy machine may be late with what is allowed, never early with what is not.
              let measured = await world.reaches(from, to, port, family, l4);
              for (let again = 0; expected && !measured && again < 5; again++)
                measured = await world.reaches(from, to, port, family, l4);
              assert.equal(measured, expected, `${JSON.stringify(probe)} under ${JSON.stringify(updates)}`);
              if (expected) allowed++;
              else denied++;
            }),
          );
        }
        assert.ok(allowed > 300 && denied > 300, `${allowed} allowed, ${denied} denied`);
      });
    },
  );
}
