/**
 * The Adj-RIB-Out of a peer, for a monitoring station: one more member of the peer's update group. It gets the very UPDATEs that
 * the peer gets, encoded once for both, and has a backlog of its own when it does not keep up.
 *
 * Before policy (RFC 8671 5.1) it is a member of a group that differs by exporting all that the protocol lets out.
 */
import type { Rib, UpdateGroupOptions } from '../rib/index.ts';
import type { Groups, Membership } from '../speaker/groups.ts';
import type { BmpPeerHeader } from './messages.ts';

export interface MirrorSink {
  readonly writable: boolean;
  write(mirror: AdjRibOutMirror, updates: Uint8Array): void;
  /** Ask it now and then for `noteDumped`. */
  joined(mirror: AdjRibOutMirror): void;
}

export class AdjRibOutMirror {
  readonly header: BmpPeerHeader;
  readonly #groups: Groups;
  readonly #rib: Rib;
  readonly #row: number;
  readonly prePolicy: boolean;
  readonly #sink: MirrorSink;
  #membership: Membership | undefined;
  /** What stood there at the start has all been sent. */
  dumped = false;

  constructor(
    groups: Groups,
    rib: Rib,
    row: number,
    header: BmpPeerHeader,
    sink: MirrorSink,
    options: { readonly prePolicy: boolean },
  ) {
    this.#groups = groups;
    this.#rib = rib;
    this.#row = row;
    this.header = header;
    this.prePolicy = options.prePolicy;
    this.#sink = sink;
  }

  get joined(): boolean {
    return this.#membership !== undefined;
  }
  /** Prefixes that stand in the table it mirrors. */
  get announced(): number {
    return this.#membership?.group.announcedTo(this.#row) ?? 0;
  }
  /** Not from within a write: a group empties the backlog first. Returns whether it is so. */
  noteDumped(): boolean {
    if (this.#membership?.member.backlog.count === 0) this.dumped = true;
    return this.dumped;
  }

  /**
   * Joins, follows, or leaves, as the peer did.
   *
   * @param endOfRib what is there is complete (see `selectionStarted` otherwise).
   */
  follow(peer: Membership | undefined, endOfRib: boolean): void {
    if (!peer) {
      this.leave();
      return;
    }
    const options = this.#options(peer);
    if (this.#membership) {
      this.#membership = this.#groups.move(this.#membership, options);
      return;
    }
    const mirror = this;
    const sink = {
      write: (bytes: Uint8Array, length: number) => this.#sink.write(this, bytes.subarray(0, length)),
      get writable() {
        return mirror.#sink.writable;
      },
    };
    this.#membership = this.#groups.join(this.#rib, options, this.#row, sink, endOfRib);
    this.#sink.joined(this);
  }
  selectionStarted(): void {
    if (this.#membership) this.#membership.member.endOfRibDue = true;
  }
  leave(): void {
    if (this.#membership) this.#groups.leave(this.#membership);
    this.#membership = undefined;
  }

  #options(peer: Membership): UpdateGroupOptions {
    const { options } = peer.group;
    if (!this.prePolicy) return options;
    const { filter: _, ...rest } = options;
    return { ...rest, export: 'accept' };
  }
}
