/** The real policy engine and dataplane behind a CNI server, with one deny-all and two policies for every pod that is added. */
import { createPolicyPipeline } from '#agent';
import type { EndpointDataplane } from '#cni';
import { createPolicyDataplane } from '#felix';
import { type IpFamily, silentLogger, systemClock } from '#kit';
import type { LabelSelector, Labels, ModelUpdate, NetworkPolicyObject, NetworkPolicyRule, ObjectMeta } from '#model';
import { exec, openConntrack, openNftTables, openSetMembers } from '#sys';

const NODE = 'node';
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
    nodeName: NODE,
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
  /** The model knows this Pod from now on; resolves when what follows from it is in the kernel. */
  podKnown(key: string): Promise<void>;
  readonly dataplane: EndpointDataplane;
}

/** `lockFile`: xtables'. In the namespace of the calling process. */
export async function startRealPolicy(
  lockFile: string,
  families: readonly IpFamily[],
  backend: 'nft' | 'legacy',
): Promise<RealPolicy> {
  const dataplane = createPolicyDataplane(
    {
      run: ([command = '', ...args], options = {}) =>
        exec(command, args, { ...options, env: { ...(process.env as Record<string, string>), ...options.env } }),
      tables: openNftTables(),
      members: openSetMembers(),
      log: silentLogger,
      clock: systemClock(),
    },
    { backend, lockFile, families },
  );
  const conntrack = openConntrack();
  const pipeline = createPolicyPipeline({
    nodeName: NODE,
    clock: systemClock(),
    dataplane,
    onEndpoints: () => undefined,
    flushConntrack: async (addresses) => {
      for (const address of addresses) await conntrack.forget(address);
    },
  });
  pipeline.update([
    { type: 'upsert', kind: 'Namespace', key: 'default', object: { metadata: metadata('default', '') } },
    networkPolicy('deny-all', all, []),
    networkPolicy('from-web', { ...all, matchLabels: web }, [
      { peers: [{ podSelector: { ...all, matchLabels: web } }], ports: [] },
    ]),
  ]);
  await dataplane.start();
  await pipeline.inSync();
  await dataplane.whenApplied();
  const known = new Set<string>();
  return {
    async podKnown(key) {
      if (known.has(key)) return;
      known.add(key);
      pipeline.update([podUpdate(key)]);
      // The pipeline hands on what changed at the end of the turn.
      await new Promise((resolve) => setImmediate(resolve));
      await dataplane.whenApplied();
    },
    dataplane: pipeline,
  };
}
