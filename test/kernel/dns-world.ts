/** A packet world with a DNS server outside, many hosts behind it, and the agent's policy half with its domain names. */
import assert from 'node:assert/strict';
import { createDomains, createPolicyPipeline, type Domains, type PolicyPipeline } from '#agent';
import type { Backend, PolicyDataplane } from '#felix';
import { familyOf, type IpAddress, type IpFamily, silentLogger, systemClock } from '#kit';
import type { ClusterPolicyObject, ClusterPolicyRule, ModelUpdate } from '#model';
import { Fd, inNetns, libc, openSetMembers, parseSockaddrIn, setIntOption, sockaddrIn, watchPacketQueue } from '#sys';
import { type DnsType, dnsAnswer, dnsQuery, readQuery, type TestAnswer, type TestRecord } from '../support/dns.ts';
import { until } from '../support/wait.ts';
import { podObject, selector } from './model-objects.ts';
import { bind, connect, PacketWorld } from './packet-world.ts';

const queue = 1179;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SOCK_NONBLOCK = 0x800;
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
/** tcpi_unacked: segments. */
const TCPI_UNACKED_OFFSET = 24;
const silenceMs = 150;
const arrivalMs = 5_000;
/** What the server answers with; A or AAAA as asked for is left to the zone. */
export type Zone = (name: string, type: DnsType) => Partial<TestAnswer> | readonly TestRecord[];

export interface DnsAgent {
  readonly dataplane: PolicyDataplane;
  readonly pipeline: PolicyPipeline;
  readonly domains: Domains;
  update(...updates: ModelUpdate[]): Promise<void>;
  /** As a process that is killed: the kernel keeps what it has. */
  kill(): Promise<void>;
}

export interface StartOptions {
  readonly minTtlSec?: number;
  readonly servers?: readonly IpAddress[];
  readonly objects?: readonly ModelUpdate[];
}

export interface Connection {
  /** What the pod sends is acknowledged. */
  goesOn(): Promise<void>;
  /** What it sends is not, from some moment on. */
  isCut(): Promise<void>;
}

export interface DnsWorld extends AsyncDisposable {
  readonly packets: PacketWorld;
  /** What the server outside says from now on. */
  zone: Zone;
  /** The server's address. */
  server(family: IpFamily): IpAddress;
  start(options?: StartOptions): Promise<DnsAgent>;
  /** Asks over UDP, and waits for the answer. */
  ask(
    pod: string,
    name: string,
    options?: { readonly family?: IpFamily; readonly type?: DnsType; readonly server?: IpAddress },
  ): Promise<void>;
  /** Whether a TCP connection of the pod to port 80 there comes about. */
  reaches(pod: string, address: string): Promise<boolean>;
  expectReach(pod: string, address: string): Promise<void>;
  /** A TCP connection that is there. */
  connection(pod: string, address: string): Promise<Connection>;
  /** Asks over TCP, and waits for the answer. */
  askTcp(pod: string, name: string, family: IpFamily): Promise<void>;
  /**
   * An answer that gives `name` the address, to where the pod has just asked something of the server from; sent by `from` with the server's address
   * and port. From outside it comes to a port from which the pod asked nothing.
   */
  forge(pod: string, from: string, name: string, address: string): Promise<void>;
  /** Answers from any host of the world to a query that arrives at port 53 of it. */
  serve(host: string, zone: () => Zone): void;
}

export const everywhere: Record<IpFamily, string> = { 4: '0.0.0.0/0', 6: '::/0' };
const meta = (name: string) => ({ namespace: '', name, uid: name, labels: {}, annotations: {} });

