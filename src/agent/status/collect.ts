/** Asks the parts what they say now, and follows up to where what they were given is in force. */
import type { SpeakerConfig } from '#bgp';
import type { Datastore, DatastoreStatus } from '#datastore';
import type { PolicyDataplane, RouteCounts, RouteDataplane } from '#felix';
import type { Ipam } from '#ipam';
import type { Kind } from '#model';
import type { HealthRegistry } from '#obs';
import type { Bgp } from '../bgp.ts';
import type { ModelStore } from '../model-store.ts';
import type { NodeAddressResult } from '../node-address.ts';
import type { PolicyPipeline } from '../policy-pipeline.ts';
import type { AddressFacts, NodeFacts, RouteFacts } from './facts.ts';
import { type Barrier, createInForceTracker, type Revisions } from './in-force.ts';

/** What the reporter asks of the agent's parts. */
export interface StatusParts {
  readonly datastore: Pick<Datastore, 'status'>;
  readonly model: ModelStore;
  readonly routes: Pick<RouteDataplane, 'counts' | 'whenApplied' | 'status' | 'localAddresses'>;
  readonly policyDataplane: Pick<PolicyDataplane, 'status' | 'whenApplied'>;
  readonly policy: Pick<PolicyPipeline, 'settled' | 'endpoints'>;
  readonly bgp: Pick<Bgp, 'status' | 'config' | 'issues' | 'startFailure' | 'nodeAddress' | 'routes'>;
  readonly ipam: Pick<Ipam, 'usage'>;
  readonly cni: {
    /** Why no pod can be added now. */
    notServing(): string | undefined;
    /** Pods that are wired. */
    pods(): number;
  };
  readonly health: Pick<HealthRegistry, 'ready'>;
}

export interface CollectOptions {
  readonly nodeName: string;
  readonly version: string;
  readonly nodeVersion: string;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
}

export interface Collector {
  collect(): Promise<NodeFacts>;
}

export function createCollector(parts: StatusParts, options: CollectOptions): Collector {
  const tracker = createInForceTracker();
  const asked = new Set<Barrier>();
  /** The datastore's last real change that is in force: bookmarks move revisions as well. */
  const changes: Record<Barrier, string> = { policy: '', routes: '' };
  const barriers: Readonly<Record<Barrier, () => Promise<void>>> = {
    policy: async () => {
      await parts.policy.settled();
      await parts.policyDataplane.whenApplied();
    },
    routes: () => parts.routes.whenApplied(),
  };
  /** One question at a time to each part: while one cannot write, there is nothing new to ask. */
  const ask = (barrier: Barrier, revisions: Revisions, lastUpdate: string): void => {
    if (asked.has(barrier)) return;
    asked.add(barrier);
    const ticket = tracker.begin(barrier, revisions);
    const over = (): void => void asked.delete(barrier);
    barriers[barrier]().then(
      () => {
        tracker.done(barrier, ticket);
        changes[barrier] = lastUpdate;
        over();
      },
      // Stopped: nothing more comes into force.
      over,
    );
  };
  let configText = '';
  let configuredAtMs: number | undefined;
  const configured = (config: SpeakerConfig | undefined): number | undefined => {
    const text = config ? JSON.stringify(config) : '';
    if (text !== configText && text !== '') configuredAtMs = options.wallMs();
    configText = text;
    return configuredAtMs;
  };

  return {
    async collect() {
      const { datastore, routes, policyDataplane, bgp, model, cni } = parts;
      const status = datastore.status();
      const handed = revisionsOf(status);
      for (const barrier of ['policy', 'routes'] as const) ask(barrier, handed, status.lastUpdate ?? '');
      const speaker = await bgp.status();
      const config = bgp.config();
      const [at, startFailure, notServing] = [configured(config), bgp.startFailure(), cni.notServing()];
      const node = model.get('Node', options.nodeName);
      return {
        nodeName: options.nodeName,
        version: options.version,
        nodeVersion: options.nodeVersion,
        ready: parts.health.ready(),
        datastore: status,
        ...(speaker ? { speaker } : {}),
        bgp: {
          ...(config ? { config } : {}),
          issues: bgp.issues(),
          heldDown: heldDown(config),
          ...(startFailure === undefined ? {} : { startFailure }),
          ...(at === undefined ? {} : { configuredAtMs: at }),
        },
        routes: routeFacts(routes.counts()),
        policy: policyDataplane.status(),
        pods: { wired: cni.pods(), ranges: parts.ipam.usage(), ...(notServing === undefined ? {} : { notServing }) },
        nodeKnown: node !== undefined,
        podCIDRs: node?.podCIDRs ?? [],
        addresses: addressFacts(bgp.nodeAddress()),
        inForce: tracker.inForce(handed),
        changesInForce: `${changes.policy} ${changes.routes}`,
      };
    },
  };
}

function revisionsOf({ kinds = {} }: DatastoreStatus): Revisions {
  const out: Partial<Record<Kind, string>> = {};
  for (const [kind, { resourceVersion }] of Object.entries(kinds)) {
    if (resourceVersion !== undefined) out[kind as Kind] = resourceVersion;
  }
  return out;
}

function heldDown(config: SpeakerConfig | undefined): ReadonlyMap<string, string> {
  const held = config?.peers.flatMap(({ name, heldDown: why }) => (why === undefined ? [] : [[name, why] as const]));
  return new Map(held);
}

function addressFacts(found: NodeAddressResult | undefined): AddressFacts {
  if (!found) return { rejected: [] };
  const { ipv4, ipv6, rejected } = found;
  const sources = [...new Set([ipv4?.source, ipv6?.source])].filter((source) => source !== undefined);
  return {
    ...(ipv4 ? { ipv4: ipv4.address } : {}),
    ...(ipv6 ? { ipv6: ipv6.address } : {}),
    ...(sources.length > 0 ? { source: sources.join(', ') } : {}),
    rejected: rejected.map(({ address, interfaceName, reason }) => ({
      address,
      ...(interfaceName ? { interface: interfaceName } : {}),
      reason,
    })),
  };
}

function routeFacts({ installed, pending, unresolved, refused, held, error, repairs }: RouteCounts): RouteFacts {
  return { installed, pending, unresolved, refused, stale: held, repairs, ...(error === undefined ? {} : { error }) };
}
