/** Rendered chains, run by a small model of the kernel, against the rule form read word for word. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cidr, cidrContains, type IpAddress, type IpFamily } from '#kit';
import type { IcmpMatch, PeerMatch, PolicyRule, PortRange, RuleCondition } from '#model';
import { renderDispatch } from './dispatch.ts';
import { renderEndpoint, renderGroup } from './endpoint.ts';
import { marksFromMask } from './marks.ts';
import { defaultNames, dispatchChain, endpointChain, groupChain, kernelSetName, policyChain } from './names.ts';
import { acceptedChain, passedChain, RenderError, renderPolicy } from './policy.ts';
import { hashInLine, hashOfLine, insertions, type Rule, ruleHashes, ruleLine } from './rule.ts';

const names = defaultNames;
const marks = marksFromMask(0x000f0000);

interface Packet {
  readonly family: IpFamily;
  readonly protocol: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly port: number;
  readonly fromPort?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  readonly in?: string;
}
type Sets = ReadonlyMap<string, readonly string[]>;

/** Walks chains as the kernel does and tells the verdict: drop, or the marks when the walk returns. */
class Kernel {
  readonly chains = new Map<string, readonly Rule[]>([
    [acceptedChain(names), [{ match: '', target: `-j MARK --set-xmark 0x10000/0x10000`, comment: '' }]],
    [passedChain(names), [{ match: '', target: `-j MARK --set-xmark 0x20000/0x20000`, comment: '' }]],
  ]);
  readonly sets = new Map<string, readonly string[]>();
  mark = 0;
  visited = 0;

  run(chain: string, packet: Packet): 'drop' | 'return' {
    for (const rule of this.chains.get(chain) ?? assert.fail(`no chain ${chain}`)) {
      this.visited++;
      if (!this.matches(rule.match, packet)) continue;
      const [option, target, ...rest] = rule.target.split(' ');
      if (target === 'DROP') return 'drop';
      if (target === 'RETURN') return 'return';
      if (target === 'MARK') {
        const [value, mask] = rest[1]!.split('/').map(Number);
        this.mark = (this.mark & ~mask!) ^ value!;
      } else {
        const verdict = this.run(target!, packet);
        if (verdict === 'drop' || option === '-g') return verdict;
      }
    }
    return 'return';
  }

  matches(text: string, packet: Packet): boolean {
    const words = text.split(' ').filter((word) => word !== '');
    let invert = false;
    let holds = true;
    const check = (result: boolean): void => {
      holds &&= result !== invert;
      invert = false;
    };
    for (let i = 0; i < words.length; i++) {
      const value = words[i + 1]!;
      switch (words[i]) {
        case '!':
          invert = true;
          continue;
        case '-m':
          break;
        case '-p':
          check(String(packet.protocol) === ({ tcp: '6', udp: '17', sctp: '132' }[value] ?? value));
          break;
        case '-s':
          check(cidrContains(value as Cidr, packet.source));
          break;
        case '-d':
          check(cidrContains(value as Cidr, packet.destination));
          break;
        case '-i':
          check(value.endsWith('+') ? packet.in!.startsWith(value.slice(0, -1)) : packet.in === value);
          break;
        case '--mark': {
          const [want, mask] = value.split('/').map(Number);
          check((this.mark & mask!) === want);
          break;
        }
        case '--icmp-type':
        case '--icmpv6-type': {
          assert.equal(words[i] === '--icmp-type' ? 4 : 6, packet.family);
          const [type, code = packet.icmp?.code] = value.split('/').map(Number);
          check(packet.icmp?.type === type && packet.icmp?.code === code);
          break;
        }
        case '--sports':
        case '--dports': {
          const port = words[i] === '--sports' ? packet.fromPort! : packet.port;
          assert.ok(value.split(',').reduce((slots, part) => slots + (part.includes(':') ? 2 : 1), 0) <= 15);
          check(
            value.split(',').some((part) => {
              const [first, last = first] = part.split(':').map(Number);
              return port >= first! && port <= last!;
            }),
          );
          break;
        }
        case '--match-set': {
          check(inSet(this.sets.get(value) ?? assert.fail(`no set ${value}`), packet, words[i + 2]!));
          i++;
          break;
        }
        default:
          assert.fail(`unknown match ${words[i]}`);
      }
      i++;
    }
    return holds;
  }
}

