/** The BGP speaker as a library: it knows nothing of Kubernetes or of the kernel's tables. */

export * from './bfd/index.ts';
export { type BmpStationConfig, type BmpStationStatus, type BmpTable, bmpTables } from './bmp/index.ts';
export type {
  AttributeChange,
  FilterTerm,
  InterfaceWay,
  PrefixMatch,
  PrefixSetEntry,
  RouteFilter,
} from './filter/index.ts';
export * as filter from './filter/index.ts';
export { prependTimesMax, termFault } from './filter/index.ts';
export type { SessionStateName } from './fsm/index.ts';
export * as mrt from './mrt/index.ts';
export * as rib from './rib/index.ts';
export { decodeRouteChanges, type RouteChange } from './rib/index.ts';
export * from './speaker/index.ts';
export type { AttributeText } from './wire/index.ts';
export * as wire from './wire/index.ts';
