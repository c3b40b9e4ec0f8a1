/** The peers that there are: made, found, succeeded by others of the same name, removed; their rows in the tables and their order. */
import type { PeerTable } from '../rib/index.ts';
import { ceaseSubcode } from '../wire/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import type { OwnRestart } from './own-restart.ts';
import { type Inheritance, Peer, type PeerHost } from './peer.ts';
import type { SessionDeps } from './session.ts';
import { addressOrder, isAnotherPeer, needsNewSession, sessionConfig } from './session-config.ts';
import type { ByteConnection } from './types.ts';

export interface PeerRegistryDeps {
  readonly session: SessionDeps;
  readonly host: PeerHost;
  readonly table: PeerTable;
  readonly restart: OwnRestart;
  /** Of the moment. */
  readonly config: () => SpeakerConfig;
  /** A peer is gone for good. */
  readonly removed: (name: string) => void;
}

export class PeerRegistry {
  readonly #deps: PeerRegistryDeps;
  readonly #peers = new Map<string, Peer>();
  /** Rows of removed peers, free when nothing announced names them any more. */
  readonly #rowsToFree: number[] = [];
  /** Of peers that the change under way makes anew, by name. */
  readonly #earlierSessions = new Map<string, number>();
  #rankDue = false;

  constructor(deps: PeerRegistryDeps) {
    this.#deps = deps;
  }

  [Symbol.iterator](): IterableIterator<Peer> {
    return this.#peers.values();
  }
  get(name: string): Peer | undefined {
    return this.#peers.get(name);
  }

  /** A connection somebody opened to us goes to the peer with that address; false: there is none. */
  accept(connection: ByteConnection): boolean {
    for (const peer of this.#peers.values()) {
      if (peer.config.address !== connection.remoteAddress) continue;
      if (peer.config.localAddress && peer.config.localAddress !== connection.localAddress) continue;
      // Without NOTIFICATION, as if nobody listened: it is to come back.
      if (peer.held) connection.destroy();
      else peer.session.accept(connection);
      return true;
    }
    return false;
  }

  add(config: PeerConfig, heir?: Inheritance): Peer {
    const { session: deps, host, table, restart } = this.#deps;
    const session = sessionConfig(this.#deps.config(), config, restart.offer(config, heir !== undefined));
    const from = heir ?? table.make();
    table.names[typeof from === 'number' ? from : from.row] = config.name;
    const peer = new Peer(host, deps, config, session, from);
    peer.earlierSessions = this.#earlierSessions.get(config.name) ?? 0;
    this.#earlierSessions.delete(config.name);
    this.#peers.set(config.name, peer);
    // One that is held down stays stopped, and refuses who connects.
    if (config.heldDown === undefined) peer.start(heir ? 0 : restart.holdMs(config));
    return peer;
  }

  remove(peer: Peer, subcode: number): void {
    peer.stop({ subcode, hard: true });
    peer.dropRoutes();
    this.#peers.delete(peer.config.name);
    this.#deps.removed(peer.config.name);
    this.#rowsToFree.push(peer.row);
  }

  /** Ends those that a change removes or makes anew; returns, by name, what the new ones inherit. */
  endChanged(before: SpeakerConfig, after: SpeakerConfig): Map<string, Inheritance> {
    const { peerDeconfigured, otherConfigurationChange, administrativeShutdown } = ceaseSubcode;
    const wanted = new Map(after.peers.map((peer) => [peer.name, peer]));
    const inherit = new Map<string, Inheritance>();
    this.#earlierSessions.clear();
    for (const [name, peer] of this.#peers) {
      const next = wanted.get(name);
      if (!next) this.remove(peer, peerDeconfigured);
      else if (mustRestart(peer, next, before, after)) {
        const another = isAnotherPeer({ speaker: before, peer: peer.config }, { speaker: after, peer: next });
        if (peer.config.address === next.address) this.#earlierSessions.set(name, peer.establishedCount);
        const heir = another ? undefined : this.#succeed(peer, next);
        if (heir) inherit.set(name, heir);
        else this.remove(peer, next.heldDown === undefined ? otherConfigurationChange : administrativeShutdown);
      }
    }
    return inherit;
  }

  /** After peers were added: their order is the last tie-break of decisions. */
  rank(): void {
    this.#rankDue = false;
    const order = addressOrder([...this.#peers.values()].map((peer) => peer.config));
    for (const peer of this.#peers.values()) {
      this.#deps.table.addressOrder[peer.row] = order.get(peer.config.name)!;
    }
  }

  /** Many may come within a moment: they are ranked before the next decision. */
  rankLater(): void {
    this.#rankDue = true;
  }
  rankIfDue(): void {
    if (this.#rankDue) this.rank();
  }

  /** All is decided: nothing names the rows of removed peers any more. */
  freeRows(): void {
    if (this.#rowsToFree.length === 0) return;
    for (const row of this.#rowsToFree.splice(0)) this.#deps.table.free(row);
  }

  /** The peer stays who it is: with RFC 8538 both sides keep their routes while the session is made anew. */
  #succeed(peer: Peer, next: PeerConfig): Inheritance | undefined {
    const heir = peer.bequeath(next);
    if (!heir) return undefined;
    peer.stop({ subcode: ceaseSubcode.otherConfigurationChange });
    this.#peers.delete(peer.config.name);
    return heir;
  }
}

function mustRestart(peer: Peer, next: PeerConfig, before: SpeakerConfig, after: SpeakerConfig): boolean {
  const changed = needsNewSession({ speaker: before, peer: peer.config }, { speaker: after, peer: next });
  return changed || peer.cannotImportAgain(next) || !peer.rekey(next);
}
