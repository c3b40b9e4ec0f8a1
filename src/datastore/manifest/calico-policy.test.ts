import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CalicoPolicyObject, CalicoRule, EndpointSliceObject, Kind, NetworkSetObject } from '#model';
import { decodeObject, identify } from './decode.ts';
import type { DocumentSource } from './metadata.ts';
import { formatPath } from './reader.ts';

type Spec = Readonly<Record<string, unknown>>;

function read(
  kind: string,
  spec: Spec | undefined,
  { source = 'directory' as DocumentSource, name = 'x', namespace = '' } = {},
) {
  const metadata = { name, ...(namespace && { namespace }) };
  const document = { apiVersion: 'projectcalico.org/v3', kind, metadata, ...(spec && { spec }) };
  const identity = identify(document);
  assert.equal(identity.type, 'object');
  const decoded = decodeObject(identity.type === 'object' ? identity.kind : 'Node', document, source);
  const texts = (all: typeof decoded.faults) => all.map(({ path, message }) => `${formatPath(path)}: ${message}`);
  return { object: decoded.typed?.object, faults: texts(decoded.faults), notes: texts(decoded.notes) };
}
const global = (spec: Spec, source?: DocumentSource) => read('GlobalNetworkPolicy', spec, source && { source });
const policyOf = (spec: Spec): CalicoPolicyObject => {
  const { object, faults } = global(spec);
  assert.deepEqual(faults, []);
  return object as CalicoPolicyObject;
};
const ruleOf = (rule: Spec): CalicoRule => policyOf({ ingress: [rule] }).ingress[0]!;
const faultOf = (rule: Spec): string => global({ ingress: [rule] }).faults.join('; ');

test('the group says whose NetworkPolicy it is', () => {
  for (const [apiVersion, kind] of [
    ['networking.k8s.io/v1', 'NetworkPolicy'],
    ['projectcalico.org/v3', 'CalicoNetworkPolicy'],
    ['crd.projectcalico.org/v1', 'CalicoNetworkPolicy'],
  ] as const) {
    const identity = identify({ apiVersion, kind: 'NetworkPolicy', metadata: { name: 'a', namespace: 'b' } });
    assert.deepEqual(identity, { type: 'object', kind: kind satisfies Kind, key: 'b/a', ref: `${kind} b/a` });
  }
});

test('defaults: every pod, the tier default, no order, types by the rules that there are', () => {
  const { metadata: _, ...empty } = policyOf({});
  assert.deepEqual(empty, { tier: 'default', selector: 'all()', types: ['Ingress'], ingress: [], egress: [] });
  const allow = { action: 'Allow' };
  assert.deepEqual(policyOf({ egress: [allow] }).types, ['Egress']);
  assert.deepEqual(policyOf({ ingress: [allow], egress: [allow] }).types, ['Ingress', 'Egress']);
  assert.deepEqual(policyOf({ types: ['Egress', 'Ingress'] }).types, ['Ingress', 'Egress']);
});

test('protocols, ports, prefixes and addresses as they may be written', () => {
  assert.deepEqual(ruleOf({ action: 'Allow', protocol: 'tcp', destination: { ports: [80, '81', '90:99', 'web'] } }), {
    action: 'Allow',
    protocol: 6,
    source: {},
    destination: {
      ports: [{ first: 80, last: 80 }, { first: 81, last: 81 }, { first: 90, last: 99 }, { name: 'web' }],
    },
  });
  assert.equal(ruleOf({ action: 'Deny', protocol: '47' }).protocol, 47);
  assert.equal(ruleOf({ action: 'Deny', notProtocol: 'UDPLite' }).notProtocol, 136);
  const icmp = ruleOf({ action: 'Deny', protocol: 'ICMPv6', icmp: { type: 128 } });
  assert.deepEqual([icmp.protocol, icmp.ipVersion, icmp.icmp], [58, 6, { type: 128 }]);
  const { source } = ruleOf({ action: 'Pass', source: { nets: ['10.1.2.3', '10.1.2.3/8', 'FD00::1'], notNets: [] } });
  assert.deepEqual(source, { nets: ['10.1.2.3/32', '10.0.0.0/8', 'fd00::1/128'] });
  assert.deepEqual(ruleOf({ action: 'Log', source: { serviceAccounts: { names: ['b', 'a', 'b'] } } }).source, {
    serviceAccounts: { names: ['a', 'b'] },
  });
});

