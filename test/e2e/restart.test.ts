/**
 * An agent that is killed and started again adopts what the earlier run left: under 1,000 packets a second between nodes and from
 * the outside nothing is lost, and the kernel is not written to: the monitors stay silent, and with iptables-legacy, which has no
 * monitor, no restore is called.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { createApiClient } from '#api';
import { killAgent, type Lab, machineNetns, netnsPath, nodePaths, ProberClient, probe, restartAgent } from '#lab';
import { exec } from '#sys';
import { podDocument, smallTopology, withLab } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset', 'nft'], provided: ['bird', 'cniShim'] });

const ports = ['web:80/TCP', 'udp:5353/UDP'];
const documents = `${smallTopology}${podDocument({ namespace: 'a', name: 'x', node: 'n1', labels: { app: 'x' }, ports })}${podDocument({ namespace: 'a', name: 'y', node: 'n2', ports })}---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: a, name: x }
spec:
  podSelector: { matchLabels: { app: x } }
  policyTypes: [Ingress, Egress]
  ingress: [{ from: [{ podSelector: {} }, { ipBlock: { cidr: 192.0.2.0/24 } }], ports: [{ port: udp, protocol: UDP }, { port: web }] }]
  egress: [{ to: [{ podSelector: {} }] }]
`;

/** Sessions up, routes of the earlier run swept, nothing waiting to be written. */
async function settled(lab: Lab, node: string): Promise<void> {
  const api = createApiClient({ socketPath: nodePaths(lab.paths, node).apiSocket });
  await until(
    async () => {
      const { bgp, routes, policy } = await api.status();
      return (
        bgp.peersConfigured === 2 &&
        bgp.peersEstablished === 2 &&
        bgp.waitingForEndOfRib.length === 0 &&
        routes.stale === 0 &&
        routes.unresolved === 0 &&
        routes.pending === 0 &&
        policy.pending === 0
      );
    },
    { what: `the agent of ${node} to be settled`, deadlineMs: 45_000, intervalMs: 50 },
  );
}

async function allReach(lab: Lab): Promise<void> {
  const all = async (): Promise<boolean> => (await probe(lab)).results.every(({ verdict }) => verdict === 'allow');
  await until(all, { what: 'both pods to reach each other', deadlineMs: 60_000 });
}

interface Monitor {
  readonly lines: string[];
  readonly child: ChildProcess;
}

async function monitor(lab: Lab, node: string, command: readonly string[]): Promise<Monitor> {
  const child = spawn('nsenter', [`--net=${netnsPath(machineNetns(lab.paths, node))}`, ...command]);
  const lines: string[] = [];
  let text = '';
  child.stdout.on('data', (data: Buffer) => {
    text += data.toString();
    lines.splice(0, lines.length, ...text.split('\n').filter(Boolean));
  });
  await until(() => fs.readdirSync(`/proc/${child.pid}/fd`).some((fd) => isNetlinkSocket(child.pid!, fd)), {
    what: `${command[0]} to listen`,
  });
  return { lines, child };
}

function isNetlinkSocket(pid: number, fd: string): boolean {
  const link = fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
  const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
  return inode !== undefined && fs.readFileSync(`/proc/${pid}/net/netlink`, 'utf8').includes(` ${inode}`);
}

/** Kills and restarts the agent of n1 under load. @returns packets lost. */
async function restartUnderLoad(lab: Lab): Promise<{ readonly sent: number; readonly lost: number }> {
  const client = await ProberClient.connect(lab.paths.proberSocket);
  const podOf = (name: string): string =>
    lab.state.pods.find((pod) => pod.name === name)!.addresses.find((a) => a.includes(':') === (name === 'y'))!;
  const common = { port: 5353, packetsPerSec: 1_000, flows: 4 };
  const streams = [
    { stream: 'pods', from: 'a/x', to: 'a/y', address: podOf('y'), ...common },
    { stream: 'outside', from: 'ext:outside', to: 'a/x', address: podOf('x'), ...common },
  ];
  try {
    await client.call({ op: 'streamStart', streams });
    await allReach(lab);
    killAgent(lab, 'n1');
    const next = await restartAgent(lab, 'n1');
    await settled(next, 'n1');
    const { reports } = await client.call({ op: 'streamStop', streams: streams.map(({ stream }) => stream) });
    for (const { sent } of reports) assert.ok(sent > 500, `${sent} packets sent`);
    return {
      sent: reports.reduce((sum, { sent }) => sum + sent, 0),
      lost: reports.reduce((sum, { lost }) => sum + lost, 0),
    };
  } finally {
    client.close();
  }
}

test('killed and started again under load: nothing lost, nothing written (iptables-nft)', mayRun, async () => {
  await withLab(
    documents,
    async (lab) => {
      await settled(lab, 'n1');
      await allReach(lab);
      const monitors = [
        await monitor(lab, 'n1', ['nft', 'monitor']),
        await monitor(lab, 'n1', ['ip', 'monitor', 'link', 'address', 'route', 'rule', 'nexthop']),
      ];
      try {
        const { lost } = await restartUnderLoad(lab);
        assert.equal(lost, 0);
        for (const { lines } of monitors) assert.deepEqual(lines, []);
        // The silence means something: both hear what is written now.
        const netns = netnsPath(machineNetns(lab.paths, 'n1'));
        await exec('nsenter', [`--net=${netns}`, 'nft', 'add', 'table', 'ip', 'heard']);
        await exec('nsenter', [`--net=${netns}`, 'ip', 'route', 'add', 'blackhole', '203.0.113.0/24']);
        for (const { lines, child } of monitors)
          await until(() => lines.length > 0, { what: `${child.spawnargs.at(-1)} to hear` });
      } finally {
        for (const { child } of monitors) child.kill('SIGTERM');
      }
    },
    { agentOptions: { iptablesBackend: 'nft' } },
  );
});

test('killed and started again under load: nothing lost, no restore called (iptables-legacy)', mayRun, async (t) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-restart-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const calls = path.join(directory, 'calls');
  const real = ['/usr/sbin', '/sbin']
    .map((folder) => `${folder}/xtables-legacy-multi`)
    .find((file) => fs.existsSync(file));
  fs.writeFileSync(
    path.join(directory, 'xtables-legacy-multi'),
    `#!/bin/sh\necho "$*" >> ${calls}\nexec ${real} "$@"\n`,
    { mode: 0o755 },
  );
  const restores = (): number =>
    fs.existsSync(calls) ? (fs.readFileSync(calls, 'utf8').match(/-restore/g) ?? []).length : 0;
  const pathBefore = process.env['PATH'];
  process.env['PATH'] = `${directory}:${pathBefore}`;
  t.after(() => {
    process.env['PATH'] = pathBefore;
  });
  await withLab(
    documents,
    async (lab) => {
      await settled(lab, 'n1');
      await settled(lab, 'n2');
      await allReach(lab);
      const before = restores();
      assert.ok(before > 0, 'the first run wrote its rules');
      const { lost } = await restartUnderLoad(lab);
      assert.equal(lost, 0);
      assert.equal(restores() - before, 0);
    },
    { agentOptions: { iptablesBackend: 'legacy' } },
  );
});
