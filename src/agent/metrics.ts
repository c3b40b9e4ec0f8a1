/**
 * The agent's metrics. What the parts count themselves is read when it is scraped, so that nothing on a hot path pays for it; what only they can
 * time, they tell (`observers`).
 *
 * Series are bounded: sessions of the node mesh are one peer called `mesh`, or a cluster of a thousand nodes would have four million series.
 */
import type { CallReport } from '#cni';
import type { Datastore, KubeObserver } from '#datastore';
import type { ApplyTiming, PolicyDataplane, RouteDataplane } from '#felix';
import type { Ipam } from '#ipam';
import type { Clock } from '#kit';
import { type Kind, kinds } from '#model';
import { createLimits, type Limits, type Metrics } from '#obs';
import { observeSpeaker } from './bgp/metrics.ts';
import type { Bgp } from './bgp.ts';
import type { FlowLog } from './flows/index.ts';
import type { ModelStore } from './model-store.ts';

/** Handed to the parts when they are made. */
export interface Observers {
  readonly onPolicyApply: (timing: ApplyTiming) => void;
  readonly onRouteApply: (timing: ApplyTiming) => void;
  readonly onCniCall: (call: CallReport) => void;
  readonly kube: KubeObserver;
  readonly limits: Limits;
}

const APPLY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const CNI_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60];
const HAND_ON_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30];

export function createObservers(metrics: Metrics, clock: Clock): Observers {
  const limits = createLimits(metrics);
  const cni = metrics.histogram({
    name: 'cni_call_seconds',
    help: 'Time from a CNI call to its answer, by command and outcome.',
    labels: ['command', 'outcome'],
    buckets: CNI_BUCKETS,
  });
  return {
    onPolicyApply: applyObserver(metrics, 'policy'),
    onRouteApply: applyObserver(metrics, 'routes'),
    onCniCall: ({ command, outcome, tookMs }) => cni.observe({ command, outcome }, tookMs / 1000),
    kube: kubeObserver(metrics, clock, limits),
    limits,
  };
}

function applyObserver(metrics: Metrics, part: 'policy' | 'routes'): (timing: ApplyTiming) => void {
  const run = metrics.histogram({
    name: `${part}_apply_seconds`,
    help: `Time that a run of the ${part} dataplane takes, by outcome.`,
    labels: ['outcome'],
    buckets: APPLY_BUCKETS,
  });
  const change = metrics.histogram({
    name: `${part}_change_seconds`,
    help: `Time from a change handed to the ${part} dataplane until it is in the kernel.`,
    buckets: APPLY_BUCKETS,
  });
  return ({ runMs, changeMs, ok }) => {
    run.observe({ outcome: ok ? 'ok' : 'failed' }, runMs / 1000);
    if (changeMs !== undefined) change.observe({}, changeMs / 1000);
  };
}

function kubeObserver(metrics: Metrics, clock: Clock, limits: Limits): KubeObserver {
  const heardMs = new Map<Kind, number>();
  const requests = metrics.counter({
    name: 'api_requests_total',
    help: 'Requests to the API server, by verb and HTTP status; code 0: no answer.',
    labels: ['verb', 'code'],
  });
  const lists = metrics.counter({
    name: 'datastore_lists_total',
    help: 'Lists of a kind; reason first, or again when its watch could not go on.',
    labels: ['kind', 'reason'],
  });
  const handedOn = metrics.histogram({
    name: 'datastore_hand_on_seconds',
    help: 'Time from the arrival of a watch event until policy, BGP and the rest have it.',
    labels: ['kind'],
    buckets: HAND_ON_BUCKETS,
  });
  metrics.observed(
    {
      name: 'datastore_watch_silence_seconds',
      help: 'Time since something came on the watch of a kind; bookmarks come every minute.',
      labels: ['kind'],
      type: 'gauge',
    },
    () => [...heardMs].map(([kind, atMs]) => [{ kind }, (clock.nowMs() - atMs) / 1000] as const),
  );
  return {
    answered: (verb, status) => requests.inc({ verb, code: status }),
    heard: (kind) => void heardMs.set(kind, clock.nowMs()),
    listing: (kind, again) => lists.inc({ kind, reason: again ? 'again' : 'first' }),
    oversized: () => limits.hit('object_bytes'),
    handedOn: (kind, afterMs) => handedOn.observe({ kind }, afterMs / 1000),
  };
}