test('what means nothing, or is not here yet, is refused at its place', () => {
  for (const [rule, expected] of [
    [{}, /^spec.ingress\[0\].action: /],
    [{ action: 'allow' }, /action: .*Allow/],
    [{ action: 'Allow', protocol: 'TPC' }, /protocol: "TPC" is no protocol/],
    [{ action: 'Allow', protocol: 0 }, /protocol: 0 is no protocol/],
    [{ action: 'Allow', destination: { ports: [80] } }, /destination.ports: needs protocol/],
    [{ action: 'Allow', protocol: 'ICMP', source: { notPorts: [80] } }, /source.notPorts: needs protocol/],
    [{ action: 'Allow', protocol: 'TCP', source: { ports: ['9:8'] } }, /source.ports\[0\]: .*lower one first/],
    [{ action: 'Allow', protocol: 'TCP', source: { ports: ['WEB'] } }, /source.ports\[0\]: .*lower-case/],
    [{ action: 'Allow', protocol: 'TCP', icmp: { type: 8 } }, /icmp: needs protocol ICMP/],
    [{ action: 'Allow', protocol: 'ICMP', notICMP: { code: 8 } }, /notICMP: has no type/],
    [{ action: 'Allow', protocol: 'ICMP', icmp: { type: 255 } }, /icmp.type: 255 is out of range 0..254/],
    [{ action: 'Allow', protocol: 'ICMP', ipVersion: 6 }, /ipVersion: 6 does not go/],
    [{ action: 'Allow', ipVersion: 5 }, /ipVersion: 5 is neither/],
    [{ action: 'Allow', source: { nets: ['10.0.0.0/33'] } }, /source.nets\[0\]: /],
    [{ action: 'Allow', source: { selector: 'a = b' } }, /source.selector: "a = b", character 3: /],
    [{ action: 'Allow', source: { selector: 'global()' } }, /source.selector: uses global\(\)/],
    [{ action: 'Allow', source: { serviceAccounts: { names: ['A'] } } }, /names\[0\]: /],
    [{ action: 'Allow', destination: { domains: ['example.com'] } }, /domains: stands in .* an egress rule/],
    [{ action: 'Allow', http: { methods: ['GET'] } }, /http: cannot be enforced/],
    [{ action: 'Allow', sorce: {} }, /sorce: /],
  ] as const) {
    assert.match(faultOf(rule), expected, JSON.stringify(rule));
  }
  const ports = Array.from({ length: 5000 }, (_, i) => 2 * i);
  assert.equal(faultOf({ action: 'Allow', protocol: 'TCP', destination: { ports } }), '');
  assert.match(
    faultOf({ action: 'Allow', protocol: 'TCP', source: { ports }, destination: { ports } }),
    /more than 4096/,
  );
  assert.deepEqual(faultOf({ action: 'Allow', source: { selector: "a == 'global()'" } }), '');
  for (const [spec, expected] of [
    [{ selector: 'a ==' }, /^spec.selector: /],
    [{ order: 'first' }, /^spec.order: /],
    [{ tier: 'A.b' }, /^spec.tier: /],
    [{ types: ['Ingress', 'Ingress'] }, /^spec.types: names one twice/],
    [{ doNotTrack: true }, /^spec.applyOnForward: must be true beside doNotTrack/],
    [{ preDNAT: true }, /^spec.applyOnForward: must be true beside preDNAT/],
    [{ doNotTrack: true, preDNAT: true, applyOnForward: true }, /^spec.preDNAT: stands beside doNotTrack/],
    [{ preDNAT: true, applyOnForward: true, types: ['Egress'] }, /^spec.types: does not go with preDNAT/],
    [{ preDNAT: true, applyOnForward: true, egress: [{ action: 'Deny' }] }, /^spec.egress: does not go with/],
  ] as const) {
    assert.match(global(spec).faults.join('; '), expected);
  }
  assert.deepEqual(global({ doNotTrack: false, applyOnForward: false }).faults, []);
  assert.equal(policyOf({ applyOnForward: true }).hostTraffic, 'forward');
  assert.equal(policyOf({ applyOnForward: true, preDNAT: true }).hostTraffic, 'preDNAT');
  assert.equal(policyOf({ applyOnForward: true, doNotTrack: true }).hostTraffic, 'untracked');
  const other = global({ ingress: [{ action: 'Allow', ipVersion: 4, source: { nets: ['fd00::/8'] } }] });
  assert.deepEqual(other.faults, []);
  assert.match(other.notes.join(), /nets\[0\]: fd00::\/8 says nothing/);
  assert.match(read('NetworkPolicy', { namespaceSelector: 'all()' }).faults.join(), /namespaceSelector/);
});