/** Names are accepted, questions too, all else is denied. */
export function namesPolicy(names: readonly string[], more: readonly ClusterPolicyRule[] = []): ModelUpdate {
  const networks = (cidrs: readonly string[]) => ({ type: 'networks', networks: cidrs as never }) as const;
  const object: ClusterPolicyObject = {
    metadata: meta('names'),
    tier: 'Admin',
    priority: 1,
    subject: { namespaceSelector: selector({}), podSelector: selector({ name: 'a' }) },
    ingress: [],
    egress: [
      ...more,
      { action: 'Accept', peers: [{ type: 'domainNames', names }], ports: [] },
      {
        action: 'Accept',
        peers: [networks(Object.values(everywhere))],
        ports: (['UDP', 'TCP'] as const).map((protocol) => ({ type: 'numbers', protocol, first: 53, last: 53 })),
      },
      { action: 'Deny', peers: [networks(Object.values(everywhere))], ports: [] },
    ],
  };
  return { type: 'upsert', kind: 'ClusterNetworkPolicy', key: 'names', object };
}

/** @param addresses further ones of the host outside, each a host by itself. */
export async function dnsWorld(
  backend: Backend,
  addresses: readonly string[],
  pods: readonly string[] = ['a', 'b'],
): Promise<DnsWorld> {
  const packets = await PacketWorld.make(pods);
  const { node, outside } = packets;
  const length = (address: string): string => (familyOf(address as IpAddress) === 4 ? '32' : '128 nodad');
  await packets.ip(
    outside,
    ...addresses.map((address) =>
      `addr add ${address}/${length(address)} dev eth0`.replace(' nodad dev eth0', ' dev eth0 nodad'),
    ),
  );
  await packets.ip(node, 'route add default via 192.0.2.2', 'route add default via 2001:db8:ff::2');
  for (const family of [4, 6] as const) {
    listen(packets, 'outside', family);
    serveTcp(packets, family, () => world.zone);
  }
  const agents: DnsAgent[] = [];
  const servers: Partial<Record<IpFamily, Fd>> = {};
  let text: string | undefined;
  const kept = {
    read: () => text,
    write: (next: string) => {
      text = next;
    },
  };
  const world: DnsWorld = {
    packets,
    zone: () => [],
    server: (family) => outside.addresses[family],
    async start({ minTtlSec = 1, servers = Object.values(outside.addresses), objects = [] } = {}) {
      const clock = systemClock();
      const dataplane = packets.dataplane(
        { backend, dnsQueue: queue },
        silentLogger,
        (flow) => pipeline.flowAllowed(flow),
        {
          members: inNetns(node.netns, openSetMembers),
          lifeOf: (set, address) => domains.sets.lifeOf(set, address),
        },
      );
      const domains = createDomains(
        {
          open: (options) => inNetns(node.netns, () => watchPacketQueue(options)),
          learn: (set, members) => dataplane.learn(set, members),
          before: (set) => dataplane.learntBefore(set),
          onChange: (set, change) => pipeline.domainsChanged(set, change),
          times: () => ({ minTtlSec, extraTtlSec: 0 }),
          file: kept,
          refused: () => dataplane.status().dnsRefused,
          clock,
          log: silentLogger,
          limits: { hit: () => undefined },
        },
        { dnsQueue: queue },
      );
      const pipeline = createPolicyPipeline({
        nodeName: 'n1',
        clock,
        dataplane,
        onEndpoints: () => undefined,
        flushConntrack: async () => undefined,
        domains: domains.sets,
      });
      await domains.start();
      await dataplane.start();
      dataplane.setDnsServers(servers);
      pipeline.adopt(pods.map((name) => packets.endpoint(name)));
      pipeline.update([...pods.map((name) => podObject(name)), ...objects]);
      const settle = async (): Promise<void> => {
        await pipeline.settled();
        await dataplane.whenApplied();
      };
      const agent: DnsAgent = {
        dataplane,
        pipeline,
        domains,
        async update(...changes) {
          pipeline.update(changes);
          await settle();
        },
        async kill() {
          await domains.stop();
          await dataplane.stop();
        },
      };
      agents.push(agent);
      await pipeline.inSync();
      await dataplane.whenApplied();
      return agent;
    },
    async ask(pod, name, { family = 4, type = family === 4 ? 'A' : 'AAAA', server = outside.addresses[family] } = {}) {
      const socket = packets.socket(pod, family, 'udp');
      connect(socket, server, 53);
      const query = dnsQuery(name, type);
      libc.send(socket.number, query, query.length, 0);
      const answer = Buffer.alloc(1500);
      await until(() => libc.recv(socket.number, answer, answer.length, 0) > 0, {
        what: `the answer to ${name}`,
        deadlineMs: arrivalMs,
        intervalMs: 1,
      });
    },
    async reaches(pod, address) {
      const family = familyOf(address as IpAddress);
      const client = packets.socket(pod, family, 'tcp');
      connect(client, address as IpAddress, 80);
      const found = await until(() => libc.send(client.number, Buffer.from('x'), 1, 0) > 0, {
        what: 'a connection',
        deadlineMs: silenceMs,
        intervalMs: 2,
      }).catch(() => undefined);
      return found ?? false;
    },
    async expectReach(pod, address) {
      assert.equal(await world.reaches(pod, address), true, `${pod} has to reach ${address} at once`);
    },
    async connection(pod, address) {
      const family = familyOf(address as IpAddress);
      const client = packets.socket(pod, family, 'tcp');
      connect(client, address as IpAddress, 80);
      await until(() => libc.send(client.number, Buffer.from('x'), 1, 0) > 0, { what: 'a connection' });
      return {
        async isCut() {
          await until(
            async () => {
              libc.send(client.number, Buffer.from('x'), 1, 0);
              return until(() => unacknowledged(client) === 0, {
                what: 'an answer',
                deadlineMs: 50,
                intervalMs: 1,
              }).then(
                () => false,
                () => true,
              );
            },
            { what: 'the connection to be cut', deadlineMs: 20_000 },
          );
        },
        async goesOn() {
          libc.send(client.number, Buffer.from('x'), 1, 0);
          await until(() => unacknowledged(client) === 0, { what: 'the connection to go on', deadlineMs: arrivalMs });
        },
      };
    },
    async askTcp(pod, name, family) {
      const type = family === 4 ? 'A' : 'AAAA';
      const client = packets.socket(pod, family, 'tcp');
      connect(client, outside.addresses[family], 53);
      const query = framed(dnsQuery(name, type));
      await until(() => libc.send(client.number, query, query.length, 0) > 0, { what: 'a connection to the server' });
      const answer = Buffer.alloc(1500);
      await until(() => libc.recv(client.number, answer, answer.length, 0) > 0, {
        what: `the answer to ${name}`,
        intervalMs: 1,
      });
    },
    async forge(pod, from, name, address) {
      const family = familyOf(address as IpAddress);
      const server = outside.addresses[family];
      const client = packets.socket(pod, family, 'udp');
      inNetns(packets.host(pod).netns, () => bind(client, packets.host(pod).addresses[family], 40_000));
      // The connection is there, so that an answer to it would be one.
      if (from !== 'outside') {
        connect(client, server, 53);
        const query = dnsQuery('silent.test', 'A');
        libc.send(client.number, query, query.length, 0);
      }
      const answer = dnsAnswer({
        question: name,
        type: family === 4 ? 'A' : 'AAAA',
        records: [{ owner: name, type: family === 4 ? 'A' : 'AAAA', data: address }],
      });
      const target = sockaddrIn(packets.host(pod).addresses[family], from === 'outside' ? 40_001 : 40_000);
      const forger = from === 'outside' ? servers[family]! : await spoofing(packets, from, server, family);
      libc.sendto(forger.number, answer, answer.length, 0, target, target.length);
      // What came after it has passed: so has it, or it never will.
      await world.ask(pod, 'after.test', { family });
      client.close();
    },
    serve(host, zone) {
      for (const family of [4, 6] as const) {
        const socket = serveUdp(packets, host, family, zone);
        if (host === 'outside') servers[family] = socket;
      }
    },
    async [Symbol.asyncDispose]() {
      for (const agent of agents) await agent.kill();
      await packets[Symbol.asyncDispose]();
    },
  };
  world.serve('outside', () => world.zone);
  return world;
}

