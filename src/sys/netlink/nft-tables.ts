/** As much of nf_tables as is needed to take away what nobody uses any more: the program `nft` is on few nodes, and in no small image. */
import type { IpFamily } from '#kit';
import { EINVAL, ENOENT, EOPNOTSUPP } from '../constants.ts';
import { SysError } from '../sys-error.ts';
import { addressFamily } from './address.ts';
import { attributeText, type MessageWriter, parseAttributes } from './codec.ts';
import { NETLINK_NETFILTER, Netlink } from './socket.ts';

const SUBSYSTEM = 10;
const GET_TABLE = (SUBSYSTEM << 8) | 1;
const DELETE_TABLE = (SUBSYSTEM << 8) | 2;
const GET_RULE = (SUBSYSTEM << 8) | 7;
const DELETE_RULE = (SUBSYSTEM << 8) | 8;
const TABLE_NAME = 1;
const TABLE_USE = 3;
const RULE_TABLE = 1;
const RULE_CHAIN = 2;
const RULE_HANDLE = 3;
const RULE_USERDATA = 7;
/** In user data: type, length, value. */
const USERDATA_COMMENT = 0;

export interface NftRule {
  readonly chain: string;
  readonly handle: bigint;
  readonly comment: string;
}

export interface NftTables {
  /** How many chains, sets and the like are in a table; undefined: there is no such table. */
  use(family: IpFamily, table: string): number | undefined;
  rules(family: IpFamily, table: string): readonly NftRule[];
  /** All or none. @throws SysError */
  deleteRules(family: IpFamily, table: string, rules: readonly NftRule[]): void;
  /** With everything in it. @throws SysError */
  deleteTable(family: IpFamily, table: string): void;
  close(): void;
}

/** Tables of this thread's network namespace. */
export function openNftTables(): NftTables {
  const netlink = new Netlink({ protocol: NETLINK_NETFILTER });
  const transact = (
    what: string,
    add: (family: (w: MessageWriter) => MessageWriter) => void,
    family: IpFamily,
  ): void => {
    add((w) => w.raw(addressFamily(family), 0, 0, 0));
    const [failure] = netlink.flushTransaction(SUBSYSTEM);
    if (failure) throw new SysError(what, failure.errno, failure.text);
  };
  return {
    use: (family, table) =>
      netlink.get(
        `nft table ${table}`,
        GET_TABLE,
        (w) => w.raw(addressFamily(family), 0, 0, 0).attrString(TABLE_NAME, table),
        ({ body }) => parseAttributes(body, 4).get(TABLE_USE)?.readUInt32BE(0) ?? 0,
        [ENOENT, EINVAL, EOPNOTSUPP],
      ),
    rules: (family, table) =>
      netlink.dump(
        `rules of nft table ${table}`,
        GET_RULE,
        (w) => w.raw(addressFamily(family), 0, 0, 0).attrString(RULE_TABLE, table),
        ({ body }) => {
          const attributes = parseAttributes(body, 4);
          const chain = attributeText(attributes.get(RULE_CHAIN));
          const handle = attributes.get(RULE_HANDLE)?.readBigUInt64BE(0);
          if (chain === undefined || handle === undefined || attributeText(attributes.get(RULE_TABLE)) !== table)
            return;
          return { chain, handle, comment: commentIn(attributes.get(RULE_USERDATA)) };
        },
      ),
    deleteRules: (family, table, rules) =>
      transact(
        `delete of rules of nft table ${table}`,
        (head) => {
          for (const { chain, handle } of rules) {
            const bytes = Buffer.alloc(8);
            bytes.writeBigUInt64BE(handle);
            netlink.add(DELETE_RULE, 0, (w) =>
              head(w).attrString(RULE_TABLE, table).attrString(RULE_CHAIN, chain).attr(RULE_HANDLE, bytes),
            );
          }
        },
        family,
      ),
    deleteTable: (family, table) =>
      transact(
        `delete of nft table ${table}`,
        (head) => netlink.add(DELETE_TABLE, 0, (w) => head(w).attrString(TABLE_NAME, table)),
        family,
      ),
    close: () => netlink.close(),
  };
}

function commentIn(userdata: Buffer | undefined): string {
  if (!userdata) return '';
  for (let at = 0; at + 2 <= userdata.length; at += 2 + userdata[at + 1]!) {
    const value = userdata.subarray(at + 2, at + 2 + userdata[at + 1]!);
    if (userdata[at] === USERDATA_COMMENT) return attributeText(value) ?? '';
  }
  return '';
}
