/**
 * BGP's sockets: listeners and outgoing connections, made through system calls because node:net can set neither a TCP-MD5
 * key before the SYN nor the TOS of a listener.
 *
 * TCP-MD5 (RFC 2385): the kernel answers a SYN by the key on the *listener*, so each peer's key is put there when the peer
 * is configured, changed in place, and deleted with the peer; connections that exist keep the key they were made with until they
 * are given another.
 *
 * GTSM (RFC 5082): a listener sends with TTL 255, for the peer's sake. Its own minimum would hold for all peers, so that each accepted
 * connection gets that of its peer, and the SYN is looked at afterwards; who came from too far is cut before a byte is read.
 */
import net from 'node:net';
import type { ByteConnection, DialRequest, LocalLink, SpeakerConfig, Transport } from '#bgp';
import { errorText, type Logger, splitZone } from '#kit';
import { descriptorOf, interfaceIndex, SysError, setMd5Key, setMinHops, synHops, tcpSocket } from '#sys';
import { type AddressRule, addressRules, type RuleList } from './address-rules.ts';
import { dialFailure } from './dial-failure.ts';
import { LocalLinks } from './local-links.ts';
import { TcpConnection } from './tcp-connection.ts';

/** Connections of all peers together that may be open; more are refused at once. */
const connectionsMax = 4096;
const hopsMax = 255;

/** What arrives from within so many hops has at least this TTL. */
function minHops(ttlSecurityHops: number): number {
  return hopsMax + 1 - ttlSecurityHops;
}

interface Listener {
  readonly fd: number;
  readonly server: net.Server;
  /** Peer address or prefix -> key on this listener. */
  readonly keys: Map<string, string>;
  /** Peers and ranges whose key could not be set (ENOMEM: net.core.optmem_max): without it anybody at their address would get in. */
  readonly keyless: Set<string>;
}

export class TcpTransport implements Transport {
  readonly #log: Logger;
  readonly #onAccept: (connection: ByteConnection) => void;
  readonly #listeners = new Map<string, Listener>();
  readonly #connections = new Set<TcpConnection>();
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
      listener.server.close();
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
        'peers with this link-local address on several interfaces have different passwords: TCP-MD5 knows no interface, the last one counts',
      );
    }
    for (const [name, listener] of this.#listeners) this.#setKeys(listener, wanted.get(name)!.address);
  }

  dial(
    request: DialRequest,
    onConnected: (connection: ByteConnection) => void,
    onFailed: (reason: string) => void,
  ): () => void {
    const { address, port, localAddress, password, ttlSecurityHops } = request;
    let socket: net.Socket;
    try {
      const { address: local, zone } = splitZone(localAddress ?? (address.includes(':') ? '::' : '0.0.0.0'));
      const scopeId = zone === undefined ? 0 : interfaceIndex(zone);
      const guard = ttlSecurityHops === undefined ? {} : { hops: hopsMax, minHops: minHops(ttlSecurityHops) };
      using fd = tcpSocket({ local, port: 0, scopeId, ...guard });
      if (password !== undefined) setMd5Key(fd.number, splitZone(address).address, password);
      // manualStart: reading from a socket that is not connected yet is an error.
      socket = new net.Socket({ fd: fd.take(), manualStart: true } as net.SocketConstructorOpts);
    } catch (error) {
      const timer = setImmediate(() => onFailed(errorText(error)));
      return () => clearImmediate(timer);
    }
    let over = false;
    const fail = (error: NodeJS.ErrnoException): void => {
      if (over) return;
      over = true;
      socket.destroy();
      onFailed(dialFailure(error));
    };
    socket.once('error', fail);
    socket.connect({ host: address, port }, () => {
      if (over) return;
      over = true;
      socket.off('error', fail);
      onConnected(this.#adopt(socket));
    });
    return () => {
      if (over) return;
      over = true;
      socket.destroy();
    };
  }

  linkOf(localAddress: string, remoteAddress: string): LocalLink | undefined {
    return this.#links.linkOf(localAddress, remoteAddress);
  }
  /** Addresses of interfaces changed. */
  linksChanged(): void {
    this.#links.forget();
  }

  /** Stops listening and cuts what is open. */
  close(): void {
    this.stopListening();
    for (const connection of [...this.#connections]) connection.destroy();
  }
  stopListening(): void {
    for (const { server } of this.#listeners.values()) server.close();
    this.#listeners.clear();
  }

  #listen(address: string, port: number): Listener {
    using socket = tcpSocket({ local: address, port, hops: hopsMax, saveSyn: true });
    const fd = socket.number;
    const keyless = new Set<string>();
    const server = net.createServer((accepted) => {
      const peer = accepted.remoteAddress ?? '';
      const rule = this.#rules.of(peer);
      const unsafe = rule !== undefined && keyless.has(rule.subject);
      if (this.#connections.size >= connectionsMax || unsafe || !this.#isNear(accepted, peer, rule)) {
        accepted.destroy();
        return;
      }
      this.#onAccept(this.#adopt(accepted));
    });
    server.on('error', (error) => this.#log.error({ address, port, error: error.message }, 'listener failed'));
    server.listen({ fd: socket.take() });
    this.#log.info({ address, port }, 'listening');
    return { fd, server, keys: new Map(), keyless };
  }

  /** Sets the GTSM minimum of the peer where it has one; false when the connection is from farther, or cannot be guarded. */
  #isNear(accepted: net.Socket, address: string, rule: AddressRule | undefined): boolean {
    if (rule?.ttlSecurityHops === undefined) return true;
    const least = minHops(rule.ttlSecurityHops);
    const family = address.includes(':') ? 6 : 4;
    try {
      const fd = descriptorOf(accepted);
      setMinHops(fd, family, least);
      const hops = synHops(fd, family);
      if (hops !== undefined && hops >= least) return true;
      this.#log.warn({ address, hops, least }, 'connection from farther away than TTL security allows; refused');
    } catch (error) {
      this.#log.error({ address, error: errorText(error) }, 'cannot set TTL security on a connection; refused');
    }
    return false;
  }

  #adopt(socket: net.Socket): TcpConnection {
    const connection = new TcpConnection(socket, (gone) => this.#connections.delete(gone));
    this.#connections.add(connection);
    return connection;
  }

  #setKeys(listener: Listener, listenAddress: string): void {
    const six = listenAddress.includes(':');
    const wanted = this.#rules.keys(six ? 6 : 4);
    const set = (address: string, key: string | undefined): void => {
      const [host = '', length] = address.split('/');
      try {
        setMd5Key(listener.fd, host, key, length === undefined ? undefined : Number(length));
        if (key === undefined) listener.keys.delete(address);
        else listener.keys.set(address, key);
        listener.keyless.delete(address);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        if (key !== undefined) listener.keyless.add(address);
        this.#log.error(
          { address, error: error.message },
          'cannot change the TCP-MD5 key of a peer on the listener; without its key it is refused',
        );
      }
    };
    for (const address of listener.keyless) if (!wanted.has(address)) listener.keyless.delete(address);
    for (const address of [...listener.keys.keys()]) if (!wanted.has(address)) set(address, undefined);
    for (const [address, key] of wanted) if (listener.keys.get(address) !== key) set(address, key);
  }
}
