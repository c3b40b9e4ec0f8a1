import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress, silentLogger } from '#kit';
import { type DnsServer, parseDnsServer } from '#model';
import { dnsServerAddresses, nameServersOf } from './servers.ts';
import { createTrustedServers } from './trusted-servers.ts';

const servers = (...texts: string[]): DnsServer[] => texts.map((text) => parseDnsServer(text)!);
const kubeDns = servers('k8s-service:kube-dns');

function fake(state?: string) {
  const clock = new FakeClock();
  const told: string[] = [];
  const world = { services: {} as Record<string, readonly string[]>, asked: 0, state, fails: false };
  const trusted = createTrustedServers({
    clock,
    log: silentLogger,
    nameServers: () => ['192.0.2.53' as IpAddress],
    clusterIPs: async (namespace, name) => {
      world.asked++;
      if (world.fails) throw new Error('no answer');
      return world.services[`${namespace}/${name}`];
    },
    file: {
      read: () => world.state,
      write: (text) => {
        world.state = text;
      },
    },
    onServers: (addresses) => told.push(addresses.join(' ')),
  });
  const pass = async (ms: number): Promise<void> => {
    clock.advance(ms);
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  return { world, trusted, told, pass };
}

test('servers as people write them; port 53 alone', () => {
  for (const [text, expected] of [
    ['192.0.2.1', { type: 'address', address: '192.0.2.1' }],
    ['192.0.2.1:53', { type: 'address', address: '192.0.2.1' }],
    ['2001:DB8::1', { type: 'address', address: '2001:db8::1' }],
    ['[2001:db8::1]:53', { type: 'address', address: '2001:db8::1' }],
    ['k8s-service:kube-dns', { type: 'service', namespace: 'kube-system', name: 'kube-dns' }],
    ['k8s-service:openshift-dns/dns-default:53', { type: 'service', namespace: 'openshift-dns', name: 'dns-default' }],
    ['resolv.conf', { type: 'node' }],
  ] as const)
    assert.deepEqual(parseDnsServer(text), expected, text);
  for (const text of [
    '',
    'kube-dns',
    '192.0.2.1:5353',
    'k8s-service:',
    'k8s-service:a/b/c',
    'k8s-service:x:5353',
    '10.0.0.0/8',
  ])
    assert.equal(parseDnsServer(text), undefined, text);
});

test('of resolv.conf those that a pod can ask; each address once', () => {
  const text =
    '# x\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 # y\nnameserver 127.0.0.53\nnameserver ::1\nsearch a\n';
  assert.deepEqual(nameServersOf(text), ['192.0.2.1', '2001:db8::1']);
  const known = { nameServers: nameServersOf(text), clusterIPs: () => ['10.96.0.10' as IpAddress] };
  const found = dnsServerAddresses(servers('192.0.2.1', 'resolv.conf', 'k8s-service:kube-dns'), known);
  assert.deepEqual(found, ['192.0.2.1', '2001:db8::1', '10.96.0.10']);
});

test('a service is asked for while a policy names a domain, again each minute, and kept for the next start', async () => {
  const { world, trusted, told, pass } = fake();
  trusted.set([...kubeDns, ...servers('resolv.conf')]);
  await pass(120_000);
  assert.deepEqual([told.splice(0), world.asked], [['192.0.2.53'], 0], 'nobody needs it');
  world.services['kube-system/kube-dns'] = ['10.96.0.10', 'fd00::a'];
  trusted.wanted(true);
  await pass(0);
  assert.deepEqual(told.splice(0), ['10.96.0.10 fd00::a 192.0.2.53']);
  world.services['kube-system/kube-dns'] = ['10.96.0.11'];
  await pass(60_000);
  assert.deepEqual(told.splice(0), ['10.96.0.11 192.0.2.53']);
  trusted.wanted(false);
  const { asked } = world;
  await pass(120_000);
  assert.equal(world.asked, asked);
  const next = fake(world.state);
  next.trusted.set(kubeDns);
  assert.deepEqual(next.told, ['10.96.0.11']);
});

test('without an answer the last known addresses count, and it is asked again soon; a broken file is none', async () => {
  const { world, trusted, told, pass } = fake('{"kube-system/kube-dns":["10.96.0.10","x"]}');
  world.fails = true;
  trusted.wanted(true);
  trusted.set(kubeDns);
  await pass(0);
  assert.deepEqual(told.splice(0), ['10.96.0.10']);
  world.fails = false;
  world.services['kube-system/kube-dns'] = ['10.96.0.12'];
  await pass(5_000);
  assert.deepEqual(told, ['10.96.0.12']);
  trusted.stop();
  for (const text of ['', '[', 'null', '{"a/b":1}']) fake(text).trusted.set(kubeDns);
});
