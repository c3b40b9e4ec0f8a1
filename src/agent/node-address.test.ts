import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import { issueText } from './bgp/issue.ts';
import { annotation } from './bgp/nodes.ts';
import {
  type MachineAddress,
  type MachineLink,
  type NodeAddressInput,
  type NodeAddressResult,
  nodeAddresses,
} from './node-address.ts';

const ip = (text: string): IpAddress => text as IpAddress;

/** `eth0 10.0.0.1/24 fd00::1/64`, `cni0:bridge 10.42.0.1/24`; marks: `+down`, `+port-of=br0`; of an address: `!secondary`. */
function machine(...lines: readonly string[]): Pick<NodeAddressInput, 'links' | 'addresses'> {
  const links: MachineLink[] = [];
  const addresses: MachineAddress[] = [];
  const all = ['lo 127.0.0.1/8 ::1/128', ...lines].map((line) => line.split(' '));
  const nameOf = (head: string): string => head.split(/[:+]/)[0]!;
  const indexOf = (name: string): number => 1 + all.findIndex(([head]) => nameOf(head!) === name);
  for (const [head, ...texts] of all) {
    const name = nameOf(head!);
    const index = indexOf(name);
    const [, kind = ''] = /:(\w+)/.exec(head!) ?? [];
    const [, master] = /\+port-of=(\w+)/.exec(head!) ?? [];
    const down = head!.includes('+down');
    links.push({ index, name, kind, up: !down, carrier: !down, masterIndex: master ? indexOf(master) : 0 });
    for (const text of texts) {
      const [prefix, ...marks] = text.split('!');
      const [address, length] = prefix!.split('/');
      addresses.push({
        family: address!.includes(':') ? 6 : 4,
        address: ip(address!),
        prefixLength: Number(length),
        ifIndex: index,
        scope: /^(127\.|::1$)/.test(address!) ? 'host' : /^(fe80:|169\.254\.)/.test(address!) ? 'link' : 'global',
        secondary: marks.includes('secondary'),
        temporary: marks.includes('temporary'),
        deprecated: marks.includes('deprecated'),
        tentative: marks.includes('tentative'),
        dynamic: marks.includes('dynamic'),
      });
    }
  }
  return { links, addresses };
}

