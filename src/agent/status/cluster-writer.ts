/**
 * The holder of the Lease reads what all nodes report and writes the statuses of the cluster's objects.
 *
 *   Lease held --> PoplinNodes, objects with their statuses --> clusterStatuses --> what differs is written, --> Events
 *
 * Every ten seconds, and more rarely the more nodes there are, so that one agent's work for the cluster stays a small part of a core. A kind is listed
 * again when the datastore has heard something of it: of the many policies of a cluster few change. An object is
 * written at most once a round. Conditions of others stay. Where a kind's definition is not ours (no status, or one that does not keep our fields),
 * nothing more is written to it, and `unsupported` says so; it is looked at again every ten minutes.
 */
import { type Datastore, type DatastoreStatus, type KubeClient, pauseIfDue } from '#datastore';
import { type Cidr, type Clock, errorText, type Logger, toCidr } from '#kit';
import { type ApiFailure, type ApiOutcome, apiPath, callApi } from './api-call.ts';
import { clusterEvents } from './cluster-events.ts';
import { type NodeReport, nodeReport } from './cluster-report.ts';
import {
  type ApiObject,
  type ClusterInput,
  clusterStatusSteps,
  type DesiredStatus,
  type StatusKind,
  statusKinds,
} from './cluster-status.ts';
import { type Condition, type ConditionNow, timestamp, withTransitionTimes } from './conditions.ts';
import type { EventNote } from './event-book.ts';
import { GenerationBook } from './generation-book.ts';
import { isInForceKind } from './policy-kinds.ts';
import { POPLIN_NODES_PATH } from './poplin-node.ts';

const ROUND_MS = 10_000;
const GLANCE_MS = 1_000;
/** Nodes for which a round is made every `ROUND_MS`. */
const NODES_AT_FULL_PACE = 100;
const PAGE_ITEMS = 100;
const PAGES_MAX = 200;
const WRITES_PER_ROUND_MAX = 50;
const UNSUPPORTED_LOOK_MS = 600_000;
const SERVICE_RANGES_LOOK_MS = 300_000;
/** A node whose PoplinNode has not changed for so long does not report: twice the longest time between two of its writes. */
const SILENT_MS = 720_000;

interface StatusResource {
  readonly apiVersion: string;
  readonly plural: string;
  /** The status holds an observedGeneration besides those of its conditions. */
  readonly hasGeneration: boolean;
}
const calico = (plural: string): StatusResource => ({
  apiVersion: 'projectcalico.org/v3',
  plural,
  hasGeneration: true,
});
const upstream = (version: string, plural: string): StatusResource => {
  return { apiVersion: `policy.networking.k8s.io/${version}`, plural, hasGeneration: false };
};
const resources: Readonly<Record<StatusKind, StatusResource>> = {
  BGPPeer: calico('bgppeers'),
  BGPFilter: calico('bgpfilters'),
  BGPConfiguration: calico('bgpconfigurations'),
  IPPool: calico('ippools'),
  FelixConfiguration: calico('felixconfigurations'),
  ClusterNetworkPolicy: upstream('v1alpha2', 'clusternetworkpolicies'),
  AdminNetworkPolicy: upstream('v1alpha1', 'adminnetworkpolicies'),
  BaselineAdminNetworkPolicy: upstream('v1alpha1', 'baselineadminnetworkpolicies'),
  CalicoNetworkPolicy: calico('networkpolicies'),
  GlobalNetworkPolicy: calico('globalnetworkpolicies'),
  Tier: calico('tiers'),
  NetworkSet: calico('networksets'),
  GlobalNetworkSet: calico('globalnetworksets'),
  HostEndpoint: calico('hostendpoints'),
  StagedNetworkPolicy: calico('stagednetworkpolicies'),
  StagedGlobalNetworkPolicy: calico('stagedglobalnetworkpolicies'),
  StagedKubernetesNetworkPolicy: calico('stagedkubernetesnetworkpolicies'),
};
/** Conditions of these types are ours; the others stay. */
const ourTypes = new Set(['Accepted', 'Established', 'Applied', 'Allocatable', 'InForce', 'Staged', 'FieldsNotUsed']);

