/**
 * The speaker thread as the agent sees it: configured from the model and the kernel's links, its routes handed to the
 * route dataplane, links that go down told to it at once.
 *
 * The node's own addresses are found anew whenever objects or links change; sessions that use one that changed move with it.
 *
 * Restart: what the kernel still holds of an earlier run decides the R and F bits before the first session (RFC 4724),
 * and routes are released (written, and the rest swept) when the speaker says that selection is no longer deferred.
 */

import type { BgpRoutesQuery } from '#api';
import type { Family, PeerStatus, RouteAnswer, RouteChange, SpeakerConfig, SpeakerStatus, StopMode } from '#bgp';
import type { AgentConfig } from '#config';
import type { LinkDown, RouteDataplane } from '#felix';
import { type Cidr, type Clock, cidrContains, errorText, type IpAddress, type Logger, toIpAddress } from '#kit';
import type { LearnedRoute } from '#model';
import { createAoProbe, type SpeakerThread, startSpeakerThread } from '#speaker';
import { gatewayRoutes, learnedRoute } from './bgp/gateway-routes.ts';
import { type Issue, issueText } from './bgp/issue.ts';
import type { OnLink } from './bgp/peer-context.ts';
import { answerQuery } from './bgp/route-query.ts';
import { createSelectorMatch } from './bgp/selector.ts';
import { type SpeakerConfigResult, speakerConfig } from './bgp/speaker-config.ts';
import { type MachineAddresses, openMachineAddresses } from './machine-addresses.ts';
import type { ModelStore } from './model-store.ts';
import { type NodeAddressResult, nodeAddresses } from './node-address.ts';
import { agentVersion } from './version.ts';

export interface BgpDeps {
  readonly model: ModelStore;
  readonly routes: RouteDataplane;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: this network namespace's. */
  readonly machine?: MachineAddresses;
  /** Where the API server is, as far as known; the way to it tells which network the cluster is on. */
  readonly apiServer?: () => IpAddress | undefined;
  /** A session came up or went down. */
  readonly onSessionChange?: () => void;
  /** Why the speaker could not start; undefined when it has, or when there is nothing yet for it to do. */
  readonly onStart?: (failure: string | undefined) => void;
}

export interface Bgp {
  /** The model is complete: talk to peers. */
  start(): void;
  stop(mode: StopMode): Promise<void>;
  /** The model or the links changed; sessions that this does not concern do not notice. */
  reconfigure(): void;
  linkDown(down: LinkDown): void;
  /** Links or addresses changed, perhaps for the better. */
  uplinksChanged(): void;
  /** The kernel's routes may lead out by other devices. */
  waysChanged(): void;
  /** Undefined before the first configuration. */
  status(): Promise<SpeakerStatus | undefined>;
  routes(query: BgpRoutesQuery): Promise<RouteAnswer>;
  config(): SpeakerConfig | undefined;
  /** As last told by the speaker. */
  peers(): { readonly established: number; readonly configured: number };
  /** What keeps objects, or parts of them, from being used. */
  issues(): readonly Issue[];
  /** Why there is no speaker, although there is a configuration. */
  startFailure(): string | undefined;
  /** Both in words. */
  problems(): readonly string[];
  /** As last found, with what was not taken and why; undefined before the Node object is known. */
  nodeAddress(): NodeAddressResult | undefined;
}

/** Filters about interfaces follow the kernel's routes at this pace. */
const WAYS_MS = 100;
/** How often a speaker that could not start is tried again. */
const START_RETRY_MS = 5_000;
/** What a dial says that failed for want of a route. */
const NO_ROUTE = /ENETUNREACH|EHOSTUNREACH/;

