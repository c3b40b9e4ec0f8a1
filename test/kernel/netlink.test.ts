import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { describe, test } from 'node:test';
import {
  AF_INET,
  AF_INET6,
  addAddress,
  addRoute,
  addVeth,
  changeLink,
  connectTo,
  conntrackOf,
  deleteConntrack,
  deleteLink,
  deleteRoute,
  descriptorOf,
  dumpConntrack,
  dumpLinks,
  dumpNeighbours,
  dumpNexthops,
  dumpRoutes,
  dumpRoutesSliced,
  exec,
  type Fd,
  IPV4_DEVCONF_RP_FILTER,
  inNetns,
  isNetns,
  libc,
  linkByName,
  listenUnix,
  MessageBuffer,
  markConntrack,
  NETLINK_NETFILTER,
  Netlink,
  netnsId,
  newNetns,
  newSocket,
  openConntrack,
  openNetns,
  ownNetnsId,
  RTNLGRP_IPV4_ROUTE,
  readAndForgetAddress,
  replaceNexthop,
  SOCK_DGRAM,
  SOCK_STREAM,
  SysError,
  setMd5Key,
  setNeighbour,
  sockaddrIn,
  sockaddrUn,
  socketNetnsId,
  tcpOptions,
  tcpSocket,
  watchNetlink,
} from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { flush, ip, link, makeNamespace, type Namespace, netnsSysctls, net as prefix } from './route-world.ts';

const MAC = Buffer.from('eeeeeeeeeeee', 'hex');

function closeAll(...spaces: readonly Namespace[]): void {
  for (const { netlink, netns } of spaces) {
    netlink.close();
    netns.close();
  }
}

function route(i: number) {
  return { prefix: prefix(`10.${(i >> 8) & 255}.${i & 255}.0/24`), protocol: 155, ifIndex: 1 };
}