export interface ClusterWriterDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Logger;
  /** This agent holds the Lease. */
  readonly holding: () => boolean;
  readonly datastore: Pick<Datastore, 'status'>;
  readonly events: { tell(notes: readonly EventNote[]): void };
}

export interface ClusterWriter {
  start(): void;
  stop(): Promise<void>;
  /** Kinds whose definitions do not keep our statuses, as far as this agent has tried. */
  unsupported(): readonly StatusKind[];
}

export function createClusterWriter(deps: ClusterWriterDeps): ClusterWriter {
  return new Writer(deps);
}

interface ListedKind {
  /** Of the datastore, before it was listed. */
  readonly revision: string | undefined;
  readonly objects: readonly ApiObject[];
}

interface Paged {
  readonly items?: readonly unknown[];
  readonly metadata?: { readonly continue?: string };
}

class Writer implements ClusterWriter {
  readonly #deps: ClusterWriterDeps;
  readonly #unsupported = new Map<StatusKind, number>();
  /** Kinds of which the last object was written to no avail: there was no such object, or there is no status. */
  readonly #missing = new Set<StatusKind>();
  readonly #generations = new GenerationBook();
  /** When each PoplinNode was seen to change, by our own clock. */
  readonly #seen = new Map<string, { readonly resourceVersion: string; readonly atMs: number }>();
  readonly #listed = new Map<StatusKind, ListedKind>();
  #serviceCIDRs: { readonly ranges: readonly Cidr[]; readonly atMs: number } | undefined;
  #nodes = 0;
  #held = false;
  #lastFailure: string | undefined;
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: ClusterWriterDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#arm();
  }
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
  }
  unsupported(): readonly StatusKind[] {
    return [...this.#unsupported.keys()].sort();
  }

  #arm(waitMs = 0): void {
    if (this.#stopped) return;
    const roundMs = ROUND_MS * Math.max(1, this.#nodes / NODES_AT_FULL_PACE) * (1 + 0.1 * this.#deps.random());
    // Without the Lease a round is a glance at whether it has come.
    const delayMs = Math.max(waitMs, this.#held ? roundMs : GLANCE_MS);
    this.#cancel = this.#deps.clock.schedule(delayMs, () => {
      this.#running = this.#round()
        .catch((error: unknown): ApiFailure => ({ ok: false, kind: 'failed', message: errorText(error) }))
        .then((failure) => {
          this.#running = undefined;
          this.#tell(failure);
          this.#arm(failure?.waitMs);
        });
    });
  }

  #tell(failure: ApiFailure | undefined): void {
    if (failure && failure.message !== this.#lastFailure) {
      this.#deps.log.warn({ reason: failure.message }, 'statuses of the cluster cannot be written; it is tried again');
    }
    this.#lastFailure = failure?.message;
  }

  async #round(): Promise<ApiFailure | undefined> {
    this.#held = this.#deps.holding();
    if (!this.#held) {
      // Whoever holds it says so.
      this.#unsupported.clear();
      this.#listed.clear();
      this.#generations.forget();
      return undefined;
    }
    const status = this.#deps.datastore.status();
    const reports = await this.#reports();
    if (!Array.isArray(reports)) return reports as ApiFailure;
    const objects = await this.#objects(status);
    const input: ClusterInput = {
      objects,
      reports: reports as readonly NodeReport[],
      faults: status.faults,
      notUsed: status.notUsed,
      serviceCIDRs: await this.#ranges(),
      since: this.#generations.note(objects),
    };
    // The reading may have taken long.
    if (!this.#deps.holding() || this.#stopped) return undefined;
    const desired: DesiredStatus[] = [];
    for (const each of clusterStatusSteps(input)) {
      desired.push(each);
      await pauseIfDue();
    }
    this.#deps.events.tell(clusterEvents(desired, status.faults, input.reports));
    return this.#writeAll(desired);
  }

  async #reports(): Promise<readonly NodeReport[] | ApiFailure> {
    const items = await this.#list(POPLIN_NODES_PATH);
    if ('ok' in items) return items.kind === 'kindAbsent' ? [] : items;
    this.#nodes = items.length;
    const nowMs = this.#deps.clock.nowMs();
    const names = new Set<string>();
    const reports = (items as readonly ApiObject[]).flatMap((item) => {
      const { name, resourceVersion = '' } = item.metadata;
      names.add(name);
      const before = this.#seen.get(name);
      if (before?.resourceVersion !== resourceVersion) this.#seen.set(name, { resourceVersion, atMs: nowMs });
      else if (nowMs - before.atMs > SILENT_MS) return [];
      return nodeReport(item) ?? [];
    });
    for (const name of this.#seen.keys()) if (!names.has(name)) this.#seen.delete(name);
    return reports;
  }

  /** In pages, so that no answer takes long to read. */
  async #list<T = unknown>(
    path: string,
    keep: (item: unknown) => T = (item) => item as T,
  ): Promise<readonly T[] | ApiFailure> {
    const items: T[] = [];
    let token = '';
    for (let page = 0; page < PAGES_MAX; page++) {
      const query = { limit: PAGE_ITEMS, ...(token ? { continue: token } : {}) };
      const answer = await callApi(this.#deps.client, { method: 'GET', path, query });
      if (!answer.ok) return answer;
      const { items: found = [], metadata } = answer.body as Paged;
      for (const item of found) items.push(keep(item));
      token = metadata?.continue ?? '';
      if (token === '') break;
    }
    return items;
  }

  async #objects({ kinds = {} }: DatastoreStatus): Promise<ClusterInput['objects']> {
    const out: Partial<Record<StatusKind, readonly ApiObject[]>> = {};
    for (const kind of statusKinds) {
      const { apiVersions = [], resourceVersion } = kinds[kind] ?? {};
      const served = apiVersions.includes(resources[kind].apiVersion);
      // Where a second group is followed too, the revision may be that of the other.
      const revision = apiVersions.length === 1 ? resourceVersion : undefined;
      const triedMs = this.#unsupported.get(kind);
      if (triedMs !== undefined && this.#deps.clock.nowMs() - triedMs > UNSUPPORTED_LOOK_MS)
        this.#unsupported.delete(kind);
      if (!served) continue;
      const known = this.#listed.get(kind);
      if (known && revision !== undefined && known.revision === revision) {
        out[kind] = known.objects;
        continue;
      }
      const items = await this.#list(collectionOf(kind), (item) => keptOf(kind, item as ApiObject));
      if ('ok' in items) continue;
      out[kind] = items;
      this.#listed.set(kind, { revision, objects: items });
    }
    for (const kind of this.#listed.keys()) if (!out[kind]) this.#listed.delete(kind);
    return out;
  }

  /** ServiceCIDR is there from Kubernetes 1.33 on; without it nothing is known of the ranges. */
  async #ranges(): Promise<readonly Cidr[]> {
    const nowMs = this.#deps.clock.nowMs();
    if (this.#serviceCIDRs && nowMs - this.#serviceCIDRs.atMs < SERVICE_RANGES_LOOK_MS)
      return this.#serviceCIDRs.ranges;
    const items = await this.#list('/apis/networking.k8s.io/v1/servicecidrs');
    if ('ok' in items && items.kind === 'forbidden') {
      this.#deps.log.warn({ reason: items.message }, 'pools cannot be held against the ranges of Services');
    }
    const ranges = 'ok' in items ? [] : (items as readonly ApiObject[]).flatMap(({ spec }) => cidrsIn(spec?.['cidrs']));
    this.#serviceCIDRs = { ranges, atMs: nowMs };
    return ranges;
  }

  async #writeAll(desired: readonly DesiredStatus[]): Promise<ApiFailure | undefined> {
    let writes = 0;
    for (const each of desired) {
      await pauseIfDue();
      if (this.#unsupported.has(each.kind)) continue;
      const status = nextStatus(each, timestamp(this.#deps.wallMs()));
      if (!status) continue;
      if (writes++ >= WRITES_PER_ROUND_MAX || !this.#deps.holding()) return undefined;
      const done = await this.#write(each, status);
      // Changed, or gone, meanwhile: the next round sees it as it is. Anything else is met by all.
      if (!done.ok && (done.kind === 'failed' || done.kind === 'forbidden')) return done;
    }
    return undefined;
  }

  async #write({ kind, object }: DesiredStatus, status: Status): Promise<ApiOutcome> {
    const { client, log, clock } = this.#deps;
    const { resourceVersion } = object.metadata;
    const path = pathOf(kind, object);
    const done = await callApi(client, {
      method: 'PATCH',
      path: `${path}/status`,
      contentType: 'application/json-patch+json',
      body: [
        { op: 'test', path: '/metadata/resourceVersion', value: resourceVersion },
        { op: 'add', path: '/status', value: status },
      ],
    });
    const kept = done.ok && (done.body as ApiObject).status?.[keptField(kind)] !== undefined;
    // An object that was listed a moment ago is rarely gone, and never twice.
    const notThere = !done.ok && (done.kind === 'notFound' || done.kind === 'kindAbsent');
    const noStatus = notThere && this.#missing.has(kind);
    if (notThere) this.#missing.add(kind);
    else this.#missing.delete(kind);
    if ((done.ok && !kept) || noStatus) {
      this.#unsupported.set(kind, clock.nowMs());
      const how = noStatus ? 'has no status' : 'does not keep what Poplin writes';
      log.warn({ kind }, `the definition of the kind is not ours and ${how}; no statuses are written to it`);
    }
    return done;
  }
}

interface Status {
  readonly observedGeneration?: number;
  readonly conditions: readonly Condition[];
}

/** Undefined: what stands there says it already. */
export function nextStatus({ kind, object, conditions }: DesiredStatus, at: string): Status | undefined {
  const observedGeneration = object.metadata.generation ?? 0;
  const before = conditionsIn(object.status);
  const ours = before.filter(({ type }) => ourTypes.has(type));
  const wanted: readonly ConditionNow[] = conditions.map((each) => ({ ...each, observedGeneration }));
  const { hasGeneration } = resources[kind];
  const observed = !hasGeneration || object.status?.['observedGeneration'] === observedGeneration;
  if (observed && essence(ours) === essence(wanted)) return undefined;
  const others = before.filter(({ type }) => !ourTypes.has(type));
  return {
    ...(hasGeneration ? { observedGeneration } : {}),
    conditions: [...others, ...withTransitionTimes(wanted, before, at)],
  };
}

function essence(conditions: readonly ConditionNow[]): string {
  return JSON.stringify(
    conditions
      .map(({ type, status, reason, message, observedGeneration }) => [
        type,
        status,
        reason,
        message,
        observedGeneration,
      ])
      .sort(([a], [b]) => (a! < b! ? -1 : 1)),
  );
}

function conditionsIn(status: ApiObject['status']): readonly Condition[] {
  const found = status?.['conditions'];
  return Array.isArray(found) ? found.filter((each): each is Condition => typeof each?.type === 'string') : [];
}

function collectionOf(kind: StatusKind): string {
  const { apiVersion, plural } = resources[kind];
  return `/apis/${apiVersion}/${plural}`;
}

function pathOf(kind: StatusKind, { metadata: { namespace, name } }: ApiObject): string {
  const { apiVersion, plural } = resources[kind];
  if (!namespace) return apiPath(collectionOf(kind), name);
  return apiPath(`/apis/${apiVersion}/namespaces`, namespace, plural, name);
}

/** Of a policy, or a set, its rules or members say nothing here: they may be many. Of a host endpoint its node does. */
function keptOf(kind: StatusKind, object: ApiObject): ApiObject {
  if (!isInForceKind(kind)) return object;
  const { name, namespace, uid, resourceVersion, generation } = object.metadata;
  const metadata = { name, namespace, uid, resourceVersion, generation };
  const spec = kind === 'HostEndpoint' ? { spec: { node: object.spec?.['node'] } } : {};
  return { metadata, ...spec, status: object.status } as ApiObject;
}

function keptField(kind: StatusKind): string {
  return resources[kind].hasGeneration ? 'observedGeneration' : 'conditions';
}

function cidrsIn(value: unknown): readonly Cidr[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each) => (typeof each === 'string' ? (toCidr(each) ?? []) : []));
}