interface Case {
  readonly name: string;
  readonly machine: readonly string[];
  readonly internalIPs?: readonly string[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly options?: NodeAddressInput['options'];
  readonly ignored?: readonly string[];
  /** `10.96.0.1 eth0 10.0.0.1`: address of the API server, device, source. */
  readonly api?: string;
  readonly defaults?: readonly string[];
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly rejected?: readonly string[];
  readonly issues?: readonly RegExp[];
}

function run(c: Case): NodeAddressResult {
  const { links, addresses } = machine(...c.machine);
  const route = (text: string) => {
    const [device, source] = text.split(' ');
    const { index } = links.find((link) => link.name === device)!;
    return { ifIndex: index, ...(source ? { source: ip(source) } : {}) };
  };
  const [apiAddress, ...apiRoute] = c.api?.split(' ') ?? [];
  const ways = (c.defaults ?? []).map((text) => ({ text, six: text.includes(':') }));
  const way = (six: boolean) => {
    const found = ways.find((each) => each.six === six);
    return found && route(found.text);
  };
  return nodeAddresses({
    node: {
      metadata: { name: 'n1', namespace: '', uid: 'n1', labels: {}, annotations: c.annotations ?? {} },
      internalIPs: (c.internalIPs ?? []).map(ip),
      podCIDRs: [],
    },
    options: c.options ?? {},
    ignoredInterfaces: c.ignored ?? [],
    links,
    addresses,
    apiServer: apiAddress
      ? { address: ip(apiAddress), route: apiRoute.length > 0 ? route(apiRoute.join(' ')) : undefined }
      : undefined,
    defaultRoutes: { 4: way(false), 6: way(true) },
  });
}

const cases: readonly Case[] = [
  {
    name: 'the InternalIPs, one of each family',
    machine: ['eth0 10.0.0.1/24 fd00::1/64'],
    internalIPs: ['10.0.0.1', 'fd00::1'],
    ipv4: '10.0.0.1 eth0 InternalIP',
    ipv6: 'fd00::1 eth0 InternalIP',
    rejected: [],
    issues: [],
  },
  {
    name: 'two NICs: the InternalIP decides, and the other is named as usable',
    machine: ['eth0 192.168.0.5/24', 'eth1 10.0.0.1/24'],
    internalIPs: ['10.0.0.1'],
    defaults: ['eth0 192.168.0.5'],
    ipv4: '10.0.0.1 eth1 InternalIP',
    rejected: ['192.168.0.5 eth0 usable; 10.0.0.1 goes first (InternalIP)'],
  },
  {
    name: 'two NICs, no InternalIP yet: the one towards the API server',
    machine: ['eth0 192.168.0.5/24', 'eth1 10.0.0.1/24'],
    api: '10.0.0.250 eth1 10.0.0.1',
    defaults: ['eth0 192.168.0.5'],
    ipv4: '10.0.0.1 eth1 route to the API server',
    rejected: ['192.168.0.5 eth0 usable; 10.0.0.1 goes first (route to the API server)'],
    issues: [
      /Node n1: status\.addresses: this node uses 10\.0\.0\.1 .*annotate it with projectcalico\.org\/IPv4Address/,
    ],
  },
  {
    name: 'API server by a local proxy on 127.0.0.1 (k3s, kubespray): the default route',
    machine: ['docker0:bridge 172.17.0.1/16', 'eth0 10.0.0.1/24'],
    api: '127.0.0.1 lo 127.0.0.1',
    defaults: ['eth0 10.0.0.1'],
    ipv4: '10.0.0.1 eth0 default route',
    rejected: ['172.17.0.1 docker0 a bridge of containers'],
  },
  {
    name: 'docker0 first, no route known: not a bridge, not a down interface',
    machine: [
      'docker0:bridge 172.17.0.1/16',
      'br-0123456789ab:bridge 172.18.0.1/16',
      'eth0+down 10.9.0.1/24',
      'eth1 10.0.0.1/24',
    ],
    ipv4: '10.0.0.1 eth1 first address',
    rejected: [
      '172.17.0.1 docker0 a bridge of containers',
      '172.18.0.1 br-0123456789ab a bridge of containers',
      '10.9.0.1 eth0 the interface is down',
    ],
  },
  {
    name: 'a bridge is never guessed, unless it is the way out and has an uplink in it',
    machine: ['br0:bridge 10.0.0.1/24', 'eno1+port-of=br0'],
    defaults: ['br0 10.0.0.1'],
    ipv4: '10.0.0.1 br0 default route',
  },
  {
    name: 'a bridge without an uplink is not, whatever route leads there',
    machine: ['mybridge:bridge 10.0.0.1/24', 'x1:veth+port-of=mybridge'],
    api: '10.0.0.9 mybridge 10.0.0.1',
    rejected: ['10.0.0.1 mybridge a bridge'],
    issues: [/no address for BGP \(10\.0\.0\.1 on mybridge: a bridge\); set --node-ipv4/],
  },
  {
    name: 'an InternalIP on a bridge is right: the uplink of a host of virtual machines',
    machine: ['br0:bridge 10.0.0.1/24'],
    internalIPs: ['10.0.0.1'],
    ipv4: '10.0.0.1 br0 InternalIP',
  },
  {
    name: 'an InternalIP on docker0 is not',
    machine: ['docker0:bridge 172.17.0.1/16', 'eth0 10.0.0.1/24'],
    internalIPs: ['172.17.0.1'],
    ipv4: '10.0.0.1 eth0 first address',
    rejected: ['172.17.0.1 docker0 a bridge of containers'],
    issues: [/other nodes know it by 172\.17\.0\.1/],
  },
  {
    name: 'VIP on lo (kube-vip, keepalived, LVS) that the API server is reached by',
    machine: ['lo 10.0.0.100/32', 'eth0 10.0.0.1/24'],
    api: '10.0.0.100 lo 10.0.0.100',
    defaults: ['eth0 10.0.0.1'],
    ipv4: '10.0.0.1 eth0 default route',
    rejected: ['10.0.0.100 lo on loopback: a virtual address, unless it is named by annotation or option'],
  },
  {
    name: 'VIPs on the NIC: host address beside the subnet, secondary, deprecated',
    machine: ['eth0 10.0.0.99/32 10.0.0.1/24 10.0.0.98/24!secondary fd00::99/128!deprecated fd00::98/128 fd00::1/64'],
    defaults: ['eth0 10.0.0.99', 'eth0 fd00::98'],
    ipv4: '10.0.0.1 eth0 default route',
    ipv6: 'fd00::1 eth0 default route',
    rejected: [
      '10.0.0.99 eth0 a host address beside a subnet address: a virtual address',
      '10.0.0.98 eth0 secondary: a virtual address beside another of its subnet',
      'fd00::98 eth0 a host address beside a subnet address: a virtual address',
      'fd00::99 eth0 deprecated',
    ],
  },
  {
    name: 'one /32 alone on the NIC is the address of the node (clouds), and a /128 of DHCPv6 beside a subnet as well',
    machine: ['eth0 10.128.0.7/32 2600:1900::7/128!dynamic 2600:1900:1::9/64!dynamic!temporary'],
    defaults: ['eth0 10.128.0.7', 'eth0 2600:1900:1::9'],
    ipv4: '10.128.0.7 eth0 default route',
    ipv6: '2600:1900::7 eth0 default route',
    rejected: ['2600:1900:1::9 eth0 temporary (privacy address)'],
  },
  {
    name: 'IPv6 only',
    machine: ['eth0 fe80::1/64 2001:db8:1::1/64!tentative 2001:db8:1::2/64'],
    api: '2001:db8:1::fe eth0 2001:db8:1::2',
    ipv6: '2001:db8:1::2 eth0 route to the API server',
    rejected: ['2001:db8:1::1 eth0 duplicate address detection runs or has failed'],
  },
  {
    name: 'tunnels, dummies, Service and DNS interfaces, pods',
    machine: [
      'tunl0:ipip 10.42.0.0/32',
      'wg0:wireguard 10.200.0.1/24',
      'flannel.1:vxlan 10.42.0.0/32',
      'tailscale0:tun 100.64.0.1/32',
      'nodelocaldns:dummy 169.254.20.10/32 10.96.0.10/32',
      'kube-ipvs0:dummy 10.96.0.1/32',
      'dummy0:dummy 192.0.2.7/32',
      'cali12345:veth 10.42.0.9/32',
      'veth99:veth 10.42.0.1/24',
      'eth0:veth 10.0.0.1/24',
    ],
    ipv4: '10.0.0.1 eth0 first address',
    rejected: [
      '10.42.0.0 tunl0 a tunnel (ipip)',
      '10.200.0.1 wg0 a tunnel (wireguard)',
      '100.64.0.1 tailscale0 a tunnel (tun)',
      '169.254.20.10 nodelocaldns link-local',
      '10.96.0.10 nodelocaldns the interface of NodeLocal DNSCache',
      '10.96.0.1 kube-ipvs0 the interface of Service addresses',
      '192.0.2.7 dummy0 a dummy interface: many machines may have the address',
      "10.42.0.9 cali12345 a pod's interface",
      "10.42.0.1 veth99 a container's interface, by its name",
    ],
  },
  {
    name: 'a node on its loopback: the InternalIP is there',
    machine: ['lo 10.0.0.1/32 fd00:10::1/128', 'eth0 172.16.1.2/30'],
    internalIPs: ['10.0.0.1', 'fd00:10::1'],
    ipv4: '10.0.0.1 lo InternalIP',
    ipv6: 'fd00:10::1 lo InternalIP',
    rejected: ['172.16.1.2 eth0 usable; 10.0.0.1 goes first (InternalIP)'],
  },
  {
    name: 'a node on its loopback without an InternalIP: the source of the route says it',
    machine: ['lo 10.0.0.1/32', 'eth0 172.16.1.2/30'],
    api: '10.5.0.1 eth0 10.0.0.1',
    ipv4: '10.0.0.1 lo route to the API server',
  },
  {
    name: 'option over annotation over InternalIP',
    machine: ['eth0 10.0.0.1/24 fd00::1/64', 'eth1 10.1.0.1/24', 'eth2 10.2.0.1/24'],
    internalIPs: ['10.0.0.1', 'fd00::1'],
    annotations: { [annotation.ipv4]: '10.1.0.1/24' },
    options: { ipv4: ip('10.2.0.1') },
    ipv4: '10.2.0.1 eth2 option',
    ipv6: 'fd00::1 eth0 InternalIP',
    issues: [/other nodes know it by 10\.1\.0\.1/],
  },
  {
    name: 'annotation over InternalIP, on any interface',
    machine: ['eth0 10.0.0.1/24', 'wg0:wireguard 10.200.0.1/24'],
    internalIPs: ['10.0.0.1'],
    annotations: { [annotation.ipv4]: '10.200.0.1/24' },
    ipv4: '10.200.0.1 wg0 annotation',
    issues: [],
  },
  {
    name: 'an annotation that outlived its address does not count, and is named',
    machine: ['eth0 10.0.0.1/24'],
    internalIPs: ['10.0.0.1'],
    annotations: { [annotation.ipv4]: '10.0.0.77/24' },
    ipv4: '10.0.0.1 eth0 InternalIP',
    rejected: ['10.0.0.77  not an address of this machine'],
    issues: [
      /annotations\[.*IPv4Address\]: 10\.0\.0\.77: not an address of this machine; .*correct or remove/,
      /know it by 10\.0\.0\.77/,
    ],
  },
  {
    name: 'an option that is no address of the machine is obeyed, and named',
    machine: ['eth0 10.0.0.1/24'],
    internalIPs: ['10.0.0.1'],
    options: { ipv4: ip('10.0.0.50') },
    ipv4: '10.0.0.50  option',
    issues: [/--node-ipv4 10\.0\.0\.50 is not an address of this machine/, /know it by 10\.0\.0\.1/],
  },
  {
    name: 'an InternalIP of a 1:1 NAT gives way to what the machine has',
    machine: ['eth0 172.31.0.5/20'],
    internalIPs: ['203.0.113.5'],
    defaults: ['eth0 172.31.0.5'],
    ipv4: '172.31.0.5 eth0 default route',
    rejected: ['203.0.113.5  not an address of this machine'],
    issues: [/other nodes know it by 203\.0\.113\.5/],
  },
  {
    name: 'and is taken where the machine has nothing else',
    machine: ['docker0:bridge 172.17.0.1/16'],
    internalIPs: ['203.0.113.5'],
    ipv4: '203.0.113.5  InternalIP',
    issues: [/InternalIP 203\.0\.113\.5 is not an address of this machine, and there is no other/],
  },
  {
    name: 'ignoredInterfaces: even an InternalIP',
    machine: ['eth0 10.0.0.1/24', 'storage0 10.1.0.1/24'],
    internalIPs: ['10.1.0.1', '10.0.0.1'],
    ignored: ['storage*'],
    ipv4: '10.0.0.1 eth0 InternalIP',
    rejected: ['10.1.0.1 storage0 ignoredInterfaces of BGPConfiguration names it (storage*)'],
  },
  {
    name: 'a second family that the cluster does not use is found, and no issue',
    machine: ['eth0 10.0.0.1/24 2001:db8:9::1/64!dynamic'],
    internalIPs: ['10.0.0.1'],
    defaults: ['eth0 2001:db8:9::1'],
    ipv4: '10.0.0.1 eth0 InternalIP',
    ipv6: '2001:db8:9::1 eth0 default route',
    issues: [],
  },
];

for (const c of cases) {
  test(c.name, () => {
    const result = run(c);
    const text = (found: NodeAddressResult['ipv4']) =>
      found && `${found.address} ${found.interfaceName} ${found.source}`;
    assert.deepEqual([text(result.ipv4), text(result.ipv6)], [c.ipv4, c.ipv6]);
    const rejected = result.rejected.map((r) => `${r.address} ${r.interfaceName} ${r.reason}`);
    if (c.rejected) assert.deepEqual(rejected, c.rejected);
    const issues = result.issues.map(issueText);
    for (const [i, wanted] of (c.issues ?? []).entries()) assert.match(issues[i]!, wanted);
    if (c.issues) assert.equal(issues.length, c.issues.length, issues.join('\n'));
  });
}

test('an InternalIP that changes while running moves the address of the node', () => {
  const both = ['eth0 10.0.0.1/24', 'eth1 10.1.0.1/24'];
  assert.equal(run({ name: '', machine: both, internalIPs: ['10.0.0.1'] }).ipv4?.address, '10.0.0.1');
  assert.equal(run({ name: '', machine: both, internalIPs: ['10.1.0.1'] }).ipv4?.address, '10.1.0.1');
  // The address goes before the Node says so: another is taken, and the difference is told.
  const gone = run({ name: '', machine: ['eth1 10.1.0.1/24'], internalIPs: ['10.0.0.1'] });
  assert.equal(gone.ipv4?.address, '10.1.0.1');
  assert.match(issueText(gone.issues[0]!), /know it by 10\.0\.0\.1/);
});