function inSet(members: readonly string[], packet: Packet, flags: string): boolean {
  if (flags === 'dst,dst' || flags === 'src,src') {
    const protocol = { 6: 'tcp', 17: 'udp', 132: 'sctp' }[packet.protocol];
    const [address, port] = flags === 'dst,dst' ? [packet.destination, packet.port] : [packet.source, packet.fromPort];
    return members.includes(`${address},${protocol}:${port}`);
  }
  return members.some((member) => cidrContains(member as Cidr, flags === 'src' ? packet.source : packet.destination));
}

/** What the rule form says, read without any cleverness. */
function expected(rules: readonly PolicyRule[], packet: Packet, sets: Sets): string {
  const peer = (match: PeerMatch | undefined, address: IpAddress): boolean => {
    if (!match) return true;
    if (match.type === 'set') return sets.get(match.set)!.some((member) => cidrContains(member as Cidr, address));
    return cidrContains(match.cidr, address) && !match.except.some((cidr) => cidrContains(cidr, address));
  };
  const icmpIs = (match: IcmpMatch): boolean =>
    match.type === packet.icmp?.type && (match.code === undefined || match.code === packet.icmp.code);
  const within = (ports: readonly PortRange[], port: number): boolean =>
    ports.some(({ first, last }) => port >= first && port <= last);
  const holds = (condition: RuleCondition): boolean => {
    const source = condition.side === 'source';
    if (condition.type === 'ports') return within(condition.ports, source ? packet.fromPort! : packet.port);
    const flag = source ? 'src' : 'dst';
    return inSet(sets.get(condition.set)!, packet, condition.type === 'address' ? flag : `${flag},${flag}`);
  };
  const hit = rules.find(
    (rule) =>
      (rule.family === undefined || rule.family === packet.family) &&
      (rule.protocol === undefined || rule.protocol === packet.protocol) &&
      rule.notProtocol !== packet.protocol &&
      (!rule.icmp || icmpIs(rule.icmp)) &&
      (!rule.notIcmp || (packet.protocol === rule.protocol && packet.icmp !== undefined && !icmpIs(rule.notIcmp))) &&
      (rule.conditions ?? []).every((condition) => holds(condition) !== condition.not) &&
      peer(rule.source, packet.source) &&
      peer(rule.destination, packet.destination) &&
      (rule.destinationPorts === undefined ||
        rule.destinationPorts.some(({ first, last }) => packet.port >= first && packet.port <= last)) &&
      (rule.destinationNamedPorts === undefined || inSet(sets.get(rule.destinationNamedPorts)!, packet, 'dst,dst')),
  );
  return hit?.action ?? 'none';
}

const addresses: Readonly<Record<IpFamily, readonly string[]>> = {
  4: ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.1.0.1', '192.0.2.1'],
  6: ['fd00::1', 'fd00::2', 'fd00:1::1', '2001:db8::1'],
};
const cidrs = [
  '0.0.0.0/0',
  '10.0.0.0/8',
  '10.0.0.0/24',
  '10.0.0.1/32',
  '::/0',
  'fd00::/16',
  'fd00::/64',
  'fd00::1/128',
];
const setIds = ['A', 'B'];
const peerArbitrary: fc.Arbitrary<PeerMatch> = fc.oneof(
  fc.record({ type: fc.constant('set' as const), set: fc.constantFrom(...setIds) }),
  fc.record({
    type: fc.constant('cidr' as const),
    cidr: fc.constantFrom(...cidrs) as fc.Arbitrary<Cidr>,
    except: fc.subarray(cidrs.filter((cidr) => !cidr.endsWith('/0'))) as unknown as fc.Arbitrary<readonly Cidr[]>,
  }),
);
const portsArbitrary: fc.Arbitrary<PortRange[]> = fc
  .uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 })
  .map((starts) =>
    starts.toSorted((a, b) => a - b).map((start) => ({ first: start * 3, last: start * 3 + (start % 3) })),
  );
