import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterPolicyObject } from '#model';
import { decodeText } from './decode-text.ts';
import type { DocumentSource } from './metadata.ts';

const api = 'policy.networking.k8s.io';
const decode = (version: string, kind: string, spec: string, name: string, source: DocumentSource = 'directory') =>
  decodeText(`apiVersion: ${api}/${version}\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: ${spec}`, source);
const decodeNew = (spec: string, source?: DocumentSource) =>
  decode('v1alpha2', 'ClusterNetworkPolicy', spec, 'p', source);
const decodeAdmin = (spec: string) => decode('v1alpha1', 'AdminNetworkPolicy', spec, 'p');
const decodeBaseline = (spec: string, name = 'default') => decode('v1alpha1', 'BaselineAdminNetworkPolicy', spec, name);

function read({ object, faults }: ReturnType<typeof decodeText>): Omit<ClusterPolicyObject, 'metadata'> {
  assert.deepEqual(faults, []);
  const { metadata: _, ...rest } = object as ClusterPolicyObject;
  return rest;
}

const everything = { matchLabels: {}, matchExpressions: [] };
const web = { matchLabels: { app: 'web' }, matchExpressions: [] };
const allPods = { type: 'pods', namespaceSelector: everything, podSelector: everything };

/** A ClusterNetworkPolicy with one rule of a direction. */
const withRule = (rule: string, direction = 'egress') =>
  `{tier: Admin, priority: 0, subject: {namespaces: {}}, ${direction}: [${rule}]}`;
const denyTo = (peer: string, more = '') => withRule(`{action: Deny, to: [${peer}]${more}}`);

test('ClusterNetworkPolicy: every form of subject, peer and port', () => {
  assert.deepEqual(
    read(
      decodeNew(`
  tier: Baseline
  priority: 7
  subject: {pods: {podSelector: {matchLabels: {app: web}}}}
  ingress: [{name: n, action: Accept, from: [{namespaces: {}}, {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: web}}}}]}]
  egress:
    - {action: Pass, to: [{nodes: {matchLabels: {app: web}}}, {networks: [10.1.2.3/8, "fd00::/8", 10.9.0.0/8]}]}
    - action: Accept
      to: [{domainNames: ["*.Example.com", kubernetes.io.]}]
      protocols:
        - tcp: {destinationPort: {number: 80}}
        - udp: {destinationPort: {range: {start: 5, end: 6}}}
        - sctp: {destinationPort: {number: 9}}
        - destinationNamedPort: web`),
    ),
    {
      tier: 'Baseline',
      priority: 7,
      subject: { namespaceSelector: everything, podSelector: web },
      ingress: [{ action: 'Accept', peers: [allPods, { ...allPods, podSelector: web }], ports: [] }],
      egress: [
        {
          action: 'Pass',
          peers: [
            { type: 'nodes', selector: web },
            { type: 'networks', networks: ['10.0.0.0/8', 'fd00::/8'] },
          ],
          ports: [],
        },
        {
          action: 'Accept',
          peers: [{ type: 'domainNames', names: ['*.example.com', 'kubernetes.io'] }],
          ports: [
            { type: 'numbers', protocol: 'TCP', first: 80, last: 80 },
            { type: 'numbers', protocol: 'UDP', first: 5, last: 6 },
            { type: 'numbers', protocol: 'SCTP', first: 9, last: 9 },
            { type: 'name', name: 'web' },
          ],
        },
      ],
    },
  );
});

test('AdminNetworkPolicy and BaselineAdminNetworkPolicy: as the same form, with their own actions and ports', () => {
  const rules = `ingress: [{action: Allow, from: [{namespaces: {}}], ports: [{portNumber: {port: 80}}, {portRange: {protocol: UDP, start: 1, end: 2}}, {namedPort: web}]}]`;
  const ingress = [
    {
      action: 'Accept',
      peers: [allPods],
      ports: [
        { type: 'numbers', protocol: 'TCP', first: 80, last: 80 },
        { type: 'numbers', protocol: 'UDP', first: 1, last: 2 },
        { type: 'name', name: 'web' },
      ],
    },
  ];
  const subject = { namespaceSelector: everything, podSelector: everything };
  const rest = { subject, ingress, egress: [] };
  assert.deepEqual(read(decodeAdmin(`{priority: 30, subject: {namespaces: {}}, ${rules}}`)), {
    tier: 'Admin',
    priority: 30,
    ...rest,
  });
  assert.deepEqual(read(decodeBaseline(`{subject: {namespaces: {}}, ${rules}}`)), {
    tier: 'Baseline',
    priority: 0,
    ...rest,
  });
});

