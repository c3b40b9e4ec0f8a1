/** What the agent tells people: its parts' own words, put into the shapes of the API. */
import type { AgentStatus, AgentView } from '#api';
import type { SpeakerStatus } from '#bgp';
import type { LoadedConfig } from '#config';
import { type Datastore, type DatastoreStatus, formatFault, shownKind } from '#datastore';
import type { PolicyDataplane, RouteCounts, RouteDataplane } from '#felix';
import type { Ipam } from '#ipam';
import type { Kind } from '#model';
import type { HealthRegistry, Metrics } from '#obs';
import { peerView, routesView } from './bgp/view.ts';
import type { Bgp } from './bgp.ts';
import type { Domains } from './domains/index.ts';
import { explainHere } from './explain.ts';
import type { FlowLog } from './flows/index.ts';
import type { ModelStore } from './model-store.ts';
import type { PolicyPipeline } from './policy-pipeline.ts';
import { agentVersion } from './version.ts';

export interface ViewDeps {
  readonly loaded: LoadedConfig;
  readonly datastore: Datastore;
  readonly model: ModelStore;
  readonly routes: RouteDataplane;
  readonly policyDataplane: PolicyDataplane;
  readonly policy: PolicyPipeline;
  readonly flows: FlowLog;
  readonly domains: Domains;
  readonly bgp: Bgp;
  readonly ipam: Ipam;
  readonly cni: { notServing(): string | undefined; pods(): number };
  readonly health: HealthRegistry;
  readonly metrics: Metrics;
}

export function createView(deps: ViewDeps): AgentView {
  const startedMs = Date.now();
  const version = agentVersion();
  return {
    async status() {
      const speaker = await deps.bgp.status();
      return {
        version,
        node: deps.loaded.config.nodeName,
        pid: process.pid,
        startedAt: new Date(startedMs).toISOString(),
        uptimeSec: Math.floor((Date.now() - startedMs) / 1000),
        ready: deps.health.ready(),
        ...partsOf(deps, speaker),
      };
    },
    bgpPeers: async () => ((await deps.bgp.status())?.peers ?? []).map(peerView),
    bgpRoutes: async (query) => routesView(await deps.bgp.routes(query), (prefix) => deps.routes.route(prefix)),
    policyEndpoint({ namespace, name }) {
      const endpoint = deps.policy.endpoint(`${namespace}/${name}`);
      const show = deps.policy.show(`${namespace}/${name}`);
      if (!endpoint || !show) return undefined;
      return {
        pod: endpoint.id,
        interfaceName: endpoint.interfaceName,
        addresses: endpoint.addresses,
        // What the pod has may be an older program while changes are on their way.
        applied:
          deps.policyDataplane.endpointInForce(endpoint.id, endpoint.interfaceName) &&
          deps.policyDataplane.status().applied,
        ingress: show.ingress,
        egress: show.egress,
      };
    },
    policyExplain: (query) =>
      explainHere(
        {
          model: deps.model,
          policy: deps.policy,
          dataplane: deps.policyDataplane,
          nodeName: deps.loaded.config.nodeName,
          hostTowards: (address) => {
            const device = deps.routes.lookup(address)?.device;
            return device === undefined ? undefined : deps.policyDataplane.hostEndpointOf(device);
          },
        },
        query,
      ),
    datastore: () => deps.datastore.status(),
    config: () => deps.loaded.values,
    alive: () => deps.health.alive(),
    ready: () => deps.health.ready(),
    metrics: () => deps.metrics.scrape(),
    flows: (query) => deps.flows.flows(query),
    flowCounts: () => deps.flows.counts(),
  };
}

type Parts = Pick<AgentStatus, 'datastore' | 'bgp' | 'routes' | 'policy' | 'cni' | 'problems'>;

function partsOf(deps: ViewDeps, speaker: SpeakerStatus | undefined): Parts {
  const datastore = deps.datastore.status();
  const routes = deps.routes.counts();
  const policy = deps.policyDataplane.status();
  const notServing = deps.cni.notServing();
  const { problem: flowProblem } = deps.flows.status();
  const domainProblem = deps.domains.problem();
  const peers = speaker?.peers ?? [];
  return {
    datastore: {
      location: datastore.location,
      inSync: datastore.inSync,
      waitingFor: datastore.waitingFor,
      faults: datastore.faultsTotal,
      objects: datastore.objects,
      ...(datastore.lastUpdate ? { lastUpdate: datastore.lastUpdate } : {}),
    },
    bgp: {
      ...(speaker ? { asn: speaker.asn, routerId: speaker.routerId } : {}),
      peersEstablished: peers.filter((peer) => peer.state === 'Established').length,
      peersConfigured: peers.length,
      originated: deps.bgp.config()?.originate ?? [],
      learned: routes.learned,
      waitingForEndOfRib: speaker?.waitingFor ?? [],
    },
    routes: routeCounts(routes),
    policy: {
      pending: policy.applied ? 0 : 1,
      endpoints: deps.policy.endpoints().length,
      policies: policy.policies.known,
      sets: policy.sets,
      backend: policy.backend ?? 'not chosen yet',
      ...(policy.lastError ? { error: { message: policy.lastError } } : {}),
    },
    cni: {
      ...(notServing ? { notServing } : {}),
      pods: deps.cni.pods(),
      addresses: deps.ipam.usage().map(({ cidr, used, size }) => ({ cidr, used, size })),
    },
    problems: [
      ...datastoreProblems(datastore),
      ...datastore.faults.map(formatFault),
      ...deps.bgp.problems(),
      ...(routes.error ? [`routes: ${routes.error}`] : []),
      ...(policy.lastError ? [`policy: ${policy.lastError}`] : []),
      ...(domainProblem === undefined ? [] : [`policy: ${domainProblem}`]),
      ...(flowProblem === undefined ? [] : [`flow log: ${flowProblem}`]),
      ...(policy.policies.broken > 0
        ? [`policy: ${policy.policies.broken} policies cannot be expressed and deny everything`]
        : []),
      ...policy.hostEndpoints.refused
        .slice(0, refusedShownMax)
        .map(({ id, reason }) => `${id.replace(':', ' ')}: ${reason}`),
      ...peers
        .filter((p) => p.state !== 'Established')
        .map((p) => `BGP ${p.name} (${p.address}): ${p.state}${p.lastError && `, ${p.lastError}`}`),
    ],
  };
}

/** Host endpoints that are named among the problems. */
const refusedShownMax = 20;

/** What keeps changes from coming in. An API server that is away is one problem, not one for each kind. */
function datastoreProblems({ kinds = {}, stale }: DatastoreStatus): string[] {
  const byReason = new Map<string, string[]>();
  for (const [kind, { state, reason }] of Object.entries(kinds)) {
    if (state !== 'failing' && state !== 'forbidden') continue;
    const text = reason ?? state;
    byReason.set(text, [...(byReason.get(text) ?? []), shownKind(kind as Kind)]);
  }
  return [
    ...(stale ? [`datastore: what was known last is in force, from disk, since ${stale.since}: ${stale.reason}`] : []),
    ...[...byReason].map(([reason, names]) => `datastore: changes of ${names.join(', ')} are not seen: ${reason}`),
  ];
}

function routeCounts({ pending, refused, installed, unresolved, held, error }: RouteCounts): AgentStatus['routes'] {
  return {
    pending: pending + refused,
    programmed: installed,
    unresolved,
    stale: held,
    ...(error ? { error: { message: error } } : {}),
  };
}
