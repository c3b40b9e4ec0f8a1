/**
 * How long a CNI ADD takes, from starting the plugin to its end with the answer read (cni-launcher.c is the runtime): ours (plugin,
 * agent, disk, kernel) against the reference ptp with host-local and portmap behind it, called as a runtime calls them. Pairs in turn,
 * the order within a pair alternating, same machine, same minute, each side in a node's namespace of its own, a fresh
 * pod's namespace for every ADD; nothing is deleted meanwhile. Prints one JSON object. Needs root.
 *
 *   cni.ts [PAIRS]     POPLIN_CNI_PLUGINS: folder of the reference plugins, instead of the one that the set-up unpacks
 *
 * `ipv4` is CNI alone. The others have the real policy dataplane (iptables-nft, or legacy where named) behind it, with a deny-all and a policy with a set
 * for every pod: ADD waits until they are in the kernel, which the reference does not offer. Dual stack flatters us: ptp waits for
 * duplicate address detection, we do without.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { IpFamily } from '#kit';
import { toolPath } from '#setup';
import { type Fd, inNetns } from '#sys';
import { netConf, podEnvironment, shimPath, TestNode } from '../kernel/cni-support.ts';
import { compiled } from './compiled.ts';

const TARGET_RATIO = 0.4;
const pairs = Number(process.argv[2] ?? 60);
/** The reference waits 2 s for duplicate address detection. */
const dualStackPairs = Math.min(pairs, 5);
const warmUpPairs = 3;

interface Answer {
  readonly ms: number;
  readonly stdout: string;
}

function ended(child: ChildProcess): Promise<string> {
  let stdout = '';
  child.stdout?.on('data', (data: Buffer) => {
    stdout += data.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`${child.spawnfile} ended with ${code}: ${stdout}`));
    });
  });
}

/** Runs a plugin in the node's namespace; the child is forked by this thread while it is there. */
async function plugin(node: TestNode, file: string, env: Record<string, string>, config: object): Promise<Answer> {
  const child = inNetns(node.namespace, () => spawn(launcher, [file], { env, stdio: ['pipe', 'pipe', 'inherit'] }));
  const output = ended(child);
  child.stdin?.on('error', () => undefined);
  child.stdin?.end(JSON.stringify(config));
  const stdout = await output;
  const line = stdout.indexOf('\n');
  return { ms: Number(stdout.slice(0, line)), stdout: stdout.slice(line + 1) };
}

function ourEnvironment(node: TestNode, command: string, id: string, pod: Fd): Record<string, string> {
  return {
    ...podEnvironment(command, id, pod),
    POPLIN_CNI_SOCKET: node.paths.socketPath,
    POPLIN_CNI_QUEUE: node.paths.queueDirectory,
    CNI_PATH: '/opt/cni/bin',
  };
}

async function ourAdd(node: TestNode, id: string): Promise<number> {
  const pod = node.newPod();
  const { ms } = await plugin(node, shimPath(), ourEnvironment(node, 'ADD', id, pod), netConf('1.0.0'));
  return ms;
}

async function referenceAdd(
  node: TestNode,
  plugins: string,
  id: string,
  families: readonly IpFamily[],
): Promise<number> {
  const pod = node.newPod();
  const common = { cniVersion: '1.0.0', name: 'reference' };
  const ipam = {
    type: 'host-local',
    dataDir: path.join(node.directory, 'host-local'),
    ranges: families.map((family) => [{ subnet: family === 4 ? '10.2.0.0/24' : 'fd00:2::/64' }]),
    routes: families.map((family) => ({ dst: family === 4 ? '0.0.0.0/0' : '::/0' })),
  };
  const ptp = { ...common, type: 'ptp', ipam };
  const portmap = { ...common, type: 'portmap', capabilities: { portMappings: true } };
  const env = (command: string) => ({
    ...podEnvironment(command, id, pod),
    CNI_PATH: plugins,
    PATH: process.env['PATH'] ?? '',
  });
  // As libcni does: one after the other, each result into the next.
  const first = await plugin(node, path.join(plugins, 'ptp'), env('ADD'), ptp);
  const prevResult = JSON.parse(first.stdout) as object;
  const second = await plugin(node, path.join(plugins, 'portmap'), env('ADD'), { ...portmap, prevResult });
  return first.ms + second.ms;
}