test('what the definitions refuse, and what they leave unchecked, is refused at its place', () => {
  const port = (text: string): string => denyTo('{namespaces: {}}', `, protocols: [${text}]`);
  const refused: readonly (readonly [ReturnType<typeof decodeText>, RegExp])[] = [
    [decodeNew('{priority: 1, subject: {namespaces: {}}}'), /spec\.tier: is required/],
    [decodeNew('{tier: admin, priority: 1, subject: {namespaces: {}}}'), /"admin" is not allowed/],
    [decodeNew('{tier: Admin, subject: {namespaces: {}}}'), /spec\.priority: is required/],
    [decodeNew('{tier: Admin, priority: 1001, subject: {namespaces: {}}}'), /out of range 0\.\.1000/],
    [decodeNew('{tier: Admin, priority: 1}'), /spec\.subject: names nothing; write exactly one of namespaces, pods/],
    [
      decodeNew('{tier: Admin, priority: 1, subject: {namespaces: {}, pods: {podSelector: {}}}}'),
      /namespaces and pods/,
    ],
    [decodeNew('{tier: Admin, priority: 1, subject: {pods: {}}}'), /podSelector: is required/],
    [decodeNew('{tier: Admin, priority: 1, subject: {namespaces: {}}, order: 1}'), /order: unknown field/],
    [
      decodeNew(
        '{tier: Admin, priority: 1, subject: {namespaces: {matchExpressions: [{key: a, operator: in, values: [b]}]}}}',
      ),
      /operator: "in" is not allowed/,
    ],
    [decodeNew(withRule('{to: [{namespaces: {}}]}')), /egress\[0\]\.action: is required/],
    [decodeNew(withRule('{action: Allow, to: [{namespaces: {}}]}')), /write one of Accept, Deny, Pass/],
    [decodeNew(withRule('{action: Deny}')), /egress\[0\]\.to: names no peer/],
    [decodeNew(withRule(`{action: Deny, name: ${'n'.repeat(101)}, to: [{namespaces: {}}]}`)), /longer than 100/],
    [decodeNew(withRule('{action: Deny, from: [{networks: [10.0.0.0/8]}]}', 'ingress')), /networks: unknown field/],
    [decodeNew(denyTo('{}')), /to\[0\]: names nothing/],
    [decodeNew(denyTo('{networks: [10.0.0.0/33]}')), /networks\[0\]: "10.0.0.0\/33" is not a prefix/],
    [decodeNew(denyTo('{networks: []}')), /networks: names no prefix/],
    [decodeNew(denyTo('{domainNames: [example.com]}')), /domainNames: stands in a rule of action Deny/],
    [decodeNew(withRule('{action: Accept, to: [{domainNames: ["a.*.com"]}]}')), /is no domain name/],
    [decodeNew(port('{tcp: {}}')), /tcp\.destinationPort: is required; for every port write the range 1 to 65535/],
    [decodeNew(port('{tcp: {destinationPort: {number: 0}}}')), /0 is out of range/],
    [decodeNew(port('{tcp: {destinationPort: {range: {start: 5, end: 5}}}}')), /end: 5 is not greater than start 5/],
    [decodeNew(port('{tcp: {destinationPort: {number: 1, range: {start: 5, end: 6}}}}')), /number and range/],
    [decodeNew(port('{destinationNamedPort: "80"}')), /is not a port name/],
    [decodeNew(port('')), /protocols: is empty; leave it out/],
    [decodeAdmin('{priority: 1, subject: {pods: {podSelector: {}}}}'), /namespaceSelector: is required/],
    [decodeAdmin('{priority: 1, subject: {namespaces: {}}, tier: Admin}'), /tier: unknown field/],
    [decodeBaseline('{subject: {namespaces: {}}}', 'other'), /metadata\.name: there is only one, named default/],
    [
      decodeBaseline('{subject: {namespaces: {}}, egress: [{action: Pass, to: [{namespaces: {}}]}]}'),
      /write one of Allow, Deny$/,
    ],
  ];
  for (const [{ faults, object }, message] of refused) {
    assert.equal(object, undefined, `${message}`);
    assert.ok(
      faults.some((fault) => message.test(fault)),
      `${message}: ${faults.join('\n') || 'accepted'}`,
    );
  }
});

