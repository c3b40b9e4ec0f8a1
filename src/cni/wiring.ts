import { type Cidr, type Clock, familyOf, hostCidr, type IpAddress } from '#kit';
import { CniError } from './errors.ts';
import { isPodInterface, macBytes } from './names.ts';
import type { Descriptor, NetlinkRequests, NetworkSystem, RequestFailure } from './ports.ts';
import { DEFAULT_ROUTES, GATEWAYS, type WiredPod } from './result.ts';

/** MAC of every pod's host end: it never changes, so the pod's gateway can be a permanent neighbour. */
export const HOST_MAC = 'ee:ee:ee:ee:ee:ee';
/** Protocol number of the host's routes to its pods. */
export const ROUTE_PROTOCOL = 155;
/** RTPROT_BOOT would be swept by some; the pod's own routes are plain configuration. */
const PROTOCOL_STATIC = 4;
const SCOPE_LINK = 253;
const LOOPBACK_INDEX = 1;

/** What the shim opened in the pod. */
export interface PodDescriptors {
  readonly netns: Descriptor;
  readonly socket: Descriptor;
}

/**
 * Makes and removes pods' interfaces. Creation takes some 1 ms of the thread and is undone by its caller when it fails: the host end's
 * removal takes everything along (the far end, addresses, neighbours, routes).
 *
 *   pod's namespace                                agent's namespace
 *   eth0  10.1.0.5/32  fd00::5/128                 popXXXXXXXXXXX  (no address, ee:ee:ee:ee:ee:ee)
 *   default via 169.254.1.1, fe80::ecee:..   ===   10.1.0.5 dev popX proto 155, fd00::5 dev popX proto 155
 *   both gateways: permanent neighbours            both addresses: permanent neighbours
 *
 * Known races and traps: the far end is born inside the pod, so it never shows in the host's namespace (no udev, no name clash). No
 * link-local on the host end, and no duplicate address detection in the pod: either makes the first IPv6 packet wait 2 s. Settings
 * of the host end stand before it comes up. The kernel takes packets to a new IPv6 address from a work queue on (addrconf_dad_work), late
 * on a busy machine: what is sent to the pod before is lost, so it is waited for.
 */
export interface PodWiring {
  /** Resolves when packets pass both ways. */
  create(pod: WiredPod, descriptors: PodDescriptors): Promise<void>;
  /** False when there was none. Deleting a veth waits for RCU some 16 ms, off the main thread; several at once share the wait. */
  remove(interfaceName: string): Promise<boolean>;
  exists(interfaceName: string): boolean;
  /** All host ends there are, ours by their name and kind. */
  list(): readonly string[];
  /** How the kernel differs from what `create` made; empty when it does not. */
  problems(pod: WiredPod, descriptors: PodDescriptors): readonly string[];
  close(): void;
}

/** How often it is asked whether the kernel has got so far, and for how long; afterwards the pod has to do without. Milliseconds. */
const addressPollMs = 1;
const addressWaitMsMax = 2_000;

export function createPodWiring(system: NetworkSystem, clock: Clock): PodWiring {
  const host = system.openHost();
  const remover = createLinkRemover(system.openHost());

  return {
    async create(pod, descriptors) {
      const wrong = system.misfit(descriptors.netns, descriptors.socket);
      if (wrong) throw new CniError('INVALID_ENVIRONMENT', `CNI_NETNS ${pod.netns} ${wrong}`);
      createHostEnd(host, pod, descriptors.netns.number);
      const inPod = system.openPod(descriptors.socket);
      try {
        configurePod(inPod, pod);
        // The host end has carrier only now, and the kernel lets packets out of it from a work queue some time later: what is sent to the pod
        // before is lost. Asking for one link does that work at once (linkwatch_sync_dev in rtnl_getlink, since Linux 6.8).
        host.link(pod.interfaceName);
        await untilReceiving(inPod, pod, clock);
      } finally {
        inPod.close();
      }
    },
    remove: (interfaceName) => remover.remove(interfaceName),
    exists: (interfaceName) => host.link(interfaceName) !== undefined,
    list: () =>
      host
        .links()
        .filter((link) => link.kind === 'veth' && isPodInterface(link.name))
        .map((link) => link.name),
    problems(pod, descriptors) {
      const wrong = system.misfit(descriptors.netns, descriptors.socket);
      if (wrong) throw new CniError('INVALID_ENVIRONMENT', `CNI_NETNS ${pod.netns} ${wrong}`);
      const inPod = system.openPod(descriptors.socket);
      try {
        return [...hostProblems(host, pod), ...podProblems(inPod, pod)];
      } finally {
        inPod.close();
      }
    },
    close() {
      host.close();
      remover.close();
    },
  };
}

