/**
 * Probes: real connections and datagrams, as many at once as the bound allows, each from inside its source's namespace.
 *
 * Denied means that no answer came within the window. Every probe has three chances, so that one packet lost to a busy
 * machine is no verdict.
 */

import { errorText } from '#kit';
import { EPOLLIN, EPOLLOUT, errnoName, type Fd, getIntOption, libc, SO_ERROR, SOL_SOCKET, sockaddrIn } from '#sys';
import type { ProbeOutcome, ProbeRequest, Target } from './protocol.ts';
import { SctpProbe, sctpSocket } from './sctp.ts';
import { bindTo, type Namespaces, type Reactor, tcpClient, udpClient } from './sockets.ts';

const MSG_NOSIGNAL = 0x4000;
const EAGAIN = 11;
const EINPROGRESS = 115;
const ECONNREFUSED = 111;

/** Probes under way at once. */
const inFlightMax = 2_000;
/** Sockets opened before arrived answers are looked at again. */
const opensPerTurnMax = 100;
/** When it is tried again, from a port of its own, while nothing has answered. The kernel would repeat a SYN after 1 s only. */
const repeatMs = [250, 550];
/** Then silence is a denial. 500 probes take no more than a second, whatever their verdict. */
const windowMs = 850;
const question = Buffer.from('who');

interface Running {
  readonly request: ProbeRequest;
  readonly fd: Fd;
  readonly settle: (outcome: ProbeOutcome) => void;
}

export class Prober {
  readonly #reactor: Reactor;
  readonly #namespaces: Namespaces;
  readonly #answer = Buffer.alloc(1024);
  constructor(reactor: Reactor, namespaces: Namespaces) {
    this.#reactor = reactor;
    this.#namespaces = namespaces;
  }

  /** Outcomes in the order of `requests`. */
  async run(requests: readonly ProbeRequest[], targets: ReadonlyMap<string, Target>): Promise<ProbeOutcome[]> {
    const outcomes: Promise<ProbeOutcome>[] = [];
    let inFlight = 0;
    let wake: (() => void) | undefined;
    for (const [i, request] of requests.entries()) {
      while (inFlight >= inFlightMax) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      inFlight++;
      outcomes.push(
        this.#probe(request, targets.get(request.from)).then((outcome) => {
          inFlight--;
          wake?.();
          return outcome;
        }),
      );
      if (i % opensPerTurnMax === opensPerTurnMax - 1) await new Promise((resolve) => setImmediate(resolve));
    }
    return Promise.all(outcomes);
  }

  #probe(request: ProbeRequest, source: Target | undefined): Promise<ProbeOutcome> {
    if (!source) return Promise.resolve({ verdict: 'deny', reason: `no such source ${request.from}` });
    return new Promise((resolve) => {
      const sockets: Fd[] = [];
      const timers: NodeJS.Timeout[] = [];
      let settled = false;
      const settle = (outcome: ProbeOutcome): void => {
        if (settled) return;
        settled = true;
        for (const timer of timers) clearTimeout(timer);
        for (const fd of sockets) this.#reactor.close(fd);
        resolve(outcome);
      };
      const attempt = (): void => {
        try {
          const fd = this.#namespaces.within(source.netns, () => clientSocket(request));
          sockets.push(fd);
          const running = { request, fd, settle };
          if (request.protocol === 'TCP') this.#startTcp(running);
          else if (request.protocol === 'UDP') this.#startUdp(running);
          else this.#startSctp(running);
        } catch (error) {
          settle({ verdict: 'deny', reason: errorText(error) });
        }
      };
      for (const delay of repeatMs) timers.push(setTimeout(attempt, delay));
      timers.push(setTimeout(() => settle({ verdict: 'deny', reason: 'timeout' }), windowMs));
      attempt();
    });
  }

  #startTcp({ request, fd, settle }: Running): void {
    const to = sockaddrIn(request.address, request.port);
    const result = libc.connect(fd.number, to, to.length);
    if (result < 0 && result !== -EINPROGRESS) {
      settle(failure(-result));
      return;
    }
    let connected = false;
    this.#reactor.add(fd, EPOLLOUT, () => {
      if (!connected) {
        const errno = getIntOption(fd.number, SOL_SOCKET, SO_ERROR);
        if (errno !== 0) {
          settle(failure(errno));
          return;
        }
        connected = true;
        this.#reactor.modify(fd, EPOLLIN);
      }
      this.#readIdentity(request, fd, settle);
    });
  }

  #startUdp({ request, fd, settle }: Running): void {
    const to = sockaddrIn(request.address, request.port);
    const result = libc.connect(fd.number, to, to.length);
    if (result < 0) {
      settle(failure(-result));
      return;
    }
    this.#reactor.add(fd, EPOLLIN, () => this.#readIdentity(request, fd, settle));
    libc.send(fd.number, question, question.length, MSG_NOSIGNAL);
  }

  #startSctp({ request, fd, settle }: Running): void {
    const probe = new SctpProbe(fd, request.address, request.port);
    this.#reactor.add(fd, EPOLLIN, () => {
      // The socket sees every SCTP packet to its namespace.
      for (;;) {
        const length = libc.recv(fd.number, this.#answer, this.#answer.length, 0);
        if (length < 0) return;
        const who = probe.answer(this.#answer.subarray(0, length));
        if (who === undefined) continue;
        settle(verdictOf(request, who));
        return;
      }
    });
    const result = probe.send();
    if (result < 0) settle(failure(-result));
  }

  #readIdentity(request: ProbeRequest, fd: Fd, settle: Running['settle']): void {
    const length = libc.recv(fd.number, this.#answer, this.#answer.length, 0);
    if (length === -EAGAIN) return;
    if (length < 0) {
      settle(failure(-length));
      return;
    }
    const who = this.#answer.toString('utf8', 0, length);
    settle(verdictOf(request, who));
  }
}

/** A socket for one attempt, in this thread's namespace. @throws SysError */
export function clientSocket({ protocol, address, source }: ProbeRequest): Fd {
  const make = { TCP: tcpClient, UDP: udpClient, SCTP: sctpSocket }[protocol];
  const fd = make(address);
  try {
    if (source !== undefined) bindTo(fd, source);
    return fd;
  } catch (error) {
    fd.close();
    throw error;
  }
}

/** Reached somebody, but not the one that has the address: whatever that is, it is not "allowed". */
function verdictOf(request: ProbeRequest, who: string): ProbeOutcome {
  if ((request.answeredBy ?? [request.to]).includes(who)) return { verdict: 'allow' };
  return { verdict: 'deny', reason: `answered by ${who || 'nobody'}` };
}

function failure(errno: number): ProbeOutcome {
  return { verdict: 'deny', reason: errno === ECONNREFUSED ? 'refused' : errnoName(errno) };
}
