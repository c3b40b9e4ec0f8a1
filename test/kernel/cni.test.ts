import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostCidr, type IpAddress } from '#kit';
import {
  addRoute,
  changeLink,
  deleteAddress,
  dumpAddresses,
  dumpNeighbours,
  dumpRoutes,
  EAGAIN,
  type Fd,
  inNetns,
  libc,
  linkByName,
  Netlink,
  newSocket,
  sockaddrIn,
} from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type CallResult, netConf, netnsPath, podEnvironment, startNode } from './cni-support.ts';

const here = needs({ root: true, commands: ['gcc', 'nsenter'] });
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const PORT = 7777;

function inPod<T>(pod: Fd, run: (netlink: Netlink) => T): T {
  const netlink = inNetns(pod, () => new Netlink());
  try {
    return run(netlink);
  } finally {
    netlink.close();
  }
}

function addressesOf(result: CallResult): IpAddress[] {
  assert.equal(result.code, 0, result.stdout);
  return (result.json?.ips ?? []).map((ip) => ip.address.split('/')[0] as IpAddress);
}

/** A UDP socket of a pod that is closed with the test. */
function udp(pod: Fd, address: string): Fd {
  return inNetns(pod, () => {
    const socket = newSocket(address.includes(':') ? AF_INET6 : AF_INET, SOCK_DGRAM);
    const bound = sockaddrIn(address, PORT);
    assert.equal(libc.bind(socket.number, bound, bound.length), 0);
    return socket;
  });
}

/** Sends one datagram, once, and waits for it. */
async function oneDatagram(from: Fd, to: Fd, toAddress: string, what: string): Promise<void> {
  const target = sockaddrIn(toAddress, PORT);
  assert.equal(libc.sendto(from.number, Buffer.from('hello'), 5, 0, target, target.length), 5);
  const into = Buffer.alloc(16);
  const got = await until(
    () => {
      const result = libc.recv(to.number, into, into.length, 0);
      return result === -EAGAIN ? undefined : result;
    },
    { what, intervalMs: 1, deadlineMs: 5000 },
  );
  assert.equal(into.toString('utf8', 0, got), 'hello');
}

test('ADD, CHECK and DEL in each version of the specification', here, async (t) => {
  const node = await startNode(t, { mtu: 1400 });
  for (const version of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const pod = node.newPod();
    const id = `v${version}`;
    const added = await node.add(id, pod, { version, config: { dns: { nameservers: ['10.0.0.53'] } } });
    const [v4, v6] = addressesOf(added);
    const { json } = added;
    assert.ok(json && v4 && v6);
    assert.equal(json.cniVersion, version);
    const old = version < '1';
    assert.deepEqual(json.ips, [
      { ...(old ? { version: '4' } : {}), interface: 1, address: `${v4}/32`, gateway: '169.254.1.1' },
      { ...(old ? { version: '6' } : {}), interface: 1, address: `${v6}/128`, gateway: 'fe80::ecee:eeff:feee:eeee' },
    ]);
    assert.deepEqual(json.routes, [
      { dst: '0.0.0.0/0', gw: '169.254.1.1' },
      { dst: '::/0', gw: 'fe80::ecee:eeff:feee:eeee' },
    ]);
    assert.deepEqual(json.dns, { nameservers: ['10.0.0.53'] });
    const [host, inside] = json.interfaces ?? [];
    assert.match(host?.name ?? '', /^pop[0-9a-f]{11}$/);
    assert.equal(host?.sandbox, undefined);
    assert.equal(inside?.name, 'eth0');
    assert.equal(inside?.sandbox, netnsPath(pod));
    assert.equal(inside?.mtu, version === '1.1.0' ? 1400 : undefined);
    assert.equal(inPod(pod, (n) => linkByName(n, 'eth0'))?.mac, inside?.mac);

    const check = { ...netConf(version), prevResult: json };
    const checked = await node.call(podEnvironment('CHECK', id, pod), check);
    if (version === '0.3.1') assert.equal(checked.json?.code, 1);
    else assert.deepEqual([checked.code, checked.stdout], [0, '']);
    const deleted = await node.call(podEnvironment('DEL', id, pod), check);
    assert.deepEqual([deleted.code, deleted.stdout], [0, '']);
  }
  assert.deepEqual(node.leftovers(), { links: [], routes: [] });
});

