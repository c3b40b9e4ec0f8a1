/** A packet world with a DNS server outside, many hosts behind it, and the agent's policy half with its domain names. */
import assert from 'node:assert/strict';
import { createDomains, createPolicyPipeline, type Domains, type PolicyPipeline } from '#agent';
import type { Backend, PolicyDataplane } from '#felix';
import { familyOf, type IpAddress, type IpFamily, silentLogger, systemClock } from '#kit';
import type { ClusterPolicyObject, ClusterPolicyRule, ModelUpdate } from '#model';
import { type Fd, inNetns, libc, openSetMembers, parseSockaddrIn, sockaddrIn, watchPacketQueue } from '#sys';
import { type DnsType, dnsAnswer, dnsQuery, readQuery, type TestAnswer, type TestRecord } from '../support/dns.ts';
import { until } from '../support/wait.ts';
import { podObject, selector } from './flow-world.ts';
import { bind, connect, PacketWorld } from './packet-world.ts';

const queue = 1179;
const silenceMs = 150;
const arrivalMs = 3_000;
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
  for (const family of [4, 6] as const) listen(packets, 'outside', family);
  const agents: DnsAgent[] = [];
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
    serve(host, zone) {
      for (const family of [4, 6] as const) serveUdp(packets, host, family, zone);
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

function serveUdp(packets: PacketWorld, host: string, family: IpFamily, zone: () => Zone): void {
  const socket: Fd = packets.socket(host, family, 'udp');
  inNetns(packets.host(host).netns, () => bind(socket, packets.host(host).addresses[family], 53));
  const query = Buffer.alloc(1500);
  const sender = Buffer.alloc(28);
  const answerAll = (): void => {
    for (;;) {
      const size = Buffer.from([28, 0, 0, 0]);
      const length = libc.recvfrom(socket.number, query, query.length, 0, sender, size);
      if (length <= 0) return;
      const { id, name, type } = readQuery(query.subarray(0, length));
      const said = zone()(name, type);
      const answer = dnsAnswer({
        question: name,
        type,
        records: [],
        id,
        ...(Array.isArray(said) ? { records: said } : said),
      });
      const from = parseSockaddrIn(sender)!;
      const to = sockaddrIn(from.address, from.port);
      libc.sendto(socket.number, answer, answer.length, 0, to, to.length);
    }
  };
  const timer = setInterval(answerAll, 1);
  packets.onDispose(() => clearInterval(timer));
}
