export * from './address.ts';
export * from './codec.ts';
export * from './conntrack.ts';
export * from './events.ts';
export * from './link.ts';
export * from './nexthop.ts';
export * from './route.ts';
export * from './socket.ts';
