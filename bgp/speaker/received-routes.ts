/**
 * What peers sent, before import policy (RFC 7854 4.2, pre-policy Adj-RIB-In): kept only while somebody asks for it, as a table
 * of paths beside the one that routes are chosen from. It shares its attribute sets and next hops.
 */
import type { IpFamily } from '#kit';
import { type HopMarks, Rib, type RibTables } from '../rib/index.ts';
import { canonicalAttributes, createPrefixCursor, type UpdateContext, type UpdateView } from '../wire/index.ts';

export class ReceivedRoutes {
  readonly ribs: readonly [Rib, Rib];
  readonly #tables: RibTables;
  readonly #cursor = createPrefixCursor();
  /** Of the UPDATE that is being applied. */
  #context: UpdateContext | undefined;

  constructor(tables: RibTables) {
    this.#tables = tables;
    const options = { undecided: true };
    this.ribs = [new Rib(4, tables, options), new Rib(6, tables, options)];
  }

  /** An UPDATE that does not reset the session; what is treated as withdrawn is withdrawn (RFC 7606 2). */
  apply(row: number, context: UpdateContext, view: UpdateView): void {
    this.#context = context;
    this.#withdraw(4, row, view, view.withdrawnStart, view.withdrawnEnd);
    if (view.mpUnreachFamily !== 0) {
      this.#withdraw(view.mpUnreachFamily, row, view, view.mpUnreachStart, view.mpUnreachEnd);
    }
    const { nlriStart, nlriEnd, mpReachFamily, mpReachNlriStart, mpReachNlriEnd } = view;
    const hasMpReach = mpReachFamily !== 0 && mpReachNlriEnd > mpReachNlriStart;
    if (nlriEnd <= nlriStart && !hasMpReach) return;
    if (view.disposition !== 'accept') {
      this.#withdraw(4, row, view, nlriStart, nlriEnd);
      if (mpReachFamily !== 0) this.#withdraw(mpReachFamily, row, view, mpReachNlriStart, mpReachNlriEnd);
      return;
    }
    const pool = this.#tables.attributes;
    const length = canonicalAttributes(view, pool.octets, 0);
    const known = pool.find(length);
    const set = known >= 0 ? known : pool.add(length, view);
    if (nlriEnd > nlriStart && view.nextHopStart >= 0) {
      this.#announce(4, row, view, nlriStart, nlriEnd, set, this.#hop(view, view.nextHopStart, 4));
    }
    if (hasMpReach) {
      const hop = this.#hop(view, view.mpNextHopStart, view.mpNextHopLength);
      this.#announce(mpReachFamily, row, view, mpReachNlriStart, mpReachNlriEnd, set, hop);
    }
    pool.drop(set);
  }

  /** The session is over: what the peer said goes a slice at a time, see `step`. */
  dropPeer(row: number): void {
    for (const { removals } of this.ribs) removals.begin(row, 0);
  }
  peerUp(row: number): void {
    for (const { removals } of this.ribs) removals.setApart(row);
  }
  /** A slice of what is to go; whether there is more. Until there is not, rows of peers that are gone are in use. */
  step(): boolean {
    for (const { removals } of this.ribs) {
      removals.step();
      if (removals.waiting) return true;
    }
    return false;
  }

  /** Takes what is known of a peer that cannot be asked again: routes as import policy left them. */
  seed(row: number, from: readonly Rib[]): void {
    from.forEach((rib, index) => {
      const { paths, prefixes } = rib;
      for (let path = 0; path < paths.limit; path++) {
        if (paths.peer[path] !== row || !paths.isPath(path)) continue;
        const prefix = paths.prefixOf(path);
        const at = prefix * prefixes.stride;
        const words = prefixes.words.subarray(at, at + prefixes.stride);
        const [set, hop] = [paths.attributes[path]!, paths.nextHop[path]!];
        this.ribs[index]!.announce(row, words, prefixes.bits[prefix]!, set, hop, paths.pathId(path));
      }
    });
  }
  /** Lets go of everything. */
  clear(): void {
    for (const rib of this.ribs) {
      rib.onPathChange = undefined;
      const { paths } = rib;
      for (let path = 0; path < paths.limit; path++) {
        if (paths.isPath(path)) rib.removePath(path);
      }
    }
  }
  markHops(marks: HopMarks): void {
    for (const rib of this.ribs) rib.markHops(marks);
  }

  #hop({ bytes }: UpdateView, start: number, length: number): number {
    let text = '';
    for (let i = 0; i < length; i++) text += String.fromCharCode(bytes[start + i]!);
    return this.#tables.nextHops.intern(text, bytes, start, start + length);
  }
  #hasPathIds(family: IpFamily): boolean {
    return (family === 4 ? this.#context?.addPath4 : this.#context?.addPath6) === true;
  }
  #announce(
    family: IpFamily,
    row: number,
    view: UpdateView,
    start: number,
    end: number,
    set: number,
    hop: number,
  ): void {
    const rib = this.ribs[family === 4 ? 0 : 1];
    const cursor = this.#cursor;
    cursor.reset(family, view.bytes, start, end, this.#hasPathIds(family));
    while (cursor.next()) rib.announce(row, cursor.words, cursor.bits, set, hop, cursor.pathId);
  }
  #withdraw(family: IpFamily, row: number, view: UpdateView, start: number, end: number): void {
    if (end <= start) return;
    const rib = this.ribs[family === 4 ? 0 : 1];
    const cursor = this.#cursor;
    cursor.reset(family, view.bytes, start, end, this.#hasPathIds(family));
    while (cursor.next()) rib.withdraw(row, cursor.words, cursor.bits, cursor.pathId);
  }
}
