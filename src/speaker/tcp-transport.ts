/**
 * BGP's sockets: listeners and outgoing connections, made through system calls because node:net can set neither keys
 * before the SYN nor the TOS of a listener.
 *
 * TCP-MD5 (RFC 2385) and TCP-AO (RFC 5925): listener-keys.ts; connections that exist keep the keys they were made with until they are
 * given others.
 *
 * GTSM (RFC 5082): a listener sends with TTL 255, for the peer's sake. Its own minimum would hold for all peers, so that each accepted
 * connection gets that of its peer, and the SYN is looked at afterwards; who came from too far is cut before a byte is read.
 */
import net from 'node:net';
import type { ByteConnection, DialRequest, LocalLink, SpeakerConfig, Transport } from '#bgp';
import { errorText, type Logger, splitZone } from '#kit';
import { descriptorOf, interfaceIndex, setMd5Key, setMinHops, synHops, tcpSocket } from '#sys';
import { type AddressRule, addressRules, type RuleList } from './address-rules.ts';
import { aoSubject, type ConnectionKeys, signAccepted, signDialled } from './ao-keys.ts';
import { createAoProbe } from './ao-probe.ts';
import { dialFailure } from './dial-failure.ts';
import { ListenerKeys } from './listener-keys.ts';
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
  readonly server: net.Server;
  readonly keys: ListenerKeys;
}

export class TcpTransport implements Transport {
  readonly tcpAoFault = createAoProbe();
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
        'peers with this link-local address on several interfaces have different passwords or keys: those know no interface, the last ones count',
      );
    }
    for (const [name, { keys }] of this.#listeners) {
      keys.sync(this.#rules.keys(wanted.get(name)!.address.includes(':') ? 6 : 4));
    }
  }

  dial(
    request: DialRequest,
    onConnected: (connection: ByteConnection) => void,
    onFailed: (reason: string) => void,
  ): () => void {
    const { address, port, localAddress, password, tcpAo, ttlSecurityHops } = request;
    const subject = splitZone(address).address;
    const keys = tcpAo && { subject: { address: subject }, keys: tcpAo };
    let socket: net.Socket;
    try {
      const { address: local, zone } = splitZone(localAddress ?? (address.includes(':') ? '::' : '0.0.0.0'));
      const scopeId = zone === undefined ? 0 : interfaceIndex(zone);
      const guard = ttlSecurityHops === undefined ? {} : { hops: hopsMax, minHops: minHops(ttlSecurityHops) };
      using fd = tcpSocket({ local, port: 0, scopeId, ...guard });
      if (password !== undefined) setMd5Key(fd.number, subject, password);
      if (keys) signDialled(fd.number, keys);
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
      onConnected(this.#adopt(socket, keys));
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
    const keys = new ListenerKeys(socket.number, this.#log);
    const server = net.createServer((accepted) => {
      const peer = accepted.remoteAddress ?? '';
      const rule = this.#rules.of(peer);
      const signed = rule?.tcpAo && { subject: aoSubject(rule.subject), keys: rule.tcpAo };
      const unsafe = rule !== undefined && keys.isKeyless(rule.subject);
      const full = this.#connections.size >= connectionsMax;
      if (full || unsafe || !this.#isNear(accepted, peer, rule) || !this.#isSigned(accepted, peer, signed)) {
        accepted.destroy();
        return;
      }
      this.#onAccept(this.#adopt(accepted, signed));
    });
    server.on('error', (error) => this.#log.error({ address, port, error: error.message }, 'listener failed'));
    server.listen({ fd: socket.take() });
    this.#log.info({ address, port }, 'listening');
    return { server, keys };
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

  #isSigned(accepted: net.Socket, address: string, keys: ConnectionKeys | undefined): boolean {
    if (!keys) return true;
    try {
      const fault = signAccepted(descriptorOf(accepted), keys);
      if (fault === undefined) return true;
      this.#log.warn({ address, fault }, 'connection of a peer with TCP-AO keys is refused');
    } catch (error) {
      this.#log.error({ address, error: errorText(error) }, 'cannot set the TCP-AO keys of a connection; refused');
    }
    return false;
  }

  #adopt(socket: net.Socket, keys: ConnectionKeys | undefined): TcpConnection {
    const connection = new TcpConnection(socket, keys, (gone) => this.#connections.delete(gone));
    this.#connections.add(connection);
    return connection;
  }
}
