/** The tables of one peer that a station is told of, each under its own per-peer header (RFC 7854 4.2, RFC 8671 4). */
import type { IpFamily } from '#kit';
import type { Rib } from '../rib/index.ts';
import { AdjRibOutMirror, type MirrorSink } from './adj-rib-out-mirror.ts';
import { type BmpPeerHeader, bmpPeerFlag, bmpPeerType } from './messages.ts';
import { RibView } from './rib-view.ts';
import type { BmpHost } from './station.ts';
import type { BmpPeer, BmpTable } from './types.ts';

export interface TableSinks {
  readonly onWaiting: (view: RibView) => void;
  readonly onOverflow: () => void;
  readonly sink: MirrorSink;
}

export class PeerTables {
  readonly peer: BmpPeer;
  /** Of messages about the peer itself. */
  readonly header: BmpPeerHeader;
  readonly views: readonly RibView[];
  readonly #mirrors: readonly { readonly family: IpFamily; readonly mirror: AdjRibOutMirror }[];

  constructor(host: BmpHost, peer: BmpPeer, wanted: readonly BmpTable[], sinks: TableSinks) {
    this.peer = peer;
    const header = (flags: number): BmpPeerHeader => {
      const { address, asn, routerId } = peer;
      return { type: bmpPeerType.global, flags, address, asn, routerId };
    };
    this.header = header(0);
    const { postPolicy, adjRibOut } = bmpPeerFlag;
    const view = (ribs: readonly Rib[] | undefined, flags: number): RibView[] =>
      (ribs ?? [])
        .filter((rib) => peer.families.includes(rib.family))
        .map((rib) => {
          const { onWaiting, onOverflow } = sinks;
          const withPathIds = peer.pathIdFamilies.includes(rib.family);
          return new RibView(rib, peer.row, header(flags), { onWaiting, onOverflow, withPathIds });
        });
    this.views = [
      ...(wanted.includes('pre-policy') ? view(host.received(), 0) : []),
      ...(wanted.includes('post-policy') ? view(host.ribs, postPolicy) : []),
    ];
    const mirrors = (flags: number, prePolicy: boolean) =>
      host.ribs
        .filter((rib) => peer.families.includes(rib.family))
        .map((rib) => ({
          family: rib.family,
          mirror: new AdjRibOutMirror(host.groups, rib, peer.row, header(flags), sinks.sink, { prePolicy }),
        }));
    this.#mirrors = [
      ...(wanted.includes('adj-rib-out-pre-policy') ? mirrors(adjRibOut, true) : []),
      ...(wanted.includes('adj-rib-out') ? mirrors(adjRibOut | postPolicy, false) : []),
    ];
  }

  /** Prefixes of the Adj-RIB-Out before policy; undefined where the station does not ask for that table. */
  prePolicyAnnounced(wanted: IpFamily): number | undefined {
    return this.#mirrors.find(({ family, mirror }) => family === wanted && mirror.prePolicy)?.mirror.announced;
  }

  markAll(): void {
    for (const view of this.views) view.markAll();
  }
  /** @param gone path identifier of a path that went; -1: one came or changed. */
  pathChanged(rib: Rib, prefix: number, gone: number): void {
    for (const view of this.views) {
      if (view.rib !== rib) continue;
      if (gone >= 0) view.markGone(prefix, gone);
      else view.mark(prefix);
    }
  }
  requestEndOfRib(family: IpFamily): void {
    for (const view of this.views) if (view.rib.family === family) view.requestEndOfRib();
  }
  /** @param selecting routes are selected already: what is announced is complete. */
  follow(selecting: boolean): void {
    for (const { family, mirror } of this.#mirrors) mirror.follow(this.peer.membership(family), selecting);
  }
  selectionStarted(): void {
    for (const { mirror } of this.#mirrors) mirror.selectionStarted();
  }
  dispose(): void {
    for (const view of this.views) view.dispose();
    for (const { mirror } of this.#mirrors) mirror.leave();
  }
}
