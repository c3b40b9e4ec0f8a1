/** Random manifests of Calico's kinds, in the small world of random-policy.ts. */
import fc, { type Arbitrary } from 'fast-check';
import type {
  RawCalico,
  RawCalicoPolicy,
  RawCalicoRule,
  RawEndpointSlice,
  RawEntity,
  RawHostEndpoint,
  RawNetworkSet,
  RawServiceAccount,
  RawTier,
} from './naive-calico-policy.ts';
import { cidr4, cidr6, labels, portName, portNumber, protocol } from './random-policy.ts';

export const calicoIds = [
  { kind: 'GlobalNetworkPolicy', name: 'a' },
  { kind: 'GlobalNetworkPolicy', name: 'b' },
  { kind: 'GlobalNetworkPolicy', name: 'c' },
  { kind: 'NetworkPolicy', name: 'a', namespace: 'red' },
  { kind: 'NetworkPolicy', name: 'b', namespace: 'green' },
  { kind: 'Tier', name: 'first' },
  { kind: 'Tier', name: 'second' },
  { kind: 'GlobalNetworkSet', name: 'g' },
  { kind: 'NetworkSet', name: 's', namespace: 'red' },
  { kind: 'HostEndpoint', name: 'peer' },
  { kind: 'ServiceAccount', name: 'default', namespace: 'red' },
  { kind: 'ServiceAccount', name: 'robot', namespace: 'green' },
  { kind: 'EndpointSlice', name: 'x', namespace: 'red' },
  { kind: 'EndpointSlice', name: 'y', namespace: 'red' },
  { kind: 'EndpointSlice', name: 'x', namespace: 'green' },
] as const;
export type CalicoId = (typeof calicoIds)[number];

const v3 = 'projectcalico.org/v3' as const;
const key = fc.constantFrom('app', 'tier', 'constructor');
const value = fc.constantFrom("'web'", '"db"', "''");

const atom: Arbitrary<string> = fc.oneof(
  fc.constantFrom('all()', 'has(app)', "projectcalico.org/namespace == 'red'", "pcns.app == 'web'"),
  fc
    .tuple(key, fc.constantFrom('==', '!=', 'contains', 'starts with', 'ends with'), value)
    .map((words) => words.join(' ')),
  fc
    .tuple(key, fc.constantFrom('in', 'not in'), fc.array(value, { minLength: 1, maxLength: 2 }))
    .map(([of, operator, values]) => `${of} ${operator} {${values.join(', ')}}`),
);
const selector: Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: atom },
  { weight: 1, arbitrary: atom.map((text) => `!(${text})`) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(atom, fc.constantFrom('&&', '||'), atom, fc.constantFrom('&&', '||'), atom)
      .map((all) => all.join(' ')),
  },
);
/** What all() beside other terms means to libcalico-go hangs on its text. */
const namespaceSelector: Arbitrary<string> = fc.oneof(
  fc.constantFrom('all()', 'global()', '!has(app)', "projectcalico.org/name in {'red', 'blue'}"),
  fc.tuple(key, fc.constantFrom('==', '!='), value).map((words) => words.join(' ')),
);
const optional = <T>(arbitrary: Arbitrary<T>, freq = 2): Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq });
const rarely = <T>(arbitrary: Arbitrary<T>): Arbitrary<T | undefined> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const given = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, each]) => each !== undefined)) as T;

const nets = fc.uniqueArray(fc.oneof(cidr4, cidr6, fc.constantFrom('10.0.0.3', 'fd00::3')), {
  minLength: 1,
  maxLength: 7,
  size: 'max',
});
const port = fc.oneof(
  portNumber,
  portName,
  fc.tuple(portNumber, fc.integer({ min: 0, max: 40 })).map(([first, more]) => `${first}:${first + more}`),
);
const ports = fc.array(port, { minLength: 1, maxLength: 3 });

/** Of a namespaced policy the namespace may be left out. */
const services = fc.record({ name: fc.constantFrom('web', 'api'), namespace: fc.constantFrom('red', 'red', 'green') });

