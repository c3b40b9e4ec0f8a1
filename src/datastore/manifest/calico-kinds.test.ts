import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BGPPeerObject, FelixConfigurationObject, SecretObject } from '#model';
import { assertRefused, decodeCalico, decodeText, readCalico } from './decode-text.ts';

test('IPPool: pools of pods; tunnels and blocks are named as not used, defaults are not', () => {
  const pool = readCalico(
    'IPPool',
    '{cidr: 10.0.0.0/8, natOutgoing: true, ipipMode: Always, vxlanMode: Never, blockSize: 26, assignmentMode: Automatic, nodeSelector: all()}',
  );
  assert.deepEqual(pool.spec, { cidr: '10.0.0.0/8', natOutgoing: true, disabled: false, disableBGPExport: false });
  assert.deepEqual(
    pool.notes.map((note) => note.split(': ')[0]),
    ['4:spec.blockSize', '4:spec.ipipMode'],
  );
  assert.partialDeepStrictEqual(
    readCalico(
      'IPPool',
      '{cidr: "fd00::/48", nat-outgoing: true, disabled: true, disableBGPExport: true, nodeSelector: "has(a)"}',
    ).spec,
    { cidr: 'fd00::/48', natOutgoing: true, disabled: true, disableBGPExport: true, nodeSelector: 'has(a)' },
  );
  assertRefused('IPPool', [
    ['{}', 'spec.cidr', /is required/],
    ['{cidr: 10.0.0.0}', 'spec.cidr', /not a prefix/],
    ['{cidr: 10.0.0.0/8, ipipMode: always}', 'spec.ipipMode', /write one of Never, Always, CrossSubnet/],
    ['{cidr: 10.0.0.0/8, natOutgoing: yes please}', 'spec.natOutgoing', /not true or false/],
  ]);
});

test('CalicoNodeStatus', () => {
  assert.deepEqual(readCalico('CalicoNodeStatus', '{node: n1, classes: [BGP, Agent], updatePeriodSeconds: 10}').spec, {
    node: 'n1',
    classes: ['BGP', 'Agent'],
    updatePeriodSec: 10,
  });
  assertRefused('CalicoNodeStatus', [
    ['{classes: [BGP], updatePeriodSeconds: 10}', 'spec.node', /is required/],
    ['{node: n1, updatePeriodSeconds: 10}', 'spec.classes', /is required; write some of Agent, BGP, Routes/],
    ['{node: n1, classes: [BGP, BGP], updatePeriodSeconds: 10}', 'spec.classes', /twice/],
    ['{node: n1, classes: [Bgp], updatePeriodSeconds: 10}', 'spec.classes[0]', /write one of Agent, BGP, Routes/],
    ['{node: n1, classes: [BGP]}', 'spec.updatePeriodSeconds', /is required/],
    ['{node: n1, classes: [BGP], updatePeriodSeconds: 86401}', 'spec.updatePeriodSeconds', /out of range 0\.\.86400/],
  ]);
});

test('FelixConfiguration: what means something here is read, every other set field is named', () => {
  const felix = (spec: string, name = 'default') =>
    readCalico<FelixConfigurationObject>('FelixConfiguration', spec, name);
  const { spec, notes } = felix(
    '{iptablesMarkMask: 4294901760, iptablesBackend: NFT, logSeverityScreen: Warning, reportingInterval: 0s, bpfEnabled: false, bpfLogLevel: ""}',
  );
  assert.deepEqual(spec, {
    iptablesMarkMask: 0xffff0000,
    iptablesBackend: 'nft',
    logSeverityScreen: 'warn',
    notUsed: ['bpfEnabled', 'reportingInterval'],
  });
  assert.equal(notes.length, 2);
  assert.deepEqual(felix('{iptablesBackend: "", logSeverityScreen: fatal}', 'node.n1').spec, {
    logSeverityScreen: 'error',
    notUsed: [],
  });
  const flows = felix(
    '{flowLogsLocalReporter: enabled, flowLogsFlushInterval: 1m30.5s, flowLogsGoldmaneServer: "a:1"}',
  );
  assert.deepEqual(flows.spec, {
    flowLogsLocalReporter: 'Enabled',
    flowLogsFlushIntervalMs: 90_500,
    notUsed: ['flowLogsGoldmaneServer'],
  });
  const selected = felix('{nodeSelector: all(), iptablesBackend: Legacy}', 'rack');
  assert.deepEqual(selected.spec, { notUsed: ['iptablesBackend', 'nodeSelector'] });
  assert.match(selected.notes.join(), /metadata\.name: is not used by Poplin, which reads the objects default/);
  assertRefused(
    'FelixConfiguration',
    [
      ['{iptablesMarkMask: 0}', 'spec.iptablesMarkMask', /fewer than 2 bits/],
      ['{iptablesMarkMask: 2147483648}', 'spec.iptablesMarkMask', /0x80000000\) has fewer than 2 bits/],
      ['{iptablesMarkMask: 0x7fffc000}', 'spec.iptablesMarkMask', /begins with bits that kube-proxy sets/],
      ['{iptablesBackend: iptables}', 'spec.iptablesBackend', /write one of auto, legacy, nft/],
      ['{logSeverityScreen: Loud}', 'spec.logSeverityScreen', /write one of trace/],
      ['{nodeSelector: all()}', 'spec.nodeSelector', /stands in the object default/],
      ['{flowLogsLocalReporter: "yes"}', 'spec.flowLogsLocalReporter', /write one of enabled, disabled/],
      ['{flowLogsFlushInterval: 500ms}', 'spec.flowLogsFlushInterval', /write one in 1s..1h/],
      ['{flowLogsFlushInterval: soon}', 'spec.flowLogsFlushInterval', /write one in 1s..1h/],
    ],
    'default',
  );
  assert.equal(felix('{iptablesMarkMask: 65280}').spec.iptablesMarkMask, 0xff00);
  assertRefused('FelixConfiguration', [['{}', 'metadata.name', /write default for all nodes or node\.NAME/]], 'other');
});