export function createBgp(deps: BgpDeps, options: AgentConfig): Bgp {
  const { model, routes, clock, log } = deps;
  let thread: SpeakerThread | undefined;
  let live = false;
  let current: SpeakerConfig | undefined;
  let currentText = '';
  let result: SpeakerConfigResult = { sessions: new Map(), routes: [], issues: [], asksWays: false };
  let found: NodeAddressResult | undefined;
  let told = '';
  const machine = deps.machine ?? openMachineAddresses();
  const gateways = gatewayRoutes(routes);
  const tcpAoFault = createAoProbe();
  let cancelRetry: (() => void) | undefined;
  let cancelWays: (() => void) | undefined;
  const peerStates = new Map<string, PeerStatus>();

  const names = options.bgpTellNames ? { toldVersion: agentVersion() } : {};
  const compute = (): SpeakerConfig | undefined => {
    const earlier = earlierFamilies(routes);
    found = detect();
    result = speakerConfig({
      nodeName: options.nodeName,
      namespace: options.namespace,
      nodes: model.list('Node'),
      configurations: model.list('BGPConfiguration'),
      peers: model.list('BGPPeer'),
      filters: model.list('BGPFilter'),
      pools: model.list('IPPool'),
      secrets: model.list('Secret'),
      ownAddresses: ownAddresses(found),
      defaults: {
        asn: options.asn,
        port: options.bgpPort,
        holdTimeSec: options.holdTimeSec,
        connectRetrySec: options.connectRetrySec,
        meshEnabled: options.meshEnabled,
        routerId: options.routerId,
      },
      gracefulRestart: {
        restarting: earlier.length > 0,
        forwardingPreserved: earlier,
        restartTimeSec: options.gracefulRestartTimeSec,
        deferralTimeSec: options.gracefulRestartDeferralSec,
      },
      ...names,
      onLink: (address) => onLink(routes, address),
      ways: () => routes.ways(),
      selects: createSelectorMatch(),
      tcpAoFault,
    });
    const problems = issues().map(issueText);
    if (problems.join('\n') !== told) {
      for (const problem of problems) log.warn({ problem }, 'BGP configuration is incomplete');
    }
    told = problems.join('\n');
    return result.config;
  };
  const detect = (): NodeAddressResult | undefined => {
    const node = model.get('Node', options.nodeName);
    if (!node) return undefined;
    const configurations = [`node.${options.nodeName}`, 'default'].map((name) => model.get('BGPConfiguration', name));
    const apiServer = deps.apiServer?.() ?? hostOf(options.kubeApiServer);
    return nodeAddresses({
      node,
      options: { ipv4: toIpAddress(options.nodeIpv4), ipv6: toIpAddress(options.nodeIpv6) },
      ignoredInterfaces: configurations.flatMap((configuration) => configuration?.ignoredInterfaces ?? []),
      links: machine.links(),
      addresses: machine.addresses(),
      apiServer: apiServer && { address: apiServer, route: machine.route(apiServer) },
      defaultRoutes: { 4: machine.route(somewhere[4]), 6: machine.route(somewhere[6]) },
    });
  };
  const issues = (): Issue[] => [...(found?.issues ?? []), ...result.issues];

  /** One at a time; changes that come meanwhile are looked at when it is there. */
  let starting: Promise<void> | undefined;
  let startFailure: string | undefined;

  const reconfigure = (): void => {
    if (!live || starting) return;
    const config = compute();
    gateways.set(result.routes);
    const text = JSON.stringify(config) ?? '';
    if (!config || (thread && text === currentText)) return;
    current = config;
    currentText = text;
    for (const status of [...peerStates.values()]) if (!isWanted(status)) peerStates.delete(status.name);
    if (thread) thread.configure(config);
    else starting = start(config);
  };
  /** Without BGP pods still get network and policy: say why, and try again with the next refresh. */
  const start = async (config: SpeakerConfig): Promise<void> => {
    try {
      const started = await startSpeakerThread({ config, log, onRoutes, onPeerState });
      if (live) thread = started;
      else await started.stop('graceful');
      startFailure = undefined;
    } catch (error) {
      const reason = errorText(error);
      if (reason !== startFailure) log.error({ reason }, 'the BGP speaker cannot start; it is tried again');
      startFailure = reason;
    } finally {
      deps.onStart?.(startFailure);
      starting = undefined;
    }
    // Changes that came meanwhile.
    if (thread) reconfigure();
  };
  const onRoutes = (changes: Iterable<RouteChange>): void => {
    const upsert: LearnedRoute[] = [];
    const withdraw: Cidr[] = [];
    let deferralEnded = false;
    for (const change of changes) {
      if (change.type !== 'deferralEnded' && gateways.learned(change)) continue;
      if (change.type === 'upsert') upsert.push(learnedRoute(change));
      else if (change.type === 'withdraw') withdraw.push(change.prefix);
      else deferralEnded = true;
    }
    if (upsert.length > 0 || withdraw.length > 0) routes.setLearned({ upsert, withdraw });
    if (upsert.length > 0) dialUnreachable();
    if (!deferralEnded) return;
    log.info({}, 'BGP: peers are complete; routes of an earlier run that none of them has are swept');
    routes.release();
  };
  /** Peers on loopbacks wait for a route that another peer brings: dial when it is there, not a retry time later. */
  let dialPlanned = false;
  const dialUnreachable = (): void => {
    const waiting = (): PeerStatus[] =>
      [...peerStates.values()].filter((peer) => peer.state !== 'Established' && NO_ROUTE.test(peer.lastError));
    if (dialPlanned || waiting().length === 0) return;
    dialPlanned = true;
    const dial = (): void => {
      dialPlanned = false;
      for (const { name } of waiting()) thread?.pathBack({ peer: name });
    };
    routes.whenApplied().then(dial, () => undefined);
  };
  /** Whose peer it is. Of a range those that have connected, until they have nothing to say any more. */
  const isWanted = ({ name, range, state }: PeerStatus): boolean => {
    if (range === undefined) return current?.peers.some((peer) => peer.name === name) ?? false;
    return state !== 'Idle' && (current?.ranges?.some(({ prefix }) => prefix === range) ?? false);
  };
  const onPeerState = (status: PeerStatus): void => {
    const before = peerStates.get(status.name)?.state;
    const { name: peer, address, state, lastError } = status;
    // The last word of a peer that was removed comes after the configuration without it.
    if (isWanted(status)) peerStates.set(peer, status);
    else peerStates.delete(peer);
    if (state === before) return;
    if (state === 'Established' || before === 'Established') deps.onSessionChange?.();
    if (state === 'Established') log.info({ peer, address }, 'BGP session is Established');
    else if (before === 'Established') log.warn({ peer, address, state, reason: lastError }, 'BGP session is down');
  };
  const startOrRetry = (): void => {
    reconfigure();
    cancelRetry = clock.schedule(START_RETRY_MS, () => {
      if (!thread) startOrRetry();
    });
  };

  return {
    start() {
      live = true;
      startOrRetry();
      if (!starting) deps.onStart?.(undefined);
    },
    async stop(mode) {
      live = false;
      cancelRetry?.();
      cancelWays?.();
      await starting;
      await thread?.stop(mode);
    },
    reconfigure,
    linkDown(down) {
      for (const { name, address } of peerStates.values()) {
        if (isOn(down, address)) thread?.pathLost({ peer: name });
      }
    },
    uplinksChanged() {
      machine.forget();
      reconfigure();
      thread?.pathBack();
    },
    waysChanged() {
      if (!live || !result.asksWays || cancelWays) return;
      cancelWays = clock.schedule(WAYS_MS, () => {
        cancelWays = undefined;
        reconfigure();
      });
    },
    status: async () => thread?.status(),
    routes: async (query) => (thread ? answerQuery((each) => thread!.routes(each), query) : { routes: [] }),
    config: () => current,
    peers() {
      const states = [...peerStates.values()];
      const ofRanges = states.filter(({ range }) => range !== undefined).length;
      const established = states.filter(({ state }) => state === 'Established').length;
      return { established, configured: (current?.peers.length ?? 0) + ofRanges };
    },
    issues,
    startFailure: () => startFailure,
    problems() {
      const all = issues().map(issueText);
      return startFailure === undefined ? all : [...all, `BGP: ${startFailure}`];
    },
    nodeAddress: () => found,
  };
}

