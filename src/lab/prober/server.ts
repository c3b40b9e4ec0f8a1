/** Serves every port of every target, in its namespace; whoever asks learns who answered. */

import { errorText } from '#kit';
import { EAGAIN, EPOLLIN, Fd, libc, parseSockaddrIn, SOCK_CLOEXEC, SOCK_NONBLOCK, sockaddrIn } from '#sys';
import { isFlowPacket } from './flows.ts';
import type { Target } from './protocol.ts';
import { decodeSctp, encodeSctp, sctpPayload, sctpSocket } from './sctp.ts';
import { type Namespaces, type Reactor, serverSocket } from './sockets.ts';
import { isStreamPacket } from './streams.ts';

const MSG_NOSIGNAL = 0x4000;
/** Work done for one ready socket before others get their turn. */
const acceptsPerTurnMax = 64;
const datagramsPerTurnMax = 256;
/** Accepted connections kept for what their clients may still say; then the oldest goes. */
const connectionsMax = 8192;

export class Servers {
  readonly #reactor: Reactor;
  readonly #namespaces: Namespaces;
  readonly #onStreamPacket: (target: string, packet: Buffer) => void;
  /** target id + address + protocol + port -> listening socket. */
  readonly #sockets = new Map<string, Fd>();
  /** Accepted, in order. */
  readonly #connections = new Set<Fd>();
  readonly #packet = Buffer.alloc(65536);
  readonly #peer = Buffer.alloc(28);
  readonly #peerLength = Buffer.alloc(4);

  constructor(reactor: Reactor, namespaces: Namespaces, onStreamPacket: (target: string, packet: Buffer) => void) {
    this.#reactor = reactor;
    this.#namespaces = namespaces;
    this.#onStreamPacket = onStreamPacket;
  }
  get count(): number {
    return this.#sockets.size;
  }

  /** Makes the listening sockets exactly those of `targets`. @returns what could not be served and why. */
  sync(targets: readonly Target[]): string[] {
    const problems: string[] = [];
    const wanted = new Map<string, { target: Target; address: string; port: Target['ports'][number] }>();
    for (const target of targets) {
      for (const address of target.addresses) {
        for (const port of target.ports) {
          wanted.set(`${target.netns} ${target.id} ${address} ${port.protocol} ${port.port}`, {
            target,
            address,
            port,
          });
        }
      }
    }
    for (const [key, fd] of this.#sockets) {
      if (wanted.has(key)) continue;
      this.#reactor.close(fd);
      this.#sockets.delete(key);
    }
    for (const [key, { target, address, port }] of wanted) {
      if (this.#sockets.has(key)) continue;
      try {
        const { protocol } = port;
        const fd = this.#namespaces.within(target.netns, () =>
          protocol === 'SCTP' ? sctpSocket(address, address) : serverSocket(protocol, address, port.port),
        );
        this.#sockets.set(key, fd);
        const identity = Buffer.from(target.id);
        if (protocol === 'TCP') this.#reactor.add(fd, EPOLLIN, () => this.#accept(fd, identity));
        else if (protocol === 'UDP') this.#reactor.add(fd, EPOLLIN, () => this.#answer(fd, target.id, identity));
        else this.#reactor.add(fd, EPOLLIN, () => this.#answerInit(fd, target.id, address, port.port));
      } catch (error) {
        problems.push(`${target.id}: cannot serve ${port.protocol} ${port.port} on ${address}: ${errorText(error)}`);
      }
    }
    return problems;
  }

  #accept(listener: Fd, identity: Buffer): void {
    for (let i = 0; i < acceptsPerTurnMax; i++) {
      const number = libc.accept4(listener.number, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (number < 0) return; // EAGAIN: no more. Anything else (the caller went away) concerns that caller alone.
      const fd = new Fd(number);
      libc.send(fd.number, identity, identity.length, MSG_NOSIGNAL);
      this.#connections.add(fd);
      this.#reactor.add(fd, EPOLLIN, () => this.#echo(fd));
      if (this.#connections.size > connectionsMax) this.#hangUp(this.#connections.values().next().value!);
    }
  }

  /** A probe resets its connection at once; a flow goes on and gets back what it sends. */
  #echo(fd: Fd): void {
    const length = libc.recv(fd.number, this.#packet, this.#packet.length, 0);
    if (length === -EAGAIN) return;
    if (length <= 0) this.#hangUp(fd);
    else libc.send(fd.number, this.#packet, length, MSG_NOSIGNAL);
  }

  #hangUp(fd: Fd): void {
    this.#connections.delete(fd);
    this.#reactor.close(fd);
  }

  #answerInit(socket: Fd, target: string, address: string, port: number): void {
    for (let i = 0; i < datagramsPerTurnMax; i++) {
      this.#peerLength.writeUInt32LE(this.#peer.length);
      const length = libc.recvfrom(socket.number, this.#packet, this.#packet.length, 0, this.#peer, this.#peerLength);
      if (length === -EAGAIN) return;
      if (length < 0) continue;
      const init = decodeSctp(sctpPayload(this.#packet.subarray(0, length), address));
      const peer = parseSockaddrIn(this.#peer);
      if (init?.type !== 'INIT' || init.destinationPort !== port || !peer) continue;
      const answer = encodeSctp({
        type: 'INIT-ACK',
        sourcePort: port,
        destinationPort: init.sourcePort,
        verificationTag: init.initiateTag,
        initiateTag: init.initiateTag,
        cookie: target,
      });
      const to = sockaddrIn(peer.address, 0);
      libc.sendto(socket.number, answer, answer.length, MSG_NOSIGNAL, to, to.length);
    }
  }

  #answer(socket: Fd, target: string, identity: Buffer): void {
    for (let i = 0; i < datagramsPerTurnMax; i++) {
      this.#peerLength.writeUInt32LE(this.#peer.length);
      const length = libc.recvfrom(socket.number, this.#packet, this.#packet.length, 0, this.#peer, this.#peerLength);
      if (length === -EAGAIN) return;
      if (length < 0) continue; // an ICMP error about an earlier answer
      const packet = this.#packet.subarray(0, length);
      if (isStreamPacket(packet)) {
        this.#onStreamPacket(target, packet);
        continue;
      }
      const answer = isFlowPacket(packet) ? packet : identity;
      libc.sendto(socket.number, answer, answer.length, MSG_NOSIGNAL, this.#peer, this.#peerLength.readUInt32LE());
    }
  }
}