export interface Observed {
  readonly version: string;
  readonly model: ModelStore;
  readonly datastore: Datastore;
  readonly routes: RouteDataplane;
  readonly policyDataplane: PolicyDataplane;
  readonly bgp: Pick<Bgp, 'status' | 'peers'>;
  readonly ipam: Ipam;
  readonly flows: Pick<FlowLog, 'counts' | 'status'>;
}

/** One number, asked for at each scrape. */
type GaugeMaker = (name: string, help: string, value: () => number) => void;

export function observe(metrics: Metrics, parts: Observed): void {
  const gauge: GaugeMaker = (name, help, value) => metrics.observedGauge({ name, help }, value);
  const { version } = parts;
  metrics.observed(
    { name: 'build_info', help: '1; what runs is in the labels.', labels: ['version', 'node'], type: 'gauge' },
    () => [[{ version, node: process.version }, 1]],
  );
  observeDatastore(metrics, gauge, parts);
  observeBgp(metrics, gauge, parts.bgp);
  observeRoutes(metrics, gauge, parts.routes);
  observePolicy(metrics, gauge, parts.policyDataplane);
  observeFlows(metrics, parts.flows);
  const sum = (what: 'used' | 'size') => (): number =>
    parts.ipam.usage().reduce((total, each) => total + each[what], 0);
  gauge('ipam_addresses_used', 'Addresses given to pods.', sum('used'));
  gauge('ipam_addresses', 'Addresses that can be given to pods.', sum('size'));
}

function observeDatastore(metrics: Metrics, gauge: GaugeMaker, { model, datastore }: Observed): void {
  for (const kind of kinds) {
    gauge(`datastore_${kind.toLowerCase()}_objects`, `${kind} objects in force.`, () => model.count(kind));
  }
  gauge('datastore_in_sync', '1 when every object is valid or has a last good version.', () =>
    datastore.status().inSync ? 1 : 0,
  );
  gauge('datastore_faults', 'Faults in the datastore.', () => datastore.status().faultsTotal);
  metrics.observed(
    {
      name: 'datastore_kind_state',
      help: '1 for the state of each kind: synced, absent, forbidden, waiting or failing.',
      labels: ['kind', 'state'],
      type: 'gauge',
    },
    () => Object.entries(datastore.status().kinds ?? {}).map(([kind, { state }]) => [{ kind, state }, 1] as const),
  );
}

const meshPeer = 'mesh';

function observeBgp(metrics: Metrics, gauge: GaugeMaker, bgp: Observed['bgp']): void {
  gauge('bgp_peers_established', 'BGP sessions in state Established.', () => bgp.peers().established);
  gauge('bgp_peers_configured', 'BGP peers.', () => bgp.peers().configured);
  observeSpeaker(metrics, bgp.status, (peer) => (peer.startsWith('mesh/') ? meshPeer : peer));
}

function observeRoutes(metrics: Metrics, gauge: GaugeMaker, routes: RouteDataplane): void {
  gauge('routes_learned', 'Prefixes that BGP chose a path for.', () => {
    const { ipv4, ipv6 } = routes.counts().learned;
    return ipv4 + ipv6;
  });
  gauge('routes_pending', 'Learned routes that are not in the kernel.', () => {
    const { held, unresolved, refused, pending } = routes.counts();
    return held + unresolved + refused + pending;
  });
  metrics.observed(
    { name: 'routes_programmed', help: 'Learned routes in the kernel.', labels: ['family'], type: 'gauge' },
    () => Object.entries(routes.counts().installed).map(([family, count]) => [{ family }, count] as const),
  );
  metrics.observed(
    { name: 'routes_repairs_total', help: 'Routes of ours that others removed.', type: 'counter' },
    () => [[{}, routes.counts().repairs]],
  );
}

