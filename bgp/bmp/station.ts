/**
 * One monitoring station (RFC 7854 3): what it still has to be told. A new connection gets Initiation, Peer Up of the Loc-RIB
 * and of every session, the tables, an End-of-RIB for each; then what changes, and statistics.
 *
 * BGP never waits for it. Routes go out only while its queue is short, at most a slice at a time, and are a bit a prefix
 * otherwise. The initial dump is such bits, set by a walk over the tables that has its turns, too.
 */
import type { Logger } from '#kit';
import type { SessionDownReason } from '../fsm/index.ts';
import { type IntStack, type MultipathOptions, pathFlag, type Rib } from '../rib/index.ts';
import type { Family } from '../speaker/config.ts';
import type { Groups } from '../speaker/groups.ts';
import { ByteWriter } from '../wire/byte-writer.ts';
import { encodeOpen } from '../wire/index.ts';
import type { AdjRibOutMirror } from './adj-rib-out-mirror.ts';
import { InitialDump } from './initial-dump.ts';
import { stationPrefixesPerSlice, stationWalkPerSlice, tableName } from './limits.ts';
import {
  type BmpPeerHeader,
  bmpPeerType,
  peerDownReason,
  terminationReason,
  writeInitiation,
  writePeerDown,
  writePeerUp,
  writeRouteMonitoring,
  writeStatistics,
  writeTermination,
} from './messages.ts';
import { peerDownOf } from './peer-down.ts';
import { PeerTables } from './peer-tables.ts';
import { locRibRow, RibView } from './rib-view.ts';
import { RouteEncoder } from './route-encoder.ts';
import { StationLink, type StationLinkDeps } from './station-link.ts';
import { locRibStatistics, peerStatistics } from './statistics.ts';
import type { BmpPeer, BmpStationConfig, BmpStationStatus } from './types.ts';

export interface BmpHost extends StationLinkDeps {
  readonly log: Logger;
  /** Microseconds of the wall clock; 0: not known. */
  readonly wallUsec: () => number;
  readonly system: { readonly name: string; readonly description: string };
  readonly groups: Groups;
  readonly ribs: readonly [Rib, Rib];
  /** What peers sent, before import policy; kept while a station asks for it. */
  received(): readonly [Rib, Rib] | undefined;
  speaker(): { readonly asn: number; readonly routerId: number };
  peers(): Iterable<BmpPeer>;
  /** Which paths share the load. */
  multipath(): MultipathOptions;
  /** Routes are selected; until then the Loc-RIB is not complete. */
  readonly selecting: boolean;
  /** Something waits to be pumped. */
  schedule(): void;
}

const bothFamilies: readonly Family[] = ['ipv4-unicast', 'ipv6-unicast'];

export class BmpStation {
  readonly config: BmpStationConfig;
  /** All paths of the Loc-RIB that share the load are told. */
  readonly #locRibPaths: boolean;
  readonly #host: BmpHost;
  readonly #link: StationLink;
  readonly #tables = new Map<number, PeerTables>();
  #locRib: readonly RibView[] = [];
  readonly #waiting = new Set<RibView>();
  #dump: InitialDump | undefined;
  /** Sessions that were there before the station, whose Adj-RIB-Out is still to be joined: one a slice. */
  readonly #toFollow = new Set<PeerTables>();
  /** Mirrors that are being sent what stood there at the start. */
  readonly #dumping = new Set<AdjRibOutMirror>();
  #cancelStatistics: (() => void) | undefined;
  readonly #out = new ByteWriter(64 * 1024);
  readonly #encoder: RouteEncoder;
  /** For peers that send path identifiers (RFC 7911), made when there is one. */
  #pathEncoder: RouteEncoder | undefined;
  /** Whose routes the encoder is writing. */
  #view: RibView | undefined;

