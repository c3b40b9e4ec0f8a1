/**
 * BGP's sockets: listeners and outgoing connections, made through system calls because node:net can set neither keys
 * before the SYN nor the TOS of a listener, and accepts as long as somebody connects.
 *
 * TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925): listener-keys.ts; connections that exist keep the keys they were made with until they are
 * given others.
 *
 * GTSM (RFC 5082): a listener sends with TTL 255, for the peer's sake. Its own minimum would hold for all peers, so that each accepted
 * connection gets that of its peer, and the SYN is looked at afterwards; who came from too far is cut before a byte is read.
 */
import type { ByteConnection, DialRequest, LocalLink, SpeakerConfig, Transport } from '#bgp';
import { errorText, type Logger, nowMs, splitZone } from '#kit';
import {
  acceptedFrom,
  acceptTcp,
  connectTo,
  EINPROGRESS,
  errnoName,
  Fd,
  interfaceIndex,
  listenTcp,
  SocketSet,
  setMd5Key,
  setMinHops,
  socketError,
  socketPair,
  synHops,
  type TcpEnd,
  tcpSocket,
  type Watcher,
  watch,
  wouldBlock,
} from '#sys';
import { type AddressRule, addressRules, type RuleList } from './address-rules.ts';
import { AfterReads } from './after-reads.ts';
import { aoSubject, type ConnectionKeys, signAccepted, signDialled } from './ao-keys.ts';
import { createAoProbe } from './ao-probe.ts';
import { dialFailure } from './dial-failure.ts';
import { ListenerKeys } from './listener-keys.ts';
import { LocalLinks } from './local-links.ts';
import { ReadBudget } from './read-budget.ts';
import { TcpConnection, type TcpConnectionOptions } from './tcp-connection.ts';

/** Connections of all peers together that may be open; more are refused at once. */
const connectionsMax = 4096;
/** Of them, those that we have ended and whose peers have not; the oldest are cut. */
const closingMax = 256;
/** How long a dial waits for the peer to end what we closed: one that lives does so at once, one that does not is dialled all the same. */
const heardMsMax = 250;
/** Taken from one listener in one turn of the event loop. */
export const acceptsPerTurnMax = 32;
/** The kernel's queue of those that wait to be taken. */
const backlog = 511;
/** How long nobody is taken in when there are no descriptors left. */
const exhaustedMs = 100;
const hopsMax = 255;
/** Of a connection within the process: so little that a write now and then finds no room, as on the network. */
const pairBufferBytes = 8192;

/** What arrives from within so many hops has at least this TTL. */
function minHops(ttlSecurityHops: number): number {
  return hopsMax + 1 - ttlSecurityHops;
}

interface Listener {
  readonly fd: Fd;
  readonly watcher: Watcher;
  readonly keys: ListenerKeys;
}

/** A dial that has not begun. */
interface WaitingDial {
  begin(): void;
  giveUp(): void;
}

export class TcpTransport implements Transport {
  readonly tcpAoFault = createAoProbe();
  readonly #log: Logger;
  readonly #onAccept: (connection: ByteConnection) => void;
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Set<TcpConnection>();
  /** Each with the dials that wait for its end. */
  readonly #closing = new Map<TcpConnection, Set<WaitingDial>>();
  readonly #budget = new ReadBudget(nowMs, (fn) => void setImmediate(fn));
  readonly #afterReads = new AfterReads((fn) => void setImmediate(fn));
  readonly #sockets = new SocketSet(this.#budget.quiet);
  /** For what reads of connections leave to be done; see `SpeakerDeps`. */
  readonly defer = this.#afterReads.defer;
  readonly afterwards = this.#afterReads.afterwards;
  readonly #links = new LocalLinks();
  /** What peers and ranges ask of who connects. */
  #rules: RuleList = addressRules([], []);
  #configured = false;

  constructor(log: Logger, onAccept: (connection: ByteConnection) => void) {
    this.#log = log;
    this.#onAccept = onAccept;
  }

  get openConnections(): number {
    return this.#connections.size;
  }