test('from an API server, a rule that cannot be read fails closed, at a note, and the others count', () => {
  const { object, faults, notes } = global(
    {
      selector: 'has(a)',
      ingress: [
        { action: 'Allow', destination: { services: { name: 'x', namespace: 'y' } } },
        { action: 'Quarantine' },
        { action: 'Allow', newer: {} },
        { action: 'Deny', source: { selector: '(' } },
        { action: 'Allow' },
      ],
    },
    'api',
  );
  assert.deepEqual(faults, []);
  assert.equal(notes.length, 4);
  assert.match(notes[0]!, /^spec.ingress\[0\]: cannot be read, and the rule fails closed: destination.services/);
  const { ingress } = object as CalicoPolicyObject;
  assert.deepEqual(
    ingress.map(({ action, unknown }) => [action, unknown ?? false]),
    [
      ['Allow', true],
      ['Deny', true],
      ['Allow', true],
      ['Deny', true],
      ['Allow', false],
    ],
  );
  assert.match(global({ selector: '(' }, 'api').faults.join(), /^spec.selector: /);
});

test('rules that would make more of the kernel than one policy may are refused; from an API server they fail closed', () => {
  const ports = Array.from({ length: 5_000 }, (_, i) => 1 + 2 * i);
  const wide = (action: string) => ({ action, protocol: 'TCP', destination: { ports } });
  const wides = Array.from({ length: 91 }, () => wide('Allow'));
  assert.deepEqual(global({ ingress: wides }).faults, []);
  const spec = { ingress: wides, egress: [wide('Allow'), wide('Deny'), { action: 'Allow' }] };
  const { faults } = global(spec);
  assert.equal(faults.length, 2);
  assert.match(
    faults[0]!,
    /^spec\.egress\[0\]: makes, with the rules before it, some \d+ rules of the kernel, more than 65536/,
  );
  const { object } = global(spec, 'api');
  assert.deepEqual(
    (object as CalicoPolicyObject).egress.map(({ action, unknown }) => [action, unknown ?? false]),
    [
      ['Allow', true],
      ['Deny', true],
      ['Allow', false],
    ],
  );
});

test('a selector of 10 kB is refused at its place, by its length', () => {
  const selector = Array.from({ length: 700 }, (_, i) => `a == 'v${i}'`).join(' || ');
  assert.ok(selector.length > 10_000);
  const [fault, ...others] = global({ selector }).faults;
  assert.deepEqual(others, []);
  assert.match(fault!, /^spec\.selector: .*character 1025: longer than 1024 characters/);
  assert.ok(fault!.length < 300, 'what is long is cut');
});

