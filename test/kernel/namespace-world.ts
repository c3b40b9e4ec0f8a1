/**
 * A node, its pods and a host outside, as nameless network namespaces with real packets between them; nothing of the machine is
 * touched and all goes with the descriptors. Pods are wired as CNI does (a /32 and a /128, the host as permanent neighbour), so that what is
 * measured is the dataplane under test.
 *
 *   pod --veth-- pop… [node] up0 --veth-- eth0 [outside]
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import type { CommandOptions } from '#felix';
import type { IpAddress, IpFamily } from '#kit';
import { exec, type Fd, inNetns, newNetns } from '#sys';

export interface Host {
  readonly name: string;
  readonly netns: Fd;
  readonly addresses: Readonly<Record<IpFamily, IpAddress>>;
}
export interface TestPod extends Host {
  readonly interfaceName: string;
}

export class NamespaceWorld {
  readonly node: Host;
  readonly outside: Host;
  readonly pods = new Map<string, TestPod>();
  /** XTABLES_LOCKFILE of this world. */
  readonly lockFile = `/tmp/poplin-test-${process.pid}-${Math.random().toString(36).slice(2)}.lock`;

  constructor() {
    this.node = { name: 'node', netns: newNetns(), addresses: pair('192.0.2.1', '2001:db8:ff::1') };
    this.outside = { name: 'outside', netns: newNetns(), addresses: pair('192.0.2.2', '2001:db8:ff::2') };
    for (const host of [this.node, this.outside]) {
      sysctl(host, 'ipv6/conf/default/accept_dad', '0');
      sysctl(host, 'ipv6/conf/all/accept_dad', '0');
    }
    for (const key of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding', 'ipv6/conf/default/forwarding'])
      sysctl(this.node, key, '1');
  }

  /** The node to the host outside. */
  async wire(): Promise<void> {
    const { node, outside } = this;
    await this.ip(
      node,
      'link set lo up',
      `link add up0 type veth peer name eth0 netns ${path(outside)}`,
      'addr add 192.0.2.1/24 dev up0',
      'addr add 2001:db8:ff::1/64 dev up0 nodad',
      'link set up0 up',
    );
    await this.ip(
      outside,
      'link set lo up',
      'addr add 192.0.2.2/24 dev eth0',
      'addr add 2001:db8:ff::2/64 dev eth0 nodad',
      'link set eth0 up',
      'route add 10.1.0.0/16 via 192.0.2.1',
      'route add fd00:1::/64 via 2001:db8:ff::1',
    );
  }

  async addPod(
    name: string,
    interfaceName = `pop${Buffer.from(name).toString('hex').padEnd(11, '0').slice(0, 11)}`,
    addresses?: TestPod['addresses'],
  ): Promise<TestPod> {
    const index = this.pods.size + 10;
    const pod: TestPod = {
      name,
      interfaceName,
      netns: newNetns(),
      addresses: addresses ?? pair(`10.1.0.${index}`, `fd00:1::${index.toString(16)}`),
    };
    const mac = '02:00:00:00:00:01';
    const [v4, v6] = [pod.addresses[4], pod.addresses[6]];
    sysctl(pod, 'ipv6/conf/default/accept_dad', '0');
    await this.ip(
      this.node,
      `link add ${interfaceName} address ${mac} type veth peer name eth0 netns ${path(pod)}`,
      `addr add fe80::1/64 dev ${interfaceName} nodad`,
      `link set ${interfaceName} up`,
      `route add ${v4}/32 dev ${interfaceName}`,
      `route add ${v6}/128 dev ${interfaceName}`,
    );
    await this.ip(
      pod,
      'link set lo up',
      `addr add ${v4}/32 dev eth0`,
      `addr add ${v6}/128 dev eth0 nodad`,
      'link set eth0 up',
      'route add 169.254.1.1 dev eth0 scope link',
      'route add default via 169.254.1.1',
      'route add default via fe80::1 dev eth0',
      `neigh add 169.254.1.1 lladdr ${mac} dev eth0 nud permanent`,
      `neigh add fe80::1 lladdr ${mac} dev eth0 nud permanent`,
    );
    this.pods.set(name, pod);
    return pod;
  }

  pod(name: string): TestPod {
    const pod = this.pods.get(name);
    assert.ok(pod, `no pod ${name} in this world`);
    return pod;
  }
  host(name: string): Host {
    return name === 'node' ? this.node : name === 'outside' ? this.outside : this.pod(name);
  }

  exec(host: Host, argv: readonly string[], options: CommandOptions = {}) {
    const env = { ...process.env, ...options.env } as Record<string, string>;
    return exec('nsenter', [`--net=${path(host)}`, ...argv], { ...options, env });
  }
  /** In the node's namespace; fails the test when the command fails. */
  async sh(...argv: string[]): Promise<string> {
    const result = await this.exec(this.node, argv, { env: { XTABLES_LOCKFILE: this.lockFile } });
    assert.equal(result.code, 0, `${argv.join(' ')}: ${result.stderr}`);
    return result.stdout;
  }
  async ip(host: Host, ...lines: string[]): Promise<void> {
    const result = await this.exec(host, ['ip', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
    assert.equal(result.code, 0, `ip in ${host.name}: ${result.stderr}`);
  }

  /** Last: the namespaces go with their descriptors. */
  close(): void {
    for (const { netns } of [this.node, this.outside, ...this.pods.values()]) netns.close();
    fs.rmSync(this.lockFile, { force: true });
  }
}

function path(host: Host): string {
  return `/proc/${process.pid}/fd/${host.netns.number}`;
}

function pair(v4: string, v6: string): Readonly<Record<IpFamily, IpAddress>> {
  return { 4: v4 as IpAddress, 6: v6 as IpAddress };
}

function sysctl(host: Host, key: string, value: string): void {
  inNetns(host.netns, () => fs.writeFileSync(`/proc/sys/net/${key}`, value));
}
