import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { kinds, type NetworkPolicyObject, type PodObject } from '#model';
import { decodeObject, identify } from './decode.ts';
import { decodeText as decode } from './decode-text.ts';
import { formatPath } from './reader.ts';

const networkPolicy = { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' };

const policy = (spec: string) =>
  decode(`apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}`);
const policyObject = (spec: string) => {
  const { object, faults } = policy(spec);
  assert.deepEqual(faults, []);
  return object as NetworkPolicyObject;
};

test('policyTypes are inferred as the API server does', () => {
  assert.deepEqual(policyObject('{podSelector: {}}').policyTypes, ['Ingress']);
  assert.deepEqual(policyObject('{egress: []}').policyTypes, ['Ingress']);
  assert.deepEqual(policyObject('{egress: [{}]}').policyTypes, ['Ingress', 'Egress']);
  assert.deepEqual(policyObject('{policyTypes: [Egress], ingress: [{}]}').policyTypes, ['Egress']);
  assert.deepEqual(policyObject('{policyTypes: [Egress, Egress]}').policyTypes, ['Egress']);
});

test('defaults: namespace, podSelector, protocol; host bits are masked', () => {
  const object = policyObject(
    '{ingress: [{ports: [{port: 80}, {}], from: [{ipBlock: {cidr: 10.1.2.3/8, except: [10.2.3.4/16]}}]}]}',
  );
  assert.equal(object.metadata.namespace, 'default');
  assert.deepEqual(object.podSelector, { matchLabels: {}, matchExpressions: [] });
  assert.deepEqual(object.ingress[0], {
    ports: [{ protocol: 'TCP', port: 80 }, { protocol: 'TCP' }],
    peers: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.2.0.0/16'] } }],
  });
  assert.deepEqual(policyObject('{ingress: [{from: [{namespaceSelector: {}}]}]}').ingress[0]!.peers, [
    { namespaceSelector: { matchLabels: {}, matchExpressions: [] } },
  ]);
});

test('what the API server refuses is refused, at its place', () => {
  const peer = (text: string): string => `{ingress: [{from: [${text}]}]}`;
  const port = (text: string): string => `{ingress: [{ports: [${text}]}]}`;
  const block = (text: string): string => peer(`{ipBlock: ${text}}`);
  const refused: readonly (readonly [string, RegExp])[] = [
    ['{ingres: []}', /spec\.ingres: unknown field; did you mean ingress/],
    ['{podSelector: {matchlabels: {a: b}}}', /did you mean matchLabels/],
    ['{policyTypes: [Ingress, Egress, Ingress]}', /more than two/],
    ['{policyTypes: [ingress]}', /policyTypes\[0\]: "ingress" is not allowed/],
    ['{ingress: [null]}', /ingress\[0\]: is empty; write the entry, or \{\}/],
    ['{ingress: {}}', /is not a list/],
    [peer('{}'), /from\[0\]: names no peer/],
    [peer('{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}'), /stands beside a selector/],
    [block('{}'), /cidr: is required/],
    [block('{cidr: 10.0.0.0}'), /"10.0.0.0" is not a prefix/],
    [block('{cidr: 10.0.0.0/33}'), /is not a prefix/],
    [block('{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}'), /except\[0\]: 10.0.0.0\/8 is not a strict part/],
    [block('{cidr: 10.0.0.0/8, except: [11.0.0.0/16]}'), /not a strict part/],
    [block('{cidr: 0.0.0.0/0, except: ["::/1"]}'), /not a strict part/],
    [port('{protocol: tcp}'), /"tcp" is not allowed/],
    [port('{port: 0}'), /0 is out of range 1\.\.65535/],
    [port('{port: 65536}'), /out of range/],
    [port('{port: 1.5}'), /not a whole number/],
    [port('{port: "8080"}'), /has no letter/],
    [port('{port: Web}'), /lower-case/],
    [port('{port: a--b}'), /two "-" in a row/],
    [port('{port: abcdefghijklmnop}'), /longer than 15/],
    [port('{endPort: 90}'), /stands without port/],
    [port('{port: web, endPort: 90}'), /beside a port name/],
    [port('{port: 91, endPort: 90}'), /smaller than port 91/],
    [port('{port: 91, endPort: 65536}'), /out of range/],
    ['{podSelector: {matchExpressions: [{key: a, operator: in, values: [b]}]}}', /"in" is not allowed/],
    ['{podSelector: {matchExpressions: [{key: a, operator: In}]}}', /needs at least one value/],
    ['{podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}', /takes no values/],
    ['{podSelector: {matchExpressions: [{operator: Exists}]}}', /key: is required/],
    ['{podSelector: {matchExpressions: [{key: a}]}}', /operator: is required/],
    ['{podSelector: {matchLabels: {"a b": c}}}', /label key/],
    ['{podSelector: {matchLabels: {a: "b c"}}}', /label value/],
    ['{podSelector: {matchLabels: {a: 1}}}', /1 is not text; put it in quotes/],
  ];
  for (const [spec, message] of refused) {
    const { faults, object } = policy(spec);
    assert.match(faults.join('\n'), message, spec);
    assert.match(faults[0]!, /^4:spec/, spec);
    assert.equal(object, undefined, spec);
  }
  assert.match(
    decode('apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}').faults[0]!,
    /spec: is required/,
  );
  assert.equal(policyObject('{ingress: [{ports: [{port: 90, endPort: 90}]}]}').ingress[0]!.ports[0]!.endPort, 90);
});

test('what would make more rules or sets of the kernel than one policy may is refused where that begins', () => {
  const peers = (count: number): object[] =>
    Array.from({ length: count }, (_, i) => ({ podSelector: { matchLabels: { app: `a${i}` } } }));
  const ports = (count: number): object[] => Array.from({ length: count }, (_, i) => ({ port: 1 + 2 * i }));
  const faultsOf = (spec: object): string[] => {
    const metadata = { name: 'p', namespace: 'x' };
    const { faults } = decodeObject(
      'NetworkPolicy',
      { ...networkPolicy, metadata, spec: { podSelector: {}, ...spec } },
      'api',
    );
    return faults.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  };
  assert.deepEqual(faultsOf({ ingress: [{ from: peers(50), ports: ports(5_000) }] }), []);
  assert.deepEqual(faultsOf({ ingress: [{ from: peers(8_000) }] }), []);
  const blocks = Array.from({ length: 50_000 }, (_, i) => ({ ipBlock: { cidr: `10.${i >> 8}.${i & 255}.0/24` } }));
  assert.deepEqual(faultsOf({ ingress: [{ from: blocks, ports: ports(5_000) }] }), []);
  const half = { from: peers(50), ports: ports(5_000) };
  const rules = faultsOf({ ingress: [half], egress: [{ to: peers(50), ports: ports(5_000) }] });
  assert.equal(rules.length, 1);
  assert.match(
    rules[0]!,
    /^spec\.egress\[0\]: with the rules before it .* rules of the kernel, more than 65536; write/,
  );
  assert.match(
    faultsOf({ ingress: [{}, { from: peers(9_000) }] })[0]!,
    /^spec\.ingress\[1\]: .* 9000 sets, more than 8192/,
  );
});

test('of many faults the first are told, and that there are more', () => {
  const from = Array.from({ length: 10_000 }, () => ({ ipBlock: { cidr: 'nowhere' } }));
  const { faults } = decodeObject('NetworkPolicy', {
    ...networkPolicy,
    metadata: { name: 'p', namespace: 'x' },
    spec: { podSelector: {}, ingress: [{ from }] },
  });
  assert.equal(faults.length, 101);
  assert.equal(formatPath(faults[99]!.path), 'spec.ingress[0].from[99].ipBlock.cidr');
  assert.match(faults[100]!.message, /there is more/);
});

test('a misspelt kind or API is no other kind: it must not pass as nothing', () => {
  const kind = (apiVersion: string, name: string) =>
    decode(`apiVersion: ${apiVersion}\nkind: ${name}\nmetadata: {name: x}\nspec: {}`);
  assert.match(kind('networking.k8s.io/v1', 'NetworkPolcy').faults[0]!, /did you mean NetworkPolicy/);
  assert.match(kind('networking.k8s.io/v1', 'networkpolicy').faults[0]!, /did you mean NetworkPolicy/);
  for (const wrong of ['v1', 'networking.k8s.io/v1beta1', 'networking.k8s.i0/v1', 'extensions/v1beta1']) {
    assert.match(kind(wrong, 'NetworkPolicy').faults.join(), /write networking.k8s.io\/v1/, wrong);
  }
  for (const [apiVersion, other] of [
    ['apps/v1', 'Deployment'],
    ['v1', 'ConfigMap'],
    ['projectcalico.org/v3', 'Profile'],
    ['cilium.io/v2', 'NetworkPolicy'],
    ['metallb.io/v1beta2', 'BGPPeer'],
    ['networking.k8s.io/v1', 'Ingress'],
  ] as const) {
    assert.equal(kind(apiVersion, other).identity.type, 'ignored', other);
  }
  for (const text of [
    '- a',
    'text',
    'kind: Pod',
    'apiVersion: v1\nkind: Pod',
    'apiVersion: v1\nkind: Pod\nmetadata: {name: 3}',
  ])
    assert.equal(decode(text).identity.type, 'unidentified', text);
});

test('Pod: ports of containers and sidecars, status, unread fields pass, misspelt ones do not', () => {
  const { object, faults } = decode(`apiVersion: v1
kind: Pod
metadata: {name: a, namespace: web, deletionTimestamp: 2026-01-01T00:00:00Z}
spec:
  nodeName: n1
  tolerations: []
  containers:
    - {name: c, image: x, ports: [{containerPort: 80, name: http, hostPort: 8080}, {containerPort: 53, protocol: UDP}]}
  initContainers:
    - {name: once, ports: [{containerPort: 1}]}
    - {name: side, restartPolicy: Always, ports: [{containerPort: 9090}]}
status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: "FD00::1"}], qosClass: BestEffort}`);
  assert.deepEqual(faults, []);
  const pod = object as PodObject;
  assert.deepEqual(pod.ports, [
    { name: 'http', containerPort: 80, protocol: 'TCP' },
    { containerPort: 53, protocol: 'UDP' },
    { containerPort: 9090, protocol: 'TCP' },
  ]);
  assert.deepEqual(
    [pod.nodeName, pod.phase, pod.terminating, pod.podIPs],
    ['n1', 'Running', true, ['10.0.0.1', 'fd00::1']],
  );
  const wrong = (spec: string) => decode(`apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: ${spec}`).faults.join();
  assert.match(wrong('{hostnetwork: true}'), /did you mean hostNetwork/);
  assert.match(wrong('{containers: [{ports: [{containerPort: 80, nane: x}]}]}'), /did you mean name/);
  assert.match(wrong('{containers: [{ports: [{name: x}]}]}'), /containerPort: is required/);
  assert.equal(wrong('{hostname: a, hostPID: true, nodeSelector: {}}'), '');
});

test('Node and Namespace', () => {
  const node = (rest: string) => decode(`apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n${rest}`);
  assert.partialDeepStrictEqual(
    node(`spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24, "fd00::/64"], taints: []}
status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 10.0.0.1}]}`).object,
    { podCIDRs: ['10.1.0.0/24', 'fd00::/64'], internalIPs: ['10.0.0.1'] },
  );
  assert.match(node('spec: {podCIDRs: [10.1.0.0/24, 10.2.0.0/24]}').faults.join(), /two prefixes of one family/);
  assert.match(node('spec: {podCIDR: 10.9.0.0/24, podCIDRs: [10.1.0.0/24]}').faults.join(), /differs from podCIDRs/);
  const namespace = decode('apiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {a: b}}').object;
  assert.deepEqual(namespace?.metadata.labels, { a: 'b', 'kubernetes.io/metadata.name': 'web' });
});

test('whatever a document holds, it is an object, a fault or ignored, and never a throw', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.string(),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          'spec',
          'ingress',
          'egress',
          'from',
          'ports',
          'podSelector',
          'matchLabels',
          'port',
          'name',
          'metadata',
          'classes',
          'importV4',
          'cidr',
          'operations',
          'peerIP',
          'password',
          'secretKeyRef',
          'data',
          '__proto__',
        ),
        tie('any'),
        { maxKeys: 4 },
      ),
    ),
  })).any;
  const kind = fc.constantFrom(...kinds);
  fc.assert(
    fc.property(kind, value, value, (name, spec, status) => {
      for (const apiVersion of ['v1', 'networking.k8s.io/v1', 'projectcalico.org/v3']) {
        const document = { apiVersion, kind: name, metadata: { name: 'x' }, spec, status };
        const identity = identify(document);
        if (identity.type !== 'object') continue;
        for (const source of ['directory', 'api'] as const) {
          const decoded = decodeObject(identity.kind, document, source);
          assert.equal(decoded.typed === undefined, decoded.faults.length > 0);
        }
      }
    }),
  );
});