  constructor(host: BmpHost, config: BmpStationConfig) {
    this.#host = host;
    this.config = config;
    this.#locRibPaths = (config.multipath ?? true) && host.multipath().max > 1;
    const deps = { ...host, log: host.log.child({ station: config.name }) };
    this.#link = new StationLink(deps, config, {
      onUp: () => this.#up(),
      onDown: () => this.#forget(),
      onDrained: () => host.schedule(),
    });
    this.#encoder = new RouteEncoder((updates) => this.#viewRoutes(updates), false);
  }

  get connected(): boolean {
    return this.#link.connected;
  }
  status(): BmpStationStatus {
    return this.#link.status();
  }
  start(): void {
    this.#link.dial();
  }

  /** Says goodbye where there is a connection: RFC 9069 5.3, RFC 7854 4.5. */
  stop(text: string): void {
    const locRib = this.#locRib[0];
    if (locRib) this.#peerDown(locRib.header, { reason: peerDownReason.locRib, tableName });
    writeTermination(this.#out, terminationReason.administrativelyClosed, text);
    this.#write(1);
    this.#link.close();
    this.#forget();
  }

  peerUp(peer: BmpPeer): void {
    if (!this.connected) return;
    const tables = this.#addPeer(peer);
    // Nothing but what was kept over a restart; the peer's own End-of-RIB says when the rest is complete.
    tables?.markAll();
    tables?.follow(this.#host.selecting);
  }
  peerDown(row: number, reason: SessionDownReason): void {
    const tables = this.#tables.get(row);
    if (!tables) return;
    this.#dropPeer(tables);
    this.#peerDown(tables.header, peerDownOf(reason));
  }
  /** The peer joined, changed or left its update groups. */
  peerFollow(row: number): void {
    const tables = this.#tables.get(row);
    if (tables && !this.#toFollow.has(tables)) tables.follow(this.#host.selecting);
  }
  endOfRib(row: number, family: 4 | 6): void {
    if (!this.#dump) this.#tables.get(row)?.requestEndOfRib(family);
  }
  selectionStarted(): void {
    if (!this.#dump) for (const view of this.#locRib) view.requestEndOfRib();
    for (const tables of this.#tables.values()) tables.selectionStarted();
  }
  /** @param gone path identifier of a path that went; -1: one came or changed. */
  pathChanged(rib: Rib, prefix: number, row: number, gone: number): void {
    this.#tables.get(row)?.pathChanged(rib, prefix, gone);
    for (const view of this.#locRib) if (view.rib === rib) view.pathChanged(prefix);
  }
  locRibChanged(rib: Rib, changed: IntStack): void {
    for (const view of this.#locRib) {
      if (view.rib !== rib) continue;
      for (let i = 0; i < changed.length; i++) view.mark(changed.items[i]!);
    }
  }

  /** Sends from what waits; whether there is more that could be sent at once. */
  pump(): boolean {
    // Mirrors were pumped with the groups they are in, out of the same slice.
    const cut = this.#link.sliceIsFull;
    this.#link.beginSlice();
    for (const mirror of this.#dumping) if (mirror.noteDumped()) this.#dumping.delete(mirror);
    if (this.#link.writable) this.#stepDump();
    let left = stationPrefixesPerSlice;
    for (const view of this.#waiting) {
      if (left <= 0 || !this.#link.writable) break;
      this.#view = view;
      left -= view.pump(left, this.#encoderOf(view));
      this.#view = undefined;
      if (!view.waiting) this.#waiting.delete(view);
    }
    const more = this.#waiting.size > 0 || this.#dump !== undefined || this.#toFollow.size > 0;
    return (cut || more) && this.#link.writable;
  }

  #up(): void {
    const host = this.#host;
    writeInitiation(this.#out, host.system);
    this.#write(1);
    if (this.config.monitor.includes('loc-rib')) this.#addLocRib();
    for (const peer of host.peers()) {
      const tables = this.#addPeer(peer);
      if (tables) this.#toFollow.add(tables);
    }
    this.#dump = new InitialDump([...host.ribs, ...(host.received() ?? [])], (rib, prefix) => this.#visit(rib, prefix));
    this.#scheduleStatistics();
    host.schedule();
  }

  #stepDump(): void {
    const [tables] = this.#toFollow;
    if (tables) {
      this.#toFollow.delete(tables);
      tables.follow(this.#host.selecting);
      this.#host.schedule();
    }
    if (!this.#dump?.step(stationWalkPerSlice)) return;
    this.#dump = undefined;
    for (const tables of this.#tables.values()) {
      for (const family of tables.peer.families) tables.requestEndOfRib(family);
    }
    if (this.#host.selecting) for (const view of this.#locRib) view.requestEndOfRib();
  }
  #visit(rib: Rib, prefix: number): void {
    const { paths } = rib;
    for (let link = rib.firstPath(prefix); link > 0; link = paths.next[link - 1]!) {
      if ((paths.flags(link - 1) & pathFlag.rejected) !== 0) continue;
      this.#tables.get(paths.peer[link - 1]!)?.pathChanged(rib, prefix, -1);
    }
    if (rib.locPeer[prefix] !== 0) for (const view of this.#locRib) if (view.rib === rib) view.mark(prefix);
  }

  /** Drops all that belongs to the connection. */
  #forget(): void {
    for (const tables of [...this.#tables.values()]) this.#dropPeer(tables);
    for (const view of this.#locRib) view.dispose();
    this.#locRib = [];
    this.#waiting.clear();
    this.#dumping.clear();
    this.#dump = undefined;
    this.#cancelStatistics?.();
    this.#cancelStatistics = undefined;
    this.#out.length = 0;
  }

  /** Nothing where the station asks for the Loc-RIB alone. */
  #addPeer(peer: BmpPeer): PeerTables | undefined {
    const { monitor } = this.config;
    if (monitor.length > 0 && monitor.every((table) => table === 'loc-rib')) return undefined;
    const tables = new PeerTables(this.#host, peer, monitor, {
      onWaiting: (view) => this.#wait(view),
      onOverflow: () => this.#link.overflow('its peer changes path identifiers faster than it reads'),
      sink: this.#mirrorSink,
    });
    this.#tables.set(peer.row, tables);
    writePeerUp(this.#out, tables.header, peer.upAtUsec, peer);
    this.#write(1);
    return tables;
  }
  #dropPeer(tables: PeerTables): void {
    for (const view of tables.views) this.#waiting.delete(view);
    tables.dispose();
    this.#tables.delete(tables.peer.row);
    this.#toFollow.delete(tables);
    for (const mirror of this.#dumping) if (!mirror.joined) this.#dumping.delete(mirror);
  }

  readonly #mirrorSink = {
    isWritable: (): boolean => this.#link.writable,
    get writable(): boolean {
      return this.isWritable();
    },
    joined: (mirror: AdjRibOutMirror): void => void this.#dumping.add(mirror),
    write: (mirror: AdjRibOutMirror, updates: Uint8Array): void => this.#routes(mirror.header, updates, mirror.dumped),
  };

  #wait(view: RibView): void {
    this.#waiting.add(view);
    this.#host.schedule();
  }

  /** RFC 9069 5: a peer of its own kind, whose OPENs are made up to say what its messages need. */
  #addLocRib(): void {
    const { asn, routerId } = this.#host.speaker();
    const header: BmpPeerHeader = { type: bmpPeerType.locRib, flags: 0, asn, routerId };
    const withPathIds = this.#locRibPaths;
    const addPath = withPathIds ? bothFamilies.map((family) => ({ family, receive: true, send: true })) : [];
    const forms = { asn4: true, extendedMessages: true, extendedNextHop: true, addPath };
    const open = encodeOpen({ asn, holdTimeSec: 0, routerId, families: bothFamilies, routeRefresh: false, ...forms });
    const up = { localPort: 0, remotePort: 0, openSent: open, openReceived: open, tableName };
    writePeerUp(this.#out, header, this.#host.wallUsec(), up);
    this.#write(1);
    this.#locRib = this.#host.ribs.map(
      (rib) => new RibView(rib, locRibRow, header, { onWaiting: (view) => this.#wait(view), withPathIds }),
    );
  }

  #scheduleStatistics(): void {
    const { statisticsSec } = this.config;
    if (!statisticsSec) return;
    this.#cancelStatistics = this.#host.clock.schedule(1000 * statisticsSec, () => {
      this.#scheduleStatistics();
      if (this.#link.writable) this.#report();
    });
  }
  #report(): void {
    const now = this.#host.wallUsec();
    for (const tables of this.#tables.values()) {
      const statistics = peerStatistics(this.#host.ribs, this.#host.received(), tables);
      writeStatistics(this.#out, tables.header, now, statistics);
    }
    const locRib = this.#locRib[0];
    if (locRib) writeStatistics(this.#out, locRib.header, now, locRibStatistics(this.#host.ribs));
    this.#write(this.#tables.size + (locRib ? 1 : 0));
  }

  #peerDown(header: BmpPeerHeader, down: Parameters<typeof writePeerDown>[3]): void {
    writePeerDown(this.#out, header, this.#host.wallUsec(), down);
    this.#write(1);
  }
  #encoderOf({ withPathIds }: RibView): RouteEncoder {
    if (!withPathIds) return this.#encoder;
    this.#pathEncoder ??= new RouteEncoder((updates) => this.#viewRoutes(updates), true);
    return this.#pathEncoder;
  }
  #viewRoutes(updates: Uint8Array): void {
    const { header, dumped } = this.#view!;
    this.#routes(header, updates, dumped);
  }
  #routes(header: BmpPeerHeader, updates: Uint8Array, dumped: boolean): void {
    // When a route of the dump came is not kept: zero says so (RFC 7854 4.2).
    const count = writeRouteMonitoring(this.#out, header, dumped ? this.#host.wallUsec() : 0, updates);
    this.#write(count);
  }
  /** Hands over what was written. */
  #write(messages: number): void {
    this.#link.write(this.#out.take(), messages);
  }
}
