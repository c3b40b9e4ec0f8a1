/**
 * What a peer's import policy makes of its routes, and how a new one takes effect without a new session.
 *
 * Paths whose attributes are kept as received (`PeerConfig.adjRibIn`) are judged again from those. Of the others what the new
 * policy rejects goes at once; what the old one rejected or changed only the peer knows, so that it is asked (ROUTE-REFRESH).
 * A table is gone through a slice at a time; UPDATEs in between are judged by the new policy already, so that the order does
 * not matter.
 */
import type { IpFamily } from '#kit';
import { compileFilter } from '../filter/index.ts';
import { FilteredSets, noNextHop, type Rib, type RibTables } from '../rib/index.ts';
import {
  attributeType,
  attributeValue,
  communityFlag,
  emptyAttributeValues,
  readCanonical,
  type UpdateContext,
} from '../wire/index.ts';
import type { PeerConfig } from './config.ts';
import { blackholeBits } from './intake-marks.ts';
import { isLeak, type LeakRule, leakRules } from './leak-prevention.ts';

/** Why a route that was received is not used. */
export type Refusal = 'import' | 'loop' | 'leak' | 'blackhole' | 'filter';

export class ImportPolicy {
  readonly accept: boolean;
  readonly keeps: boolean;
  /** All that the peer announced is kept as received, or on its way. */
  complete = false;
  readonly allowedOwnAsns: number;
  readonly filter4: FilteredSets | undefined;
  readonly filter6: FilteredSets | undefined;
  /** Of the session that the routes came from. */
  readonly context: UpdateContext;
  /** RFC 9234, where we have a role. */
  readonly leakRule: LeakRule | undefined;
  /** RFC 7999 3.3, see `blackholeBits`. */
  readonly #blackholeBits: Readonly<Record<IpFamily, number>>;
  readonly #tables: RibTables;
  readonly #values = emptyAttributeValues();
  #lookedAt = -1;
  #misled: 'loop' | 'leak' | undefined;

  constructor(config: PeerConfig, context: UpdateContext, tables: RibTables) {
    const { importFilter } = config;
    this.accept = config.import === 'accept';
    this.keeps = config.adjRibIn ?? false;
    this.allowedOwnAsns = config.allowOwnAsn ?? 0;
    this.#tables = tables;
    this.context = context;
    this.#blackholeBits = { 4: blackholeBits(config, 4), 6: blackholeBits(config, 6) };
    this.leakRule = config.role && context.ebgp ? leakRules[config.role] : undefined;
    const [four, six] = [
      compileFilter(importFilter?.ipv4, context.localAsn),
      compileFilter(importFilter?.ipv6, context.localAsn),
    ];
    this.filter4 = four && new FilteredSets(four, tables);
    this.filter6 = six && new FilteredSets(six, tables);
  }

  filter(family: IpFamily): FilteredSets | undefined {
    return family === 4 ? this.filter4 : this.filter6;
  }
  /** What it lets in may differ from what was received. */
  changes(family: IpFamily): boolean {
    return this.filter(family)?.filter.changes ?? false;
  }

