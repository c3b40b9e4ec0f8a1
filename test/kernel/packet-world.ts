/** What packets do in a world of namespaces while a dataplane is at work on its node: who gets through to whom. */
import assert from 'node:assert/strict';
import {
  type CommandRunner,
  createPolicyDataplane,
  type FlowJudge,
  type PolicyDataplane,
  type PolicyDataplaneDeps,
  type PolicyDataplaneOptions,
} from '#felix';
import { type IpAddress, type IpFamily, type Logger, silentLogger, systemClock } from '#kit';
import type { WorkloadEndpoint } from '#model';
import {
  AF_INET,
  AF_INET6,
  type Fd,
  type FlowTable,
  inNetns,
  libc,
  type NftCommits,
  type NftTables,
  newSocket,
  openConntrack,
  openFlowTable,
  openNftCommits,
  openNftTables,
  parseSockaddrIn,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  setIntOption,
  sockaddrIn,
  type TrackedFlow,
  takeFlock,
} from '#sys';
import { watchedInput } from '../support/command-input.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type Host, NamespaceWorld } from './namespace-world.ts';

/** How long a packet that arrives may take, and for how long silence has to last to count as a deny. */
const arrivalMs = 3_000;
const silenceMs = 120;
const SOL_IPV6 = 41;
const IPV6_V6ONLY = 26;

/** What tests with packets need, under either back end. */
export const packetsNeed = needs({
  root: true,
  commands: ['xtables-nft-multi', 'xtables-legacy-multi', 'ipset', 'ip', 'nsenter'],
});
export const families = [4, 6] as const;

export type L4 = 'tcp' | 'udp';

export class PacketWorld extends NamespaceWorld {
  /** argv of every command that was run through `run`, with what went in. */
  readonly commands: { readonly argv: readonly string[]; stdin: string }[] = [];
  readonly run: CommandRunner['run'];
  /** Commands that fail without being run. */
  broken: ((argv: readonly string[]) => boolean) | undefined;
  /** Awaited before each command. */
  before: ((argv: readonly string[]) => Promise<void>) | undefined;
  readonly #sockets: Fd[] = [];
  readonly #stops: (() => void)[] = [];
  #echoes = 0;
  readonly #arrived = new Set<string>();
  readonly #receivers = new Map<string, number>();
  readonly #dataplanes: PolicyDataplane[] = [];
  #nftTables: NftTables | undefined;
  #nftCommits: NftCommits | undefined;
  #flowTable: FlowTable | undefined;

  constructor() {
    super();
    this.run = async (argv, options = {}) => {
      const command = { argv, stdin: '' };
      this.commands.push(command);
      await this.before?.(argv);
      if (this.broken?.(argv)) return { code: 1, stdout: '', stderr: 'broken by the test' };
      const stdin = watchedInput(options.stdin, (text) => (command.stdin += text));
      return this.exec(this.node, argv, { ...options, stdin });
    };
  }

  static async make(podNames: readonly string[]): Promise<PacketWorld> {
    const world = new PacketWorld();
    await world.wire();
    for (const name of podNames) await world.addPod(name);
    return world;
  }

  endpoint(name: string): WorkloadEndpoint {
    const { interfaceName, addresses } = this.pod(name);
    return { id: `ns/${name}`, interfaceName, addresses: Object.values(addresses) };
  }
  /** Of every pod. */
  endpoints(): readonly WorkloadEndpoint[] {
    return [...this.pods.keys()].map((name) => this.endpoint(name));
  }

  /** Of the node's flows from and to `addresses` those that are wanted, each once. */
  async trackedFlows(addresses: Iterable<IpAddress>, wanted: (flow: TrackedFlow) => boolean): Promise<TrackedFlow[]> {
    const table = inNetns(this.node.netns, openFlowTable);
    const found = new Map<string, TrackedFlow>();
    for await (const flows of table.scan(new Set(addresses)))
      for (const flow of flows.filter(wanted)) found.set(flow.key.join(), flow);
    table.close();
    return [...found.values()];
  }

  /** Of the node. */
  get flowTable(): FlowTable {
    this.#flowTable ??= inNetns(this.node.netns, openFlowTable);
    return this.#flowTable;
  }
  get nftCommits(): NftCommits {
    this.#nftCommits ??= inNetns(this.node.netns, openNftCommits);
    return this.#nftCommits;
  }
  get nftTables(): NftTables {
    this.#nftTables ??= inNetns(this.node.netns, openNftTables);
    return this.#nftTables;
  }

