/**
 * Agents through what happens to API servers and to rights: definitions that come and go, roles and tokens that end, restarts, an outage. Pods
 * that are known get their network all the while, and nothing that is in force goes.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import {
  agentToken,
  calico,
  definitions,
  installDefinitions,
  installedObjects,
  installPoplin,
  kubeAgentNeeds,
  kubeNode,
  schedulePod,
} from '../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import type { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const deny: KubeObject = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'deny', namespace: 'default' },
  spec: { podSelector: {} },
};

/** Under load on few cores everything takes its time. */
const patience = { deadlineMs: 60_000, intervalMs: 50 };

async function started(agent: LoneAgent): Promise<void> {
  agent.start();
  await agent.untilReady(60_000);
}
async function knows(agent: LoneAgent, kind: string, count: number): Promise<void> {
  await until(async () => (await agent.status()).datastore.objects[kind] === count, {
    what: `the agent to know ${count} ${kind}; its log ends: ${agent.log.slice(-600)}`,
    ...patience,
  });
}
async function inSync(agent: LoneAgent): Promise<void> {
  await until(
    async () => {
      const { datastore, problems } = await agent.status();
      return datastore.inSync && !problems.some((text) => text.startsWith('datastore:'));
    },
    { what: `the agent to be in sync; its log ends: ${agent.log.slice(-600)}`, ...patience },
  );
}
async function problem(agent: LoneAgent, pattern: RegExp): Promise<string> {
  return until(async () => (await agent.status()).problems.find((text) => pattern.test(text)), {
    what: `a problem like ${pattern}; the log ends: ${agent.log.slice(-600)}`,
    ...patience,
  });
}
/** Wires a pod, as a runtime would. */
async function add(agent: LoneAgent, pod: string, uid: string): Promise<void> {
  await agent.makePodNetns(pod);
  const { exitCode, message } = await agent.cni('ADD', pod, {}, uid);
  assert.equal(exitCode, 0, message);
}
async function isolated(agent: LoneAgent, pod: string): Promise<void> {
  await until(
    async () => {
      const { applied, ingress } = await agent.api.policyEndpoint({ namespace: 'default', name: pod });
      return applied && ingress.isolated;
    },
    { what: `${pod} to be isolated`, ...patience },
  );
}