const side = fc.constantFrom('source' as const, 'destination' as const);
const conditionArbitrary: fc.Arbitrary<RuleCondition> = fc.oneof(
  fc.record({ type: fc.constant('address' as const), side, not: fc.boolean(), set: fc.constantFrom(...setIds) }),
  fc.record({ type: fc.constant('namedPorts' as const), side, not: fc.boolean(), set: fc.constant('N') }),
  fc.record({ type: fc.constant('ports' as const), side, not: fc.boolean(), ports: portsArbitrary }),
);
const icmpArbitrary: fc.Arbitrary<IcmpMatch> = fc.record(
  { type: fc.constantFrom(0, 8, 128), code: fc.constantFrom(0, 1) },
  { requiredKeys: ['type'] },
);
const ruleArbitrary: fc.Arbitrary<PolicyRule> = fc
  .record(
    {
      action: fc.constantFrom('allow' as const, 'deny' as const, 'pass' as const),
      family: fc.constantFrom(4 as const, 6 as const),
      protocol: fc.constantFrom(6, 17, 132, 1),
      source: peerArbitrary,
      destination: peerArbitrary,
      destinationPorts: portsArbitrary,
      destinationNamedPorts: fc.constant('N'),
      notProtocol: fc.constantFrom(6, 1),
      icmp: icmpArbitrary,
      notIcmp: icmpArbitrary,
      conditions: fc.array(conditionArbitrary, { maxLength: 3 }),
    },
    { requiredKeys: ['action'] },
  )
  .map(({ destinationPorts, notProtocol, icmp, notIcmp, conditions, ...rule }): PolicyRule => {
    const ported = rule.protocol !== undefined && rule.protocol !== 1;
    const family = rule.protocol === 1 && (icmp || notIcmp) ? { family: 4 as const } : {};
    return {
      ...rule,
      ...family,
      ...(rule.protocol === undefined && notProtocol !== undefined && { notProtocol }),
      ...(rule.protocol === 1 && icmp && { icmp }),
      ...(rule.protocol === 1 && notIcmp && { notIcmp }),
      ...(ported && destinationPorts && { destinationPorts }),
      ...(conditions && { conditions: conditions.filter(({ type }) => ported || type !== 'ports') }),
    };
  });
const packetArbitrary: fc.Arbitrary<Packet> = fc.constantFrom(4 as const, 6 as const).chain((family) =>
  fc.record({
    family: fc.constant(family),
    protocol: fc.constantFrom(6, 17, 132, 1, 58),
    source: fc.constantFrom(...addresses[family]) as fc.Arbitrary<IpAddress>,
    destination: fc.constantFrom(...addresses[family]) as fc.Arbitrary<IpAddress>,
    port: fc.integer({ min: 0, max: 185 }),
    fromPort: fc.integer({ min: 0, max: 185 }),
    icmp: fc.record({ type: fc.constantFrom(0, 8, 128), code: fc.constantFrom(0, 1) }),
  }),
);
const setsArbitrary: fc.Arbitrary<Sets> = fc
  .record({
    A: fc.subarray([...addresses[4], ...addresses[6]]),
    B: fc.subarray([...addresses[4], ...addresses[6]]),
    N: fc.subarray(['10.0.0.1,tcp:5', '10.0.0.1,udp:6', 'fd00::1,tcp:5', 'fd00::1,sctp:7']),
  })
  .map((sets) => new Map(Object.entries(sets)));

/** Programs rules as a policy and the sets that they name. */
function program(kernel: Kernel, rules: readonly PolicyRule[], family: IpFamily, sets: Sets, chain: string): void {
  const setName = (id: string): string => kernelSetName(names, family, 'ip', id);
  for (const [id, members] of sets)
    kernel.sets.set(
      setName(id),
      members.filter((member) => member.includes(':') || family === 4),
    );
  const { rules: rendered, exceptSets } = renderPolicy(rules, 'NetworkPolicy:ns/p', { names, family, setName });
  for (const [id, members] of exceptSets) kernel.sets.set(kernelSetName(names, family, 'net', id), members);
  kernel.chains.set(chain, rendered);
}

