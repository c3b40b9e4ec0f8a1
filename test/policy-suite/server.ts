/**
 * The engine's verdicts with every object by way of a real API server: what a case does is written there, and the engine gets what the datastore makes of
 * it. Before verdicts are asked for, the two models have to agree.
 *
 * The server has no controllers: namespaces are emptied here, and pods have the status that a kubelet would write.
 */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { EndpointSliceObject, ModelUpdate, NamespaceObject, NodeObject, ObjectKey, PodObject } from '#model';
import type { ApiServer } from '../support/kube/api-server.ts';
import { HttpsError } from '../support/kube/https.ts';
import type { KubeObject, ObjectName } from '../support/kube/objects.ts';
import { EngineJudge } from './engine.ts';
import type { Judge, Outcome } from './judge.ts';
import { policyKindOf } from './kinds.ts';
import type { SuiteCase, SuiteFlow, SuiteManifest, SuiteProbe } from './suite.ts';
import type { SuiteWorld } from './world.ts';

/** The server refuses an object of the case. */
export class RefusedError extends Error {}

const settleMs = 30_000;
const lookMs = 5;
/** There without us, and not taken away. */
const ownNamespaces = new Set(['default', 'kube-system', 'kube-public', 'kube-node-lease']);
type Modelled = { readonly metadata: { readonly namespace: string; readonly name: string } };

export class ServerJudge implements Judge {
  readonly name = 'server';
  readonly #server: ApiServer;
  readonly #engine = new EngineJudge('matrix');
  /** What the datastore tells, by kind and key. */
  readonly #told = new Map<string, unknown>();
  #fresh: ModelUpdate[] = [];
  #world: SuiteWorld | undefined;
  /** Of the case's manifests, those not written yet, by kind and key. */
  #manifests = new Map<string, SuiteManifest[]>();
  readonly #written = new Map<string, ObjectName>();

  constructor(server: ApiServer) {
    this.#server = server;
  }

  /** A batch of the datastore that follows the server. */
  hear(batch: readonly ModelUpdate[]): void {
    for (const update of batch) {
      if (update.type === 'upsert') this.#told.set(`${update.kind} ${update.key}`, update.object);
      else this.#told.delete(`${update.kind} ${update.key}`);
    }
    this.#fresh.push(...batch);
  }

  /** The case that comes next: its manifests are written as they stand there. */
  expect(suiteCase: SuiteCase): void {
    this.#manifests = new Map();
    for (const operation of suiteCase.steps.flatMap((step) => step.do)) {
      if (operation.op !== 'apply') continue;
      const kind = policyKindOf(operation.object);
      if (!kind) continue;
      const manifest = placed(operation.object);
      const ref = `${kind} ${keyOf(manifest.metadata)}`;
      this.#manifests.set(ref, [...(this.#manifests.get(ref) ?? []), manifest]);
    }
  }

  async begin(world: SuiteWorld): Promise<void> {
    await this.#clear();
    this.#world = world;
    await this.#write(world.updates());
    await this.#agree();
    this.#fresh = [];
    // Ends and addresses are the world's; what the engine knows of them is the server's.
    await this.#engine.begin(Object.create(world, { updates: { value: () => this.#updates() } }) as SuiteWorld);
  }

  async changed(updates: readonly ModelUpdate[]): Promise<void> {
    await this.#write(updates);
  }
  async settle(): Promise<void> {
    await this.#agree();
    await this.#engine.changed(this.#fresh.splice(0));
    await this.#engine.settle();
  }
  probe(probes: readonly SuiteProbe[]): Promise<(Outcome | undefined)[]> {
    return this.#engine.probe(probes);
  }
  stopAgent(): Promise<void> {
    return this.#engine.stopAgent();
  }
  startAgent(): Promise<void> {
    return this.#engine.startAgent();
  }
  openFlow(flow: SuiteFlow): Promise<void> {
    return this.#engine.openFlow(flow);
  }
  closeFlow(id: string): Promise<void> {
    return this.#engine.closeFlow(id);
  }
  flowState(id: string): Promise<'alive' | 'dead'> {
    return this.#engine.flowState(id);
  }
  async end(): Promise<void> {
    await this.#clear();
    await this.#engine.end();
  }

