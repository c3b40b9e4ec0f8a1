import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifests } from './documents.ts';
import { linksOf, parseTopology, type Topology } from './topology.ts';

function parse(spec: string): ReturnType<typeof parseTopology> {
  const problems: string[] = [];
  const text = `apiVersion: lab.poplin.dev/v1\nkind: Topology\nmetadata: { name: t }\nspec:\n${spec}`;
  const [manifest] = parseManifests(text, 't.yaml', problems);
  assert.deepEqual(problems, []);
  return parseTopology(manifest!);
}

const good = `  nodes: [{ name: n1 }]
  routers:
    - { name: tor1, asn: 65001, loopbacks: [10.255.0.1] }
  hosts: [{ name: out, ports: [{ protocol: UDP, port: 53 }] }]
  links:
    - { ends: [tor1, n1], subnets: [172.16.0.0/30, "fd00::/64"] }
    - { ends: [tor1, n1], subnets: [172.16.0.4/30] }
    - { ends: [out, tor1], subnets: [192.0.2.0/24] }
`;

function topologyOf(spec: string): Topology {
  const { topology, problems } = parse(spec);
  assert.deepEqual(problems, []);
  return topology!;
}

test('ends of links get addresses, names and indexes that differ', () => {
  const topology = topologyOf(good);
  const [first, second] = linksOf(topology, 'tor1');
  assert.deepEqual(
    first!.own.addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`),
    ['172.16.0.1/30', 'fd00::1/64'],
  );
  assert.equal(first!.peer.addresses[0]!.address, '172.16.0.2');
  assert.equal(second!.own.addresses[0]!.address, '172.16.0.5');
  assert.notEqual(first!.own.interfaceName, second!.own.interfaceName);
  const ends = topology.links.flatMap((link) => link.ends);
  assert.equal(new Set(ends.map(({ index }) => index)).size, ends.length);
  for (const { interfaceName } of ends) assert.ok(interfaceName.length <= 15, interfaceName);
  assert.equal(topology.routers[0]!.nodeRoutes, 'default');
});

test('every mistake is named with its line', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      good.replace('name: n1', 'name: n1, cpu: 2'),
      /^t.yaml:5: Topology t: spec.nodes\[0\].cpu: unknown field; there are: name, ports/,
    ],
    [good.replace('name: n1', 'name: Node_1'), /spec.nodes\[0\].name: "Node_1" is no name/],
    [good.replace('asn: 65001', 'asn: 0'), /^t.yaml:7: .*routers\[0\].asn: 0 is not a whole number from 1/],
    [good.replace('10.255.0.1', '10.255.0.300'), /loopbacks\[0\]: "10.255.0.300" is not an IP address/],
    [good.replace('name: tor1', 'name: n1'), /routers\[0\].name: n1 is there twice/],
    [
      good.replace('[tor1, n1], subnets: [172.16.0.4', '[tor1, n9], subnets: [172.16.0.4'),
      /^t.yaml:11: .*ends\[1\]: "n9": no node, router or host/,
    ],
    [good.replace('192.0.2.0/24', '172.16.0.0/30'), /172.16.0.0\/30 is on links\[0\] already/],
    [good.replace('192.0.2.0/24', '192.0.2.0/31'), /no(t a)? prefix with room for two/],
    [good.replace('protocol: UDP', 'protocol: SCTP'), /protocol: "SCTP"; there are: TCP, UDP/],
    [good.replace('port: 53', 'port: 65536'), /port: 65536 is not a whole number from 1 to 65535/],
    [good.replace('asn: 65001', 'daemon: frr, asn: 65001'), /daemon: "frr"; there are: bird/],
    [good.replace('[{ name: n1 }]', '[]'), /nodes: at least one node is wanted/],
    [good.replace('[{ name: n1 }]', '{ name: n1 }'), /spec.nodes: a list is wanted/],
  ];
  for (const [spec, message] of cases) {
    const { topology, problems } = parse(spec);
    assert.equal(topology, undefined, String(message));
    assert.ok(
      problems.some((problem) => message.test(problem)),
      `${message} among:\n${problems.join('\n')}`,
    );
  }
});

test('subnets that overlap and loopbacks that are there twice are refused', () => {
  assert.match(
    parse(good.replace('172.16.0.4/30', '172.16.0.0/24')).problems.join(),
    /172\.16\.0\.0\/24 overlaps 172\.16\.0\.0\/30, which is on links\[0\] already/,
  );
  const twice = good.replace('  hosts:', '    - { name: tor2, asn: 65002, loopbacks: [10.255.0.1] }\n  hosts:');
  assert.match(parse(twice).problems.join(), /10\.255\.0\.1 is a loopback of tor1 already/);
});
