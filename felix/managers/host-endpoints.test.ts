/** Whose an interface is, and what is written for host endpoints, on a machine that remembers what it was told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, type IpAddress, silentLogger } from '#kit';
import type { EndpointProgram, HostProgram, PolicyUpdate } from '#model';
import type { CommandRunner } from '../drivers/command.ts';
import { inputText } from '../drivers/command.ts';
import { createPolicyDataplane } from '../policy-dataplane.ts';

async function fake({ inSync = true } = {}) {
  const clock = new FakeClock();
  const writes: string[] = [];
  const state = { refused: (_text: string) => false };
  const run: CommandRunner['run'] = async (argv, options) => {
    if (!argv[0]?.includes('tables') || !argv.some((word) => word.endsWith('restore')))
      return { code: 0, stdout: '', stderr: '' };
    const text = await inputText(options?.stdin);
    if (state.refused(text)) return { code: 1, stdout: '', stderr: 'no such target' };
    writes.push(text);
    return { code: 0, stdout: '', stderr: '' };
  };
  const tables = {
    use: () => undefined,
    rules: () => [],
    deleteRules: () => undefined,
    deleteTable: () => undefined,
  };
  const dataplane = createPolicyDataplane(
    { run, tables, log: silentLogger, clock },
    { backend: 'nft', families: [4], refreshMs: 3_600_000 },
  );
  await dataplane.start();
  if (inSync) dataplane.setInSync();
  const settle = async (): Promise<string> => {
    writes.length = 0;
    for (let i = 0; i < 400; i++) {
      clock.advance(1);
      await Promise.resolve();
    }
    return writes.join('');
  };
  await settle();
  return { dataplane, settle, state };
}

const program = (host: Partial<HostProgram>, part: Partial<EndpointProgram> = {}): EndpointProgram => ({
  ingress: [],
  egress: [],
  ...part,
  host: {
    expectedIPs: [],
    otherwise: 'deny',
    forward: { ingress: [], egress: [] },
    preDNAT: [],
    untracked: { ingress: [], egress: [] },
    ...host,
  },
});
const host = (name: string, of: Partial<HostProgram>, part: Partial<EndpointProgram> = {}): PolicyUpdate => ({
  type: 'endpoint',
  id: `HostEndpoint:${name}`,
  program: program(of, part),
});
const gone = (name: string): PolicyUpdate => ({ type: 'endpointRemove', id: `HostEndpoint:${name}` });
const tier = (policy: string) => [{ tier: 'default', policies: [policy], endOfTier: 'pass' as const }];
const policy = (id: string): PolicyUpdate => ({
  type: 'policy',
  id,
  program: { ingress: [{ action: 'allow' }], egress: [{ action: 'allow' }] },
});
const interfacesIn = (text: string, chain: string): string[] =>
  [...text.matchAll(new RegExp(`^-A poplin-${chain} -[io] (\\S+)`, 'gm'))].map(([, name]) => name!);

test('whose an interface is: a name before an address before *, of equals the first by name; the others are refused', async () => {
  const { dataplane, settle } = await fake();
  const addresses = (...list: string[]) => list as IpAddress[];
  dataplane.setInterfaces(
    new Map([
      ['lo', addresses('127.0.0.1')],
      ['eth0', addresses('192.0.2.1')],
      ['eth1', addresses('192.0.2.2', '2001:db8::2')],
      ['popabc', addresses('192.0.2.3')],
      ['eth+', addresses('192.0.2.4')],
    ]),
  );
  dataplane.apply([
    host('b', { interfaceName: 'eth0' }),
    host('a', { expectedIPs: addresses('192.0.2.1', '192.0.2.2', '192.0.2.3', '127.0.0.1') }),
    host('c', { expectedIPs: addresses('2001:db8::2') }),
    host('d', { interfaceName: 'eth0' }),
    host('e', { interfaceName: 'popabc' }),
    host('f', { interfaceName: 'lo' }),
    host('g', { interfaceName: '*' }),
    host('h', { interfaceName: '*' }),
    host('i', { expectedIPs: addresses('198.51.100.1') }),
    host('j', { expectedIPs: addresses('192.0.2.4') }),
    host('k', { interfaceName: '-j ACCEPT' }),
  ]);
  const text = await settle();
  assert.deepEqual(interfacesIn(text, 'hosts-hi'), ['eth0', 'eth1']);
  assert.match(text, /-A poplin-hosts-hi -m comment --comment "poplin:\S+ every other interface" -g poplin-hhi-/);
  const { programmed, refused } = dataplane.status().hostEndpoints;
  assert.equal(programmed, 3);
  assert.deepEqual(refused.map(({ id }) => id.slice(-1)).sort(), ['c', 'd', 'e', 'f', 'h', 'i', 'j', 'k']);
  // Who was refused comes into its own when the other goes.
  dataplane.apply([gone('b')]);
  await settle();
  assert.ok(!dataplane.status().hostEndpoints.refused.some(({ id }) => id === 'HostEndpoint:d'));
});

test('an interface of its own is not asked for what its endpoint has no policies for, though * has', async () => {
  const { dataplane, settle } = await fake();
  dataplane.apply([
    policy('P'),
    host('any', { interfaceName: '*', preDNAT: tier('P') }),
    host('one', { interfaceName: 'eth0' }),
  ]);
  const text = await settle();
  assert.match(text, /-A poplin-hosts-ni -i eth0 .* -j RETURN/);
  assert.match(text, /-I PREROUTING 1 .*-j poplin-before-nat/);
});

test('before it is in sync nothing is written, and without a host endpoint nothing is hooked in', async () => {
  const { dataplane, settle } = await fake({ inSync: false });
  dataplane.apply([host('a', { interfaceName: 'eth0' })]);
  assert.equal(await settle(), '');
  dataplane.setInSync();
  assert.match(await settle(), /-I POSTROUTING 1 .*-j poplin-host-out/);
  dataplane.apply([gone('a')]);
  const text = await settle();
  assert.match(text, /-D POSTROUTING .*-j poplin-host-out/);
  assert.doesNotMatch(text, /-[jg] poplin-host(s|-in|-forward)/);
});

test('where the kernel does not take NOTRACK, an endpoint with doNotTrack keeps its failsafe ports alone, others are as they are', async () => {
  const { dataplane, settle, state } = await fake();
  state.refused = (text) => text.includes('--notrack');
  dataplane.apply([
    policy('P'),
    policy('U'),
    host(
      'a',
      { interfaceName: 'eth0', otherwise: 'allow', untracked: { ingress: tier('U'), egress: [] } },
      { ingress: tier('P') },
    ),
    host('b', { interfaceName: 'eth1', otherwise: 'allow' }, { ingress: tier('P') }),
  ]);
  const text = await settle();
  assert.doesNotMatch(text, /^\*raw/m);
  const chains = new Map(
    [...text.matchAll(/^-A poplin-hosts-hi -i (\S+) .*-g (\S+)$/gm)].map(([, name, chain]) => [name, chain!]),
  );
  const rulesOf = (name: string): string[] =>
    text.split('\n').filter((line) => line.startsWith(`-A ${chains.get(name)} `));
  assert.ok(rulesOf('eth0').some((line) => line.includes('--dports 22,')));
  assert.ok(!rulesOf('eth0').some((line) => line.includes('-j poplin-pi-')));
  assert.match(rulesOf('eth0').at(-1)!, /-j DROP$/);
  assert.ok(rulesOf('eth1').some((line) => line.includes('-j poplin-pi-')));
  assert.match(dataplane.status().hostEndpoints.refused[0]!.reason, /no such target/);
  // It is asked again when everything is read back.
  state.refused = () => false;
  dataplane.resync();
  assert.match(await settle(), /^-A poplin-hosts-ui -i eth0/m);
  assert.deepEqual(dataplane.status().hostEndpoints.refused, []);
  dataplane.apply([gone('a')]);
  assert.match(await settle(), /^-X poplin-notrack$/m);
});

test('failsafe ports: by protocol and net, fifteen a rule, each family its own', async () => {
  const { dataplane, settle } = await fake();
  const many = Array.from({ length: 20 }, (_, i) => ({ protocol: 'tcp' as const, port: 100 + i }));
  dataplane.setFailsafe({
    inbound: [...many, ...many, { protocol: 'udp', port: 5, net: '10.0.0.0/8' as never }],
    outbound: [{ protocol: 'tcp', port: 6, net: '2001:db8::/32' as never }],
  });
  dataplane.apply([host('a', { interfaceName: 'eth0' })]);
  const text = await settle();
  const ports = [...text.matchAll(/^-A poplin-hhi-\S+ (.*) -m comment .* failsafe port/gm)].map(([, match]) => match);
  assert.deepEqual(ports, [
    `-p tcp -m multiport --dports ${Array.from({ length: 15 }, (_, i) => 100 + i).join(',')}`,
    '-p tcp -m multiport --dports 115,116,117,118,119',
    '-p udp -s 10.0.0.0/8 -m multiport --dports 5',
  ]);
  assert.doesNotMatch(text, /^-A poplin-hho-\S+ .*failsafe/m);
  // A change of these writes chains of host endpoints alone.
  dataplane.setFailsafe({ inbound: [], outbound: [] });
  const written = [...(await settle()).matchAll(/^:(\S+) /gm)].map(([, chain]) => chain!);
  assert.ok(written.length > 0 && written.every((chain) => chain.startsWith('poplin-hh')), written.join());
});