test(
  'the pod is wired as promised: host addresses, gateways as permanent neighbours, no address detection',
  here,
  async (t) => {
    const node = await startNode(t, { mtu: 1400 });
    const pod = node.newPod();
    const added = await node.add('a', pod);
    const addresses = addressesOf(added);
    const host = linkByName(node.netlink, added.json?.interfaces?.[0]?.name ?? '');
    assert.ok(host);
    assert.deepEqual([host.mac, host.mtu, host.up], ['ee:ee:ee:ee:ee:ee', 1400, true]);
    assert.deepEqual(
      dumpAddresses(node.netlink).filter((address) => address.ifIndex === host.index),
      [],
      'the host end has no address, not even a link-local one',
    );
    for (const address of addresses) {
      const family = address.includes(':') ? 6 : 4;
      const route = dumpRoutes(node.netlink, family, { protocol: 155 }).find((r) => r.prefix === hostCidr(address));
      assert.equal(route?.nextHops[0]?.ifIndex, host.index);
      const neighbour = dumpNeighbours(node.netlink, family).find((n) => n.address === address);
      assert.deepEqual([neighbour?.permanent, neighbour?.mac], [true, added.json?.interfaces?.[1]?.mac]);
    }
    inPod(pod, (inside) => {
      const link = linkByName(inside, 'eth0');
      assert.deepEqual([link?.mtu, link?.up, linkByName(inside, 'lo')?.up], [1400, true, true]);
      for (const [family, gateway, prefixLength] of [
        [4, '169.254.1.1', 32],
        [6, 'fe80::ecee:eeff:feee:eeee', 128],
      ] as const) {
        const address = dumpAddresses(inside, family).find(
          (a) => a.ifIndex === link?.index && addresses.includes(a.address),
        );
        assert.deepEqual([address?.prefixLength, address?.tentative], [prefixLength, false]);
        const gateways = dumpRoutes(inside, family, { table: 254 }).filter((r) => r.nextHops[0]?.gateway === gateway);
        assert.deepEqual(
          gateways.map((r) => r.prefix),
          [family === 4 ? '0.0.0.0/0' : '::/0'],
        );
        const neighbour = dumpNeighbours(inside, family).find((n) => n.address === gateway);
        assert.deepEqual([neighbour?.permanent, neighbour?.mac], [true, 'ee:ee:ee:ee:ee:ee']);
      }
    });
    // The configuration's own MTU goes before the agent's.
    const other = await node.add('b', node.newPod(), { config: { mtu: 1280 } });
    assert.equal(other.json?.interfaces?.[1]?.mtu, 1280);
  },
);

test('nodes with one family wire that one', here, async (t) => {
  for (const [cidr, address, gateway] of [
    ['10.7.0.0/28', '10.7.0.1/32', '169.254.1.1'],
    ['fd00:7::/64', 'fd00:7::1/128', 'fe80::ecee:eeff:feee:eeee'],
  ] as const) {
    const node = await startNode(t, { podCIDRs: [cidr] });
    const { json } = await node.add('a', node.newPod());
    assert.deepEqual(json?.ips, [{ interface: 1, address, gateway }]);
    assert.equal(json?.routes?.length, 1);
    assert.deepEqual(node.leftovers().routes, [address]);
  }
});

test('the very first packets between new pods arrive, both ways and in both families', here, async (t) => {
  const node = await startNode(t);
  let before: { readonly pod: Fd; readonly addresses: readonly IpAddress[] } | undefined;
  for (let i = 0; i < 8; i++) {
    const pod = node.newPod();
    const addresses = addressesOf(await node.add(`p${i}`, pod));
    const previous = before;
    before = { pod, addresses };
    if (!previous) continue;
    for (const [family, address] of addresses.entries()) {
      const there = previous.addresses[family]!;
      using mine = udp(pod, address);
      using theirs = udp(previous.pod, there);
      await oneDatagram(mine, theirs, there, `${address} -> ${there}`);
      await oneDatagram(theirs, mine, address, `${there} -> ${address}`);
    }
  }
});