function listen(packets: PacketWorld, host: string, family: IpFamily): void {
  const socket = packets.socket(host, family, 'tcp');
  inNetns(packets.host(host).netns, () => {
    bind(socket, family === 4 ? '0.0.0.0' : '::', 80);
    assert.equal(libc.listen(socket.number, 128), 0);
  });
}

function serveUdp(packets: PacketWorld, host: string, family: IpFamily, zone: () => Zone): Fd {
  const socket: Fd = packets.socket(host, family, 'udp');
  inNetns(packets.host(host).netns, () => bind(socket, packets.host(host).addresses[family], 53));
  const query = Buffer.alloc(1500);
  const sender = Buffer.alloc(28);
  const answerAll = (): void => {
    for (;;) {
      const size = Buffer.from([28, 0, 0, 0]);
      const length = libc.recvfrom(socket.number, query, query.length, 0, sender, size);
      if (length <= 0) return;
      const answer = answerTo(query.subarray(0, length), zone());
      const from = parseSockaddrIn(sender)!;
      const to = sockaddrIn(from.address, from.port);
      libc.sendto(socket.number, answer, answer.length, 0, to, to.length);
    }
  };
  const timer = setInterval(answerAll, 1);
  packets.onDispose(() => clearInterval(timer));
  return socket;
}

