/** The system's part of what `#cni` asks for, made of `#sys`. */
import path from 'node:path';
import type { CniSystem, ConflistOptions, NetlinkRequests } from '#cni';
import type { AgentConfig } from '#config';
import {
  AF_NETLINK,
  addAddress,
  addRoute,
  addVeth,
  changeLink,
  deleteLink,
  dumpAddresses,
  dumpLinks,
  dumpRoutes,
  getIntOption,
  IPV4_DEVCONF_FORWARDING,
  IPV4_DEVCONF_PROXY_ARP,
  IPV4_DEVCONF_RP_FILTER,
  isLocalAddress,
  isNetns,
  libc,
  linkByName,
  listenUnix,
  MessageBuffer,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  NETLINK_ROUTE,
  Netlink,
  netnsId,
  ownNetnsId,
  SOL_SOCKET,
  setNeighbour,
  socketNetnsId,
  watch,
} from '#sys';

const SO_PROTOCOL = 38;
const SO_DOMAIN = 39;
/** One more than a call may bring, so that too many are noticed rather than cut off. */
const DESCRIPTORS_MAX = 3;
/** A pod's socket has a handful of answers in its queue at most. */
const POD_RECEIVE_BUFFER_BYTES = 1 << 18;

/** Strict rp_filter: a pod sends from its own addresses only. Proxy ARP for those who lose the gateway's neighbour entry. */
const hostEndSettings = {
  [IPV4_DEVCONF_FORWARDING]: 1,
  [IPV4_DEVCONF_PROXY_ARP]: 1,
  [IPV4_DEVCONF_RP_FILTER]: 1,
};

function requestsOf(netlink: Netlink): NetlinkRequests {
  return {
    addVeth: (options) => void addVeth(netlink, options),
    changeLink: ({ hostEnd, ...change }) =>
      void changeLink(netlink, hostEnd ? { ...change, ipv4Settings: hostEndSettings } : change),
    deleteLink: (index) => void deleteLink(netlink, index),
    addAddress: (address) => void addAddress(netlink, address),
    setNeighbour: (neighbour) => void setNeighbour(netlink, neighbour),
    addRoute: (route) => void addRoute(netlink, route, 'exclusive'),
    flush: () => netlink.flush(),
    flushAsync: () => netlink.flushAsync(),
    link: (name) => linkByName(netlink, name),
    links: () => dumpLinks(netlink),
    addresses: () => dumpAddresses(netlink),
    isLocal: (address) => isLocalAddress(netlink, address),
    routes: (family) => dumpRoutes(netlink, family),
    close: () => netlink.close(),
  };
}

/** The real system, for `createCniServer`. */
export function cniSystem(): CniSystem {
  const message = new MessageBuffer(65_536, DESCRIPTORS_MAX);
  return {
    transport: {
      listen: (options) => listenUnix(options),
      watch,
      receive: (fd) => {
        const received = message.receive(fd);
        return { ...received, data: message.data };
      },
      send: (fd, bytes) => libc.send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL),
    },
    network: {
      openHost: () => requestsOf(new Netlink()),
      openPod: (socket) => requestsOf(new Netlink({ fd: socket.take(), receiveBufferBytes: POD_RECEIVE_BUFFER_BYTES })),
      misfit(netns, socket) {
        if (!isNetns(netns.number)) return 'is no network namespace';
        if (netnsId(netns.number) === ownNetnsId()) return "is the node's own network namespace";
        const domain = getIntOption(socket.number, SOL_SOCKET, SO_DOMAIN);
        const protocol = domain === AF_NETLINK ? getIntOption(socket.number, SOL_SOCKET, SO_PROTOCOL) : -1;
        if (protocol !== NETLINK_ROUTE) return 'came without a NETLINK_ROUTE socket';
        if (socketNetnsId(socket.number) !== netnsId(netns.number)) return 'came with a socket of another namespace';
        return undefined;
      },
    },
  };
}

/** The reference plugin for hostPort. It sees to connections from the node's own addresses as well. */
const portmap = { type: 'portmap', snat: true, capabilities: { portMappings: true } };

export function conflistOptions(config: AgentConfig): ConflistOptions {
  return {
    type: path.basename(config.cniBinary),
    cniVersion: config.cniVersion,
    ...(config.cniPortmap ? { chained: [portmap] } : {}),
  };
}
