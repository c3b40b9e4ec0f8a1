/**
 * Changes of manifests under a real agent, told by packets: in force within a second of the file's writing; probes of the node pass to its
 * own pods under default deny and nobody else's do; natOutgoing hides pods from those outside the pools and from nobody within.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { ProberClient, type Target } from '#lab';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['cniShim'] });

/** From the file being in its place to the change being in force. */
const LIVE_MS = 1_000;
const PROBER_START_MS_MAX = 60_000;
const ports = [{ protocol: 'TCP', port: 80 }] as const;

interface World {
  readonly node: LoneAgent;
  /** Addresses by target, IPv4 first. */
  readonly addresses: ReadonlyMap<string, readonly string[]>;
  /** `46`: TCP passes in both families; `4`, `6`, or `` for none. */
  passes(from: string, to: string): Promise<string>;
}

/** A node with pods x and y, an outside host, and a prober for all of them. */
async function world(t: TestContext): Promise<World> {
  const node = await LoneAgent.node(t);
  node.writePod('x', { app: 'x' });
  node.writePod('y', { app: 'y' });
  node.start();
  await node.untilReady();
  const targets: Target[] = [
    { id: 'node', netns: `/run/netns/${node.netns}`, addresses: ['192.0.2.1', '2001:db8::1'], ports },
    { id: 'outside', netns: `/run/netns/${node.outside}`, addresses: ['192.0.2.2', '2001:db8::2'], ports },
  ];
  for (const name of ['x', 'y']) {
    await node.makePodNetns(name);
    const { exitCode, message, addresses } = await node.cni('ADD', name);
    assert.equal(exitCode, 0, message);
    targets.push({ id: name, netns: `/run/netns/${node.podNetns(name)}`, addresses, ports });
  }
  const socket = path.join(node.directory, 'prober.sock');
  const main = path.join(import.meta.dirname, '..', '..', 'src', 'lab', 'prober', 'main.ts');
  const child = spawn(process.execPath, [main, socket], { stdio: 'inherit' });
  t.after(() => void child.kill());
  const client = await ProberClient.connect(socket, PROBER_START_MS_MAX);
  t.after(() => client.close());
  assert.deepEqual((await client.call({ op: 'sync', targets })).problems, []);
  const addresses = new Map(targets.map((target) => [target.id, target.addresses]));
  return {
    node,
    addresses,
    async passes(from, to) {
      const both = addresses.get(to)!.toSorted((a) => (a.includes(':') ? 1 : -1));
      const probes = both.map((address) => ({ from, to, protocol: 'TCP' as const, port: 80, address }));
      const { outcomes } = await client.call({ op: 'probe', probes });
      return outcomes.map(({ verdict }, i) => (verdict === 'allow' ? '46'[i] : '')).join('');
    },
  };
}

function policy(name: string, spec: object): object {
  return { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', metadata: { namespace: 'default', name }, spec };
}

/** Runs `change` and waits until `inForce`; fails when that takes over a second. */
async function live(what: string, change: () => void, inForce: () => Promise<boolean>): Promise<void> {
  change();
  await until(inForce, { what: `${what} to be in force`, deadlineMs: LIVE_MS, intervalMs: 5 });
}

test('policy, label, pool and peer: in force within a second', mayRun, async (t) => {
  const { node } = await world(t);
  const shown = async (pod: string): Promise<string> =>
    (await node.inside('iptables-save', '-t', 'mangle')).stdout.replaceAll(/^#.*\n/gm, '') + pod;
  const before = await shown('x');
  const deny = policy('deny', { podSelector: { matchLabels: { shut: 'yes' } }, policyTypes: ['Ingress'] });
  const hasPolicy = async (): Promise<boolean> => /-A poplin-tw-pop\w+ .*-j DROP/.test(await shown('x'));
  assert.equal(await hasPolicy(), false);
  node.write('deny.yaml', deny);
  await until(async () => (await node.status()).datastore.objects['NetworkPolicy'] === 1, { what: 'the policy' });
  assert.equal(await shown('x'), before, 'it selects nobody yet');
  await live('a label', () => node.writePod('x', { app: 'x', shut: 'yes' }), hasPolicy);
  await live(
    'a policy that goes',
    () => node.drop('deny.yaml'),
    async () => !(await hasPolicy()),
  );
  await live('a policy that comes', () => node.write('deny.yaml', deny), hasPolicy);
  const pool = (natOutgoing: boolean): object => ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'IPPool',
    metadata: { name: 'pods' },
    spec: { cidr: '10.42.0.0/16', natOutgoing },
  });
  const masquerades = async (): Promise<boolean> =>
    (await node.inside('iptables-save', '-t', 'nat')).stdout.includes('MASQUERADE');
  await live('a pool', () => node.write('pool.yaml', pool(true)), masquerades);
  await live(
    'a changed pool',
    () => node.write('pool.yaml', pool(false)),
    async () => !(await masquerades()),
  );
  const peer = {
    apiVersion: 'projectcalico.org/v3',
    kind: 'BGPPeer',
    metadata: { name: 'tor' },
    spec: { peerIP: '192.0.2.2', asNumber: 65001 },
  };
  const peers = async (): Promise<number> => (await node.status()).bgp.peersConfigured;
  await live(
    'a peer',
    () => node.write('peer.yaml', peer),
    async () => (await peers()) === 1,
  );
  await live(
    'a peer that goes',
    () => node.drop('peer.yaml'),
    async () => (await peers()) === 0,
  );
});

