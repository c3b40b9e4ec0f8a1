import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SysError } from './sys-error.ts';
import { type AoKey, aoFault, aoFaultOf, decodeAoInfo, encodeAoAdd, encodeAoDelete, encodeAoRnext } from './tcp-ao.ts';

/** A field of a C structure: its name, the octets of one element, how many. Alignment is that of an element. */
type Field = readonly [name: string, bytes: 1 | 2 | 4 | 8, count?: number];

/** include/uapi/linux/tcp.h of Linux 6.7 and later; bit-fields are the `flags` that they stand in, first bit lowest. */
const uapi = {
  tcp_ao_add: [
    ['addr', 8, 16],
    ['alg_name', 1, 64],
    ['ifindex', 4],
    ['flags', 4],
    ['reserved2', 2],
    ['prefix', 1],
    ['sndid', 1],
    ['rcvid', 1],
    ['maclen', 1],
    ['keyflags', 1],
    ['keylen', 1],
    ['key', 1, 80],
  ],
  tcp_ao_del: [
    ['addr', 8, 16],
    ['ifindex', 4],
    ['flags', 4],
    ['reserved2', 2],
    ['prefix', 1],
    ['sndid', 1],
    ['rcvid', 1],
    ['current_key', 1],
    ['rnext', 1],
    ['keyflags', 1],
  ],
  tcp_ao_info_opt: [
    ['flags', 4],
    ['reserved2', 2],
    ['current_key', 1],
    ['rnext', 1],
    ['counters', 8, 5],
  ],
} as const satisfies Readonly<Record<string, readonly Field[]>>;

/** What the kernel would read: numbers of fields of one element, else their octets in hexadecimal without the zeros at the end. */
function read(struct: keyof typeof uapi, bytes: Buffer): Record<string, number | string> {
  const out: Record<string, number | string> = {};
  let at = 0;
  for (const [name, size, count = 1] of uapi[struct] as readonly Field[]) {
    at = Math.ceil(at / size) * size;
    const part = bytes.subarray(at, at + size * count);
    out[name] = count === 1 ? part.readUIntLE(0, size) : part.toString('hex').replace(/(00)+$/, '');
    at += size * count;
  }
  // Aligned to eight, all three.
  assert.equal(bytes.length, Math.ceil(at / 8) * 8, `sizeof(struct ${struct})`);
  return out;
}

const key: AoKey = { sendId: 7, recvId: 200, algorithm: 'hmac-sha-1-96', secret: 'tr\u00e8s' };
const hex = (text: string): string => Buffer.from(text).toString('hex');

test('RFC 5925 3.1, struct tcp_ao_add: an IPv4 peer, an IPv6 prefix', () => {
  assert.deepEqual(read('tcp_ao_add', encodeAoAdd({ address: '192.0.2.1' }, key, true)), {
    addr: '02000000c0000201',
    alg_name: hex('hmac(sha1)'),
    ifindex: 0,
    flags: 3,
    reserved2: 0,
    prefix: 32,
    sndid: 7,
    rcvid: 200,
    maclen: 12,
    keyflags: 0,
    keylen: 5,
    key: hex('tr\u00e8s'),
  });
  const six = { address: '2001:db8::', prefixLength: 32 };
  const other: AoKey = { ...key, algorithm: 'aes-128-cmac-96', excludeTcpOptions: true, secret: 'x'.repeat(80) };
  assert.deepEqual(read('tcp_ao_add', encodeAoAdd(six, other, false)), {
    addr: '0a0000000000000020010db8',
    alg_name: hex('cmac(aes128)'),
    ifindex: 0,
    flags: 0,
    reserved2: 0,
    prefix: 32,
    sndid: 7,
    rcvid: 200,
    maclen: 12,
    keyflags: 2,
    keylen: 80,
    key: hex('x'.repeat(80)),
  });
  assert.equal(encodeAoAdd({ address: 'fe80::1' }, key, false)[202], 128);
});

test('TCP_AO_MAXKEYLEN: a secret has 1 to 80 bytes', () => {
  const add = (secret: string) => () => encodeAoAdd({ address: '192.0.2.1' }, { ...key, secret }, false);
  assert.throws(add(''), /key 7\/200 for 192.0.2.1 has 0 bytes; 1 to 80 are possible/);
  assert.throws(add(`x${'\u00e8'.repeat(40)}`), /has 81 bytes/);
});

test('struct tcp_ao_del: from a listener at once, from a connection, and from one that uses the key', () => {
  const fields = { addr: '02000000c00002', ifindex: 0, reserved2: 0, prefix: 24, sndid: 7, rcvid: 200, keyflags: 0 };
  const subject = { address: '192.0.2.0', prefixLength: 24 };
  const instead = { sendId: 9, recvId: 10 };
  const unused = { current_key: 0, rnext: 0 };
  assert.deepEqual(read('tcp_ao_del', encodeAoDelete(subject, key, 'listener')), { ...fields, ...unused, flags: 4 });
  assert.deepEqual(read('tcp_ao_del', encodeAoDelete(subject, key, 'connection')), { ...fields, ...unused, flags: 0 });
  assert.deepEqual(read('tcp_ao_del', encodeAoDelete(subject, key, 'connection', instead)), {
    ...fields,
    flags: 3,
    current_key: 9,
    rnext: 10,
  });
});

test('RFC 5925 6.1, struct tcp_ao_info_opt: the key that is asked for, the keys in use', () => {
  const asked = { flags: 2, reserved2: 0, current_key: 0, rnext: 200, counters: '' };
  assert.deepEqual(read('tcp_ao_info_opt', encodeAoRnext(200)), asked);
  const info = Buffer.alloc(48);
  info.set([3, 0, 0, 0, 0, 0, 7, 200]);
  assert.deepEqual(decodeAoInfo(info), { current: 7, rnext: 200 });
  assert.deepEqual(decodeAoInfo(Buffer.alloc(48)), { current: undefined, rnext: undefined });
});

test('RFC 5925: the probe tells a kernel without TCP-AO, one without an algorithm, and one that refuses, apart', () => {
  const failed = (errno: number): SysError => new SysError('setsockopt(TCP_AO_ADD_KEY)', errno);
  assert.match(aoFaultOf(failed(92), 'hmac-sha-1-96'), /no TCP-AO; run one of 6.7 or later with CONFIG_TCP_AO=y/);
  assert.match(aoFaultOf(failed(2), 'aes-128-cmac-96'), /TCP-AO without cmac\(aes\); load its module/);
  assert.match(aoFaultOf(failed(12), 'hmac-sha-1-96'), /takes no TCP-AO key: .*ENOMEM/);
  for (const family of [4, 6] as const) {
    const fault = aoFault('hmac-sha-1-96', family);
    assert.ok(fault === undefined || /no TCP-AO; run one/.test(fault), fault);
  }
});