  #updates(): ModelUpdate[] {
    return [...this.#told].map(([ref, object]) => {
      const [kind, key] = split(ref);
      return { type: 'upsert', kind, key, object } as unknown as ModelUpdate;
    });
  }

  async #clear(): Promise<void> {
    // Pods and policies go before their namespaces, which came before them.
    for (const name of [...this.#written.values()].reverse()) {
      if (name.kind !== 'Namespace' || !ownNamespaces.has(name.metadata.name)) await this.#server.objects.delete(name);
    }
    this.#written.clear();
  }

  async #write(updates: readonly ModelUpdate[]): Promise<void> {
    for (const update of updates) {
      const ref = `${update.kind} ${update.key}`;
      if (update.type === 'delete') {
        const name = this.#written.get(ref);
        assert.ok(name, `${ref} was never written`);
        await this.#server.objects.delete(name);
        this.#written.delete(ref);
        continue;
      }
      const object = this.#objectOf(update);
      this.#written.set(ref, object);
      await this.#put(object);
      const { status } = object;
      if (status) await this.#server.objects.patch(object, { status }, { subresource: 'status' });
    }
  }

  #objectOf(update: Extract<ModelUpdate, { readonly type: 'upsert' }>): KubeObject {
    switch (update.kind) {
      case 'Node':
        return nodeManifest(update.object);
      case 'Namespace':
        return namespaceManifest(update.object);
      case 'Pod':
        return podManifest(update.object);
      default: {
        const manifest = this.#manifests.get(`${update.kind} ${update.key}`)?.shift();
        // Most are what a controller would make of services.
        if (!manifest && update.kind === 'EndpointSlice') return endpointSliceManifest(update.object);
        assert.ok(manifest, `no manifest of ${update.kind} ${update.key} is left`);
        return manifest as unknown as KubeObject;
      }
    }
  }

  /** As `kubectl replace --force` would, but that what is there stays the same object. */
  async #put(object: KubeObject): Promise<void> {
    const there = await this.#server.objects.get(object);
    const resourceVersion = there?.metadata.resourceVersion;
    try {
      if (object.apiVersion === 'v1') await this.#server.objects.apply({ ...object, status: undefined });
      else if (resourceVersion === undefined) await this.#server.objects.create(object);
      else await this.#server.objects.replace({ ...object, metadata: { ...object.metadata, resourceVersion } });
    } catch (error) {
      if (!(error instanceof HttpsError) || !/is invalid|422/.test(error.message)) throw error;
      throw new RefusedError(error.message);
    }
  }

  /** Waits until the datastore holds the world: each object field by field, and of our kinds nothing else. */
  async #agree(): Promise<void> {
    const world = this.#world!;
    // The datastore follows them once a policy names a service.
    const slices = [...this.#told.keys()].some((ref) => split(ref)[0] === 'EndpointSlice') || namesService(world);
    const wanted = new Map<string, unknown>(
      world
        .updates()
        .flatMap((update) =>
          update.type === 'upsert' && (slices || update.kind !== 'EndpointSlice')
            ? [[`${update.kind} ${update.key}`, update.object] as const]
            : [],
        ),
    );
    const end = Date.now() + settleMs;
    for (;;) {
      const wrong = [
        ...[...wanted].flatMap(([ref, object]) => (same(object, this.#told.get(ref)) ? [] : [ref])),
        ...[...this.#told.keys()].filter((ref) => !wanted.has(ref) && !isOwn(ref)),
      ];
      if (wrong.length === 0) return;
      if (Date.now() > end) {
        const [ref] = wrong;
        const both = [wanted.get(ref!), this.#told.get(ref!)].map((each) => JSON.stringify(essence(each)));
        throw new Error(`${ref} is not as it was written: ${both.join(' against ')}`);
      }
      await delay(lookMs);
    }
  }
}

function isOwn(ref: string): boolean {
  const [kind, key] = split(ref);
  return kind === 'Namespace' && ownNamespaces.has(key);
}
function split(ref: string): [kind: string, key: ObjectKey] {
  const at = ref.indexOf(' ');
  return [ref.slice(0, at), ref.slice(at + 1)];
}
function keyOf({ namespace, name }: { readonly namespace?: string; readonly name: string }): ObjectKey {
  return namespace ? `${namespace}/${name}` : name;
}

function same(one: unknown, other: unknown): boolean {
  return other !== undefined && isDeepStrictEqual(essence(one), essence(other));
}
/** What means something to policy: not who made an object and when. */
function essence(object: unknown): unknown {
  if (object === undefined) return undefined;
  const { metadata, ...rest } = object as Modelled & { readonly metadata: { readonly labels?: unknown } };
  const labels = 'podIPs' in rest || 'internalIPs' in rest || Object.keys(rest).length === 0 ? metadata.labels : {};
  return JSON.parse(JSON.stringify({ ...rest, labels, name: keyOf(metadata) }));
}

/** In the namespace that kubectl would take. */
function placed(manifest: SuiteManifest): SuiteManifest {
  if (manifest.kind !== 'NetworkPolicy' || manifest.metadata.namespace) return manifest;
  return { ...manifest, metadata: { ...manifest.metadata, namespace: 'default' } };
}
function nodeManifest({ metadata, internalIPs, otherIPs = [] }: NodeObject): KubeObject {
  const of = (type: string) => (address: string) => ({ type, address });
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: metadata.name, labels: metadata.labels },
    status: { addresses: [...internalIPs.map(of('InternalIP')), ...otherIPs.map(of('ExternalIP'))] },
  };
}
function namespaceManifest({ metadata }: NamespaceObject): KubeObject {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name: metadata.name, labels: metadata.labels } };
}
function endpointSliceManifest({ metadata, addresses, ports }: EndpointSliceObject): KubeObject {
  const { namespace, name, labels } = metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name, labels },
    addressType: addresses[0]?.includes(':') ? 'IPv6' : 'IPv4',
    endpoints: addresses.map((address) => ({ addresses: [address] })),
    // Each has a name of its own where there are several.
    ports: ports.map((port, index) => ({ ...port, name: `p${index}` })),
  };
}
function namesService({ policies }: SuiteWorld): boolean {
  return [...policies.values()].some(
    (each) =>
      (each.kind === 'CalicoNetworkPolicy' || each.kind === 'GlobalNetworkPolicy') &&
      [...each.object.ingress, ...each.object.egress].some(
        ({ source, destination }) => source.services ?? destination.services,
      ),
  );
}
function podManifest(pod: PodObject): KubeObject {
  const { namespace, name, labels } = pod.metadata;
  assert.ok(!pod.terminating, 'a pod that terminates is a kubelet’s business');
  const ports = pod.ports.length === 0 ? [undefined] : pod.ports;
  const [podIP] = pod.podIPs;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels },
    spec: {
      nodeName: pod.nodeName,
      hostNetwork: pod.hostNetwork,
      // A container for each: names count within one.
      containers: ports.map((port, i) => ({ name: `c${i}`, image: 'example/c', ...(port ? { ports: [port] } : {}) })),
    },
    status: {
      phase: pod.phase,
      podIP: podIP ?? null,
      podIPs: podIP === undefined ? null : pod.podIPs.map((ip) => ({ ip })),
    },
  };
}
