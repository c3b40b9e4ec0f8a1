/**
 * Peers that come by themselves, as they happen: routers heard of on interfaces, strangers who connect, peers of ranges that are gone. What
 * they are made into is `neighbours.ts`'s; the speaker adds and removes.
 */
import { type Clock, type Logger, splitZone } from '#kit';
import { ceaseSubcode, encodeNotification, errorCode } from '../wire/index.ts';
import type { PeerConfig, SpeakerConfig } from './config.ts';
import type { DeferralPeer } from './deferral.ts';
import { IdleWatch } from './idle-watch.ts';
import { rangePeerOpeningSec } from './limits.ts';
import { type Admission, Neighbours } from './neighbours.ts';
import type { Peer } from './peer.ts';
import { holdUnsigned, type TcpAoFault } from './tcp-ao.ts';
import type { ByteConnection, RangeStatus } from './types.ts';

export interface NewcomerHost {
  readonly clock: Clock;
  readonly log: Logger;
  /** See `Transport`. */
  readonly tcpAoFault: TcpAoFault;
  peers(): Iterable<Peer>;
  peer(name: string): Peer | undefined;
  /** One peer more. */
  add(config: PeerConfig): Peer;
  remove(peer: Peer): void;
  /** Peers have other addresses now: all of it. */
  apply(config: SpeakerConfig): void;
  /** Whether somebody is a peer; takes the connection then. */
  accept(connection: ByteConnection): boolean;
}

export class Newcomers {
  readonly #host: NewcomerHost;
  readonly #neighbours: Neighbours;
  readonly #idle: IdleWatch;
  /** Why sessions cannot be signed, by name of the peer or prefix of the range. */
  #unsigned: ReadonlyMap<string, string> = new Map();

  constructor(host: NewcomerHost, config: SpeakerConfig) {
    this.#host = host;
    this.#neighbours = new Neighbours(host.log, this.#held(config));
    this.#idle = new IdleWatch(host.clock, {
      inUse: (name) => host.peer(name)?.inUse === true,
      giveUp: (name) => this.#giveUp(name),
    });
  }

  /** See `Neighbours.effective`. */
  get effective(): SpeakerConfig {
    return this.#neighbours.effective();
  }
  /** What `configure` would return. */
  preview(config: SpeakerConfig): SpeakerConfig {
    return this.#neighbours.effective(this.#signed(config));
  }
  configure(config: SpeakerConfig): SpeakerConfig {
    this.#neighbours.configure(this.#held(config));
    return this.effective;
  }
  #signed(config: SpeakerConfig): SpeakerConfig {
    return holdUnsigned(config, this.#host.tcpAoFault);
  }
  /** As `#signed`; who is held down for it is logged once. */
  #held(config: SpeakerConfig): SpeakerConfig {
    const signed = this.#signed(config);
    const unsigned = new Map<string, string>();
    for (const [of, as] of [
      [config.peers, signed.peers],
      [config.ranges ?? [], signed.ranges ?? []],
    ] as const) {
      for (const [index, { heldDown: reason, ...peer }] of as.entries()) {
        if (reason === undefined || reason === of[index]?.heldDown) continue;
        const name = 'prefix' in peer ? peer.prefix : peer.name;
        unsigned.set(name, reason);
        if (this.#unsigned.get(name) !== reason) this.#host.log.error({ peer: name, reason }, 'session is held down');
      }
    }
    this.#unsigned = unsigned;
    return signed;
  }
  stop(name?: string): void {
    this.#idle.stop(name);
  }

  /** See `Speaker.neighbourFound`. */
  found(interfaceName: string, address: string, certain: boolean): void {
    let connected = false;
    for (const { config, established } of this.#host.peers()) {
      if (config.interface === interfaceName && established) connected = true;
    }
    const now = this.#host.clock.nowMs();
    if (this.#neighbours.found(interfaceName, address, now, certain, connected)) this.#host.apply(this.effective);
  }
  linkDown(interfaceName: string): void {
    this.#neighbours.linkDown(interfaceName);
  }

  /** A connection from an address that is no peer. */
  accept(connection: ByteConnection): void {
    const { remoteAddress } = connection;
    const { address, zone } = splitZone(remoteAddress);
    if (zone !== undefined && this.#neighbours.wantsToKnow(zone)) {
      this.found(zone, address, true);
      if (this.#host.accept(connection)) return;
    }
    const admission = this.#admit(remoteAddress, connection.localAddress);
    if (admission.type === 'peer') {
      const peer = this.#host.add(admission.config);
      peer.session.accept(connection);
    } else if (admission.type === 'full') {
      const { connectionRejected: subcode } = ceaseSubcode;
      connection.write(encodeNotification({ code: errorCode.cease, subcode, data: new Uint8Array(0) }));
      connection.close();
      this.#host.log.debug({ remoteAddress, range: admission.prefix }, 'the range has as many peers as it may');
    } else {
      connection.destroy();
      this.#host.log.debug({ remoteAddress }, 'connection from an address that is no peer');
    }
  }

  /** Who only connects and says nothing for long makes room for somebody else. */
  #admit(remoteAddress: string, localAddress: string): Admission {
    const admission = this.#neighbours.admit(remoteAddress, localAddress);
    if (admission.type !== 'full') return admission;
    for (const peer of this.#host.peers()) {
      if (peer.config.range !== admission.prefix || peer.established || peer.holdsStaleRoutes) continue;
      if (peer.stateForMs < rangePeerOpeningSec * 1000) continue;
      this.#giveUp(peer.config.name);
      return this.#neighbours.admit(remoteAddress, localAddress);
    }
    return admission;
  }

  /** Something changed at a peer. */
  changed({ config }: Peer): void {
    if (config.range !== undefined) this.#idle.check(config.name);
  }
  #giveUp(name: string): void {
    const peer = this.#host.peer(name);
    if (peer?.config.range === undefined) return;
    this.#host.log.info({ peer: name, range: peer.config.range }, 'peer of a range is gone');
    this.#neighbours.forget(peer.config);
    this.#host.remove(peer);
  }

  rangeStatuses(): RangeStatus[] {
    return this.#neighbours.rangeStatuses();
  }
  /** After our restart peers of ranges have to connect first, who they are we have forgotten (RFC 4724 4.1). */
  deferralPeers(): DeferralPeer[] {
    return this.#neighbours.rangeStatuses().map(({ prefix }) => ({
      name: `range ${prefix}`,
      passive: true,
      held: false,
      opening: false,
      established: false,
      answered: false,
      stateForMs: 0,
      done: false,
    }));
  }
}