describe('netlink', needs({ root: true, commands: ['nft'] }), () => {
  test('a batch goes on behind a failing message, and the kernel says why in words', () => {
    const space = makeNamespace();
    const { netlink } = space;
    addRoute(netlink, route(1), 'exclusive');
    addRoute(netlink, { ...route(2), gateway: ip('192.0.2.1') }, 'exclusive');
    addRoute(netlink, route(3), 'exclusive');
    addRoute(netlink, route(3), 'exclusive');
    assert.deepEqual(
      netlink.flush().map(({ index, code, text }) => ({ index, code, text })),
      [
        { index: 1, code: 'ENETUNREACH', text: 'Nexthop has invalid gateway' },
        { index: 3, code: 'EEXIST', text: '' },
      ],
    );
    assert.deepEqual(
      dumpRoutes(netlink, 4, { protocol: 155 }).map((r) => r.prefix),
      ['10.0.1.0/24', '10.0.3.0/24'],
    );
    assert.throws(() => netlink.request('route', 24, 0, (w) => void w.raw(2)), SysError);
    assert.deepEqual(dumpRoutes(netlink, 4, { protocol: 200 }), []);
    closeAll(space);
  });

  test('a table that was never made is empty, in a namespace where not even loopback is up', async (t) => {
    const netns = newNetns();
    const netlink = inNetns(netns, () => new Netlink());
    t.after(() => {
      netlink.close();
      netns.close();
    });
    for (const family of [4, 6] as const) {
      assert.deepEqual(dumpRoutes(netlink, family, { table: 254 }), []);
      assert.deepEqual(await dumpRoutesSliced(netlink, family, { table: 254 }), []);
    }
  });

  test('a long batch from the thread pool, with the socket refusing other work meanwhile', async () => {
    const space = makeNamespace();
    for (let i = 0; i < 2_000; i++) addRoute(space.netlink, route(i), 'exclusive');
    const running = space.netlink.flushAsync();
    assert.throws(() => dumpLinks(space.netlink), /in use by flushAsync/);
    assert.deepEqual(await running, []);
    assert.equal(dumpRoutes(space.netlink, 4, { protocol: 155 }).length, 2_000);
    assert.throws(() => {
      for (let i = 0; i < 10_000; i++) addRoute(space.netlink, route(i), 'replace');
    }, /flush more often/);
    closeAll(space);
  });

  test('lost events are noticed, and later ones still come', async () => {
    const space = makeNamespace();
    let lost = 0;
    let seen = 0;
    const watcher = inNetns(space.netns, () =>
      watchNetlink({
        groups: [RTNLGRP_IPV4_ROUTE],
        receiveBufferBytes: 32 << 10,
        onMessage: () => void seen++,
        onLost: () => void lost++,
      }),
    );
    for (let i = 0; i < 3_000; i++) {
      addRoute(space.netlink, route(i), 'exclusive');
      if (i % 500 === 499) flush(space.netlink);
    }
    await until(() => lost > 0, { what: 'the overrun to be noticed' });
    const before = seen;
    assert.ok(before < 3_000);
    deleteRoute(space.netlink, route(1));
    flush(space.netlink);
    await until(() => seen === before + 1, { what: 'the event after the overrun' });
    watcher.close();
    closeAll(space);
  });

  test('a veth pair with its far end born in another namespace, ready without duplicate address detection', () => {
    const host = makeNamespace();
    const pod = makeNamespace();
    addVeth(host.netlink, { name: 'pop1', peerName: 'eth0', peerNetns: pod.netns.number, mac: MAC, mtu: 1400 });
    changeLink(host.netlink, {
      byName: 'pop1',
      up: true,
      noIpv6LinkLocal: true,
      ipv4Settings: { [IPV4_DEVCONF_RP_FILTER]: 1 },
    });
    flush(host.netlink);
    const far = linkByName(pod.netlink, 'eth0')!;
    changeLink(pod.netlink, { index: far.index, up: true });
    addAddress(pod.netlink, { ifIndex: far.index, address: 'fd00::5', prefixLength: 128 });
    setNeighbour(pod.netlink, { ifIndex: far.index, address: '169.254.1.1', mac: MAC });
    flush(pod.netlink);
    const near = linkByName(host.netlink, 'pop1')!;
    assert.deepEqual([near.kind, near.mac, near.mtu, near.up], ['veth', 'ee:ee:ee:ee:ee:ee', 1400, true]);
    assert.equal(linkByName(host.netlink, 'eth0'), undefined);
    assert.equal(netnsSysctls(host.netns).read('net/ipv4/conf/pop1/rp_filter'), '1');
    assert.deepEqual(dumpRoutes(host.netlink, 6, { table: 254 }), [], 'no link-local prefix');
    assert.deepEqual(dumpNeighbours(pod.netlink, 4), [
      {
        family: 4,
        ifIndex: far.index,
        address: '169.254.1.1',
        mac: 'ee:ee:ee:ee:ee:ee',
        permanent: true,
        router: false,
        usable: true,
      },
    ]);
    deleteLink(host.netlink, near.index);
    flush(host.netlink);
    assert.equal(linkByName(pod.netlink, 'eth0'), undefined);
    closeAll(host, pod);
  });

  test('next-hop groups: content as written, the route names the group, one replace moves it', () => {
    const space = makeNamespace();
    const far = makeNamespace();
    link(space, 'up0', far, 'r0', 16, 0);
    const { netlink } = space;
    const ifIndex = linkByName(netlink, 'up0')!.index;
    changeLink(netlink, { index: ifIndex, up: true });
    replaceNexthop(netlink, { id: 1, protocol: 155, family: 4, ifIndex, gateway: ip('172.16.1.7') });
    replaceNexthop(netlink, { id: 2, protocol: 155, family: 6, ifIndex, gateway: ip('fd16:1::7') });
    replaceNexthop(netlink, { id: 10, protocol: 155, group: [{ id: 1, weight: 3 }] });
    addRoute(netlink, { prefix: prefix('10.9.0.0/16'), protocol: 155, nexthopId: 10 }, 'exclusive');
    replaceNexthop(netlink, {
      id: 10,
      protocol: 155,
      group: [
        { id: 1, weight: 1 },
        { id: 2, weight: 256 },
      ],
    });
    assert.deepEqual(
      netlink.flush().map((f) => f.code),
      [],
    );
    const objects = dumpNexthops(netlink, { protocol: 155 });
    assert.deepEqual(objects.find((n) => n.id === 10)?.group, [
      { id: 1, weight: 1 },
      { id: 2, weight: 256 },
    ]);
    assert.equal(objects.find((n) => n.id === 2)?.gateway, 'fd16:1::7');
    assert.equal(dumpRoutes(netlink, 4, { protocol: 155 })[0]?.nexthopId, 10);
    closeAll(space, far);
  });

  test('conntrack: entries of an address by either side, marked and deleted', async () => {
    const space = makeNamespace();
    const nft = 'table inet t {\nchain out {\ntype filter hook output priority 0\nct state established accept\n}\n}\n';
    const run = await exec('nsenter', [`--net=/proc/${process.pid}/fd/${space.netns.number}`, 'nft', '-f', '-'], {
      stdin: nft,
    });
    assert.equal(run.code, 0, run.stderr);
    for (const address of ['10.0.0.1', '10.0.0.2', '10.0.0.3', 'fd00::1', 'fd00::2']) {
      addAddress(space.netlink, { ifIndex: 1, address, prefixLength: address.includes(':') ? 128 : 32 });
    }
    flush(space.netlink);
    // An address that was just added serves a little later.
    const talk = (from: string, to: string, port: number) =>
      until(
        () =>
          inNetns(space.netns, () => {
            using socket = newSocket(from.includes(':') ? AF_INET6 : AF_INET, SOCK_DGRAM);
            const [source, destination] = [sockaddrIn(from, 0), sockaddrIn(to, port)];
            return (
              libc.bind(socket.number, source, source.length) === 0 &&
              libc.connect(socket.number, destination, destination.length) === 0 &&
              libc.send(socket.number, Buffer.from('x'), 1, 0) === 1
            );
          }),
        { what: `a packet from ${from} to ${to}` },
      );
    await talk('10.0.0.1', '10.0.0.2', 1);
    await talk('10.0.0.2', '10.0.0.3', 2);
    await talk('10.0.0.1', '10.0.0.3', 3);
    const netlink = inNetns(space.netns, () => new Netlink({ protocol: NETLINK_NETFILTER }));
    const udp = (entries: ReturnType<typeof dumpConntrack>) =>
      entries
        .filter((e) => e.original.protocol === 17)
        .map((e) => e.original.destinationPort)
        .sort();
    assert.deepEqual(udp(dumpConntrack(netlink, 4)), [1, 2, 3]);
    const talked6 = async () => (await talk('fd00::1', 'fd00::2', 4)) && udp(dumpConntrack(netlink, 6)).includes(4);
    await until(talked6, { what: 'an IPv6 entry' });
    const mine = conntrackOf(netlink, ip('10.0.0.2'));
    assert.deepEqual(udp(mine), [1, 2]);
    assert.equal(markConntrack(netlink, mine.slice(0, 1), { value: 0x40000000, mask: 0x40000000 }), 1);
    assert.equal(dumpConntrack(netlink, 4, { value: 0x40000000, mask: 0x40000000 }).length, 1);
    const conntrack = inNetns(space.netns, () => openConntrack());
    await conntrack.forget(ip('10.0.0.2'));
    await conntrack.forget(ip('10.0.0.2'));
    assert.deepEqual(udp(dumpConntrack(netlink, 4)), [3]);
    assert.equal(deleteConntrack(netlink, dumpConntrack(netlink, 4)) > 0, true);
    assert.equal(deleteConntrack(netlink, mine), 0, 'gone already');
    assert.ok(udp(conntrackOf(netlink, ip('fd00::2'))).includes(4));
    await conntrack.forget(ip('fd00::1'));
    assert.deepEqual(udp(dumpConntrack(netlink, 6)), []);
    // As on kernels that delete by exact tuple only.
    await talk('10.0.0.1', '10.0.0.2', 5);
    await talk('10.0.0.1', '10.0.0.3', 6);
    await readAndForgetAddress(netlink, ip('10.0.0.2'));
    assert.deepEqual(udp(dumpConntrack(netlink, 4)), [6]);
    conntrack.close();
    netlink.close();
    closeAll(space);
  });
});

