/** Tracked flows of addresses, of entries made by hand in a namespace of their own. */
import assert from 'node:assert/strict';
import { after, suite, test } from 'node:test';
import { type IpAddress, parseIp } from '#kit';
import {
  conntrackOf,
  deleteConntrack,
  inNetns,
  type MessageWriter,
  NESTED,
  NETLINK_NETFILTER,
  Netlink,
  newNetns,
  openFlowTable,
  type TrackedFlow,
} from '#sys';
import { needs } from '../support/needs.ts';

/** include/uapi/linux/netfilter/nfnetlink_conntrack.h */
const CT_NEW = 0x100;
const NLM_F_CREATE_EXCL = 0x600;
const TUPLE_ORIG = 1;
const TUPLE_REPLY = 2;
const STATUS = 3;
const PROTOINFO = 4;
const TIMEOUT = 7;
const MARK = 8;
const CONFIRMED_SEEN_REPLY_ASSURED = 0xe;

interface Tuple {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** Source and destination port, or id, type and code. */
  readonly rest: readonly [number, number] | readonly [number, number, number];
}

const u16 = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);

function writeTuple(w: MessageWriter, type: number, { source, destination, protocol, rest }: Tuple): void {
  const six = source.includes(':') ? 2 : 0;
  w.nest(type | NESTED, (tuple) => {
    tuple.nest(1 | NESTED, (ip) => ip.attr(six + 1, parseIp(source)!).attr(six + 2, parseIp(destination)!));
    tuple.nest(2 | NESTED, (proto) => {
      proto.attrU8(1, protocol);
      const icmp = six ? 7 : 4;
      if (rest.length === 2) proto.attr(2, u16(rest[0])).attr(3, u16(rest[1]));
      else
        proto
          .attr(icmp, u16(rest[0]))
          .attrU8(icmp + 1, rest[1])
          .attrU8(icmp + 2, rest[2]);
    });
  });
}

