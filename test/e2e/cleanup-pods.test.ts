/**
 * `poplin cleanup` while containers of pods still run: interfaces, host ports and tracked flows go, other networks' host ports and files that
 * are not ours stay, and a pod that is made anew under another CNI plugin works.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { kubeAsset } from '#setup';
import { exec } from '#sys';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { tool } from '../support/tools.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({
  root: true,
  commands: ['ip', 'iptables', 'ipset', 'nft', 'conntrack'],
  provided: ['cniShim', 'cniReference'],
});

const mayRunNft = needs({
  root: true,
  commands: ['ip', 'iptables', 'ipset', 'nft'],
  provided: ['cniShim', 'cniReference'],
  kube: ['portmap'],
});

/** Lines that only one of the two dumps has. */
function difference(before: string, after: string): string[] {
  const [had, has] = [before.split('\n'), after.split('\n')];
  return [
    ...had.filter((line) => !has.includes(line)).map((line) => `-${line}`),
    ...has.filter((line) => !had.includes(line)).map((line) => `+${line}`),
  ];
}

interface PluginCall {
  /** Name, or path of another version. */
  readonly plugin: string;
  readonly pod: string;
  readonly network: string;
  readonly config?: object;
}

/** Calls a reference plugin in the node's namespace, as a runtime does. */
async function reference(node: LoneAgent, call: PluginCall): Promise<string> {
  const folder = tool('cniReference');
  const env = {
    PATH: process.env['PATH'] ?? '',
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: `c-${call.pod}`,
    CNI_NETNS: `/run/netns/${node.podNetns(call.pod)}`,
    CNI_IFNAME: 'eth0',
    CNI_PATH: folder,
  };
  const stdin = JSON.stringify({
    cniVersion: '1.0.0',
    name: call.network,
    type: path.basename(call.plugin),
    ...call.config,
  });
  const args = [`--net=/run/netns/${node.netns}`, path.resolve(folder, call.plugin)];
  const { code, stdout, stderr } = await exec('nsenter', args, { env, stdin });
  assert.equal(code, 0, `${call.plugin}: ${stdout}${stderr}`);
  return stdout;
}

interface HostPort {
  readonly pod: string;
  readonly network: string;
  readonly ips: readonly string[];
  readonly hostPort: number;
  readonly program?: string;
  /** Only new versions know the word. */
  readonly backend?: string;
}

async function addHostPort(node: LoneAgent, options: HostPort): Promise<void> {
  const { pod, network, ips, hostPort, program, backend } = options;
  await reference(node, {
    plugin: program ?? 'portmap',
    pod,
    network,
    config: {
      ...(backend === 'nftables' ? { backend } : {}),
      snat: true,
      capabilities: { portMappings: true },
      runtimeConfig: { portMappings: [{ hostPort, containerPort: 80, protocol: 'tcp' }] },
      prevResult: {
        cniVersion: '1.0.0',
        interfaces: [{ name: 'eth0', sandbox: `/run/netns/${node.podNetns(pod)}` }],
        ips: ips.map((address) => ({ interface: 0, address: `${address}/${address.includes(':') ? 128 : 32}` })),
      },
    },
  });
}

async function cleanup(node: LoneAgent): Promise<{
  readonly removed: Record<string, number>;
  readonly restored: readonly string[];
  readonly left: readonly string[];
  readonly notes: readonly string[];
}> {
  const { code, stdout, stderr } = await node.poplin('cleanup', '--config', node.config, '-o', 'json');
  assert.equal(code, 0, stdout + stderr);
  return JSON.parse(stdout);
}

async function addPod(node: LoneAgent, name: string): Promise<readonly string[]> {
  node.writePod(name);
  await node.makePodNetns(name);
  const { exitCode, message, addresses } = await node.cni('ADD', name);
  assert.equal(exitCode, 0, message);
  return addresses;
}

function run(t: TestContext, netns: string, script: string): void {
  const child = spawn('nsenter', [`--net=/run/netns/${netns}`, process.execPath, '-e', script], { stdio: 'ignore' });
  t.after(() => void child.kill());
}

/** The outside host takes connections. */
function listen(t: TestContext, node: LoneAgent): void {
  run(t, node.outside, "require('node:net').createServer((socket) => socket.resume()).listen(7070, '192.0.2.2')");
}
const connect = "require('node:net').connect(7070, '192.0.2.2')";

/** As on every node: the kubelet has chains in them. */
async function kubeletTables(node: LoneAgent): Promise<void> {
  for (const program of ['iptables', 'ip6tables']) {
    for (const table of ['mangle', 'nat', 'filter']) {
      const { code, stderr } = await node.inside(program, '-t', table, '-N', 'KUBE-KUBELET-CANARY');
      assert.equal(code, 0, stderr);
    }
  }
}

