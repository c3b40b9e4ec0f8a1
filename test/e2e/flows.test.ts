/** A real agent with its defaults: what policy drops is printed by `poplin flows`, also by the next agent after a crash. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowView } from '#api';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset', 'bash'], provided: ['cniShim'] });

test('a denied packet is printed with pods and policy, counted, and no problem is told', mayRun, async (t) => {
  const node = await LoneAgent.node(t);
  for (const name of ['x', 'y']) node.writePod(name, { app: name });
  node.write('policy.yaml', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'default', name: 'closed' },
    spec: { podSelector: { matchLabels: { app: 'y' } }, policyTypes: ['Ingress'] },
  });
  node.start();
  await node.untilReady();
  const addresses = new Map<string, readonly string[]>();
  for (const name of ['x', 'y']) {
    await node.makePodNetns(name);
    const answer = await node.cni('ADD', name);
    assert.equal(answer.exitCode, 0, answer.message);
    addresses.set(name, answer.addresses);
  }
  const printed = async (port: number): Promise<FlowView[]> => {
    const { stdout, stderr, code } = await node.poplin('flows', '-o', 'json');
    assert.equal(code, 0, stderr);
    const flows = stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as FlowView]));
    return flows.filter((flow) => flow.destination.port === port);
  };
  const deny = async (port: number): Promise<void> => {
    const to = addresses.get('y')!;
    for (const address of to)
      await node.must('ip', 'netns', 'exec', node.podNetns('x'), 'bash', '-c', `echo > /dev/udp/${address}/${port}`);
    await until(async () => (await printed(port)).length === to.length, { what: 'the flows', deadlineMs: 60_000 });
    for (const flow of await printed(port)) {
      assert.deepEqual(
        [flow.verdict, flow.direction, flow.source.pod, flow.destination.pod, flow.protocol, flow.node],
        ['denied', 'ingress', 'default/x', 'default/y', 'UDP', 'n1'],
      );
      assert.deepEqual(flow.by, { type: 'endOfTier', tier: 'default', policies: ['NetworkPolicy:default/closed'] });
    }
  };
  await deny(53);
  assert.match((await node.poplin('flows', '--counts')).stdout, /^2 +denied ingress +default +end of tier default$/m);
  assert.deepEqual((await node.status()).problems, []);
  await node.kill();
  node.start();
  await node.untilReady();
  await deny(54);
  assert.deepEqual((await node.status()).problems, []);
});