  /** @param judge of established flows; without one they all go on. */
  dataplane(
    options: PolicyDataplaneOptions,
    log: Logger = silentLogger,
    judge?: FlowJudge,
    more: Partial<PolicyDataplaneDeps> = {},
  ): PolicyDataplane {
    const flows = judge && { flows: { table: this.flowTable, judge } };
    const dataplane = createPolicyDataplane(
      {
        run: this.run,
        lock: takeFlock,
        watchCommits: this.nftCommits.watch,
        tables: this.nftTables,
        ...flows,
        log,
        clock: systemClock(),
        ...more,
      },
      { lockFile: this.lockFile, ...options },
    );
    this.#dataplanes.push(dataplane);
    return dataplane;
  }

  /** One that knows these endpoints, and has nothing to wait for. */
  async startDataplane(options: PolicyDataplaneOptions, endpoints = this.endpoints()): Promise<PolicyDataplane> {
    const dataplane = this.dataplane(options);
    await dataplane.start();
    for (const endpoint of endpoints) dataplane.setEndpoint(endpoint);
    dataplane.setInSync();
    return dataplane;
  }

  /** Deletes the node's conntrack entries of an address. */
  async forget(address: IpAddress): Promise<void> {
    const conntrack = inNetns(this.node.netns, openConntrack);
    await conntrack.forget(address);
    conntrack.close();
  }

  /** Before anything else of the world goes. */
  onDispose(stop: () => void): void {
    this.#stops.push(stop);
  }

  /** Calls that write rules or sets so far. */
  writes(): number {
    return this.commands.filter(({ argv }) => argv.some((word) => /-?restore$/.test(word))).length;
  }

