/**
 * What a monitoring station still has to be told of one table: an Adj-RIB-In of a peer, or the Loc-RIB.
 *
 * As in update groups, a table is not sent as a history but as what it is: one bit a prefix says that it changed since it was
 * sent last, and `pump` sends what stands there then. So a station that reads slowly costs one bit a prefix, whatever happens
 * meanwhile, and the initial dump is nothing but all bits set. RFC 7854 4.6 and 5 let messages be compressed like that.
 *
 * Where several paths of the Loc-RIB share the load, each is told: RFC 9069 4 wants all routes that were selected, and 5.2 has ADD-PATH
 * (RFC 7911) for it. One for each next hop, as in forwarding; the best has identifier 1, the others follow by the tie-break. So an
 * identifier is a rank and may pass from one path to another, which is an announcement like any.
 */
import { BitSet, grow, IntStack, noNextHop, pathFlag, type Rib } from '../rib/index.ts';
import { goneWithdrawalsMax } from './limits.ts';
import type { BmpPeerHeader } from './messages.ts';
import type { RouteEncoder } from './route-encoder.ts';

/** As row: the routes chosen among all peers. */
export const locRibRow = -1;

export interface RibViewOptions {
  /** There is something to pump, and was not before. */
  readonly onWaiting: (view: RibView) => void;
  /** More than can be kept waits: the station has to begin anew. */
  readonly onOverflow?: () => void;
  /** The peer has several paths to a prefix, told apart by identifiers (RFC 7911); of the Loc-RIB: all that share the load are told. */
  readonly withPathIds?: boolean;
}

export class RibView {
  readonly rib: Rib;
  readonly withPathIds: boolean;
  readonly row: number;
  readonly header: BmpPeerHeader;
  /** Everything that was there at the start was sent: from then on, what is sent has just changed. */
  dumped = false;
  readonly #options: RibViewOptions;
  /** Path identifiers to withdraw, by prefix. */
  readonly #gone = new Map<number, Set<number>>();
  #goneCount = 0;
  /** Of the Loc-RIB with path identifiers: how many paths of a prefix were told last, where it was more than one; a byte a prefix. */
  #told = new Uint8Array(0);
  readonly #members = new IntStack();
  readonly #backlog = new BitSet();
  #cursor = 0;
  #endOfRibDue = false;

  constructor(rib: Rib, row: number, header: BmpPeerHeader, options: RibViewOptions) {
    this.rib = rib;
    this.row = row;
    this.header = header;
    this.#options = options;
    this.withPathIds = options.withPathIds === true;
  }

  get waiting(): boolean {
    return this.#backlog.count > 0 || this.#endOfRibDue;
  }

