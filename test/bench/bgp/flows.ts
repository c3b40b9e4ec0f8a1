/**
 * UDP flows through a node and the router at its other end, counted by the kernels at both ends of the way:
 *
 *   pod 10.50.1.2 --- node (the speaker, `link.a`) --- router (its helper, `link.b`) --- outside 10.60.1.2
 *       fd50:1::2                                                                        fd60:1::2
 *
 * The node knows the way out only from the router, and the router the way in only from the node.
 */
import { type ChildProcess, execFileSync } from 'node:child_process';
import path from 'node:path';
import { BgpLink } from '../../support/bgp.ts';
import { until } from '../../support/wait.ts';
import { flowPorts } from './flow-sender.ts';

export const podPrefixes = ['10.50.1.0/24', 'fd50:1::/64'] as const;
/** The prefixes of support/bgp-peers.ts. */
export const outsidePrefixes = ['10.60.1.0/24', 'fd60:1::/64'] as const;

export interface FlowCounts {
  /** Different ones that arrived. */
  readonly flows: number;
  readonly sent: number;
  readonly lost: number;
}

/** Between the last packet and the count. */
const drainMs = 500;

const counters = `table inet flows {
  counter sent {}
  counter got {}
  set seen4 { type ipv4_addr . inet_service . inet_service; flags dynamic; size 65535; }
  set seen6 { type ipv6_addr . inet_service . inet_service; flags dynamic; size 65535; }
  chain out { type filter hook output priority 0; udp dport ${flowPorts.first}-${flowPorts.last} counter name sent; }
  chain in { type filter hook prerouting priority -300; udp dport ${flowPorts.first}-${flowPorts.last} jump arrived; }
  chain arrived {
    counter name got
    meta nfproto ipv4 add @seen4 { ip saddr . udp sport . udp dport }
    meta nfproto ipv6 add @seen6 { ip6 saddr . udp sport . udp dport }
    drop
  }
}`;

export class FlowWorld {
  readonly link = new BgpLink();
  /** Namespaces of who sends and receives, with the addresses of the other. */
  readonly #ends: readonly { readonly name: string; readonly to: readonly string[] }[];
  readonly #senders: ChildProcess[] = [];

  constructor() {
    const { a, b } = this.link;
    const [pod, outside] = [`${a}p`, `${b}o`];
    this.#ends = [
      { name: pod, to: ['10.60.1.2', 'fd60:1::2'] },
      { name: outside, to: ['10.50.1.2', 'fd50:1::2'] },
    ];
    for (const [router, host, net4, net6] of [
      [a, pod, '10.50.1', 'fd50:1::'],
      [b, outside, '10.60.1', 'fd60:1::'],
    ] as const) {
      const ip = (...args: string[]): void => void execFileSync('ip', args);
      ip('netns', 'add', host);
      ip('-n', router, 'link', 'add', 'e1', 'type', 'veth', 'peer', 'name', 'e0', 'netns', host);
      for (const [name, device, last] of [
        [router, 'e1', '1'],
        [host, 'e0', '2'],
      ] as const) {
        ip('-n', name, 'addr', 'add', `${net4}.${last}/24`, 'dev', device);
        ip('-n', name, 'addr', 'add', `${net6}${last}/64`, 'dev', device, 'nodad');
        ip('-n', name, 'link', 'set', device, 'up');
      }
      ip('-n', host, 'route', 'add', 'default', 'via', `${net4}.1`);
      ip('-n', host, '-6', 'route', 'add', 'default', 'via', `${net6}1`);
      this.link.run(router, 'sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1');
      this.link.run(host, 'nft', counters);
    }
  }

  /**
   * Starts `flows` flows, a packet a second each, a quarter of them each way in each family; resolves when all have arrived. What is lost while
   * nodes look for their neighbours counts in no stop().
   */
  async start(flows: number): Promise<void> {
    await this.#send(flows);
    await this.#silence();
    await this.#send(flows);
  }

  /** Ends the flows and counts. */
  async stop(): Promise<FlowCounts> {
    await this.#silence();
    return this.#counts();
  }

  async #send(flows: number): Promise<void> {
    const file = path.join(import.meta.dirname, 'flow-sender.ts');
    for (const { name } of this.#ends) {
      this.link.run(name, 'nft', 'reset counters; flush set inet flows seen4; flush set inet flows seen6');
    }
    for (const { name, to } of this.#ends)
      this.#senders.push(this.link.spawn(name, process.execPath, [file, String(Math.ceil(flows / 4)), ...to]));
    await until(() => this.#counts().flows >= flows, { what: `${flows} flows`, deadlineMs: 20_000, intervalMs: 200 });
  }
  async #silence(): Promise<void> {
    for (const sender of this.#senders.splice(0)) {
      if (sender.exitCode !== null) throw new Error(`a sender ended by itself: ${sender.exitCode}`);
      const gone = new Promise((resolve) => sender.once('exit', resolve));
      sender.kill('SIGKILL');
      await gone;
    }
    await new Promise((resolve) => setTimeout(resolve, drainMs));
  }

  #counts(): FlowCounts {
    let [flows, sent, got] = [0, 0, 0];
    for (const { name } of this.#ends) {
      const text = this.link.run(name, 'nft', '-j', 'list', 'table', 'inet', 'flows');
      for (const { counter, set } of (JSON.parse(text) as { nftables: NftObject[] }).nftables) {
        if (counter?.name === 'sent') sent += counter.packets;
        else if (counter?.name === 'got') got += counter.packets;
        flows += set?.elem?.length ?? 0;
      }
    }
    return { flows, sent, lost: sent - got };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link[Symbol.asyncDispose]();
    for (const { name } of this.#ends) execFileSync('ip', ['netns', 'del', name]);
  }
}

interface NftObject {
  readonly counter?: { readonly name: string; readonly packets: number };
  readonly set?: { readonly elem?: readonly unknown[] };
}