  /** Whether `from` gets through to `to`; every call uses a fresh source port. */
  async reaches(
    from: string,
    to: string,
    port: number,
    family: IpFamily,
    protocol: L4 = 'tcp',
    source?: string,
  ): Promise<boolean> {
    const server = this.#receiver(this.host(to), port, family, protocol);
    const client = this.socket(from, family, protocol, source);
    const target = this.host(to).addresses[family];
    const token = Buffer.from(`${Math.random()}`);
    if (protocol === 'tcp') {
      connect(client, target, port);
      return (await this.#soon(() => libc.send(client.number, token, token.length, 0) > 0)) ?? false;
    }
    const address = sockaddrIn(target, port);
    libc.sendto(client.number, token, token.length, 0, address, address.length);
    const buffer = Buffer.alloc(256);
    const wanted = token.toString();
    return (
      (await this.#soon(() => {
        // Others may be asking at the same time: what is theirs is kept for them.
        for (;;) {
          const length = libc.recv(server, buffer, buffer.length, 0);
          if (length <= 0) break;
          this.#arrived.add(buffer.toString('latin1', 0, length));
        }
        return this.#arrived.delete(wanted);
      })) ?? false
    );
  }

  /** Begins a connection, or sends one datagram, and looks no further. */
  send(from: string, address: string, port: number, family: IpFamily, protocol: L4): void {
    const socket = this.socket(from, family, protocol);
    connect(socket, address, port);
    if (protocol === 'udp') libc.send(socket.number, Buffer.from('x'), 1, 0);
  }

  /** Whether a connection to `port` of `to` is taken by whoever is behind it: there somebody has to listen already. */
  async connects(from: string, to: string, port: number, family: IpFamily): Promise<boolean> {
    const client = this.socket(from, family, 'tcp');
    connect(client, this.host(to).addresses[family], port);
    const token = Buffer.from('x');
    return (await this.#soon(() => libc.send(client.number, token, token.length, 0) > 0)) ?? false;
  }

  /** As `reaches`, but patient: for what is expected to get through. */
  async expectReach(from: string, to: string, port: number, family: IpFamily, protocol: L4 = 'tcp'): Promise<void> {
    await until(() => this.reaches(from, to, port, family, protocol), {
      what: `${from} to reach ${to} on ${protocol} ${port} over IPv${family}`,
      deadlineMs: arrivalMs,
    });
  }
  async expectSilence(from: string, to: string, port: number, family: IpFamily, protocol: L4 = 'tcp'): Promise<void> {
    const reached = await this.reaches(from, to, port, family, protocol);
    assert.equal(reached, false, `${from} must not reach ${to} on ${protocol} ${port} over IPv${family}`);
  }

  /** Sends a datagram every millisecond or so until stopped, and counts those that arrive. */
  hammer(from: string, to: string, port: number, family: IpFamily) {
    const server = this.#receiver(this.host(to), port, family, 'udp');
    const client = this.socket(from, family, 'udp');
    const address = sockaddrIn(this.host(to).addresses[family], port);
    const buffer = Buffer.alloc(16);
    let sent = 0;
    let received = 0;
    const drain = (): void => {
      while (libc.recv(server, buffer, buffer.length, 0) > 0) received++;
    };
    const timer = setInterval(() => {
      if (libc.sendto(client.number, Buffer.from('x'), 1, 0, address, address.length) > 0) sent++;
      drain();
    }, 1);
    const stop = (): void => {
      clearInterval(timer);
      drain();
    };
    this.#stops.push(stop);
    return { sent: () => sent, received: () => received, stop };
  }

  /** Sends UDP and returns the source address that the receiver sees; waits until the packet is there. */
  async sourceSeen(from: string, to: string, port: number, family: IpFamily): Promise<IpAddress | undefined> {
    const server = this.#receiver(this.host(to), port, family, 'udp');
    const client = this.socket(from, family, 'udp');
    const address = sockaddrIn(this.host(to).addresses[family], port);
    libc.sendto(client.number, Buffer.from('x'), 1, 0, address, address.length);
    const sender = Buffer.alloc(28);
    await until(() => libc.recvfrom(server, Buffer.alloc(16), 16, 0, sender, Buffer.from([28, 0, 0, 0])) > 0, {
      what: `a datagram from ${from} at ${to}`,
      deadlineMs: arrivalMs,
    });
    return parseSockaddrIn(sender)?.address;
  }

  /** ICMP or ICMPv6 echo by a raw socket (not every machine has ping). */
  async pings(from: string, to: string, family: IpFamily): Promise<boolean> {
    const socket = inNetns(this.host(from).netns, () =>
      family === 4 ? newSocket(AF_INET, SOCK_RAW, 1) : newSocket(AF_INET6, SOCK_RAW, 58),
    );
    this.#sockets.push(socket);
    const echo = Buffer.from([family === 4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 1]);
    // A fresh id each time: with an old one conntrack would take it for the same exchange.
    const id = ++this.#echoes;
    echo.writeUInt16BE(id, 4);
    // The kernel fills in the checksum of ICMPv6 only.
    if (family === 4) echo.writeUInt16BE(0xffff - (0x0800 + id + 1), 2);
    const address = sockaddrIn(this.host(to).addresses[family], 0);
    libc.sendto(socket.number, echo, echo.length, 0, address, address.length);
    const reply = Buffer.alloc(256);
    return (
      (await this.#soon(() => {
        const length = libc.recv(socket.number, reply, reply.length, 0);
        return length >= 8 && reply[length - echo.length] === (family === 4 ? 0 : 129);
      })) ?? false
    );
  }

  /** A socket in the namespace of `from`, bound to `source` when given. */
  socket(from: string, family: IpFamily, protocol: L4, source?: string): Fd {
    return inNetns(this.host(from).netns, () => {
      const socket = newSocket(family === 4 ? AF_INET : AF_INET6, protocol === 'tcp' ? SOCK_STREAM : SOCK_DGRAM);
      this.#sockets.push(socket);
      if (family === 6) setIntOption(socket.number, SOL_IPV6, IPV6_V6ONLY, 1);
      if (source !== undefined) bind(socket, source, 0);
      return socket;
    });
  }

  /** The listening (TCP) or receiving (UDP) socket of a host's port, made when first asked for. */
  #receiver(host: Host, port: number, family: IpFamily, protocol: L4): number {
    const key = `${host.name} ${protocol} ${port} ${family}`;
    const known = this.#receivers.get(key);
    if (known !== undefined) return known;
    const socket = this.socket(host.name, family, protocol);
    inNetns(host.netns, () => {
      bind(socket, family === 4 ? '0.0.0.0' : '::', port);
      if (protocol === 'tcp') assert.equal(libc.listen(socket.number, 128), 0);
    });
    this.#receivers.set(key, socket.number);
    return socket.number;
  }

  async #soon(condition: () => boolean): Promise<boolean | undefined> {
    return until(condition, { what: 'a packet', deadlineMs: silenceMs, intervalMs: 5 }).catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dataplane of this.#dataplanes) await dataplane.stop();
    this.#nftTables?.close();
    this.#nftCommits?.close();
    this.#flowTable?.close();
    for (const stop of this.#stops) stop();
    for (const socket of this.#sockets) socket.close();
    this.close();
  }
}

export function connect(socket: Fd, address: string, port: number): void {
  const to = sockaddrIn(address, port);
  libc.connect(socket.number, to, to.length);
}

export function bind(socket: Fd, address: string, port: number): void {
  const local = sockaddrIn(address, port);
  assert.equal(libc.bind(socket.number, local, local.length), 0, `bind ${address} port ${port}`);
}
