import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPConfigurationObject } from '#model';
import { assertRefused, passwordText, readCalico } from './decode-text.ts';

test('BGPConfiguration: every field that is used; the others are named unless they say what holds anyway', () => {
  const { spec, notes } = readCalico<BGPConfigurationObject>(
    'BGPConfiguration',
    `{asNumber: 65001, nodeToNodeMeshEnabled: true, listenPort: 1790, bindMode: NodeIP, nodeMeshPassword: {value: hush},
      nodeMeshMaxRestartTime: 120s, nodeMeshFilters: [a, b], ignoredInterfaces: [docker*, docker*, eth1], holdTime: 9s, advertiseNodeAddresses: true,
      logSeverityScreen: Info, serviceLoadBalancerAggregation: Enabled}`,
    'default',
  );
  assert.deepEqual(notes, []);
  const { nodeMeshPassword, ...rest } = spec;
  assert.equal(passwordText(nodeMeshPassword), 'hush');
  assert.deepEqual(rest, {
    asNumber: 65001,
    nodeToNodeMeshEnabled: true,
    listenPort: 1790,
    bindMode: 'NodeIP',
    nodeMeshMaxRestartTimeSec: 120,
    nodeMeshFilters: ['a', 'b'],
    ignoredInterfaces: ['docker*', 'eth1'],
    holdTimeSec: 9,
    advertiseNodeAddresses: true,
  });
  const others = readCalico<BGPConfigurationObject>(
    'BGPConfiguration',
    `{logSeverityScreen: Debug, serviceClusterIPs: [{cidr: 10.96.0.0/12}], serviceLoadBalancerAggregation: Disabled,
      localWorkloadPeeringIPV4: "", programClusterRoutes: Enabled}`,
    'node.n1',
  );
  assert.deepEqual(others.spec, {});
  assert.deepEqual(
    others.notes.map((note) => /spec\.(\w+): is not used/.exec(note)?.[1]),
    ['logSeverityScreen', 'serviceClusterIPs', 'serviceLoadBalancerAggregation', 'programClusterRoutes'],
  );
});

test('RFC 1997, RFC 8092: prefixAdvertisements of a BGPConfiguration, by value and by name', () => {
  const { spec, notes } = readCalico<BGPConfigurationObject>(
    'BGPConfiguration',
    `{communities: [{name: blue, value: "64512:100"}, {name: large, value: "64512:1:2"}],
      prefixAdvertisements: [{cidr: 10.1.2.3/16, communities: [blue, "1:2", blue]}, {cidr: "fd00::/8", communities: [large]}]}`,
    'default',
  );
  assert.deepEqual(spec.prefixAdvertisements, [
    { cidr: '10.1.0.0/16', communities: ['64512:100', '1:2'] },
    { cidr: 'fd00::/8', communities: ['64512:1:2'] },
  ]);
  assert.deepEqual(notes, []);
  const of = (more: string) => `{prefixAdvertisements: [${more}]}`;
  const at = 'spec.prefixAdvertisements[0]';
  assertRefused(
    'BGPConfiguration',
    [
      [of('{cidr: 10.0.0.0/8, communities: [green]}'), `${at}.communities[0]`, /"green" is no name in communities/],
      [of('{cidr: 10.0.0.0/8, communities: ["1:65536"]}'), `${at}.communities[0]`, /is not a community/],
      [of('{cidr: 10.0.0.0, communities: ["1:2"]}'), `${at}.cidr`, /is not a prefix/],
      ['{communities: [{name: a, value: b}]}', 'spec.communities[0].value', /is not a community/],
      [
        '{communities: [{name: a, value: "1:1"}, {name: a, value: "1:2"}]}',
        'spec.communities[1].name',
        /another value above/,
      ],
    ],
    'default',
  );
});

test('BGPConfiguration: what makes no sense is refused', () => {
  assertRefused(
    'BGPConfiguration',
    [
      ['{asNumber: 0}', 'spec.asNumber', /not an AS number/],
      ['{listenPort: 0}', 'spec.listenPort', /out of range/],
      ['{bindMode: NodeIp}', 'spec.bindMode', /write one of None, NodeIP/],
      ['{holdTime: 1s}', 'spec.holdTime', /refused by BGP/],
      ['{ignoredInterfaces: ["*"]}', 'spec.ignoredInterfaces[0]', /would ignore every interface/],
      ['{ignoredInterfaces: [a b]}', 'spec.ignoredInterfaces[0]', /no name of an interface/],
      [
        '{nodeToNodeMeshEnabled: false, nodeMeshPassword: {value: a}}',
        'spec.nodeMeshPassword',
        /set nodeToNodeMeshEnabled/,
      ],
      [
        '{nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTime: 9s}',
        'spec.nodeMeshMaxRestartTime',
        /set nodeToNodeMeshEnabled/,
      ],
      ['{asnumber: 1}', 'spec.asnumber', /did you mean asNumber/],
    ],
    'default',
  );
  assertRefused('BGPConfiguration', [['{}', 'metadata.name', /write default for all nodes or node\.NAME/]], 'other');
  assertRefused('BGPConfiguration', [['{}', 'metadata.name', /write default for all nodes or node\.NAME/]], 'nodes');
  assertRefused(
    'BGPConfiguration',
    [['{nodeMeshPassword: {value: a}}', 'spec.nodeMeshPassword', /move it to the BGPConfiguration named default/]],
    'node.n1',
  );
});