function createHostEnd(host: NetlinkRequests, pod: WiredPod, netns: number): void {
  host.addVeth({
    name: pod.interfaceName,
    peerName: pod.ifName,
    mac: macBytes(pod.hostMac),
    peerMac: macBytes(pod.podMac),
    peerNetns: netns,
    ...(pod.mtu === undefined ? {} : { mtu: pod.mtu }),
  });
  host.changeLink({ byName: pod.interfaceName, hostEnd: true });
  host.changeLink({ byName: pod.interfaceName, noIpv6LinkLocal: true });
  host.changeLink({ byName: pod.interfaceName, up: true });
  const steps = ['interface', 'settings of', 'IPv6 settings of', 'up of'];
  const wantsIpv6 = pod.addresses.some((address) => familyOf(address) === 6);
  // A kernel without IPv6 (ipv6.disable=1) makes no link-local address anyway.
  const failures = host
    .flush()
    .filter((failure) => wantsIpv6 || failure.index !== 2 || failure.code !== 'EAFNOSUPPORT');
  refuse(failures, pod, steps);
  const ifIndex = host.link(pod.interfaceName)?.index;
  if (ifIndex === undefined)
    throw new CniError('WIRING_FAILED', `interface ${pod.interfaceName} vanished while it was made`);
  for (const address of pod.addresses) {
    host.setNeighbour({ ifIndex, address, mac: macBytes(pod.podMac) });
    // Exclusive: a host route to this address that is not ours is somebody's, and two owners would share the traffic.
    host.addRoute({ prefix: hostCidr(address), protocol: ROUTE_PROTOCOL, ifIndex, ...linkScope(address) });
  }
  refuse(
    host.flush(),
    pod,
    pod.addresses.flatMap((address) => [`neighbour ${address} on`, `route to ${address} by`]),
  );
}

/** One batch: its messages run in order, so routes may rely on the link being up already. */
function configurePod(inPod: NetlinkRequests, pod: WiredPod): void {
  const ifIndex = inPod.link(pod.ifName)?.index;
  if (ifIndex === undefined)
    throw new CniError('WIRING_FAILED', `interface ${pod.ifName} vanished from ${pod.netns} while it was made`);
  const steps: string[] = [];
  const step = (what: string, add: () => void): void => {
    steps.push(what);
    add();
  };
  step('loopback of', () => inPod.changeLink({ index: LOOPBACK_INDEX, up: true }));
  step('pod end of', () => inPod.changeLink({ index: ifIndex, up: true }));
  for (const address of pod.addresses) {
    const gateway = GATEWAYS[familyOf(address)];
    const prefixLength = familyOf(address) === 4 ? 32 : 128;
    step(`address ${address} of`, () => inPod.addAddress({ ifIndex, address, prefixLength }));
    step(`neighbour ${gateway} of`, () =>
      inPod.setNeighbour({ ifIndex, address: gateway, mac: macBytes(pod.hostMac) }),
    );
    // IPv6 link-local needs no route of its own: fe80::/64 stands on every interface.
    if (familyOf(address) === 4) {
      const prefix = hostCidr(gateway);
      step(`route to ${gateway} of`, () =>
        inPod.addRoute({ prefix, protocol: PROTOCOL_STATIC, ifIndex, scope: SCOPE_LINK }),
      );
    }
    const prefix = DEFAULT_ROUTES[familyOf(address)] as Cidr;
    step(`default route ${prefix} of`, () => inPod.addRoute({ prefix, protocol: PROTOCOL_STATIC, ifIndex, gateway }));
  }
  refuse(inPod.flush(), pod, steps);
}

async function untilReceiving(inPod: NetlinkRequests, pod: WiredPod, clock: Clock): Promise<void> {
  const started = clock.nowMs();
  while (!pod.addresses.every((address) => inPod.isLocal(address)) && clock.nowMs() - started < addressWaitMsMax) {
    await new Promise<void>((resolve) => clock.schedule(addressPollMs, resolve));
  }
}

