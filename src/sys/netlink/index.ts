export * from './address.ts';
export * from './codec.ts';
export {
  type Conntrack,
  type ConntrackEntry,
  type ConntrackTuple,
  conntrackOf,
  decodeConntrack,
  deleteConntrack,
  dumpConntrack,
  markConntrack,
  openConntrack,
  readAndForgetAddress,
} from './conntrack.ts';
export * from './events.ts';
export * from './flows.ts';
export * from './ipset.ts';
export * from './link.ts';
export * from './nexthop.ts';
export * from './nflog.ts';
export { type PacketQueueOptions, watchPacketQueue } from './nfqueue.ts';
export * from './nft-commits.ts';
export * from './nft-tables.ts';
export * from './route.ts';
export * from './route-kernel.ts';
export * from './socket.ts';