  /** @throws SysError when an address cannot be listened on, the first time; later that is logged, and tried again with the next change. */
  configure(config: SpeakerConfig): void {
    this.#rules = addressRules(config.peers, config.ranges ?? []);
    const wanted = new Map(config.listen.map((entry) => [`${entry.address} port ${entry.port}`, entry]));
    for (const [name, listener] of this.#listeners) {
      if (wanted.has(name)) continue;
      endListener(listener);
      this.#listeners.delete(name);
    }
    for (const [name, { address, port }] of wanted) {
      if (this.#listeners.has(name)) continue;
      try {
        this.#listeners.set(name, this.#listen(address, port));
      } catch (error) {
        if (!this.#configured) throw error;
        this.#log.error({ address, port, error: errorText(error) }, 'cannot listen');
      }
    }
    this.#configured = true;
    for (const address of this.#rules.ambiguous) {
      this.#log.error(
        { address },
        'peers with this link-local address on several interfaces have different passwords or keys: those know no interface, the last ones count',
      );
    }
    for (const [name, { keys }] of this.#listeners) {
      keys.sync(this.#rules.keys(wanted.get(name)!.address.includes(':') ? 6 : 4));
    }
  }

  /**
   * Begins when the peer has ended what we closed, or after `heardMsMax`: one that finds both at a time, our last words in the old connection and a new
   * one, may take that for a restart (RFC 4724 4.2), and drop the old one unread. BIRD does.
   */
  dial(
    request: DialRequest,
    onConnected: (connection: ByteConnection) => void,
    onFailed: (reason: string) => void,
  ): () => void {
    const last = [...this.#closing].find(([{ remoteAddress }]) => remoteAddress === request.address);
    if (!last) return this.#dial(request, onConnected, onFailed);
    const [, waiting] = last;
    const dial: WaitingDial = {
      giveUp() {
        clearTimeout(timer);
        waiting.delete(dial);
      },
      begin: () => {
        dial.giveUp();
        cancel = this.#dial(request, onConnected, onFailed);
      },
    };
    let cancel = dial.giveUp;
    const timer = setTimeout(dial.begin, heardMsMax);
    waiting.add(dial);
    return () => cancel();
  }

  #dial(
    request: DialRequest,
    onConnected: (connection: ByteConnection) => void,
    onFailed: (reason: string) => void,
  ): () => void {
    const { tcpAo } = request;
    const keys = tcpAo && { subject: { address: splitZone(request.address).address }, keys: tcpAo };
    const failLater = (reason: string): (() => void) => {
      const timer = setImmediate(() => onFailed(reason));
      return () => clearImmediate(timer);
    };
    let fd: Fd;
    let result: number;
    try {
      [fd, result] = beginDial(request, keys);
    } catch (error) {
      return failLater(errorText(error));
    }
    if (result < 0 && result !== -EINPROGRESS) {
      fd.close();
      return failLater(dialErrno(-result));
    }
    const watcher = watch(fd.number, { writable: true }, () => {
      const errno = socketError(fd.number);
      watcher.close();
      if (errno === 0) {
        onConnected(this.#adopt(new Fd(fd.take()), request, keys));
      } else {
        fd.close();
        onFailed(dialErrno(errno));
      }
    });
    return () => {
      watcher.close();
      fd.close();
    };
  }

  linkOf(localAddress: string, remoteAddress: string): LocalLink | undefined {
    return this.#links.linkOf(localAddress, remoteAddress);
  }
  /** Addresses of interfaces changed. */
  linksChanged(): void {
    this.#links.forget();
  }

  /** A connection within this process, both ends of it: see rehearsal.ts. @throws SysError */
  pair(here: TcpEnd, there: TcpEnd): readonly [TcpConnection, TcpConnection] {
    const [one, other] = socketPair(pairBufferBytes);
    return [this.#adopt(one, there, undefined, here), this.#adopt(other, here, undefined, there)];
  }

  /** Stops listening and cuts what is open. */
  close(): void {
    this.stopListening();
    for (const waiting of this.#closing.values()) for (const dial of waiting) dial.giveUp();
    for (const connection of [...this.#connections]) connection.destroy();
    this.#sockets.close();
  }
  stopListening(): void {
    for (const listener of this.#listeners.values()) endListener(listener);
    this.#listeners.clear();
  }

  #listen(address: string, port: number): Listener {
    using socket = tcpSocket({ local: address, port, hops: hopsMax, saveSyn: true });
    listenTcp(socket.number, backlog);
    const keys = new ListenerKeys(socket.number, this.#log);
    const fd = new Fd(socket.take());
    let exhausted = false;
    const watcher = watch(fd.number, { readable: true }, () => {
      for (let left = acceptsPerTurnMax; left > 0 && !fd.closed; left--) {
        const accepted = acceptTcp(fd.number);
        if (wouldBlock(accepted)) return;
        if (accepted < 0) {
          if (!exhausted) this.#log.error({ address, port, error: errnoName(-accepted) }, 'cannot accept connections');
          exhausted = true;
          watcher.restart({});
          setTimeout(() => watcher.restart(), exhaustedMs).unref();
          return;
        }
        exhausted = false;
        this.#accepted(new Fd(accepted), acceptedFrom(), keys);
      }
    });
    this.#log.info({ address, port }, 'listening');
    return { fd, watcher, keys };
  }

  #accepted(fd: Fd, from: TcpEnd, keys: ListenerKeys): void {
    const { address } = from;
    const rule = this.#rules.of(address);
    const signed = rule?.tcpAo && { subject: aoSubject(rule.subject), keys: rule.tcpAo };
    const refused = this.#connections.size >= connectionsMax || (rule !== undefined && keys.isKeyless(rule.subject));
    if (refused || !this.#isNear(fd.number, address, rule) || !this.#isSigned(fd.number, address, signed)) fd.close();
    else this.#onAccept(this.#adopt(fd, from, signed));
  }

  /** Sets the GTSM minimum of the peer where it has one; false when the connection is from farther, or cannot be guarded. */
  #isNear(fd: number, address: string, rule: AddressRule | undefined): boolean {
    if (rule?.ttlSecurityHops === undefined) return true;
    const least = minHops(rule.ttlSecurityHops);
    const family = address.includes(':') ? 6 : 4;
    try {
      setMinHops(fd, family, least);
      const hops = synHops(fd, family);
      if (hops !== undefined && hops >= least) return true;
      this.#log.warn({ address, hops, least }, 'connection from farther away than TTL security allows; refused');
    } catch (error) {
      this.#log.error({ address, error: errorText(error) }, 'cannot set TTL security on a connection; refused');
    }
    return false;
  }

  #isSigned(fd: number, address: string, keys: ConnectionKeys | undefined): boolean {
    if (!keys) return true;
    try {
      const fault = signAccepted(fd, keys);
      if (fault === undefined) return true;
      this.#log.warn({ address, fault }, 'connection of a peer with TCP-AO keys is refused');
    } catch (error) {
      this.#log.error({ address, error: errorText(error) }, 'cannot set the TCP-AO keys of a connection; refused');
    }
    return false;
  }

  #adopt(
    fd: Fd,
    remote: TcpConnectionOptions['remote'],
    keys: ConnectionKeys | undefined,
    local?: TcpEnd,
  ): TcpConnection {
    const connection = new TcpConnection({
      fd,
      remote,
      ...(local ? { local } : {}),
      keys,
      sockets: this.#sockets,
      budget: this.#budget,
      afterReads: this.#afterReads,
      onClosing: (closing) => {
        this.#closing.set(closing, new Set());
        const [oldest] = this.#closing.keys();
        if (this.#closing.size > closingMax) oldest?.destroy();
      },
      onEnd: (gone) => {
        this.#connections.delete(gone);
        const waiting = this.#closing.get(gone);
        this.#closing.delete(gone);
        for (const dial of waiting ?? []) dial.begin();
      },
    });
    this.#connections.add(connection);
    return connection;
  }
}

function endListener({ fd, watcher }: Listener): void {
  watcher.close();
  fd.close();
}

/** A socket that connects, and what that said. @throws SysError when there is none, or its keys cannot be set */
function beginDial(request: DialRequest, keys: ConnectionKeys | undefined): readonly [Fd, number] {
  const { address, port, localAddress, password, ttlSecurityHops } = request;
  const { address: local, zone } = splitZone(localAddress ?? (address.includes(':') ? '::' : '0.0.0.0'));
  const { address: remote, zone: remoteZone } = splitZone(address);
  const scopeOf = (name: string | undefined): number => (name === undefined ? 0 : interfaceIndex(name));
  const guard = ttlSecurityHops === undefined ? {} : { hops: hopsMax, minHops: minHops(ttlSecurityHops) };
  using fd = tcpSocket({ local, port: 0, scopeId: scopeOf(zone), ...guard });
  if (password !== undefined) setMd5Key(fd.number, remote, password);
  if (keys) signDialled(fd.number, keys);
  const result = connectTo(fd.number, remote, port, scopeOf(remoteZone));
  return [new Fd(fd.take()), result];
}

function dialErrno(errno: number): string {
  const code = errnoName(errno);
  return dialFailure({ code, message: code });
}