test('a policy chain says what its rules say, for every packet of both families', () => {
  fc.assert(
    fc.property(
      fc.array(ruleArbitrary, { maxLength: 6 }),
      setsArbitrary,
      fc.array(packetArbitrary, { minLength: 1, maxLength: 20 }),
      (rules, sets, packets) => {
        for (const packet of packets) {
          const kernel = new Kernel();
          program(kernel, rules, packet.family, sets, 'P');
          const verdict = kernel.run('P', packet);
          const outcome =
            verdict === 'drop'
              ? 'deny'
              : kernel.mark === marks.accept
                ? 'allow'
                : kernel.mark === marks.pass
                  ? 'pass'
                  : 'none';
          assert.equal(outcome, expected(rules, packet, sets));
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test('an endpoint chain runs its tiers in order, with or without chains for policies that go together', () => {
  // Mostly rules that match everything: what counts here is who decides first.
  const ruleArbitrary: fc.Arbitrary<PolicyRule> = fc.record(
    { action: fc.constantFrom('allow', 'deny', 'pass'), protocol: fc.constantFrom(6, 17) },
    { requiredKeys: ['action'] },
  );
  const tierArbitrary = fc.record({
    policies: fc.array(fc.array(ruleArbitrary, { maxLength: 2 }), { maxLength: 40 }),
    endOfTier: fc.constantFrom('deny' as const, 'pass' as const),
  });
  fc.assert(
    fc.property(
      fc.array(tierArbitrary, { maxLength: 3 }),
      setsArbitrary,
      packetArbitrary,
      fc.boolean(),
      (tiers, sets, packet, grouped) => {
        const kernel = new Kernel();
        const groupOf = (policies: readonly string[]): string => {
          const chain = groupChain(names, 'ingress', policies);
          kernel.chains.set(chain, renderGroup(policies, 'ingress', { names, marks }));
          return chain;
        };
        const programs = tiers.map((tier, t) => ({
          tier: `t${t}`,
          endOfTier: tier.endOfTier,
          policies: tier.policies.map((rules, p) => {
            program(kernel, rules, packet.family, sets, policyChain(names, 'ingress', `${t}/${p}`));
            return `${t}/${p}`;
          }),
        }));
        kernel.chains.set(
          'E',
          renderEndpoint(programs, 'ingress', 'ns/pod', { names, marks, ...(grouped && { groupOf }) }),
        );
        const verdict = kernel.run('E', packet);
        if (verdict === 'return') assert.ok(kernel.mark & marks.accept, 'returns only with the accept mark');
        let wanted = true;
        for (const tier of tiers) {
          const decision = tier.policies.map((rules) => expected(rules, packet, sets)).find((said) => said !== 'none');
          if (decision === 'allow') break;
          if (decision === 'deny' || (decision === undefined && tier.endOfTier === 'deny')) {
            wanted = false;
            break;
          }
        }
        assert.equal(verdict === 'return', wanted);
      },
    ),
    { numRuns: 300 },
  );
});

test('dispatch finds every interface, drops every other, and does not grow with the number of pods', () => {
  const suffix = fc.stringMatching(/^[0-9a-f]{1,11}$/);
  fc.assert(
    fc.property(fc.uniqueArray(suffix, { maxLength: 200 }), suffix, (suffixes, stranger) => {
      const interfaces = suffixes.map((text) => `pop${text}`);
      const kernel = new Kernel();
      for (const [name, rules] of renderDispatch(interfaces, 'egress', names)) kernel.chains.set(name, rules);
      for (const name of interfaces)
        kernel.chains.set(endpointChain(names, 'egress', name), [
          { match: '', target: `-g ${acceptedChain(names)}`, comment: '' },
        ]);
      const packet = {
        family: 4 as const,
        protocol: 6,
        source: '10.0.0.1' as IpAddress,
        destination: '10.0.0.2' as IpAddress,
        port: 1,
      };
      for (const name of [...interfaces, `pop${stranger}`]) {
        kernel.mark = 0;
        const verdict = kernel.run(dispatchChain(names, 'egress'), { ...packet, in: name });
        assert.equal(verdict, interfaces.includes(name) ? 'return' : 'drop', name);
      }
    }),
  );
  const many = Array.from(
    { length: 4096 },
    (_, i) => `pop${((i * 2654435761) % 2 ** 44).toString(16).padStart(11, '0')}`,
  );
  const chains = renderDispatch(many, 'ingress', names);
  assert.ok(Math.max(...[...chains.values()].map((rules) => rules.length)) <= 17);
});

test('a pod that comes changes only the chains on its way', () => {
  const many = Array.from(
    { length: 300 },
    (_, i) => `pop${((i * 2654435761) % 2 ** 32).toString(16).padStart(11, '0')}`,
  );
  const before = renderDispatch(many.slice(1), 'ingress', names);
  const after = renderDispatch(many, 'ingress', names);
  const changed = [...after].filter(([name, rules]) => JSON.stringify(rules) !== JSON.stringify(before.get(name)));
  assert.ok(changed.length <= 3, changed.map(([name]) => name).join());
});

test('what cannot be said is an error, never a wider rule', () => {
  const context = { names, family: 4 as const, setName: () => undefined };
  for (const [rule, code] of [
    [{ action: 'allow', source: { type: 'set', set: 'gone' } }, 'UNKNOWN_SET'],
    [{ action: 'allow', destinationNamedPorts: 'gone' }, 'UNKNOWN_SET'],
    [{ action: 'allow', protocol: 0 }, 'BAD_PROTOCOL'],
    [{ action: 'allow', destinationPorts: [{ first: 1, last: 2 }] }, 'BAD_PORTS'],
    [{ action: 'allow', protocol: 1, destinationPorts: [{ first: 1, last: 2 }] }, 'BAD_PORTS'],
    [{ action: 'allow', protocol: 6, destinationPorts: [{ first: 2, last: 1 }] }, 'BAD_PORTS'],
    [{ action: 'allow', protocol: 6, destinationPorts: [{ first: 1, last: 65536 }] }, 'BAD_PORTS'],
  ] as const) {
    assert.throws(
      () => renderPolicy([rule as PolicyRule], 'p', context),
      (error) => error instanceof RenderError && error.code === code,
    );
  }
  assert.deepEqual(renderPolicy([{ action: 'allow', protocol: 6, destinationPorts: [] }], 'p', context).rules, []);
});

test('comments carry identity and stay within what the kernel holds', () => {
  const nasty = `NetworkPolicy:ns/${'x'.repeat(300)}"; -j ACCEPT \\\n`;
  const rules = [
    { match: '-p tcp', target: '-j DROP', comment: nasty },
    { match: '-p tcp', target: '-j DROP', comment: nasty },
  ];
  const hashes = ruleHashes('c', rules);
  assert.notDeepEqual(ruleHashes('d', rules), hashes, 'the chain counts');
  const line = ruleLine('-A c', rules[0]!, hashes[0]!);
  const comment = /--comment "([^"]*)" -j DROP$/.exec(line)?.[1];
  assert.ok(comment && comment.length <= 255 && !comment.includes('\n'));
  assert.equal(hashInLine(line), hashes[0]);
  assert.equal(hashInLine('-A c -m comment --comment poplin:AAAAAAAAAAAAAAAA -j X'), 'AAAAAAAAAAAAAAAA');
  assert.equal(hashInLine('-A c -m comment --comment "not poplin:AAAAAAAAAAAAAAAA" -j X'), undefined);
});

test('a bare rule has no comment, and is known by its text and its chain', () => {
  const rule: Rule = { match: '-m mark --mark 0x0/0x30000', target: '-j X', comment: '', bare: true };
  const [hash] = ruleHashes('c', [rule]);
  const line = ruleLine('-A c', rule, hash!);
  assert.equal(line, '-A c -m mark --mark 0x0/0x30000 -j X');
  assert.equal(hashOfLine(line), hash);
  for (const other of ['-A d -m mark --mark 0x0/0x30000 -j X', '-A c -m mark --mark 0x0/0x30000 -g X', '-A c -j X'])
    assert.notEqual(hashOfLine(other), hash);
  const commented = { match: '', target: '-j X', comment: 'y' };
  const [own] = ruleHashes('c', [commented]);
  assert.equal(hashOfLine(ruleLine('-A c', commented, own!)), own);
});

test('insertions turn the one list into the other, or there are none', () => {
  const list = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 8 });
  fc.assert(
    fc.property(list, list, (before, after) => {
      const places = insertions(before, after);
      const made = [...before];
      for (const place of places ?? []) made.splice(place, 0, after[place]!);
      if (places) assert.deepEqual(made, after);
      else assert.notDeepEqual(before, after);
    }),
  );
  assert.deepEqual(insertions(['a', 'z'], ['a', 'b', 'z']), [1]);
  assert.equal(insertions(['a', 'b'], ['b', 'a']), undefined);
});

test('ids that join alike or differ late have different kernel names', () => {
  const ids = ['x-y/z', 'x/y-z', 'x.y/z', `a/${'b'.repeat(250)}1`, `a/${'b'.repeat(250)}2`];
  assert.equal(new Set(ids.map((id) => policyChain(names, 'ingress', id))).size, ids.length);
  assert.notEqual(kernelSetName(names, 4, 'ip', 'x'), kernelSetName(names, 4, 'net', 'x'));
  const groups = [
    ['a/x', 'b'],
    ['a', 'x/b'],
    ['b', 'a/x'],
    ['a/x', 'b', 'c'],
  ];
  assert.equal(new Set(groups.map((policies) => groupChain(names, 'ingress', policies))).size, groups.length);
  assert.throws(() => policyChain({ ...names, chainPrefix: 'much-too-long-' }, 'egress', 'p'), /shorter prefix/);
});