/** Nobody of the world asks for names: they match nothing. */
const namedRule: Arbitrary<RawCalicoRule> = fc
  .record({
    protocol: fc.constant('TCP' as const),
    domains: fc.subarray(['*.example.com', 'www.example.com', 'api.*.org'], { minLength: 1 }),
    ports: rarely(ports),
  })
  .map(({ protocol: of, ...destination }) => ({
    action: 'Allow',
    protocol: of,
    destination: given(destination) as RawEntity,
  }));

/** The far end of a rule. */
function farEntity(withPorts: boolean, isSource: boolean, isGlobal: boolean): Arbitrary<RawEntity> {
  const service = isGlobal
    ? services
    : fc.oneof(
        services,
        services.map(({ name }) => ({ name })),
      );
  const ports = withPorts && isSource ? rarely(sourcePorts) : fc.constant(undefined);
  return fc.oneof(
    { weight: 4, arbitrary: entity(withPorts, isSource) },
    {
      weight: 1,
      arbitrary: fc.record({ services: service, ports }).map((each) => given(each) as RawEntity),
    },
  );
}

const sourcePorts = fc.constantFrom<(number | string)[]>([50_000], ['1024:65535'], ['http'], [22]);

function entity(withPorts: boolean, isSource: boolean): Arbitrary<RawEntity> {
  const own: Arbitrary<(number | string)[]> = isSource ? sourcePorts : ports;
  return fc
    .record({
      nets: rarely(nets),
      notNets: rarely(nets),
      selector: optional(selector, 1),
      notSelector: rarely(selector),
      namespaceSelector: rarely(namespaceSelector),
      serviceAccounts: rarely(
        fc.constantFrom(
          { names: ['robot'] },
          { selector: 'has(app)' },
          { names: ['default'], selector: "app != 'web'" },
        ),
      ),
      ports: withPorts ? (isSource ? rarely(own) : optional(own)) : fc.constant(undefined),
      notPorts: withPorts ? rarely(own) : fc.constant(undefined),
    })
    .map((each) => given(each) as RawEntity);
}

function rule(direction: 'Ingress' | 'Egress', isGlobal: boolean): Arbitrary<RawCalicoRule> {
  return fc.boolean().chain((withPorts) =>
    fc
      .record({
        action: fc.constantFrom<RawCalicoRule['action']>('Allow', 'Allow', 'Deny', 'Pass', 'Log'),
        protocol: withPorts ? fc.oneof(protocol, fc.constant(6)) : fc.constant(undefined),
        notProtocol: rarely(fc.constantFrom('UDP' as const, 6, 1)),
        // Nets of another version than this are refused.
        source: direction === 'Ingress' ? farEntity(withPorts, true, isGlobal) : optional(entity(false, true), 1),
        destination:
          direction === 'Egress'
            ? farEntity(withPorts, false, isGlobal)
            : withPorts
              ? entity(withPorts, false)
              : fc.constant(undefined),
      })
      .map((each) => given(each) as RawCalicoRule),
  );
}

function policy({ kind, ...metadata }: CalicoId): Arbitrary<RawCalicoPolicy> {
  const isGlobal = kind === 'GlobalNetworkPolicy';
  return fc
    .record({
      tier: rarely(fc.constantFrom('first', 'second', 'kube-admin', 'kube-baseline')),
      order: optional(fc.constantFrom(9, 9.5, 10, 1_000, 1_000, 2_000), 3),
      selector: optional(selector, 1),
      namespaceSelector: isGlobal ? rarely(fc.constantFrom("app == 'web'", '!has(tier)')) : fc.constant(undefined),
      serviceAccountSelector: rarely(fc.constantFrom("projectcalico.org/name == 'robot'", "app != 'web'")),
      types: rarely(fc.constantFrom<RawCalicoPolicy['spec']['types']>(['Ingress'], ['Egress'], ['Egress', 'Ingress'])),
      ingress: optional(fc.array(rule('Ingress', isGlobal), { maxLength: 3, size: 'max' }), 4),
      egress: optional(
        fc.array(fc.oneof({ weight: 6, arbitrary: rule('Egress', isGlobal) }, { weight: 1, arbitrary: namedRule }), {
          maxLength: 2,
          size: 'max',
        }),
      ),
      hosts: isGlobal ? rarely(fc.constantFrom('applyOnForward', 'preDNAT', 'doNotTrack')) : fc.constant(undefined),
    })
    .map(({ hosts, ...spec }) => ({
      apiVersion: v3,
      kind: kind as RawCalicoPolicy['kind'],
      metadata,
      spec: given(hosts === undefined ? spec : forHosts(spec, hosts)) as never,
    }));
}