test('Secret: base64 and plain text; bytes that are no text are no value', () => {
  const { object, faults } = decodeText(`apiVersion: v1
kind: Secret
type: Opaque
metadata: {name: bgp, namespace: poplin-system}
data: {tor: aHVzaA==, key: AP8=, utf8: w7w=}
stringData: {tor2: quiet, tor: louder}`);
  assert.deepEqual(faults, []);
  const { data, metadata } = object as SecretObject;
  assert.equal(metadata.namespace, 'poplin-system');
  assert.deepEqual(Object.keys(data).sort(), ['tor', 'tor2', 'utf8']);
  assert.deepEqual([data['tor']!.reveal(), data['tor2']!.reveal(), data['utf8']!.reveal()], ['louder', 'quiet', 'ü']);
  assert.doesNotMatch(JSON.stringify(object), /quiet|louder/);
});

test('an unknown field: a fault in a directory; from an API server a note, but not in a NetworkPolicy', () => {
  const inBoth = (kind: string, spec: string, name = 'x') => [
    decodeCalico(kind, spec, name),
    decodeCalico(kind, spec, name, 'api'),
  ];
  for (const [kind, spec, name] of [
    ['BGPPeer', '{peerIP: 10.0.0.1, asNumber: 1, past: {}, password: {value: a, future: 1}}', 'x'],
    ['BGPConfiguration', '{future: 1, holdtime: 2s}', 'default'],
    ['BGPFilter', '{importV4: [{action: Accept, future: 1}], future: 2}', 'x'],
    ['CalicoNodeStatus', '{node: a, classes: [BGP], updatePeriodSeconds: 0, future: 1, past: 1}', 'x'],
  ] as const) {
    const [directory, api] = inBoth(kind, spec, name);
    assert.equal(directory!.faults.length, 2, kind);
    assert.equal(directory!.object, undefined, kind);
    assert.deepEqual(api!.faults, [], kind);
    assert.ok(api!.object, kind);
    assert.equal(api!.notes.length, 2, kind);
    for (const note of api!.notes)
      assert.match(note, /is not known to Poplin and has no effect; (there are|did you mean)/);
  }
  const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, future: 1}
spec: {podSelector: {}, future: 1}`;
  assert.match(decodeText(policy, 'api').faults.join(), /^4:spec\.future: unknown field[^\n]*$/);
  const pod = `apiVersion: v1
kind: Pod
metadata: {name: a, future: 1}
spec: {hostNetworks: true, containers: [{name: a, ports: [{containerPort: 1, future: 1}]}]}
status: {podIPs: [{ip: 10.0.0.1, future: 1}]}`;
  assert.equal(decodeText(pod, 'api').object !== undefined, true);
  assert.deepEqual(decodeText(pod, 'api').notes, []);
  assert.ok(decodeText(pod).faults.length >= 3);
});

test("status is no part of an object's meaning, and crd.projectcalico.org/v1 holds the same", () => {
  const { object, faults, notes } = decodeText(`apiVersion: crd.projectcalico.org/v1
kind: BGPPeer
metadata: {name: a, annotations: {projectcalico.org/metadata: '{}'}}
spec: {peerIP: 10.0.0.1, asNumber: 1}
status: {conditions: [{type: Established}], whatever: 1}`);
  assert.deepEqual([faults, notes], [[], []]);
  assert.equal((object as BGPPeerObject).peerIP, '10.0.0.1');
});