  /** A prefix changed. */
  mark(prefix: number): void {
    if (!this.#backlog.add(prefix)) return;
    this.rib.pin(prefix);
    if (this.#backlog.count === 1) this.#options.onWaiting(this);
  }
  /** One path to the prefix went. */
  markGone(prefix: number, pathId: number): void {
    this.mark(prefix);
    if (!this.withPathIds) return;
    const gone = this.#gone.get(prefix) ?? new Set();
    this.#gone.set(prefix, gone);
    if (gone.has(pathId)) return;
    if (this.#goneCount >= goneWithdrawalsMax) {
      this.#options.onOverflow?.();
      return;
    }
    gone.add(pathId);
    this.#goneCount++;
  }
  /** Of the Loc-RIB: a path of the prefix changed. Only where several share the load may that be no change of the route itself. */
  pathChanged(prefix: number): void {
    if (this.withPathIds && (this.#sharers(prefix) > 1 || this.#toldOf(prefix) > 1)) this.mark(prefix);
  }
  /** Everything that is there is to be sent. Costs a pass over the table. */
  markAll(): void {
    const { paths, prefixes, locPeer } = this.rib;
    if (this.row === locRibRow) {
      for (let prefix = 0; prefix < prefixes.limit; prefix++) if (locPeer[prefix] !== 0) this.mark(prefix);
      return;
    }
    if ((this.rib.pathCount[this.row] ?? 0) === 0) return;
    for (let path = 0; path < paths.limit; path++) {
      if (paths.peer[path] !== this.row || !paths.isPath(path)) continue;
      if ((paths.flags(path) & pathFlag.rejected) === 0) this.mark(paths.prefixOf(path));
    }
  }
  /** End-of-RIB is sent once nothing else is waiting (RFC 7854 5). */
  requestEndOfRib(): void {
    this.#endOfRibDue = true;
    this.#options.onWaiting(this);
  }

  /** Sends up to `limit` prefixes, then End-of-RIB where due. Returns how many were sent. */
  pump(limit: number, encoder: RouteEncoder): number {
    const { rib } = this;
    const done = new IntStack();
    while (done.length < limit && this.#backlog.count > 0) {
      let prefix = this.#backlog.next(this.#cursor);
      if (prefix < 0) prefix = this.#backlog.next(0);
      this.#cursor = prefix + 1;
      this.#backlog.delete(prefix);
      done.push(prefix);
      this.#send(prefix, encoder);
    }
    if (this.#backlog.count === 0 && this.#endOfRibDue) {
      this.#endOfRibDue = false;
      encoder.endOfRib(rib);
    }
    encoder.flush();
    if (this.#backlog.count === 0) this.dumped = true;
    for (let i = 0; i < done.length; i++) {
      rib.unpin(done.items[i]!);
      rib.settle(done.items[i]!);
    }
    return done.length;
  }

  /** Lets go of all prefixes. */
  dispose(): void {
    for (let prefix = this.#backlog.next(0); prefix >= 0; prefix = this.#backlog.next(prefix + 1)) {
      this.rib.unpin(prefix);
      this.rib.settle(prefix);
    }
    this.#backlog.clear();
    this.#gone.clear();
    this.#goneCount = 0;
    this.#endOfRibDue = false;
  }

  #sharers(prefix: number): number {
    const { locHopSet, tables } = this.rib;
    return tables.hopSets.members[locHopSet[prefix]!]!.length;
  }
  #toldOf(prefix: number): number {
    return this.#told[prefix] ?? 0;
  }
  #sendChosen(prefix: number, encoder: RouteEncoder): void {
    const { rib } = this;
    const there = rib.locPeer[prefix] !== 0;
    const told = this.#toldOf(prefix);
    let count = there ? 1 : 0;
    if (there && this.withPathIds && this.#sharers(prefix) > 1) {
      count = this.#sendMembers(prefix, encoder);
    } else if (there) {
      encoder.send(rib, prefix, rib.locAttributes[prefix]!, rib.locNextHop[prefix]!, 1);
    }
    for (let pathId = count + 1; pathId <= Math.max(told, 1); pathId++) {
      encoder.send(rib, prefix, -1, noNextHop, pathId);
    }
    if (count > 1 && prefix >= this.#told.length) this.#told = grow(this.#told, prefix + 1);
    if (count > 1 || told > 1) this.#told[prefix] = count;
  }
  /** As the paths are now: what is still to be decided about is sent once more then. Returns how many. */
  #sendMembers(prefix: number, encoder: RouteEncoder): number {
    const { rib } = this;
    const members = this.#members;
    const { attributes, nextHop } = rib.paths;
    rib.members(prefix, members);
    for (let i = 0; i < members.length; i++) {
      const path = members.items[i]!;
      encoder.send(rib, prefix, attributes[path]!, nextHop[path]!, i + 1);
    }
    return members.length;
  }

  #send(prefix: number, encoder: RouteEncoder): void {
    const { rib, row } = this;
    if (row === locRibRow) {
      this.#sendChosen(prefix, encoder);
      return;
    }
    const gone = this.#gone.get(prefix);
    const { paths } = rib;
    let count = 0;
    for (let link = rib.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
      const path = link - 1;
      if (paths.peer[path] !== row || (paths.flags(path) & pathFlag.rejected) !== 0) continue;
      count++;
      const pathId = paths.pathId(path);
      if (gone?.delete(pathId)) this.#goneCount--;
      encoder.send(rib, prefix, paths.attributes[path]!, paths.nextHop[path]!, pathId);
    }
    if (!this.withPathIds) {
      if (count === 0) encoder.send(rib, prefix, -1, noNextHop);
    } else if (gone) {
      for (const pathId of gone) encoder.send(rib, prefix, -1, noNextHop, pathId);
      this.#goneCount -= gone.size;
      this.#gone.delete(prefix);
    }
  }
}