suite('flows of addresses', needs({ root: true }), () => {
  const netns = newNetns();
  const netlink = inNetns(netns, () => new Netlink({ protocol: NETLINK_NETFILTER }));
  const table = inNetns(netns, openFlowTable);
  after(() => {
    table.close();
    netlink.close();
    netns.close();
  });
  const add = (original: Tuple, reply: Tuple, mark = 0): void => {
    netlink.request('new entry', CT_NEW, NLM_F_CREATE_EXCL, (w) => {
      w.raw(original.source.includes(':') ? 10 : 2, 0, 0, 0);
      writeTuple(w, TUPLE_ORIG, original);
      writeTuple(w, TUPLE_REPLY, reply);
      w.attrU32be(STATUS, CONFIRMED_SEEN_REPLY_ASSURED).attrU32be(TIMEOUT, 3600).attrU32be(MARK, mark);
      // TCP: CTA_PROTOINFO_TCP_STATE ESTABLISHED; SCTP: CTA_PROTOINFO_SCTP_STATE ESTABLISHED.
      if (original.protocol === 6)
        w.nest(PROTOINFO | NESTED, (info) => info.nest(1 | NESTED, (tcp) => tcp.attrU8(1, 3)));
      if (original.protocol === 132) {
        w.nest(PROTOINFO | NESTED, (info) =>
          info.nest(3 | NESTED, (sctp) => sctp.attrU8(1, 4).attrU32be(2, 1).attrU32be(3, 1)),
        );
      }
    });
  };
  const direct = (source: string, destination: string, protocol: number, ports: readonly [number, number]): void =>
    add(
      { source, destination, protocol, rest: ports },
      { source: destination, destination: source, protocol, rest: [ports[1], ports[0]] },
    );
  direct('10.0.0.1', '10.0.0.2', 6, [1000, 80]);
  direct('10.0.0.2', '10.0.0.1', 17, [1001, 53]);
  direct('10.0.0.3', '10.0.0.1', 132, [1002, 9003]);
  direct('10.0.0.3', '10.0.0.2', 6, [1003, 80]);
  direct('fd00::1', 'fd00::2', 6, [1004, 80]);
  // A service of 10.96.0.1 port 80 in front of 10.0.0.1 port 8080; the node stands in for the client.
  add(
    { source: '10.0.0.9', destination: '10.96.0.1', protocol: 6, rest: [1005, 80] },
    { source: '10.0.0.1', destination: '192.0.2.1', protocol: 6, rest: [8080, 2005] },
    0x4000,
  );
  add(
    { source: '10.0.0.1', destination: '10.0.0.8', protocol: 1, rest: [7, 8, 0] },
    { source: '10.0.0.8', destination: '10.0.0.1', protocol: 1, rest: [7, 0, 0] },
  );
  add(
    { source: 'fd00::3', destination: 'fd00::1', protocol: 58, rest: [7, 128, 0] },
    { source: 'fd00::1', destination: 'fd00::3', protocol: 58, rest: [7, 129, 0] },
  );

  const flowsOf = async (wanted: (flow: TrackedFlow) => boolean, ...addresses: string[]): Promise<TrackedFlow[]> => {
    const found = new Map<string, TrackedFlow>();
    for await (const flows of table.scan(new Set(addresses as IpAddress[])))
      for (const flow of flows.filter(wanted)) found.set(flow.key.join(), flow);
    return [...found.values()];
  };
  const scan = async (...addresses: string[]): Promise<string[]> => {
    const flows = await flowsOf(() => true, ...addresses);
    return flows
      .map(({ source, destination, protocol, sourcePort, destinationPort, icmp }) => {
        const rest = icmp ? `type ${icmp.type}` : `${sourcePort} ${destinationPort}`;
        return `${source} ${destination} ${protocol} ${rest}`;
      })
      .sort();
  };
  const ofOne = [
    '10.0.0.1 10.0.0.2 6 1000 80',
    '10.0.0.1 10.0.0.8 1 type 8',
    '10.0.0.2 10.0.0.1 17 1001 53',
    '10.0.0.3 10.0.0.1 132 1002 9003',
    '10.0.0.9 10.0.0.1 6 1005 8080',
  ];

  test('an address at either end, before and behind NAT; looked for by the kernel or in the whole table', async () => {
    assert.deepEqual(await scan('10.0.0.1'), ofOne);
    assert.deepEqual(await scan('10.0.0.1', '10.9.0.1', '10.9.0.2', '10.9.0.3', '10.9.0.4', '10.9.0.5'), ofOne);
    const of6 = ['fd00::1 fd00::2 6 1004 80', 'fd00::3 fd00::1 58 type 128'];
    assert.deepEqual(await scan('fd00::1'), of6);
    assert.deepEqual(await scan('fd00::1', '10.0.0.9', 'fd00::3'), ['10.0.0.9 10.0.0.1 6 1005 8080', ...of6]);
    // Neither is an end of what goes through a service.
    assert.deepEqual(await scan('10.96.0.1', '192.0.2.1'), []);
    assert.deepEqual(await scan(), []);
  });

  test('bits of the mark are set and cleared, those of others stay; what is gone does not count', async () => {
    const flows = await flowsOf(({ protocol }) => protocol === 6 || protocol === 132, '10.0.0.1');
    assert.equal(table.mark(flows, { value: 0x80000, mask: 0x80000 }), 3);
    const marks = async () => (await flowsOf(() => true, '10.0.0.1')).map(({ mark }) => mark).sort((a, b) => a - b);
    assert.deepEqual(await marks(), [0, 0, 0x80000, 0x80000, 0x84000]);
    assert.equal(table.mark(flows, { value: 0, mask: 0x80000 }), 3);
    assert.deepEqual(await marks(), [0, 0, 0, 0, 0x4000]);
    deleteConntrack(netlink, conntrackOf(netlink, '10.0.0.9' as IpAddress));
    assert.equal(table.mark(flows, { value: 0, mask: 0x80000 }), 2);
  });

  test('a scan that is left early is over, and the next one begins anew', async () => {
    const broken = flowsOf(() => assert.fail('no verdict'), '10.0.0.1');
    await assert.rejects(broken, /no verdict/);
    assert.deepEqual(await scan('10.0.0.2'), [
      '10.0.0.1 10.0.0.2 6 1000 80',
      '10.0.0.2 10.0.0.1 17 1001 53',
      '10.0.0.3 10.0.0.2 6 1003 80',
    ]);
  });
});
