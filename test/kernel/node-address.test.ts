/** The node's addresses, found in a namespace with real links: what of the kernel's flags and kinds the decision rests on. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { nodeAddresses, openMachineAddresses } from '#agent';
import type { IpAddress } from '#kit';
import { inNetns, lookupRoute, Netlink, openNetns } from '#sys';
import { needs } from '../support/needs.ts';

const ip = (text: string): IpAddress => text as IpAddress;

/** `node` with two uplinks into `far`, and what else a node has. */
class Machine {
  readonly name = `pt-${process.pid}-node`;
  readonly far = `pt-${process.pid}-far`;

  constructor() {
    try {
      this.#build();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }
  #build(): void {
    for (const name of [this.name, this.far]) this.run('netns', 'add', name);
    this.node('link set lo up');
    this.node(`link add docker0 type bridge`);
    this.node('link set docker0 up');
    this.node('addr add 172.17.0.1/16 dev docker0');
    // Its own kind, dummy, is not everywhere; the name is what tells.
    this.node(`link add nodelocaldns type veth peer name dns netns ${this.far}`);
    this.node('addr add 169.254.20.10/32 dev nodelocaldns');
    for (const [index, name] of ['eth0', 'eth1'].entries()) {
      this.node(`link add ${name} type veth peer name ${name} netns ${this.far}`);
      this.run('-n', this.far, 'link', 'set', name, 'up');
      this.node(`link set ${name} up`);
      // The virtual address was there first.
      this.node(`addr add 10.0.${index}.100/32 dev ${name}`);
      this.node(`addr add 10.0.${index}.1/24 dev ${name}`);
      this.node(`addr add 10.0.${index}.101/24 dev ${name}`);
      this.node(`addr add fd00:${index}::1/64 dev ${name} nodad`);
      this.node(`addr add fd00:${index}::100/128 dev ${name} nodad`);
      this.node(`addr add fd00:${index}::9/64 dev ${name} nodad preferred_lft 0 valid_lft forever`);
    }
    this.node('addr add 10.9.9.9/32 dev lo');
    this.node('route add default via 10.0.0.254');
    this.node('route add 10.5.0.0/24 via 10.0.1.254');
    this.node('-6 route add default via fd00:1::fe');
  }
  run(...args: string[]): void {
    execFileSync('ip', args);
  }
  node(command: string): void {
    this.run('-n', this.name, ...command.split(' '));
  }
  inside<T>(fn: () => T): T {
    using netns = openNetns(`/run/netns/${this.name}`);
    return inNetns(netns, fn);
  }
  [Symbol.dispose](): void {
    for (const name of [this.name, this.far]) this.run('netns', 'del', name);
  }
}

test(
  'a node with docker0, NodeLocal DNSCache, virtual addresses and two uplinks',
  needs({ root: true, commands: ['ip'] }),
  () => {
    using node = new Machine();
    const kernel = node.inside(openMachineAddresses);
    const find = (apiServer: string | undefined, internalIPs: string[] = []) =>
      nodeAddresses({
        node: {
          metadata: { name: 'n1', namespace: '', uid: 'n1', labels: {}, annotations: {} },
          internalIPs: internalIPs.map(ip),
          podCIDRs: [],
        },
        options: {},
        ignoredInterfaces: [],
        links: kernel.links(),
        addresses: kernel.addresses(),
        apiServer: apiServer ? { address: ip(apiServer), route: kernel.route(ip(apiServer)) } : undefined,
        defaultRoutes: { 4: kernel.route(ip('192.0.2.1')), 6: kernel.route(ip('2001:db8::1')) },
      });
    const both = ({ ipv4, ipv6 }: ReturnType<typeof find>) =>
      [ipv4, ipv6].map((found) => found && `${found.address} ${found.interfaceName} ${found.source}`);

    assert.deepEqual(both(find(undefined)), ['10.0.0.1 eth0 default route', 'fd00:1::1 eth1 default route']);
    const byApi = find('10.5.0.1');
    assert.deepEqual(both(byApi), ['10.0.1.1 eth1 route to the API server', 'fd00:1::1 eth1 default route']);
    const reasons = new Map(byApi.rejected.map(({ address, reason }) => [address as string, reason]));
    const expected: [string, RegExp][] = [
      ['10.9.9.9', /on loopback/],
      ['172.17.0.1', /bridge/],
      ['169.254.20.10', /link-local/],
      ['10.0.1.100', /host address beside/],
      ['10.0.1.101', /secondary/],
      ['10.0.0.1', /usable; 10\.0\.1\.1 goes first/],
      ['fd00:1::100', /host address beside/],
      ['fd00:1::9', /deprecated/],
    ];
    for (const [address, reason] of expected) assert.match(reasons.get(address) ?? 'not named', reason, address);
    // The API server's virtual address is on this very node.
    assert.deepEqual(both(find('10.9.9.9')), ['10.0.0.1 eth0 default route', 'fd00:1::1 eth1 default route']);
    assert.deepEqual(both(find(undefined, ['10.0.1.1', 'fd00::1'])), [
      '10.0.1.1 eth1 InternalIP',
      'fd00::1 eth0 InternalIP',
    ]);

    node.node('link set eth1 down');
    kernel.forget();
    assert.deepEqual(both(find('10.5.0.1')), ['10.0.0.1 eth0 route to the API server', 'fd00::1 eth0 first address']);
  },
);

test('the kernel says which way and from which address it would send', needs({ root: true, commands: ['ip'] }), () => {
  using node = new Machine();
  const netlink = node.inside(() => new Netlink());
  const to = (address: string) => lookupRoute(netlink, ip(address));
  assert.equal(to('10.5.0.1')?.prefsrc, '10.0.1.1');
  assert.equal(to('10.5.0.1')?.gateway, '10.0.1.254');
  assert.equal(to('2001:db8::1')?.gateway, 'fd00:1::fe');
  assert.equal(to('10.9.9.9')?.ifIndex, 1);
  node.node('route del default');
  assert.equal(to('192.0.2.1'), undefined);
  netlink.close();
});