function observeFlows(metrics: Metrics, flows: Observed['flows']): void {
  const labels = ['direction', 'namespace', 'policy', 'rule', 'tier'] as const;
  for (const verdict of ['denied', 'allowed'] as const) {
    metrics.observed(
      {
        name: `policy_${verdict}_packets_total`,
        help: `Packets that policy ${verdict}, by the rule or the end of tier that decided: those that the kernel told of, at most flowLogRatePerSec a second and rule.`,
        labels,
        type: 'counter',
      },
      () =>
        flows
          .counts()
          .filter((count) => count.verdict === verdict && !count.staged)
          .map(({ direction, namespace, policy, rule, tier, packets }) => [
            { direction, namespace, policy, rule, tier },
            packets,
          ]),
    );
  }
  metrics.observed(
    {
      name: 'policy_staged_packets_total',
      help: 'Packets by what they would have met were the staged policies in force, of pods about which these have a say: those that the kernel told of, at most flowLogRatePerSec a second and rule.',
      labels: ['verdict', ...labels],
      type: 'counter',
    },
    () =>
      flows
        .counts()
        .filter((count) => count.staged)
        .map(({ verdict, direction, namespace, policy, rule, tier, packets }) => [
          { verdict, direction, namespace, policy, rule, tier },
          packets,
        ]),
  );
  metrics.observed(
    {
      name: 'dataplane_dropped_packets_total',
      help: 'Packets dropped whatever policy says, by reason and namespace of the pod that sent them: those that the kernel told of, at most flowLogRatePerSec a second and rule.',
      labels: ['direction', 'namespace', 'reason'],
      type: 'counter',
    },
    () =>
      flows
        .counts()
        .filter(({ verdict }) => verdict === 'dropped')
        .map(({ direction, namespace, rule, packets }) => [{ direction, namespace, reason: rule }, packets]),
  );
  metrics.observed(
    {
      name: 'flow_log_lost_packets_total',
      help: 'Packets that the kernel told of and the agent did not read in time.',
      type: 'counter',
    },
    () => [[{}, flows.status().lost]],
  );
}

function observePolicy(metrics: Metrics, gauge: GaugeMaker, dataplane: PolicyDataplane): void {
  const policy = () => dataplane.status();
  gauge('policy_endpoints', 'Pods of this node whose rules are in the kernel.', () => policy().endpoints.programmed);
  gauge('policy_policies', 'Policies that are programmed on this node.', () => policy().policies.known);
  gauge(
    'policy_policies_broken',
    'Policies that cannot be expressed and deny everything.',
    () => policy().policies.broken,
  );
  gauge('policy_sets', 'Sets of addresses in the kernel.', () => policy().sets);
  gauge('policy_apply_failures', 'Failed runs of the policy dataplane in a row.', () => policy().failures);
  gauge('policy_repairs', 'Readings back that found rules or sets changed by others.', () => policy().repairs);
  metrics.observed(
    {
      name: 'policy_flows_total',
      help: 'Established flows that were cut because policy forbids them now, and cut ones that may go on again.',
      labels: ['outcome'],
      type: 'counter',
    },
    () => {
      const { cut, restored } = policy().flows;
      return [
        [{ outcome: 'cut' }, cut],
        [{ outcome: 'restored' }, restored],
      ];
    },
  );
  gauge('policy_flow_failures', 'Looks at established flows that failed, in a row.', () => policy().flows.failures);
  const { iptables, ipset } = { iptables: () => policy().counters.iptables, ipset: () => policy().counters.ipset };
  gauge('policy_iptables_restores', 'Calls of iptables-restore.', () => iptables().restoreCalls);
  gauge('policy_iptables_restore_lines', 'Lines sent to iptables-restore.', () => iptables().restoreLines);
  gauge('policy_ipset_restores', 'Calls of ipset restore.', () => ipset().restoreCalls);
}
