/**
 * The composition root: every part of the agent is made here and wired here, and nowhere else.
 *
 *   datastore --batches-------> model -------> speaker configuration --> speaker thread
 *        |                       | pods, pools, CIDRs                        | best paths, deferral ended
 *        v                       v                                           v
 *   policy pipeline         pod source, IPAM                           route dataplane --> kernel
 *        | rules, sets           |                                           ^  | links down -> speaker
 *        v                       v                                           |  v
 *   policy dataplane <---- CNI server (shim's calls) ---- endpoints ---------+ kernel events
 *
 * Order of a start: lock; read what an earlier run left (routes, rules, attachments); answer people (API) and the runtime
 * (CNI: "not yet"); read the model; and only when it is complete write to the kernel, talk BGP, and let pods come.
 */
import { createApiServer, createProbeServer } from '#api';
import { createCniServer, writeConflist } from '#cni';
import type { LoadedConfig } from '#config';
import { createPolicyDataplane, createRouteDataplane } from '#felix';
import { createIpam } from '#ipam';
import { type Cidr, errorText, type Startable, systemClock } from '#kit';
import type { ModelUpdate } from '#model';
import { createHealthRegistry, createLogger, createMetrics } from '#obs';
import {
  durableFile,
  effectiveCapabilities,
  interfaceName,
  openFlowTable,
  openNftCommits,
  openNftTables,
  openRouteKernel,
  openSetMembers,
  readFileIfThere,
  sysctlFiles,
  takeFlock,
  watchPacketLog,
  watchPacketQueue,
} from '#sys';
import { createBgp } from './bgp.ts';
import { lackingCapabilities } from './capabilities.ts';
import { cniSystem, conflistOptions } from './cni-wiring.ts';
import { createDomains, createTrustedServers, nameServersOf } from './domains/index.ts';
import { createFarewell } from './farewell.ts';
import { felixSettings } from './felix-settings.ts';
import { createFlowLog, flowLogRulesOf } from './flows/index.ts';
import { beatWhileAnswering, SILENCE_MAX_MS } from './heartbeat.ts';
import { createObservers, observe } from './metrics.ts';
import { createModelStore } from './model-store.ts';
import { failsafeInput, failsafeOf, guardOf, interfacesOf } from './node-view.ts';
import { createPodAddresses } from './pod-addresses.ts';
import { createPodSource } from './pod-source.ts';
import { createPolicyPipeline } from './policy-pipeline.ts';
import { apiServerAddress, clusterIPsBy, createSource } from './source.ts';
import { createStatusReporter } from './status/reporter.ts';
import { agentPaths, conntrackFlusher, INTERFACE_PREFIX, runCommand, uplinkMtu } from './system.ts';
import { agentVersion } from './version.ts';
import { createView } from './view.ts';

export interface Agent extends Startable {
  /** `drain`: peers are told to drop our routes at once. Default: they keep them for the restart. */
  stop(mode?: 'graceful' | 'drain'): Promise<void>;
}