test('services: at the far end, by themselves, in a namespace that is said or that of the policy', () => {
  const egress = (entity: Spec, namespace?: string) => {
    const spec = { egress: [{ action: 'Allow', protocol: 'TCP', destination: entity }] };
    return namespace === undefined ? global(spec) : read('NetworkPolicy', spec, { namespace });
  };
  const service = { name: 'web', namespace: 'shop' };
  assert.deepEqual((egress({ services: service }).object as CalicoPolicyObject).egress[0]?.destination, {
    services: service,
  });
  const own = egress({ services: { name: 'web' } }, 'team').object as CalicoPolicyObject;
  assert.deepEqual(own.egress[0]?.destination.services, { name: 'web', namespace: 'team' });
  const ports = { services: service, ports: [{ first: 80, last: 80 }] };
  const source = ruleOf({ action: 'Deny', protocol: 'TCP', source: { services: service, ports: [80] } });
  assert.deepEqual(source.source, ports);
  for (const [entity, expected] of [
    [{ services: { name: 'web' } }, /services.namespace: is required/],
    [{ services: { namespace: 'shop' } }, /services.name: is required/],
    [{ services: { name: 'a.b', namespace: 'shop' } }, /services.name: "a.b" names no service/],
    [{ services: { name: 'web', namespace: 'A' } }, /services.namespace: "A" names no namespace/],
    [{ services: { ...service, port: 80 } }, /services.port: /],
    ...Object.entries({
      selector: 'all()',
      notSelector: 'all()',
      namespaceSelector: 'all()',
      serviceAccounts: { names: ['a'] },
      nets: ['10.0.0.0/8'],
      notNets: ['10.0.0.0/8'],
      ports: [80],
      notPorts: [80],
    }).map(([field, value]) => [
      { services: service, [field]: value },
      new RegExp(`destination.${field}: cannot stand beside services`),
    ]),
  ] as [Spec, RegExp][]) {
    assert.match(egress(entity).faults.join('; '), expected);
  }
  assert.deepEqual(egress({ services: service, selector: '', nets: [] }).faults, []);
  assert.match(
    faultOf({ action: 'Allow', destination: { services: service } }),
    /destination.services: stands at the source/,
  );
  const near = global({ egress: [{ action: 'Allow', source: { services: service } }] });
  assert.match(near.faults.join(), /source.services: stands at the destination of an egress rule/);
});

test('EndpointSlice: addresses of all endpoints, and ports that have a number', () => {
  const slice = (more: Spec, source: DocumentSource = 'directory') => {
    const metadata = { name: 'x', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } };
    const document = {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata,
      addressType: 'IPv4',
      ...more,
    };
    const { typed, faults } = decodeObject('EndpointSlice', document, source);
    const { addresses, ports, serviceName } = (typed?.object ?? {}) as Partial<EndpointSliceObject>;
    return {
      addresses,
      ports,
      serviceName,
      faults: faults.map(({ path, message }) => `${formatPath(path)}: ${message}`),
    };
  };
  const conditions = { ready: false, serving: false, terminating: true };
  const endpoints = [
    { addresses: ['10.0.0.1'], conditions, targetRef: { kind: 'Pod', name: 'a' } },
    { addresses: ['10.0.0.2', '10.0.0.1'] },
  ];
  const ports = [{ name: 'http', port: 80 }, { name: 'dns', port: 53, protocol: 'UDP' }, { name: 'any' }, { port: 80 }];
  assert.deepEqual(slice({ endpoints, ports }), {
    addresses: ['10.0.0.1', '10.0.0.2'],
    ports: [
      { port: 80, protocol: 'TCP' },
      { port: 53, protocol: 'UDP' },
    ],
    serviceName: 'web',
    faults: [],
  });
  assert.deepEqual(slice({ endpoints: null, ports: null }).faults, []);
  assert.deepEqual(slice({ addressType: 'FQDN', endpoints: [{ addresses: ['a.example'] }] }).addresses, []);
  assert.match(slice({ endpoints: [{ addresses: ['a.example'] }] }).faults.join(), /^endpoints\[0\].addresses\[0\]: /);
  assert.match(slice({ endpoint: [] }).faults.join(), /^endpoint: unknown field; did you mean endpoints/);
  const many = Array.from({ length: 1000 }, (_, i) => ({ addresses: [`10.0.${i >> 8}.${i & 255}`] }));
  const numbers = Array.from({ length: 132 }, (_, i) => ({ port: i + 1 }));
  assert.match(slice({ endpoints: many, ports: numbers }, 'api').faults.join(), /make 132000 pairs, more than 131072/);
});

