/** Whole clusters: who reaches whom, what a change of policies would change, and what is wrong with policies. */

export { type Addressed, withAddresses } from './addresses.ts';
export * from './cluster.ts';
export * from './diff.ts';
export { endpointSlicesOf, upsertSlice, withEndpointSlices } from './endpoint-slices.ts';
export * from './flows.ts';
export * from './matrix.ts';
export { type Asked, addressOfEnd, type EndClass, families, VerdictTable } from './verdict-table.ts';