function linkScope(address: IpAddress): { scope?: number } {
  return familyOf(address) === 4 ? { scope: SCOPE_LINK } : {};
}

function refuse(failures: readonly RequestFailure[], pod: WiredPod, steps: readonly string[]): void {
  const [failure] = failures;
  if (!failure) return;
  const what = `${steps[failure.index] ?? 'request'} ${pod.interfaceName}`;
  const why = failure.text === '' ? failure.code : `${failure.code} (${failure.text})`;
  const remedy = remedies[failure.code] ?? '';
  throw new CniError('WIRING_FAILED', `${what} for ${pod.ifName} in ${pod.netns} could not be made: ${why}${remedy}`);
}

const remedies: Readonly<Record<string, string>> = {
  EEXIST: '; it exists already, made by somebody else',
  EACCES: '; is net.ipv6.conf.default.disable_ipv6 set in the pod?',
};

function hostProblems(host: NetlinkRequests, pod: WiredPod): string[] {
  const link = host.link(pod.interfaceName);
  if (!link) return [`interface ${pod.interfaceName} is not there`];
  const problems = link.up ? [] : [`interface ${pod.interfaceName} is down`];
  for (const address of pod.addresses) {
    const routes = host.routes(familyOf(address));
    const there = routes.some(
      (r) => r.prefix === hostCidr(address) && r.nextHops.some((hop) => hop.ifIndex === link.index),
    );
    if (!there) problems.push(`the node has no route to ${address} by ${pod.interfaceName}`);
  }
  return problems;
}

function podProblems(inPod: NetlinkRequests, pod: WiredPod): string[] {
  const link = inPod.link(pod.ifName);
  if (!link) return [`interface ${pod.ifName} is not in ${pod.netns}`];
  const problems = link.up ? [] : [`interface ${pod.ifName} is down in the pod`];
  const addresses = inPod.addresses();
  for (const address of pod.addresses) {
    if (!addresses.some((a) => a.ifIndex === link.index && a.address === address))
      problems.push(`${pod.ifName} lacks ${address}`);
    const gateway = GATEWAYS[familyOf(address)];
    const prefix = DEFAULT_ROUTES[familyOf(address)];
    const there = inPod
      .routes(familyOf(address))
      .some(
        (r) => r.prefix === prefix && r.nextHops.some((hop) => hop.gateway === gateway && hop.ifIndex === link.index),
      );
    if (!there) problems.push(`the pod lacks its default route via ${gateway}`);
  }
  return problems;
}

interface LinkRemover {
  remove(name: string): Promise<boolean>;
  close(): void;
}

/** Deletes in batches, one batch at a time, on a socket of its own: whatever is asked for meanwhile goes with the next batch. */
function createLinkRemover(netlink: NetlinkRequests): LinkRemover {
  let waiting: {
    readonly name: string;
    readonly done: (was: boolean) => void;
    readonly failed: (error: Error) => void;
  }[] = [];
  let running = false;

  const run = async (): Promise<void> => {
    running = true;
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        const sent = batch.flatMap((job) => {
          const link = netlink.link(job.name);
          return link ? [{ ...job, index: link.index }] : [];
        });
        const absent = batch.filter((job) => !sent.some((other) => other.name === job.name));
        for (const job of sent) netlink.deleteLink(job.index);
        const failures = await netlink.flushAsync();
        for (const job of absent) job.done(false);
        sent.forEach((job, i) => {
          const failure = failures.find((f) => f.index === i);
          // ENODEV: gone meanwhile, with its namespace or by a second call.
          if (!failure || failure.code === 'ENODEV') job.done(true);
          else
            job.failed(
              new CniError(
                'WIRING_FAILED',
                `interface ${job.name} could not be removed: ${failure.code} ${failure.text}`,
              ),
            );
        });
      } catch (error) {
        for (const job of batch) job.failed(error instanceof Error ? error : new Error(String(error)));
      }
    }
    running = false;
  };

  return {
    remove: (name) =>
      new Promise((done, failed) => {
        waiting.push({ name, done, failed });
        if (!running) void run();
      }),
    close: () => netlink.close(),
  };
}