test('as many rules, peers and ports as the versions of the API allow', () => {
  const peers = (count: number): string => `{action: Deny, to: [${Array(count).fill('{namespaces: {}}')}]}`;
  const rules = (count: number): string => `egress: [${Array(count).fill(peers(1))}]`;
  const start = 'priority: 1, subject: {namespaces: {}}';
  read(decodeNew(`{tier: Admin, ${start}, ${rules(25)}}`));
  assert.match(decodeNew(`{tier: Admin, ${start}, ${rules(26)}}`).faults[0]!, /26 entries/);
  read(decodeNew(withRule(peers(25))));
  assert.match(decodeNew(withRule(peers(26))).faults[0]!, /26 entries/);
  read(decodeAdmin(`{${start}, ${rules(100)}}`));
  assert.match(decodeAdmin(`{${start}, ${rules(101)}}`).faults[0]!, /101 entries/);
});

test('from an API server, what of a rule cannot be read is unknown and noted; the rest of the policy counts', () => {
  const unknown = { type: 'unknown' };
  const cases: readonly (readonly [rule: string, parts: object, note: RegExp])[] = [
    ['{action: Accept, to: [{accounts: {}}, {namespaces: {}}]}', { peers: [unknown, allPods] }, /to\[0\].*accounts/],
    ['{action: Accept, to: [{}]}', { peers: [unknown] }, /names nothing/],
    ['{action: Deny, to: [{domainNames: [a.b]}]}', { action: 'Deny', peers: [unknown] }, /only Accept takes names/],
    [
      '{action: Deny, to: [{namespaces: {matchExpressions: [{key: a, operator: in}]}}]}',
      { peers: [unknown] },
      /operator/,
    ],
    ['{action: Deny, to: [{namespaces: {}}], protocols: [{icmp: {}}]}', { ports: [unknown] }, /protocols\[0\].*icmp/],
    ['{action: Audit, to: [{namespaces: {}}]}', { action: 'Deny', peers: [unknown] }, /"Audit" is not allowed/],
    ['{action: Accept, to: [{namespaces: {}}], at: noon}', { action: 'Accept', peers: [unknown] }, /at: unknown field/],
  ];
  for (const [rule, parts, note] of cases) {
    const decoded = decodeNew(withRule(`{action: Deny, to: [{namespaces: {}}]}, ${rule}`), 'api');
    const { egress } = read(decoded);
    assert.deepEqual(egress[0], { action: 'Deny', peers: [allPods], ports: [] });
    assert.partialDeepStrictEqual(egress[1], parts, rule);
    assert.equal(decoded.notes.length, 1, decoded.notes.join('\n'));
    assert.match(decoded.notes[0]!, note);
    assert.match(decoded.notes[0]!, /fails closed/);
    assert.notDeepEqual(decodeNew(withRule(rule)).faults, [], `${rule} in a directory`);
  }
  // Whom it is about has to be known.
  assert.notDeepEqual(decodeNew('{tier: Admin, priority: 0, subject: {accounts: {}}}', 'api').faults, []);
});

test('a port name beside a peer that has none is noted: it is looked for at pods', () => {
  const { notes } = decodeNew(denyTo('{networks: [10.0.0.0/8]}', ', protocols: [{destinationNamedPort: web}]'));
  assert.match(notes.join(), /egress\[0\]\.protocols: names a port where a peer is no pod/);
});