suite('agents behind an API server that fails them', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server, { definitions: false });
  });
  after(() => server?.stop());

  test('definitions are absent at the start, installed, taken away and installed again', async (t) => {
    const { agent } = await kubeNode(t, server);
    const peers = async (...wanted: readonly string[]): Promise<void> => {
      const names = async () => (await agent.api.bgpPeers()).map(({ name }) => name);
      await until(async () => (await names()).join() === wanted.join(), {
        what: `the sessions ${wanted.join() || 'to be none'}; the log ends: ${agent.log.slice(-600)}`,
        ...patience,
      });
    };
    await started(agent);
    await inSync(agent);
    await installDefinitions(server, definitions());
    const tor = calico('BGPPeer', 'tor', { peerIP: '192.0.2.2', asNumber: 64513 });
    await server.objects.create(tor);
    await peers('peer/tor');
    const [definition] = definitions().filter(({ metadata }) => metadata.name === 'bgppeers.projectcalico.org');
    await server.objects.delete(definition!);
    await peers();
    await until(async () => !(await server.objects.get(definition!)), { what: 'the definition to be gone' });
    await inSync(agent);
    await installDefinitions(server, [definition!]);
    await server.objects.create(tor);
    await peers('peer/tor');
    await server.objects.delete(tor);
    await peers();
  });

  test('a role is taken away and given back', async (t) => {
    const { agent, relay } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await started(agent);
    const first = await schedulePod(server, 'n1', 'first');
    await add(agent, 'first', first);
    const token = await agentToken(server, 'n1');
    const status = async () => (await server.request({ path: '/api/v1/pods?limit=1', token })).status;
    const [binding] = installedObjects().filter(({ kind }) => kind === 'ClusterRoleBinding');
    await server.objects.delete(binding!);
    await until(async () => (await status()) === 403, { what: 'the role to count no more' });
    // What is watched goes on until it is asked for again.
    relay.cut();
    await problem(agent, /Pod.*pods is forbidden.*grant the verbs list and watch on pods \(API group ""\)/);
    assert.equal((await agent.status()).datastore.inSync, false);
    const { exitCode, message } = await agent.cni('DEL', 'first', {}, first);
    assert.equal(exitCode, 0, message);
    await server.objects.create(deny);
    await server.objects.apply(binding!);
    await inSync(agent);
    await knows(agent, 'NetworkPolicy', 1);
    await add(agent, 'second', await schedulePod(server, 'n1', 'second'));
    await isolated(agent, 'second');
  });

  test('a token ends while the agent runs, and the kubelet renews it', async (t) => {
    const node = await kubeNode(t, server, { token: 'not renewed in time' });
    const { agent, relay } = node;
    agent.start();
    await until(async () => (await agent.status()).datastore.waitingFor.some((text) => text.includes('401')), {
      what: 'the agent to say that its token is refused',
      ...patience,
    });
    const token = await agentToken(server, 'n1', 20);
    node.renewToken(token);
    await agent.untilReady(60_000);
    const uid = await schedulePod(server, 'n1', 'before-the-end');
    await until(async () => (await server.request({ path: '/api', token })).status === 401, {
      what: 'the token to end',
      ...patience,
    });
    relay.cut();
    await problem(agent, /^datastore: .*401/);
    await add(agent, 'before-the-end', uid);
    await schedulePod(server, 'n1', 'meanwhile');
    node.renewToken(await agentToken(server, 'n1'));
    await inSync(agent);
    await until(async () => agent.log.includes('changed its state') && (await agent.status()).ready.ok, {
      what: 'the agent to be ready',
    });
  });

  test('the API server is restarted', async (t) => {
    const { agent } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await started(agent);
    await add(agent, 'over-a-restart', await schedulePod(server, 'n1', 'over-a-restart'));
    await server.restart('SIGTERM');
    await server.objects.create(deny);
    await isolated(agent, 'over-a-restart');
    await server.restart();
    await server.objects.delete(deny);
    await knows(agent, 'NetworkPolicy', 0);
    await inSync(agent);
  });

  test('the API server is away: known pods are wired, others are asked to wait, and an agent that restarts goes on from disk', async (t) => {
    const { agent } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await server.objects.create(deny);
    const uids = new Map<string, string>();
    for (const name of ['away-1', 'away-2']) uids.set(name, await schedulePod(server, 'n1', name));
    await started(agent);
    const disk = path.join(agent.directory, 'state', 'datastore', 'last-good-kube.jsonl');
    await until(() => fs.existsSync(disk) && fs.readFileSync(disk, 'utf8').includes('away-2'), {
      what: 'the model to be on disk',
      ...patience,
    });
    await server.down();
    t.after(() => (server.pid === undefined ? server.up() : undefined));
    await problem(agent, /^datastore: changes of .*Pod.* are not seen: .*(ECONNREFUSED|ECONNRESET|closed)/);
    await add(agent, 'away-1', uids.get('away-1')!);
    await isolated(agent, 'away-1');
    await agent.makePodNetns('unknown');
    const unknown = await agent.cni('ADD', 'unknown', {}, 'a-uid');
    assert.equal(unknown.code, 11, unknown.message);
    assert.match(unknown.message, /Pod default\/unknown with UID a-uid .* try again/);

    await agent.kill();
    await started(agent);
    await problem(agent, /^datastore: what was known last is in force, from disk/);
    await add(agent, 'away-2', uids.get('away-2')!);
    await isolated(agent, 'away-2');
    await isolated(agent, 'away-1');
    const gone = await agent.cni('DEL', 'away-1', {}, uids.get('away-1')!);
    assert.equal(gone.exitCode, 0, gone.message);

    await server.up();
    await inSync(agent);
    await server.objects.delete(deny);
    await knows(agent, 'NetworkPolicy', 0);
    await add(agent, 'back', await schedulePod(server, 'n1', 'back'));
  });
});