test(
  'ADD repeated gives the same answer and disturbs nothing; for another namespace it is refused',
  here,
  async (t) => {
    const node = await startNode(t);
    const pod = node.newPod();
    const first = await node.add('a', pod);
    const index = linkByName(node.netlink, first.json?.interfaces?.[0]?.name ?? '')?.index;
    const second = await node.add('a', pod);
    assert.deepEqual([second.code, second.json], [0, first.json]);
    const elsewhere = await node.add('a', node.newPod());
    assert.deepEqual([elsewhere.code, elsewhere.json?.code], [1, 4]);
    assert.equal(linkByName(node.netlink, first.json?.interfaces?.[0]?.name ?? '')?.index, index);
    assert.equal((await node.report()).usage[0]?.used, 1);
    // Its namespace went without a DEL: the same container may come again.
    inPod(pod, (inside) => changeLink(inside, { byName: 'eth0', netns: node.namespace.number }).flush());
    const third = await node.add('b', pod);
    assert.equal(third.code, 0, 'another container may use the name eth0 now');
  },
);

test('a second interface of one container is refused: it would take the default route', here, async (t) => {
  const node = await startNode(t);
  const pod = node.newPod();
  const [a] = addressesOf(await node.add('a', pod));
  const second = await node.add('a', pod, { ifName: 'net1', config: { name: 'other' } });
  // Refused by the kernel, and nothing of it stays.
  assert.equal(second.code, 1);
  assert.match(second.json?.msg ?? '', /route to 169\.254\.1\.1 .*EEXIST/);
  assert.equal(node.leftovers().links.length, 1);
  assert.deepEqual(node.leftovers().routes[0], `${a}/32`);
});

test('ADD in a chain passes on what came before it', here, async (t) => {
  const node = await startNode(t, { podCIDRs: ['10.1.0.0/24'] });
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{ name: 'other0', mac: '02:00:00:00:00:01', sandbox: '/x' }],
    ips: [{ interface: 0, address: '192.0.2.1/24' }],
    routes: [{ dst: '192.0.2.0/24' }],
    dns: { domain: 'example' },
  };
  const config = {
    prevResult,
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [] },
    args: { any: 1 },
  };
  const { json } = await node.add('a', node.newPod(), { version: '1.0.0', config });
  assert.deepEqual(
    json?.interfaces?.map((i) => i.name === 'other0' || i.name === 'eth0' || i.name.startsWith('pop')),
    [true, true, true],
  );
  assert.deepEqual(
    json?.ips?.map((ip) => [ip.address, ip.interface]),
    [
      ['192.0.2.1/24', 0],
      ['10.1.0.1/32', 2],
    ],
  );
  assert.deepEqual(json?.dns, { domain: 'example' });
  assert.deepEqual(
    json?.routes?.map((r) => r.dst),
    ['192.0.2.0/24', '0.0.0.0/0'],
  );
});

test('a node that starts: many ADDs at once, each with addresses of its own', here, async (t) => {
  const node = await startNode(t, { policyDelayMs: 2 });
  const ids = Array.from({ length: 60 }, (_, i) => `p${i}`);
  const added = await Promise.all(ids.map((id) => node.add(id, node.newPod())));
  const addresses = added.flatMap(addressesOf);
  assert.equal(new Set(addresses).size, 120);
  assert.equal(node.leftovers().links.length, 60);
  const deleted = await Promise.all(ids.map((id) => node.del(id)));
  assert.ok(deleted.every((result) => result.code === 0));
  assert.deepEqual(node.leftovers(), { links: [], routes: [] });
});

test('DEL is idempotent, works without a namespace and without a record', here, async (t) => {
  const node = await startNode(t, { addressRestMs: 60_000 });
  const pod = node.newPod();
  await node.add('a', pod);
  for (let i = 0; i < 2; i++) assert.deepEqual([(await node.del('a')).code, node.leftovers().links], [0, []]);
  assert.equal((await node.del('never-added', pod)).code, 0);
  const gone = await node.call({ ...podEnvironment('DEL', 'a'), CNI_NETNS: '/proc/1/no-such-namespace' }, netConf());
  assert.deepEqual([gone.code, gone.stdout], [0, '']);
  const report = await node.report();
  assert.deepEqual([report.usage[0]?.used, report.usage[0]?.resting, report.attached], [0, 1, []]);
  // A freed address rests: the next pod gets another.
  assert.deepEqual(addressesOf(await node.add('b', node.newPod())), ['10.1.0.2', 'fd00:1::2']);
});