  /** Judges a path by what was received; returns the set to use, or -1 and why in `refusal`. Release the filter afterwards. */
  judge(rib: Rib, path: number, received: number, hop: number): number {
    if (!this.accept) return this.#refuse('import');
    const misled = this.#misledBy(received);
    if (misled) return this.#refuse(misled);
    const { words, bits, stride } = rib.prefixes;
    const isBlackhole = (this.#tables.attributes.communityFlags[received]! & communityFlag.blackhole) !== 0;
    const filter = this.filter(rib.family);
    if (!isBlackhole && !filter) return received;
    const prefix = rib.paths.prefixOf(path);
    if (isBlackhole && bits[prefix]! < this.#blackholeBits[rib.family]) return this.#refuse('blackhole');
    if (!filter) return received;
    const set = filter.of(received, rib.paths.peer[path]!, hop, words, prefix * stride, bits[prefix]!);
    return set < 0 ? this.#refuse('filter') : set;
  }
  refusal: Refusal = 'filter';

  #refuse(refusal: Refusal): number {
    this.refusal = refusal;
    return -1;
  }

  /** A loop (RFC 4271 9.1.2, RFC 4456 8) or a leak (RFC 9234 5), which no filter makes good. */
  #misledBy(set: number): 'loop' | 'leak' | undefined {
    if (set !== this.#lookedAt) {
      this.#lookedAt = set;
      this.#misled = this.#lookAt(this.#tables.attributes.copy(set));
    }
    return this.#misled;
  }
  #lookAt(bytes: Uint8Array): 'loop' | 'leak' | undefined {
    const { localAsn, localRouterId, localClusterId, peerAsn } = this.context;
    readCanonical(bytes, 0, bytes.length, localAsn, localRouterId, this.#values, localClusterId);
    if (this.#values.ownAsnCount > this.allowedOwnAsns || this.#values.reflectionLoop) return 'loop';
    const otc = attributeValue(bytes, 0, bytes.length, attributeType.onlyToCustomer);
    if (
      this.leakRule &&
      otc &&
      isLeak(this.leakRule, Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32BE(otc.start), peerAsn)
    )
      return 'leak';
    return undefined;
  }
  /** Numbers of sets may have been given again. */
  forget(): void {
    this.#lookedAt = -1;
  }
}

/** Equal for settings that take in the same routes. */
export function importKey({ import: policy, importFilter, allowOwnAsn, adjRibIn }: PeerConfig): string {
  return JSON.stringify([policy, importFilter, allowOwnAsn ?? 0, adjRibIn ?? false]);
}

/** Goes through the paths of a peer with its new policy. */
export class ImportReview {
  readonly #row: number;
  readonly #policy: ImportPolicy;
  /** By table: whether paths that are not kept as received can be judged by what they became. */
  readonly #work: { readonly rib: Rib; readonly judgesOthers: boolean; cursor: number }[];

  constructor(row: number, policy: ImportPolicy, before: ImportPolicy, ribs: readonly Rib[]) {
    this.#row = row;
    this.#policy = policy;
    this.#work = ribs.map((rib) => ({ rib, judgesOthers: !before.changes(rib.family), cursor: 0 }));
  }

  /** Looks at up to `limit` rows; whether there are more. */
  run(limit: number): boolean {
    let left = limit;
    for (const work of this.#work) {
      const { rib } = work;
      if ((rib.pathCount[this.#row] ?? 0) === 0) work.cursor = rib.paths.limit;
      const end = Math.min(rib.paths.limit, work.cursor + left);
      left -= Math.max(0, end - work.cursor);
      for (; work.cursor < end; work.cursor++) {
        const path = work.cursor;
        if (rib.paths.peer[path] === this.#row && rib.paths.isPath(path)) this.#one(work, path);
      }
      this.#policy.filter(rib.family)?.release();
      if (work.cursor < rib.paths.limit) {
        this.#policy.forget();
        return true;
      }
    }
    this.#policy.forget();
    return false;
  }

  #one({ rib, judgesOthers }: { readonly rib: Rib; readonly judgesOthers: boolean }, path: number): void {
    const policy = this.#policy;
    const received = rib.received.attributes(path);
    if (received < 0) {
      if (!judgesOthers && policy.accept) return;
      const set = policy.judge(rib, path, rib.paths.attributes[path]!, rib.paths.nextHop[path]!);
      if (set < 0) rib.removePath(path);
      return;
    }
    const hop = rib.received.nextHop(path);
    const set = policy.judge(rib, path, received, hop);
    if (set < 0 && !policy.keeps) {
      rib.removePath(path);
      return;
    }
    const changedHop = set < 0 ? -1 : (policy.filter(rib.family)?.hop ?? -1);
    rib.revise(path, set < 0 ? received : set, changedHop > noNextHop ? changedHop : hop, set < 0);
    if (!policy.keeps) rib.received.forget(path);
  }
}
