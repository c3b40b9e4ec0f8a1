import type { IpFamily } from '#kit';

export interface NftRule {
  readonly chain: string;
  readonly handle: bigint;
  readonly comment: string;
}

/** The kernel's nf_tables, handed in. */
export interface NftTables {
  /** How many chains, sets and the like are in a table; undefined: there is no such table. */
  use(family: IpFamily, table: string): number | undefined;
  rules(family: IpFamily, table: string): readonly NftRule[];
  /** All or none. Throws what the kernel says. */
  deleteRules(family: IpFamily, table: string, rules: readonly NftRule[]): void;
  /** With everything in it. Throws what the kernel says. */
  deleteTable(family: IpFamily, table: string): void;
}