test('CHECK names what is not as ADD left it', here, async (t) => {
  const node = await startNode(t);
  const pod = node.newPod();
  const added = await node.add('a', pod);
  const config = { ...netConf(), prevResult: added.json };
  const check = () => node.call(podEnvironment('CHECK', 'a', pod), config);
  assert.equal((await check()).code, 0);
  const unknown = await node.call(podEnvironment('CHECK', 'other', pod), config);
  assert.equal(unknown.json?.code, 3);
  const without = await node.call(podEnvironment('CHECK', 'a', pod), netConf());
  assert.equal(without.json?.code, 7);

  const [v4] = addressesOf(added);
  const eth0 = inPod(pod, (inside) => linkByName(inside, 'eth0'));
  assert.ok(eth0 && v4);
  inPod(pod, (inside) => deleteAddress(inside, { ifIndex: eth0.index, address: v4, prefixLength: 32 }).flush());
  const lacking = await check();
  assert.equal(lacking.json?.code, 101);
  assert.match(lacking.json?.details ?? '', new RegExp(`eth0 lacks ${v4.replaceAll('.', '\\.')}`));
  changeLink(node.netlink, { byName: added.json?.interfaces?.[0]?.name ?? '', up: false }).flush();
  assert.match((await check()).json?.details ?? '', /is down; the node has no route/);
});

test('GC frees what is not listed, of its own network, and refuses a call without the list', here, async (t) => {
  const node = await startNode(t);
  for (const id of ['keep', 'drop1', 'drop2']) await node.add(id, node.newPod());
  await node.add('other', node.newPod(), { config: { name: 'other-network' } });
  const gc = (list: unknown) =>
    node.call({ CNI_COMMAND: 'GC' }, { ...netConf(), ...(list ? { 'cni.dev/valid-attachments': list } : {}) });
  assert.equal((await gc(undefined)).json?.code, 7);
  assert.equal((await gc([{ containerID: 7 }])).json?.code, 7);
  assert.equal(node.leftovers().links.length, 4);
  const done = await gc([{ containerID: 'keep', ifname: 'eth0' }]);
  assert.deepEqual([done.code, done.stdout], [0, '']);
  const report = await node.report();
  assert.deepEqual(report.endpoints.map((endpoint) => endpoint.id).sort(), ['default/pod-keep', 'default/pod-other']);
  assert.deepEqual([report.usage[0]?.used, node.leftovers().links.length], [2, 2]);
  assert.equal((await gc([])).code, 0);
  assert.deepEqual(
    (await node.report()).endpoints.map((endpoint) => endpoint.id),
    ['default/pod-other'],
  );
});

test('STATUS and ADD say why no pod can be added', here, async (t) => {
  const node = await startNode(t);
  const status = () => node.call({ CNI_COMMAND: 'STATUS' }, netConf());
  assert.deepEqual([(await status()).code, (await status()).stdout], [0, '']);
  await node.set('ready', 'no');
  assert.equal((await status()).json?.code, 50);
  assert.match((await status()).json?.msg ?? '', /the datastore is not in sync/);
  const add = await node.add('a', node.newPod());
  assert.deepEqual([add.json?.code, node.leftovers().links], [11, []]);
});

test('a route that is not ours is not taken over, and the failed ADD leaves nothing', here, async (t) => {
  const node = await startNode(t, { podCIDRs: ['10.1.0.0/29'] });
  await node.add('first', node.newPod());
  const link = linkByName(node.netlink, node.leftovers().links[0] ?? '');
  assert.ok(link);
  addRoute(
    node.netlink,
    { prefix: hostCidr('10.1.0.2' as IpAddress), protocol: 4, ifIndex: link.index, scope: 253 },
    'exclusive',
  ).flush();
  const refused = await node.add('second', node.newPod());
  assert.equal(refused.json?.code, 100);
  assert.match(refused.json?.msg ?? '', /route to 10\.1\.0\.2 .*EEXIST/);
  assert.equal(node.leftovers().links.length, 1);
  assert.deepEqual(node.files('.intent'), []);
  assert.equal((await node.report()).attached.length, 1);
});

test('an exhausted pool says try again, with its name and size', here, async (t) => {
  const node = await startNode(t, { podCIDRs: ['10.1.0.0/30'] });
  for (const id of ['a', 'b']) assert.equal((await node.add(id, node.newPod())).code, 0);
  const refused = await node.add('c', node.newPod());
  assert.equal(refused.json?.code, 11);
  assert.match(refused.json?.msg ?? '', /10\.1\.0\.0\/30 is exhausted: all 2 addresses are in use.*try again/);
  // Better an address that has not rested than no pod.
  await node.del('a');
  assert.deepEqual(addressesOf(await node.add('c', node.newPod())), ['10.1.0.1']);
});
