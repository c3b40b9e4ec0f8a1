/** The real policy engine and dataplane behind a CNI server, with one deny-all and two policies for every pod that is added. */
import type { EndpointDataplane } from '#cni';
import { createPolicyDataplane, type PolicyDataplane } from '#felix';
import { type IpFamily, silentLogger, systemClock } from '#kit';
import type { LabelSelector, Labels, ModelUpdate, NetworkPolicyObject, NetworkPolicyRule, ObjectMeta } from '#model';
import { createPolicyEngine } from '#policy';
import { exec, forgetAddress, NETLINK_NETFILTER, Netlink, openSetMembers } from '#sys';

const all: LabelSelector = { matchLabels: {}, matchExpressions: [] };
const web: Labels = { app: 'web' };

function metadata(name: string, namespace: string, labels: Labels = {}): ObjectMeta {
  return { name, namespace, uid: name, labels, annotations: {} };
}

function networkPolicy(name: string, podSelector: LabelSelector, ingress: readonly NetworkPolicyRule[]): ModelUpdate {
  const object: NetworkPolicyObject = {
    metadata: metadata(name, 'default'),
    podSelector,
    policyTypes: ['Ingress'],
    ingress,
    egress: [],
  };
  return { type: 'upsert', kind: 'NetworkPolicy', key: `default/${name}`, object };
}

function podUpdate(key: string): ModelUpdate {
  const [namespace = '', name = ''] = key.split('/');
  const object = {
    metadata: metadata(name, namespace, web),
    nodeName: 'node',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Pending' as const,
    terminating: false,
    podIPs: [],
  };
  return { type: 'upsert', kind: 'Pod', key, object };
}

export interface RealPolicy {
  /** The model knows this Pod from now on. */
  podKnown(key: string): void;
  readonly dataplane: EndpointDataplane;
}

/** `lockFile`: xtables'. In the namespace of the calling process. */
export async function startRealPolicy(
  lockFile: string,
  families: readonly IpFamily[],
  backend: 'nft' | 'legacy',
): Promise<RealPolicy> {
  const members = openSetMembers();
  const dataplane: PolicyDataplane = createPolicyDataplane(
    {
      run: ([command = '', ...args], options = {}) =>
        exec(command, args, { ...options, env: { ...(process.env as Record<string, string>), ...options.env } }),
      members,
      log: silentLogger,
      clock: systemClock(),
    },
    { backend, lockFile, families },
  );
  const engine = createPolicyEngine();
  const conntrack = new Netlink({ protocol: NETLINK_NETFILTER });
  const updates: readonly ModelUpdate[] = [
    { type: 'upsert', kind: 'Namespace', key: 'default', object: { metadata: metadata('default', '') } },
    networkPolicy('deny-all', all, []),
    networkPolicy('from-web', { ...all, matchLabels: web }, [
      { peers: [{ podSelector: { ...all, matchLabels: web } }], ports: [] },
    ]),
  ];
  for (const update of updates) engine.update(update);
  engine.inSync();
  await dataplane.start();
  dataplane.apply(engine.flush());
  dataplane.setInSync();
  await dataplane.whenApplied();
  return {
    podKnown(key) {
      engine.update(podUpdate(key));
      dataplane.apply(engine.flush());
    },
    dataplane: {
      async attach(endpoint) {
        engine.setLocalEndpoint(endpoint.id, endpoint.addresses);
        dataplane.setEndpoint(endpoint);
        dataplane.apply(engine.flush());
        await dataplane.whenApplied();
        if (!dataplane.endpointInForce(endpoint.id, endpoint.interfaceName))
          throw new Error(`${endpoint.id} is not in force`);
      },
      async detach(endpoint) {
        dataplane.removeEndpoint(endpoint.id, endpoint.interfaceName);
        engine.removeLocalEndpoint(endpoint.id);
        dataplane.apply(engine.flush());
      },
      async flushConntrack(addresses) {
        for (const address of addresses) forgetAddress(conntrack, address);
      },
    },
  };
}