/** Documentation addresses (RFC 5737, RFC 3849): nobody has a route to them but the default one. */
const somewhere = { 4: '192.0.2.1' as IpAddress, 6: '2001:db8::1' as IpAddress };

function ownAddresses(found: NodeAddressResult | undefined): { ipv4?: IpAddress; ipv6?: IpAddress } {
  const { ipv4, ipv6 } = found ?? {};
  return { ...(ipv4 ? { ipv4: ipv4.address } : {}), ...(ipv6 ? { ipv6: ipv6.address } : {}) };
}

/** The address in an URL; undefined for a name, or none. */
function hostOf(url: string): IpAddress | undefined {
  if (url === '') return undefined;
  return toIpAddress(new URL(url).hostname.replace(/^\[|\]$/g, ''));
}

/** Families of which an earlier run left something in the kernel: packets are still forwarded. */
function earlierFamilies(routes: RouteDataplane): Family[] {
  const { hadEarlierRoutes: had } = routes;
  return [...(had[4] ? (['ipv4-unicast'] as const) : []), ...(had[6] ? (['ipv6-unicast'] as const) : [])];
}

/** Our addresses on the link whose subnet holds `address`. */
function onLink(routes: RouteDataplane, address: IpAddress): OnLink | undefined {
  const all = routes.localAddresses();
  const here = all.find(
    (local) => !local.linkLocal && local.address !== address && cidrContains(local.subnet, address),
  );
  if (!here) return undefined;
  const beside = all.filter((local) => local.ifIndex === here.ifIndex && !local.linkLocal);
  const ipv4 = here.family === 4 ? here : beside.find((local) => local.family === 4);
  const ipv6 = here.family === 6 ? here : beside.find((local) => local.family === 6);
  return {
    ...(ipv4 ? { ipv4: ipv4.address } : {}),
    ...(ipv6 ? { ipv6: ipv6.address } : {}),
  };
}

/** Only sessions across the lost link itself; a loopback peer may still be reached another way. */
function isOn(down: LinkDown, remoteAddress: string): boolean {
  const address = toIpAddress(remoteAddress);
  return address !== undefined && down.addresses.some((local) => cidrContains(local.subnet, address));
}
