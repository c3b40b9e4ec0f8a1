/**
 * A pod is never open before its policy: an outside host hammers all addresses of the node from before ADD, and the pod dials out from the
 * first moment that it has an interface; both families, again and again, under the real agent.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['cniShim'] });

/** Two addresses a round: none is given twice, so that every datagram tells whose it was. */
const ROUNDS = 14;
const PORT = 5000;
const outsideAddresses = ['192.0.2.2', '2001:db8::2'];

interface Hammer {
  readonly child: ChildProcess;
  /** Datagrams received so far, by sender. */
  counts(): Promise<Readonly<Record<string, number>>>;
}

/** Runs `test/support/hammer.ts` in a namespace. */
async function hammer(netns: string, periodMs: number, targets: readonly string[]): Promise<Hammer> {
  const script = path.join(import.meta.dirname, '..', 'support', 'hammer.ts');
  const args = [`--net=/run/netns/${netns}`, process.execPath, script, String(PORT), String(periodMs), ...targets];
  const child = spawn('nsenter', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  await until(() => lines.includes('ready'), { what: 'the hammer', intervalMs: 2 });
  return {
    child,
    async counts() {
      const before = lines.length;
      child.stdin.write('\n');
      await until(() => lines.length > before, { what: 'counts', intervalMs: 1 });
      return JSON.parse(lines[before]!) as Record<string, number>;
    },
  };
}

test('nothing passes to or from a pod under default deny, from before ADD on', mayRun, async (t) => {
  const node = await LoneAgent.node(t, { podCIDRs: ['10.42.1.0/27', 'fd00:42:1::/123'] });
  node.write('deny.yaml', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'default', name: 'deny' },
    spec: {
      podSelector: { matchExpressions: [{ key: 'open', operator: 'DoesNotExist' }] },
      policyTypes: ['Ingress', 'Egress'],
    },
  });
  node.writePod('shut');
  node.writePod('open', { open: 'yes' });
  node.start();
  await node.untilReady();
  const children: ChildProcess[] = [];
  t.after(() => {
    for (const child of children) child.kill();
  });
  const all = Array.from({ length: 30 }, (_, i) => i + 1);
  const addresses = all.flatMap((i) => [`10.42.1.${i}`, `fd00:42:1::${i.toString(16)}`]);
  await node.makePodNetns('shut');
  await node.makePodNetns('open');
  const outside = await hammer(node.outside, 3, addresses);
  const shut = await hammer(node.podNetns('shut'), 1, outsideAddresses);
  const open = await hammer(node.podNetns('open'), 1, outsideAddresses);
  children.push(outside.child, shut.child, open.child);

  for (let round = 0; round < ROUNDS; round++) {
    const added = await node.cni('ADD', 'shut');
    assert.equal(added.exitCode, 0, added.message);
    for (const address of added.addresses) assert.ok(addresses.includes(address), `${address} is hammered`);
    // Some packets of both directions after ADD, too: a pod that is not policed passes here in the same time.
    const opened = await node.cni('ADD', 'open');
    assert.equal(opened.exitCode, 0, opened.message);
    await until(
      async () => {
        const [atPod, atHost] = [await open.counts(), await outside.counts()];
        return (
          outsideAddresses.every((a) => (atPod[a] ?? 0) > 0) && opened.addresses.every((a) => (atHost[a] ?? 0) > 0)
        );
      },
      { what: 'the pod without policy to be reached and to reach out', intervalMs: 2 },
    );
    assert.deepEqual(await shut.counts(), {}, `round ${round}: datagrams got in to ${added.addresses}`);
    const atHost = await outside.counts();
    for (const address of added.addresses) {
      assert.equal(atHost[address] ?? 0, 0, `round ${round}: datagrams got out of ${address}`);
    }
    assert.equal((await node.cni('DEL', 'open')).exitCode, 0);
    assert.equal((await node.cni('DEL', 'shut')).exitCode, 0);
  }
});