describe('sockets and namespaces', needs({ root: true }), () => {
  test('a window into another namespace opens and closes, and what was made in it stays there', () => {
    const home = ownNetnsId();
    const space = makeNamespace();
    assert.notEqual(netnsId(space.netns.number), home);
    assert.equal(
      inNetns(space.netns, () => ownNetnsId()),
      netnsId(space.netns.number),
    );
    assert.throws(() => inNetns(space.netns, () => assert.fail('inside')), /inside/);
    assert.throws(() => inNetns(space.netns, async () => 1), /synchronous/);
    assert.equal(ownNetnsId(), home);
    assert.equal(socketNetnsId(space.netlink.fd), netnsId(space.netns.number));
    using own = inNetns(space.netns, () => new Netlink());
    assert.notEqual(socketNetnsId(own.fd), home);
    using reopened = openNetns(`/proc/self/fd/${space.netns.number}`);
    assert.equal(netnsId(reopened.number), netnsId(space.netns.number));
    assert.throws(() => openNetns('/dev/null'), /no network namespace/);
    assert.equal(isNetns(0), false);
    closeAll(space);
  });

  test('descriptors travel with a message; the caller is known; more than asked for is noticed', async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-unix-'));
    const socketPath = path.join(folder, 'cni.sock');
    const accepted: Fd[] = [];
    const listener = listenUnix({
      path: socketPath,
      onConnection: (connection, credentials) => {
        assert.deepEqual(credentials, { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() });
        accepted.push(connection);
      },
    });
    const space = makeNamespace();
    const client = newSocket(1, SOCK_STREAM);
    const address = sockaddrUn(socketPath);
    assert.equal(libc.connect(client.number, address, address.length), 0);
    await until(() => accepted.length === 1, { what: 'the connection' });
    const message = new MessageBuffer(1_000, 4);
    message.data.write('hello');
    assert.equal(message.send(client.number, 5, [space.netns.number, space.netlink.fd]), 5);
    const into = new MessageBuffer(1_000, 2);
    const got = into.receive(accepted[0]!.number);
    assert.equal(into.data.toString('utf8', 0, got.result), 'hello');
    assert.equal(got.truncated, false);
    assert.deepEqual(
      got.descriptors.map((fd) => isNetns(fd.number)),
      [true, false],
    );
    assert.equal(netnsId(got.descriptors[0]!.number), socketNetnsId(got.descriptors[1]!.number));
    assert.equal(
      message.send(client.number, 5, [space.netlink.fd, space.netlink.fd, space.netlink.fd, space.netlink.fd]),
      5,
    );
    const more = into.receive(accepted[0]!.number);
    assert.equal(more.truncated, true);
    for (const fd of [...got.descriptors, ...more.descriptors, ...accepted, client]) fd.close();
    listener.close();
    assert.equal(fs.existsSync(socketPath), false);
    fs.rmSync(folder, { recursive: true });
    closeAll(space);
    assert.throws(() => listenUnix({ path: `/${'x'.repeat(120)}`, onConnection: () => undefined }), /at most 107/);
  });

  test('TCP-MD5: the right key connects, a wrong one and none do not; options reach the accepted socket', async () => {
    const a = makeNamespace();
    const b = makeNamespace();
    link(a, 'e0', b, 'e0', 16, 0);
    const options = { hops: 255, minHops: 255 };
    const ear = inNetns(a.netns, () => tcpSocket({ local: '172.16.1.2', port: 179, ...options }));
    setMd5Key(ear.number, '172.16.1.1', 'secret');
    const accepted: net.Socket[] = [];
    const server = net.createServer((socket) => void accepted.push(socket));
    server.listen({ fd: ear.take() });
    const dial = (key: string | undefined): Fd => {
      const socket = inNetns(b.netns, () => tcpSocket({ local: '172.16.1.1', port: 0, ...options }));
      if (key) setMd5Key(socket.number, '172.16.1.2', key);
      connectTo(socket.number, '172.16.1.2', 179);
      return socket;
    };
    const refused = () =>
      inNetns(a.netns, () => fs.readFileSync('/proc/thread-self/net/netstat', 'utf8'))
        .split('\n')
        .filter((line) => line.startsWith('TcpExt:'))
        .map((line) => line.split(' '));
    const counter = (name: string): number => {
      const [names, values] = refused();
      return Number(values![names!.indexOf(name)]);
    };
    const wrong = dial('guess');
    await until(() => counter('TCPMD5Failure') > 0, { what: 'the wrong key to be refused' });
    const none = dial(undefined);
    await until(() => counter('TCPMD5NotFound') > 0, { what: 'the missing key to be refused' });
    assert.equal(accepted.length, 0);
    const right = dial('secret');
    await until(() => accepted.length === 1, { what: 'the connection with the right key' });
    assert.equal(accepted[0]!.remoteAddress, '172.16.1.1');
    assert.deepEqual(tcpOptions(descriptorOf(accepted[0]!), 4), { hops: 255, minHops: 255, tos: 0xc0, device: '' });
    assert.throws(() => setMd5Key(right.number, '172.16.1.2', 'x'.repeat(81)), /at most 80/);
    assert.throws(() => setMd5Key(right.number, '172.16.9.9', undefined), { code: 'ENOENT' });
    for (const fd of [wrong, none, right]) fd.close();
    for (const socket of accepted) socket.destroy();
    server.close();
    closeAll(a, b);
  });
});