/** Of host endpoints too, or alone. Before translation nothing goes out. */
function forHosts<T extends object>(spec: T, field: string): object {
  const only = field === 'preDNAT' ? { types: undefined, egress: undefined } : {};
  return { ...spec, ...only, applyOnForward: true, [field]: true };
}

export function calicoArbitrary(id: CalicoId): Arbitrary<RawCalico> {
  const { kind, ...metadata } = id;
  switch (kind) {
    case 'NetworkPolicy':
    case 'GlobalNetworkPolicy':
      return policy(id);
    case 'Tier':
      return fc
        .record({
          order: optional(fc.constantFrom(5, 500, 5_000_000)),
          defaultAction: optional(fc.constantFrom('Deny' as const, 'Pass' as const)),
        })
        .map((spec): RawTier => ({ apiVersion: v3, kind, metadata, spec: given(spec) as RawTier['spec'] }));
    case 'NetworkSet':
    case 'GlobalNetworkSet':
      return fc.tuple(labels, nets).map(
        ([own, each]): RawNetworkSet => ({
          apiVersion: v3,
          kind,
          metadata: { ...metadata, labels: own },
          spec: { nets: each },
        }),
      );
    case 'HostEndpoint':
      return fc
        .tuple(
          labels,
          fc.subarray(['10.0.0.2', '10.0.0.3', 'fd00::3', '192.0.2.1', '2001:db8::1'], { minLength: 1 }),
          fc.array(fc.record({ name: portName, protocol, port: portNumber }), { maxLength: 2 }),
        )
        .map(([own, expectedIPs, each]): RawHostEndpoint => {
          // Of a node that is none of the world: it has no program there.
          const spec = { node: 'elsewhere', interfaceName: 'eth0', expectedIPs, ports: each };
          return { apiVersion: v3, kind, metadata: { ...metadata, labels: own }, spec };
        });
    case 'EndpointSlice':
      return endpointSlice(metadata as RawEndpointSlice['metadata']);
    case 'ServiceAccount':
      return labels.map(
        (own): RawServiceAccount => ({ apiVersion: 'v1', kind, metadata: { ...metadata, labels: own } }),
      );
  }
}

/** Some without a service, some with addresses that nobody has, not ready, or twice. */
function endpointSlice(metadata: RawEndpointSlice['metadata']): Arbitrary<RawEndpointSlice> {
  const endpoint = (base: string) =>
    fc.record({
      addresses: fc.array(
        fc.constantFrom('1', '2', '3', '99').map((last) => `${base}${last}`),
        { minLength: 1, maxLength: 2 },
      ),
      conditions: fc.constantFrom({}, { ready: true }, { ready: false, serving: false, terminating: true }),
    });
  const port = fc
    .record({ name: rarely(portName), port: optional(portNumber, 6), protocol: optional(protocol) })
    .map((each) => given(each) as NonNullable<RawEndpointSlice['ports']>[number]);
  const service = fc.constantFrom('web', 'web', 'api', undefined);
  return fc
    .tuple(service, fc.constantFrom('IPv4' as const, 'IPv6' as const), fc.array(port, { maxLength: 3, size: 'max' }))
    .chain(([name, addressType, ports]) =>
      fc.array(endpoint(addressType === 'IPv4' ? '10.0.0.' : 'fd00::'), { maxLength: 3, size: 'max' }).map(
        (endpoints): RawEndpointSlice => ({
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: { ...metadata, ...(name !== undefined && { labels: { 'kubernetes.io/service-name': name } }) },
          addressType,
          endpoints,
          ports,
        }),
      ),
    );
}
