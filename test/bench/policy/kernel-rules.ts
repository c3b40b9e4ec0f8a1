/**
 * Rules of many policies in the kernel, dual-stack: 10,000 policies for 200 pods written from nothing, beside the same lines given to
 * iptables-restore and ipset by hand; then one policy at a time changes, and what is written for it is held against its own chains.
 */
import assert from 'node:assert/strict';
import type { Backend } from '#felix';
import type { ModelUpdate } from '#model';
import { rounded } from '../../support/numbers.ts';
import { scaleModel } from '../../support/policy-scale.ts';
import { chainsOf, KernelNode, type NodeModel, type Written } from './kernel-node.ts';
import { childCpuMs, spread } from './measure.ts';
import { everything, networkPolicy } from './objects.ts';

/** Each pod has the policies of its namespace. */
const namespaces = 200;
const nothingMustMs = 2_000;
const changeMustMs = { nft: 40, legacy: 150 } as const;
const rounds = 50;
const byHandTimeoutMs = 300_000;

/** Distinct selectors of peers in all policies together, as in Felix's own workload; else each policy has one of its own. */
const sharedSelectors = 31;

interface Cluster extends NodeModel {
  policy(namespace: number, index: number, port: number): ModelUpdate;
}

/** @param peers of policies: pods of all namespaces by one of a few selectors, or pods of the own namespace by a selector of the policy's own. */
function model(policiesPerNamespace: number, podsPerNamespace: number, peers: 'shared' | 'own'): Cluster {
  const size = { namespaces, podsPerNamespace, localPods: 200 };
  if (peers === 'own') return scaleModel({ ...size, policiesPerNamespace, apps: policiesPerNamespace });
  const pods = scaleModel({ ...size, policiesPerNamespace: 0, apps: sharedSelectors });
  const policy = (n: number, i: number, port: number): ModelUpdate => {
    const app = `a${(n * policiesPerNamespace + i) % sharedSelectors}`;
    const podSelector = { matchLabels: { app }, matchExpressions: [] };
    const from = [{ namespaceSelector: everything, podSelector }];
    return networkPolicy(`n${n}`, `np${i}`, {
      podSelector: everything,
      ingress: [{ peers: from, ports: [{ protocol: 'TCP', port }] }],
      egress: [{ peers: from, ports: [] }],
    });
  };
  const policies = Array.from({ length: namespaces * policiesPerNamespace }, (_, at) => {
    const index = at % policiesPerNamespace;
    return policy(Math.floor(at / policiesPerNamespace), index, 1_000 + index);
  });
  return { updates: [...pods.updates, ...policies], endpoints: pods.endpoints, policy };
}

async function give(node: KernelNode, { argv, lines }: Written): Promise<void> {
  const { code, stderr } = await node.run(argv, { stdin: `${lines.join('\n')}\n`, timeoutMs: byHandTimeoutMs });
  assert.equal(code, 0, stderr);
}

/** The same text to the same programs, one call after the other but for the two families. */
async function byHandMs(backend: Backend, calls: readonly Written[]): Promise<number> {
  await using node = new KernelNode(backend);
  const from = performance.now();
  for (const call of calls.filter(({ argv }) => argv[0] === 'ipset')) await give(node, call);
  await Promise.all(calls.filter(({ argv }) => argv[0] !== 'ipset').map((call) => give(node, call)));
  return performance.now() - from;
}

/** Rules in the table that holds the verdicts, of one family. */
async function rulesOf(node: KernelNode, backend: Backend): Promise<number> {
  const saved = await node.sh(`xtables-${backend}-multi`, 'iptables-save', '-t', 'mangle');
  return saved.split('\n').filter((line) => line.startsWith('-A ')).length;
}

/** Changes one policy at a time; each writes the policy's chain of ingress in both families and nothing else. Then the same text by hand. */
async function changes(node: KernelNode, scale: Cluster, perNamespace: number) {
  const values: number[] = [];
  const handMs: number[] = [];
  let last: readonly Written[] = [];
  node.taken();
  const cpuMs = childCpuMs();
  for (let i = 0; i < rounds; i++) {
    const update = scale.policy(i, i % perNamespace, 5_000 + i);
    values.push(await node.inForceMs(update));
    const { calls, members } = node.taken();
    last = calls;
    const chains = chainsOf(calls);
    assert.equal(calls.length, 2, 'a restore each family');
    assert.equal(chains.size, 1, `chains written for one policy: ${[...chains].join(', ')}`);
    assert.equal(members, 0);
    assert.ok(calls.every(({ lines }) => lines.some((line) => line.includes(`NetworkPolicy:${update.key} `))));
  }
  const programsCpuMsPerChange = rounded((childCpuMs() - cpuMs) / rounds);
  for (let i = 0; i < rounds; i++) {
    const from = performance.now();
    await Promise.all(last.map((call) => give(node, call)));
    handMs.push(performance.now() - from);
  }
  node.taken();
  const { p50Ms: byHandP50Ms } = spread(handMs);
  return { ...spread(values), programsCpuMsPerChange, byHandP50Ms };
}

export async function fromNothing(
  backend: Backend,
  peers: 'shared' | 'own',
  scale: (full: number) => number,
): Promise<object> {
  const perNamespace = scale(50);
  const cluster = model(perNamespace, 50, peers);
  await using node = new KernelNode(backend);
  await node.told(cluster);
  const programs = childCpuMs();
  const cpu = process.threadCpuUsage();
  const from = performance.now();
  await node.inSync();
  const writtenMs = performance.now() - from;
  const { user, system } = process.threadCpuUsage(cpu);
  const programsCpuMs = childCpuMs() - programs;
  const { calls } = node.taken();
  const handMs = await byHandMs(backend, calls);
  const change = await changes(node, cluster, perNamespace);
  return {
    bench: 'policy',
    workload: `from nothing, ${peers} peers, ${backend}`,
    policies: namespaces * perNamespace,
    localPods: cluster.endpoints.length,
    sets: node.dataplane.status().sets,
    rulesPerFamily: await rulesOf(node, backend),
    lines: calls.reduce((sum, { lines }) => sum + lines.length, 0),
    writtenMs: rounded(writtenMs),
    ownCpuMs: rounded((user + system) / 1_000),
    programsCpuMs,
    byHandMs: rounded(handMs),
    ratioToByHand: rounded(writtenMs / handMs),
    /** Each of them wrote one chain in each family, which is asserted. */
    change,
    // What each of 20,000 sets costs is the kernel's: it looks through all of them for a name.
    ...(peers === 'shared' ? { must: { writtenMs: nothingMustMs }, ok: writtenMs <= nothingMustMs } : {}),
  };
}

export async function onePolicy(backend: Backend, scale: (full: number) => number): Promise<object> {
  const perNamespace = scale(24);
  const cluster = model(perNamespace, 50, 'shared');
  await using node = new KernelNode(backend);
  await node.told(cluster);
  await node.inSync();
  const figures = await changes(node, cluster, perNamespace);
  return {
    bench: 'policy',
    workload: `one policy, ${backend}`,
    policies: namespaces * perNamespace,
    rulesPerFamily: await rulesOf(node, backend),
    ...figures,
    must: { p50Ms: changeMustMs[backend] },
    ok: figures.p50Ms <= changeMustMs[backend],
  };
}
