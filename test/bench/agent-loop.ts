/**
 * How long the agent's main loop is away at most, with 10,000 Pods in 1,000 namespaces and 1,000 policies from manifests: while it
 * starts, while a label, a policy and a Pod change, and at rest. A real agent; its own measure of event loop delay, whose resolution
 * is 10 ms and which includes the wait for the timer. Prints one JSON object. Needs root.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { LoneAgent } from '../support/lone-agent.ts';
import { until } from '../support/wait.ts';

const NAMESPACES = 1_000;
const PODS_PER_NAMESPACE = 10;
const LOCAL_PODS = 20;
const CHANGES = 10;

const undo: (() => unknown)[] = [];
const node = await LoneAgent.node({ after: (fn) => void undo.push(fn as () => unknown) });

function scrape(): Promise<string> {
  return new Promise((resolve, reject) => {
    http
      .get({ socketPath: node.socket, path: '/metrics', agent: false }, (response) => {
        let body = '';
        response.on('data', (data) => {
          body += String(data);
        });
        response.on('end', () => resolve(body));
      })
      .on('error', reject);
  });
}

/** Milliseconds since the last call. */
async function longestDelayMs(): Promise<number> {
  const seconds = /^nodejs_eventloop_lag_max_seconds (\S+)$/m.exec(await scrape())?.[1];
  assert.ok(seconds, 'the agent tells its event loop delay');
  return Math.round(Number(seconds) * 1e4) / 10;
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
