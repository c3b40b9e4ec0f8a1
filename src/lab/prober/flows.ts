/**
 * Connections that stay open, to see what a change of policy does to them: something goes out every 100 ms, and what comes back
 * is counted. TCP: one octet, echoed. UDP: a datagram from one source port. SCTP: the same INIT.
 */
import {
  EAGAIN,
  EINPROGRESS,
  EPOLLIN,
  EPOLLOUT,
  errnoName,
  type Fd,
  getIntOption,
  libc,
  SO_ERROR,
  SOL_SOCKET,
  sockaddrIn,
} from '#sys';
import { clientSocket, type Prober } from './probes.ts';
import type { FlowReport, FlowRequest, Target } from './protocol.ts';
import { SctpProbe } from './sctp.ts';
import type { Namespaces, Reactor } from './sockets.ts';

const MSG_NOSIGNAL = 0x4000;
const beatMs = 100;
/** Between two new connections of a flow that retries; each has the prober's own time to come about. */
const retryMs = 20;
const flowMagic = Buffer.from('poplin-flow\0');
/** No name of a target holds it, so that what a server says first is no echo. */
const beat = Buffer.from([0]);

/** A flow's datagram: the server sends it back. */
export function isFlowPacket(packet: Buffer): boolean {
  return packet.equals(flowMagic);
}

interface Flow {
  answers: number;
  ended: string | undefined;
  readonly timer: NodeJS.Timeout;
  readonly fd: Fd | undefined;
}

export class Flows {
  readonly #reactor: Reactor;
  readonly #namespaces: Namespaces;
  readonly #prober: Prober;
  readonly #flows = new Map<string, Flow>();
  readonly #buffer = Buffer.alloc(65536);

  constructor(reactor: Reactor, namespaces: Namespaces, prober: Prober) {
    this.#reactor = reactor;
    this.#namespaces = namespaces;
    this.#prober = prober;
  }

  /** @throws Error when the name is taken or the source unknown. @throws SysError */
  open(request: FlowRequest, targets: () => ReadonlyMap<string, Target>): void {
    if (this.#flows.has(request.flow)) throw new Error(`flow ${request.flow} is open already`);
    if (request.retry) {
      this.#flows.set(request.flow, this.#hammer(request, targets));
      return;
    }
    const source = targets().get(request.from);
    if (!source) throw new Error(`flow ${request.flow}: no such source ${request.from}`);
    const fd = this.#namespaces.within(source.netns, () => clientSocket(request));
    const start = { TCP: this.#tcp, UDP: this.#udp, SCTP: this.#sctp }[request.protocol];
    this.#flows.set(request.flow, start.call(this, request, fd));
  }

  /** @throws Error when no such flow is open. */
  report(name: string): FlowReport {
    const { answers, ended } = this.#flow(name);
    return { answers, ...(ended === undefined ? {} : { ended }) };
  }

  close(name: string): void {
    const flow = this.#flow(name);
    clearInterval(flow.timer);
    if (flow.fd) this.#reactor.close(flow.fd);
    this.#flows.delete(name);
  }

  #flow(name: string): Flow {
    const flow = this.#flows.get(name);
    if (!flow) throw new Error(`flow ${name} is not open`);
    return flow;
  }

  #hammer(request: FlowRequest, targets: () => ReadonlyMap<string, Target>): Flow {
    const strike = async (): Promise<void> => {
      const [outcome] = await this.#prober.run([request], targets());
      if (outcome?.verdict === 'allow') flow.answers++;
    };
    const timer = setInterval(() => void strike(), retryMs);
    const flow: Flow = { answers: 0, ended: undefined, timer, fd: undefined };
    return flow;
  }

  #tcp(request: FlowRequest, fd: Fd): Flow {
    let connected = false;
    const timer = setInterval(() => {
      if (connected && flow.ended === undefined) libc.send(fd.number, beat, beat.length, MSG_NOSIGNAL);
    }, beatMs);
    const flow: Flow = { answers: 0, ended: undefined, timer, fd };
    const end = (why: string): void => {
      flow.ended = why;
      this.#reactor.close(fd);
    };
    const to = sockaddrIn(request.address, request.port);
    const result = libc.connect(fd.number, to, to.length);
    if (result < 0 && result !== -EINPROGRESS) {
      end(errnoName(-result));
      return flow;
    }
    this.#reactor.add(fd, EPOLLOUT, () => {
      if (!connected) {
        const errno = getIntOption(fd.number, SOL_SOCKET, SO_ERROR);
        if (errno !== 0) return end(errnoName(errno));
        connected = true;
        this.#reactor.modify(fd, EPOLLIN);
        return;
      }
      const length = libc.recv(fd.number, this.#buffer, this.#buffer.length, 0);
      if (length === 0) return end('closed by the other side');
      if (length < 0) return length === -EAGAIN ? undefined : end(errnoName(-length));
      for (const octet of this.#buffer.subarray(0, length)) if (octet === beat[0]) flow.answers++;
    });
    return flow;
  }

  #udp(request: FlowRequest, fd: Fd): Flow {
    const to = sockaddrIn(request.address, request.port);
    libc.connect(fd.number, to, to.length);
    const send = (): void => void libc.send(fd.number, flowMagic, flowMagic.length, MSG_NOSIGNAL);
    const flow: Flow = { answers: 0, ended: undefined, timer: setInterval(send, beatMs), fd };
    // An error that is read (refused, unreachable) is an answer that did not come.
    this.#reactor.add(fd, EPOLLIN, () => {
      if (libc.recv(fd.number, this.#buffer, this.#buffer.length, 0) > 0) flow.answers++;
    });
    send();
    return flow;
  }

  #sctp(request: FlowRequest, fd: Fd): Flow {
    const probe = new SctpProbe(fd, request.address, request.port);
    const flow: Flow = { answers: 0, ended: undefined, timer: setInterval(() => probe.send(), beatMs), fd };
    this.#reactor.add(fd, EPOLLIN, () => {
      const length = libc.recv(fd.number, this.#buffer, this.#buffer.length, 0);
      if (length > 0 && probe.answer(this.#buffer.subarray(0, length)) !== undefined) flow.answers++;
    });
    probe.send();
    return flow;
  }
}