export function createAgent(loaded: LoadedConfig): Agent {
  const { config } = loaded;
  const paths = agentPaths(config);
  const clock = systemClock();
  const log = createLogger({ level: config.logLevel, base: { node: config.nodeName } });
  const part = (component: string) => log.child({ component });
  const metrics = createMetrics({ process: true });
  const observers = createObservers(metrics, clock);
  const health = createHealthRegistry(clock);
  const ready = {
    datastore: health.component('datastore'),
    policy: health.component('policy'),
    cni: health.component('cni'),
  };
  const speakerHealth = health.component('speaker', { heartbeatMs: SILENCE_MAX_MS });
  const model = createModelStore();
  const { datastore, client, askForPod } = createSource(
    { log: part('datastore'), clock, observer: observers.kube },
    config,
  );
  const routes = createRouteDataplane(
    {
      kernel: openRouteKernel(),
      sysctls: sysctlFiles(config.procSys || undefined),
      sysctlState: durableFile(paths.sysctls),
      clock,
      log: part('routes'),
      onApply: observers.onRouteApply,
    },
    { interfacePrefix: INTERFACE_PREFIX, forwardingLater: true },
  );
  const nftCommits = openNftCommits();
  const policyDataplane = createPolicyDataplane(
    {
      run: runCommand,
      lock: takeFlock,
      tables: openNftTables(),
      watchCommits: nftCommits.watch,
      members: openSetMembers(),
      flows: { table: openFlowTable(), judge: (flow) => policy.flowAllowed(flow) },
      lifeOf: (set, address) => domains.sets.lifeOf(set, address),
      log: part('policy'),
      clock,
      onApply: observers.onPolicyApply,
    },
    {
      backend: config.iptablesBackend,
      markMask: config.markMask,
      lockFile: config.xtablesLockFile,
      ...flowLogRulesOf(config),
      dnsQueue: config.dnsQueue,
    },
  );
  const domains = createDomains(
    {
      open: watchPacketQueue,
      learn: (set, members) => policyDataplane.learn(set, members),
      before: (set) => policyDataplane.learntBefore(set),
      onChange: (set, change) => policy.domainsChanged(set, change),
      onWanted: (isWanted) => trustedServers.wanted(isWanted),
      times: () => settings().dns,
      file: durableFile(paths.domainAddresses),
      refused: () => policyDataplane.status().dnsRefused,
      clock,
      log: part('domains'),
      limits: observers.limits,
    },
    config,
  );
  const trustedServers = createTrustedServers({
    nameServers: () => nameServersOf(readFileIfThere('/etc/resolv.conf') ?? ''),
    clusterIPs: clusterIPsBy(client),
    file: durableFile(paths.dnsServers),
    onServers: (addresses) => policyDataplane.setDnsServers(addresses),
    clock,
    log: part('domains'),
  });
  const policy = createPolicyPipeline({
    nodeName: config.nodeName,
    clock,
    dataplane: policyDataplane,
    onEndpoints: (endpoints) => {
      routes.setEndpoints(endpoints);
      flows.setEndpoints(endpoints);
    },
    flushConntrack: conntrackFlusher(),
    domains: domains.sets,
  });
  const flows = createFlowLog(
    {
      open: watchPacketLog,
      state: policy.state,
      clock,
      wallMs: Date.now,
      log: part('flows'),
      limits: observers.limits,
      interfaceName,
      refused: () => policyDataplane.status().flowLogRefused,
    },
    config,
  );
  const apiServer = () => (client ? apiServerAddress(client.server) : undefined);
  const bgp = createBgp(
    {
      model,
      routes,
      clock,
      log: part('bgp'),
      apiServer,
      onSessionChange: () => reporter?.touch(),
      onStart: (failure) => speakerHealth.notReadyBecause(failure && `it cannot start, and is tried again: ${failure}`),
    },
    config,
  );
  const pods = createPodSource({ model, clock, log: part('cni'), ...(askForPod ? { ask: askForPod } : {}) });
  const podAddresses = createPodAddresses(config.nodeName);
  const ipam = createIpam({ clock, spokenOf: podAddresses.has });
  const mtu = uplinkMtu(INTERFACE_PREFIX);
  const settings = () => felixSettings(loaded, model.list('FelixConfiguration'));
  let whyNoPods: string | undefined = NOT_IN_SYNC;
  const notReady = (): string | undefined =>
    whyNoPods === NOT_IN_SYNC ? whyNotInSync(datastore.status().waitingFor) : whyNoPods;
  const cni = createCniServer(
    {
      system: cniSystem(),
      pods,
      dataplane: policy,
      ipam,
      clock,
      log: part('cni'),
      notReady,
      onCall: (call) => {
        observers.onCniCall(call);
        reporter?.cniCall(call);
      },
      onTurnedAway: () => observers.limits.hit('cni_callers'),
    },
    {
      socketPath: paths.cniSocket,
      queueDirectory: paths.cniQueue,
      stateDirectory: paths.attachments,
      mtu: () => config.interfaceMtu || mtu.get(),
    },
  );
  observe(metrics, { version: agentVersion(), model, datastore, routes, policyDataplane, bgp, ipam, flows });
  const cniState = { notServing: notReady, pods: () => policy.endpoints().length };
  const reporter = client
    ? createStatusReporter(
        {
          client,
          parts: { datastore, model, routes, policyDataplane, policy, bgp, ipam, cni: cniState, health },
          clock,
          log: part('status'),
          limits: observers.limits,
        },
        { nodeName: config.nodeName, namespace: config.namespace, version: agentVersion() },
      )
    : undefined;
  const farewell = client ? createFarewell(client, config.namespace) : undefined;
  const view = createView({
    model,
    loaded,
    datastore,
    routes,
    policyDataplane,
    policy,
    flows,
    domains,
    bgp,
    ipam,
    cni: cniState,
    health,
    metrics,
  });
  const api = createApiServer({ view, log: part('api') }, { socketPath: paths.apiSocket });
  const probes = config.httpListen
    ? createProbeServer(
        {
          view: { components: health.components, metrics: metrics.scrape },
          log: part('probes'),
          onDropped: () => observers.limits.hit('probe_connections'),
        },
        { listen: config.httpListen },
      )
    : undefined;

  let inSync = false;
  let cancelSweep: (() => void) | undefined;
  let stopHeartbeat: (() => void) | undefined;

  const applyModel = (batch: readonly ModelUpdate[]): void => {
    for (const update of batch) {
      model.apply(update);
      podAddresses.note(update);
      flows.note(update);
    }
    policy.update(batch);
    if (inSync) applyObjects(new Set(batch.map((update) => update.kind)));
    for (const update of batch) if (update.kind === 'Pod') pods.podChanged(update.key);
  };
  /** What follows from objects other than policies; nothing of it before the model is complete. */
  const applyObjects = (changed: ReadonlySet<ModelUpdate['kind']>): void => {
    if (changed.has('Node')) {
      const podCIDRs: readonly Cidr[] = model.get('Node', config.nodeName)?.podCIDRs ?? [];
      routes.setNodeCidrs(podCIDRs);
      ipam.setPools(podCIDRs);
      if (whyNoPods === NO_POD_CIDRS && podCIDRs.length > 0) servePods();
    }
    // Disabled ones too: that keeps new pods away, those that are there still need the world.
    if (changed.has('IPPool'))
      policyDataplane.setPools(model.list('IPPool').map(({ cidr, natOutgoing }) => ({ cidr, natOutgoing })));
    if (!config.podsMayReachBgp && (changed.has('Node') || changed.has('BGPConfiguration')))
      policyDataplane.setGuard(guardOf(model.list('Node'), model.list('BGPConfiguration'), config));
    if (changed.has('FelixConfiguration')) {
      const { logLevel, flowWindowMs, dns } = settings();
      log.setLevel(logLevel);
      flows.setWindow(flowWindowMs);
      trustedServers.set(dns.servers);
    }
    if (FAILSAFE_KINDS.some((kind) => changed.has(kind))) {
      policyDataplane.setFailsafe(failsafeOf(failsafeInput(model, client?.server), config));
    }
    if (BGP_KINDS.some((kind) => changed.has(kind))) bgp.reconfigure();
  };
  const goLive = async (): Promise<void> => {
    inSync = true;
    routes.enableForwarding();
    ready.datastore.notReadyBecause(undefined);
    policyDataplane.setInterfaces(interfacesOf(routes.localAddresses()));
    applyObjects(new Set(['Node', 'IPPool', 'BGPConfiguration', 'FelixConfiguration']));
    const { backend, markMask, flowLog } = settings();
    flows.setVerdicts(flowLog);
    await policyDataplane.start({ backend, markMask, ...flowLogRulesOf({ ...config, flowLog }) });
    await policy.inSync();
    if (whyNoPods === STOPPING) return;
    bgp.start();
    await policyDataplane.whenApplied();
    reporter?.complete();
    void farewell?.remember();
    ready.policy.notReadyBecause(undefined);
    log.info({ pods: policy.endpoints().length }, 'in sync: policies are in force');
    sweep();
    whyNoPods = NO_POD_CIDRS;
    if (model.get('Node', config.nodeName)?.podCIDRs.length) servePods();
    else log.warn({}, 'this node has no pod CIDR yet; pods wait for it');
  };
  const servePods = (): void => {
    whyNoPods = undefined;
    if (config.cniConfDir) writeConflist(config.cniConfDir, conflistOptions(config));
    ready.cni.notReadyBecause(undefined);
    log.info({}, 'pods can be added');
  };

  /** Pods that went without a DEL, by a reboot for instance, give their addresses back. */
  const sweep = (): void => {
    const isLive = ({ key, uid }: { readonly key: string; readonly uid?: string }): boolean =>
      pods.find(key, uid) !== undefined;
    cni.sweep(isLive).catch((error: unknown) => log.warn({ reason: errorText(error) }, 'sweep of attachments failed'));
    cancelSweep = clock.schedule(SWEEP_MS, sweep);
  };

  return {
    async start() {
      log.info({ pid: process.pid, datastore: datastore.status().location }, 'poplin agent starts');
      const lacking = lackingCapabilities(effectiveCapabilities(), config.bgpPort);
      if (lacking) log.error({}, lacking);
      await probes?.start();
      await routes.start();
      await flows.start();
      await domains.start();
      await cni.recover();
      policy.adopt(cni.endpoints());
      await api.start();
      await cni.start();
      ready.datastore.notReadyBecause(() => whyNotInSync(datastore.status().waitingFor));
      ready.cni.notReadyBecause(() => notReady() ?? 'starting');
      datastore.onUpdates(applyModel);
      datastore.onInSync(() => {
        goLive().catch((error: unknown) => {
          if (whyNoPods !== STOPPING) setImmediate(() => Promise.reject(error));
        });
      });
      stopHeartbeat = beatWhileAnswering(clock, speakerHealth, () => bgp.status());
      routes.onLinkDown((down) => bgp.linkDown(down));
      routes.onUplinksChanged(() => {
        mtu.forget();
        policyDataplane.setInterfaces(interfacesOf(routes.localAddresses()));
        bgp.uplinksChanged();
      });
      routes.onWaysChanged(() => bgp.waysChanged());
      reporter?.start();
      await datastore.start();
    },
    async stop(asked = 'graceful') {
      whyNoPods = STOPPING;
      const mode = asked === 'graceful' && (await farewell?.isForGood()) ? 'drain' : asked;
      log.info({ mode }, 'poplin agent stops; the kernel goes on with what it has');
      cancelSweep?.();
      stopHeartbeat?.();
      await reporter?.stop();
      await datastore.stop();
      await cni.stop();
      await bgp.stop(mode);
      await policyDataplane.stop();
      nftCommits.close();
      await flows.stop();
      trustedServers.stop();
      await domains.stop();
      await routes.stop();
      await Promise.all([api.stop(), probes?.stop()]);
    },
  };
}

const NOT_IN_SYNC = 'the datastore is not in sync';
const NO_POD_CIDRS =
  'spec.podCIDRs of the Node is empty: the controller-manager assigns them (--allocate-node-cidrs), or set them by hand';
/** What says which ports host endpoints leave open. */
const FAILSAFE_KINDS = ['FelixConfiguration', 'BGPConfiguration', 'BGPPeer'] as const;
/** What the speaker's configuration is made of. */
const BGP_KINDS = ['Node', 'BGPConfiguration', 'BGPPeer', 'BGPFilter', 'IPPool', 'Secret'] as const;
const STOPPING = 'it is stopping';
const SWEEP_MS = 60_000;

/** Names the first of what is waited for, and counts the rest. */
function whyNotInSync(waitingFor: readonly string[]): string {
  const [first, ...rest] = waitingFor;
  if (first === undefined) return NOT_IN_SYNC;
  return `${NOT_IN_SYNC}: ${first}${rest.length > 0 ? `, and ${rest.length} more` : ''}`;
}