const round = (value: number): number => Math.round(value * 100) / 100;
function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);
}
const spread = (values: readonly number[]): object => ({
  medianMs: quantile(values, 0.5),
  p95Ms: quantile(values, 0.95),
});

interface Comparison {
  readonly ratio: number;
  readonly [key: string]: unknown;
}

async function compare(
  plugins: string,
  families: readonly IpFamily[],
  pairs: number,
  realPolicy: 'nft' | 'legacy' | undefined,
  /** As with a kubelet: the Pod object is there before the runtime asks. */
  podKnownBefore = true,
): Promise<Comparison> {
  const podCIDRs = families.map((family) => (family === 4 ? '10.1.0.0/24' : 'fd00:1::/64'));
  const config = { podCIDRs, addressRestMs: 0 };
  const ours = new TestNode({ ...config, ...(realPolicy ? { realPolicy } : {}) });
  const reference = new TestNode(config);
  const oursMs: number[] = [];
  const referenceMs: number[] = [];
  const parts: Record<string, number>[] = [];
  try {
    await ours.start();
    for (let i = 0; i < warmUpPairs + pairs; i++) {
      const measure = [
        async () => {
          if (podKnownBefore) await ours.set('known', `default/pod-p${i}`);
          oursMs.push(await ourAdd(ours, `p${i}`));
          parts.push({ ...(await ours.report()).lastAdd });
        },
        async () => referenceMs.push(await referenceAdd(reference, plugins, `r${i}`, families)),
      ];
      for (const one of i % 2 ? measure.reverse() : measure) await one();
    }
  } finally {
    await ours.close();
    await reference.close();
  }
  for (const list of [oursMs, referenceMs, parts]) list.splice(0, warmUpPairs);
  const part = (name: string): number =>
    quantile(
      parts.map((one) => one[name] ?? Number.NaN),
      0.5,
    );
  const breakdown = Object.fromEntries(Object.keys(parts[0] ?? {}).map((name) => [name, part(name)]));
  const inAgentMs = Object.values(breakdown).reduce((sum, ms) => sum + ms, 0);
  const outside = round(quantile(oursMs, 0.5) - inAgentMs);
  return {
    ours: { ...spread(oursMs), breakdownMedianMs: { ...breakdown, processAndSocketMs: outside } },
    reference: spread(referenceMs),
    ratio: round(quantile(oursMs, 0.5) / quantile(referenceMs, 0.5)),
    medianOfPairedRatios: quantile(
      oursMs.map((ms, i) => ms / (referenceMs[i] ?? Number.NaN)),
      0.5,
    ),
  };
}

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-bench-'));
process.once('exit', () => fs.rmSync(scratch, { recursive: true, force: true }));
const launcher = compiled('cni-launcher.c', scratch);
const plugins = process.env['POPLIN_CNI_PLUGINS'] ?? toolPath('cniReference');
const lacking = ['ptp', 'host-local', 'portmap'].filter((name) => !plugins || !fs.existsSync(path.join(plugins, name)));
if (!plugins || lacking.length > 0) {
  process.stderr.write(
    `bench cni: no reference plugins (${lacking.join(', ')}): run npm run bench -- cni, or set POPLIN_CNI_PLUGINS to their folder\n`,
  );
  process.exitCode = 2;
} else {
  const ipv4 = await compare(plugins, [4], pairs, undefined);
  const withPolicy = await compare(plugins, [4], pairs, 'nft');
  const withLegacy = await compare(plugins, [4], pairs, 'legacy');
  const dualStack = await compare(plugins, [4, 6], dualStackPairs, 'nft');
  const unknownBefore = await compare(plugins, [4], pairs, 'nft', false);
  const met = Math.max(ipv4.ratio, withPolicy.ratio, withLegacy.ratio, dualStack.ratio) <= TARGET_RATIO;
  const result = {
    bench: 'cni add',
    pairs,
    targetRatio: TARGET_RATIO,
    met,
    ipv4,
    ipv4WithPolicy: withPolicy,
    ipv4WithPolicyLegacy: withLegacy,
    dualStack,
    ipv4WithPolicyPodNotKnownBefore: unknownBefore,
  };
  process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
}
