/**
 * How long the agent's main loop is away at most, with 10,000 Pods in 1,000 namespaces and 1,000 policies from manifests: while it
 * starts, while a label, a policy and a Pod change, and at rest. A real agent with test/support/loop-delay.ts in it, whose resolution
 * is 10 ms and which includes the wait for the timer. Prints one JSON object. Needs root.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { root } from '#setup';
import { LoneAgent } from '../support/lone-agent.ts';
import { until } from '../support/wait.ts';

const NAMESPACES = 1_000;
const PODS_PER_NAMESPACE = 10;
const LOCAL_PODS = 20;
const CHANGES = 10;

const undo: (() => unknown)[] = [];
const socketFolder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-loop-'));
undo.push(() => fs.rmSync(socketFolder, { recursive: true }));
const socketPath = path.join(socketFolder, 'delay.sock');
const node = await LoneAgent.node(
  { after: (fn) => void undo.push(fn as () => unknown) },
  {
    program: [
      'env',
      `LOOP_DELAY_SOCKET=${socketPath}`,
      process.execPath,
      '--import',
      path.join(import.meta.dirname, '..', 'support', 'loop-delay.ts'),
      path.join(root, 'src', 'cli', 'main.ts'),
    ],
  },
);

/** Milliseconds since the last call. */
function longestDelayMs(): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    net
      .connect(socketPath)
      .on('data', (data) => {
        text += String(data);
      })
      .on('end', () => resolve(Math.round(Number(text) * 10) / 10))
      .on('error', reject);
  });
}

function pod(namespace: number, index: number, labels: object): object {
  const number = namespace * PODS_PER_NAMESPACE + index;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: `ns${namespace}`, name: `p${index}`, labels: { app: `a${index % 5}`, ...labels } },
    spec: { nodeName: 'n9', containers: [{ name: 'c', image: 'example/c' }] },
    status: { phase: 'Running', podIPs: [{ ip: `10.43.${number >> 8}.${number & 255}` }] },
  };
}

function policy(namespace: number, port: number): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: namespace === 0 ? 'default' : `ns${namespace}`, name: 'p' },
    spec: {
      podSelector: {},
      ingress: [{ from: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: 'a1' } } }], ports: [{ port }] }],
    },
  };
}

function document(items: readonly object[]): string {
  return items.map((item) => JSON.stringify(item)).join('\n---\n');
}

try {
  for (let n = 0; n < NAMESPACES; n++) {
    const pods = Array.from({ length: PODS_PER_NAMESPACE }, (_, i) => pod(n, i, {}));
    node.write(`ns${n}.yaml`, document([...pods, policy(n, 80)]));
  }
  node.start();
  const starting: number[] = [];
  await until(
    async () => {
      starting.push(await longestDelayMs());
      return (await node.status()).ready.ok;
    },
    { what: 'the agent to be ready', deadlineMs: 120_000, intervalMs: 20 },
  );
  for (let i = 0; i < LOCAL_PODS; i++) {
    node.writePod(`l${i}`);
    await node.makePodNetns(`l${i}`);
    const { exitCode, message } = await node.cni('ADD', `l${i}`);
    assert.equal(exitCode, 0, message);
  }
  const adding = await longestDelayMs();
  const changes: number[] = [];
  for (let i = 0; i < CHANGES; i++) {
    const before = (await node.status()).datastore.lastUpdate;
    const pods = Array.from({ length: PODS_PER_NAMESPACE }, (_, k) =>
      pod(i, k, { turn: `t${i}`, app: `a${(i + k) % 5}` }),
    );
    node.write(`ns${i}.yaml`, document([...pods, policy(i, 81 + i)]));
    await until(async () => (await node.status()).datastore.lastUpdate !== before, { what: 'the change' });
    changes.push(await longestDelayMs());
  }
  const result = {
    pods: NAMESPACES * PODS_PER_NAMESPACE,
    policies: NAMESPACES,
    startMs: Math.max(...starting),
    addMs: adding,
    changeMs: changes,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
} finally {
  for (const fn of undo) await fn();
}