for (const { backend, program, removedEntries } of [
  // One entry a family, and the three chains that networks share.
  { backend: 'iptables', program: () => path.join(tool('cniReference'), 'portmap'), removedEntries: 8 },
  // Rules for the port and for hairpins, one more for IPv4's loopback, and the table; a family each.
  { backend: 'nftables', program: () => kubeAsset('portmap')!, removedEntries: 7 },
])
  test(
    `with a pod that has a host port (${backend}), all that is ours goes, and only that`,
    backend === 'nftables' ? mayRunNft : mayRun,
    async (t) => {
      const node = await LoneAgent.node(t, { config: { cniPortmap: true } });
      await kubeletTables(node);
      const before = await node.kernel();
      node.start();
      await node.untilReady();
      const ours = await addPod(node, 'x');
      await addHostPort(node, { pod: 'x', network: 'poplin', ips: ours, hostPort: 8080, program: program(), backend });
      // Something of the operator's, in a folder that he gave us.
      fs.writeFileSync(path.join(node.directory, 'state', 'mine.txt'), '');
      await node.kill();
      assert.match(await node.kernel(), /CNI-HOSTPORT-DNAT|cni_hostport/);

      const { removed, left, notes } = await cleanup(node);
      assert.deepEqual(left, []);
      assert.equal(removed['hostPorts'], removedEntries);
      assert.equal(removed['interfaces'], 1);
      assert.equal(removed['configurations'], 1);
      assert.deepEqual(difference(before, await node.kernel()), []);
      assert.deepEqual(fs.readdirSync(path.join(node.directory, 'state')), ['mine.txt']);
      assert.deepEqual(fs.readdirSync(path.join(node.directory, 'net.d')), []);
      assert.ok(!fs.existsSync(path.join(node.directory, 'run')), 'the empty run directory');
      assert.equal(notes.filter((note) => note.includes('mine.txt')).length, 1);

      const again = await cleanup(node);
      assert.deepEqual(
        Object.values(again.removed).filter((count) => count > 0),
        [],
        'nothing is left for a second run',
      );
      assert.deepEqual(again.restored, []);
      assert.deepEqual(difference(before, await node.kernel()), []);
    },
  );

test('host ports of another network stay, and so do the chains that it shares with ours', mayRun, async (t) => {
  const node = await LoneAgent.node(t, { config: { cniPortmap: true } });
  await node.makePodNetns('other');
  await addHostPort(node, { pod: 'other', network: 'others', ips: ['10.99.0.2'], hostPort: 9090 });
  const before = await node.kernel();
  node.start();
  await node.untilReady();
  await addHostPort(node, { pod: 'x', network: 'poplin', ips: await addPod(node, 'x'), hostPort: 8080 });
  await node.kill();
  const { removed, left } = await cleanup(node);
  assert.deepEqual(left, []);
  // IPv4: our entry. IPv6: our entry and the three chains, in which nobody else has any.
  assert.equal(removed['hostPorts'], 5);
  assert.deepEqual(difference(before, await node.kernel()), []);
});

test('flows of pods are forgotten, with the marks on those that policy cut', mayRun, async (t) => {
  const node = await LoneAgent.ready(t);
  const [ipv4] = await addPod(node, 'x');
  listen(t, node);
  run(t, node.podNetns('x'), `const go = () => ${connect}.on('error', () => setTimeout(go, 50)); go();`);
  const flows = async (): Promise<string> => {
    const { stdout } = await node.inside('conntrack', '-L', '-s', ipv4!);
    return stdout;
  };
  await until(async () => (await flows()).includes('ESTABLISHED'), { what: 'the flow to be tracked' });
  await node.kill();
  await cleanup(node);
  assert.equal(await flows(), '');
});

test('a pod that is made anew under another plugin works', mayRun, async (t) => {
  const node = await LoneAgent.ready(t);
  await addPod(node, 'x');
  await node.kill();
  await cleanup(node);
  const { stdout } = await node.inside('ip', '-netns', node.podNetns('x'), '-o', 'link', 'show', 'type', 'veth');
  assert.equal(stdout, '', "the pod's interface is gone from the pod as well");
  await node.dropPodNetns('x');
  await node.makePodNetns('x');
  await reference(node, {
    plugin: 'ptp',
    pod: 'x',
    network: 'next',
    config: {
      ipam: {
        type: 'host-local',
        dataDir: path.join(node.directory, 'host-local'),
        ranges: [[{ subnet: '10.42.1.0/24' }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
  });
  listen(t, node);
  await until(
    async () => {
      const args = [
        `--net=/run/netns/${node.podNetns('x')}`,
        process.execPath,
        '-e',
        `${connect}.on('connect', () => process.exit(0))`,
      ];
      return (await exec('nsenter', args, { timeoutMs: 5_000 })).code === 0;
    },
    { what: 'the new pod to reach the outside host', deadlineMs: 60_000 },
  );
});