/** One message a connection. */
function serveTcp(packets: PacketWorld, family: IpFamily, zone: () => Zone): void {
  const listener = packets.socket('outside', family, 'tcp');
  inNetns(packets.outside.netns, () => {
    bind(listener, packets.outside.addresses[family], 53);
    assert.equal(libc.listen(listener.number, 8), 0);
  });
  const open = new Set<Fd>();
  const query = Buffer.alloc(1500);
  const timer = setInterval(() => {
    const accepted = libc.accept4(listener.number, null, null, SOCK_NONBLOCK);
    if (accepted >= 0) open.add(new Fd(accepted));
    for (const fd of open) {
      const length = libc.recv(fd.number, query, query.length, 0);
      if (length <= 0) continue;
      const answer = framed(answerTo(query.subarray(2, length), zone()));
      libc.send(fd.number, answer, answer.length, 0);
    }
  }, 1);
  packets.onDispose(() => {
    clearInterval(timer);
    for (const fd of open) fd.close();
  });
}

function answerTo(query: Buffer, zone: Zone): Buffer {
  const { id, name, type } = readQuery(query);
  const said = zone(name.toLowerCase(), type);
  return dnsAnswer({ question: name, type, records: [], id, ...('length' in said ? { records: said } : said) });
}

/** RFC 1035 4.2.2. */
function framed(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message]);
}

/** A socket of the host that sends from the address, port 53, though it is not its own. */
async function spoofing(packets: PacketWorld, host: string, address: IpAddress, family: IpFamily): Promise<Fd> {
  await packets.ip(packets.host(host), `addr replace ${address}/${family === 4 ? '32 dev lo' : '128 dev lo nodad'}`);
  const socket = packets.socket(host, family, 'udp');
  inNetns(packets.host(host).netns, () => {
    setIntOption(socket.number, SOL_SOCKET, SO_REUSEADDR, 1);
    bind(socket, address, 53);
  });
  return socket;
}

/** Octets of a TCP connection that the other side has not acknowledged (SIOCOUTQ, by tcpi_unacked in segments). */
function unacknowledged(socket: Fd): number {
  const info = Buffer.alloc(256);
  assert.equal(libc.getsockopt(socket.number, IPPROTO_TCP, TCP_INFO, info, Buffer.from([0, 1, 0, 0])), 0);
  return info.readUInt32LE(TCPI_UNACKED_OFFSET);
}