test('under default deny the node itself reaches its pods, and nobody else does', mayRun, async (t) => {
  const { node, passes } = await world(t);
  for (const from of ['node', 'outside', 'y']) {
    await until(async () => (await passes(from, 'x')) === '46', { what: `${from} to reach x without a policy` });
  }
  node.write('deny.yaml', policy('deny', { podSelector: {}, policyTypes: ['Ingress', 'Egress'] }));
  await until(async () => (await passes('outside', 'x')) === '', { what: 'the policy' });
  assert.equal(await passes('node', 'x'), '46');
  assert.equal(await passes('node', 'y'), '46');
  assert.equal(await passes('y', 'x'), '');
  assert.equal(await passes('x', 'outside'), '');
  assert.equal(await passes('x', 'node'), '', 'what a pod begins itself is policed towards its node as well');
});

test('natOutgoing: pods have the node’s address to those outside the pools, their own within', mayRun, async (t) => {
  const { node, addresses, passes } = await world(t);
  for (const [name, cidr] of [
    ['four', '10.42.0.0/16'],
    ['six', 'fd00:42::/32'],
  ]) {
    node.write(`${name}.yaml`, {
      apiVersion: 'projectcalico.org/v3',
      kind: 'IPPool',
      metadata: { name },
      spec: { cidr, natOutgoing: true },
    });
  }
  for (const command of ['iptables-save', 'ip6tables-save']) {
    await until(async () => (await node.inside(command, '-t', 'nat')).stdout.includes('MASQUERADE'), { what: command });
  }
  // A fresh world's IPv6 neighbours may not be settled at the first probe.
  await until(async () => (await passes('x', 'outside')) === '46', { what: 'x to reach outside over both families' });
  await until(async () => (await passes('x', 'y')) === '46', { what: 'x to reach y over both families' });
  // Connection tracking is what the kernel did: the reply's destination is the address that the other end saw.
  const flows = async (family: string, destination: string): Promise<string[]> => {
    const { stdout } = await node.inside('conntrack', '-L', '-f', family, '-p', 'tcp', '--orig-dst', destination);
    return stdout.split('\n').filter((line) => line.includes('dport=80'));
  };
  for (const [index, family] of [
    [0, 'ipv4'],
    [1, 'ipv6'],
  ] as const) {
    const sorted = (id: string): string => addresses.get(id)!.toSorted((a) => (a.includes(':') ? 1 : -1))[index]!;
    const own = sorted('x');
    const outwards = (await flows(family, sorted('outside'))).filter((line) => line.includes(`src=${own} `));
    assert.ok(outwards.length > 0, `${family}: a flow of x to outside`);
    for (const line of outwards)
      assert.match(line, new RegExp(`src=${sorted('outside')} dst=${sorted('node')} `), line);
    const within = (await flows(family, sorted('y'))).filter((line) => line.includes(`src=${own} `));
    assert.ok(within.length > 0, `${family}: a flow of x to y`);
    for (const line of within) assert.match(line, new RegExp(`src=${sorted('y')} dst=${own} `), line);
  }
});