test('Tier: order and default action, fixed for those of Kubernetes', () => {
  const tier = (name: string, spec: Spec) => read('Tier', spec, { name });
  const { object } = tier('x', { order: 1.5, defaultAction: 'Pass' });
  assert.deepEqual(
    [(object as { order?: number }).order, (object as { defaultAction: string }).defaultAction],
    [1.5, 'Pass'],
  );
  assert.equal((tier('x', {}).object as { defaultAction: string }).defaultAction, 'Deny');
  assert.equal((tier('kube-admin', {}).object as { defaultAction: string }).defaultAction, 'Pass');
  assert.match(tier('default', { order: 5 }).faults.join(), /spec.order: is 1000000 in this tier/);
  assert.match(tier('default', { defaultAction: 'Pass' }).faults.join(), /spec.defaultAction: is Deny/);
  assert.match(tier('a.b', {}).faults.join(), /metadata.name: /);
});

test('domains: in the destination of an egress rule that allows, alone, one whole label may be *', () => {
  const egress = (destination: Spec, action = 'Allow') => global({ egress: [{ action, destination }] });
  const { object, faults } = egress({ domains: ['*.Example.com', 'www.*.org.', 'a.*', 'a.*'] });
  assert.deepEqual(faults, []);
  const [rule] = (object as CalicoPolicyObject).egress;
  assert.deepEqual(rule?.destination, { domains: ['*.example.com', 'www.*.org', 'a.*'] });
  for (const [destination, expected] of [
    [{ domains: ['*.*.com'] }, /domains\[0\]: .*one label, and a whole one/],
    [{ domains: ['a*.com'] }, /domains\[0\]: /],
    [{ domains: ['*'] }, /domains\[0\]: /],
    [{ domains: ['a..b'] }, /domains\[0\]: /],
    [{ domains: [] }, /domains: names nothing/],
    [{ domains: ['a.b'], nets: ['10.0.0.0/8'] }, /domains: cannot stand beside nets/],
    [{ domains: ['a.b'], selector: 'all()' }, /domains: cannot stand beside selector/],
  ] as const)
    assert.match(egress(destination).faults.join('; '), expected, JSON.stringify(destination));
  for (const action of ['Deny', 'Pass', 'Log'])
    assert.match(
      egress({ domains: ['a.b'] }, action).faults.join('; '),
      /domains: stands in the destination of an egress/,
    );
  assert.match(faultOf({ action: 'Allow', source: { domains: ['a.b'] } }), /source.domains: stands in/);
});

test('NetworkSet: prefixes and addresses, canonical, each once', () => {
  const { object, faults } = read('NetworkSet', { nets: ['10.0.0.1', '10.0.0.1/32', '2001:DB8::/32'] });
  assert.deepEqual(faults, []);
  assert.deepEqual((object as NetworkSetObject).nets, ['10.0.0.1/32', '2001:db8::/32']);
  assert.match(read('GlobalNetworkSet', { nets: ['10.0.0'] }).faults.join(), /^spec.nets\[0\]: "10.0.0" is no prefix/);
  assert.deepEqual(read('GlobalNetworkSet', undefined).faults, []);
});
