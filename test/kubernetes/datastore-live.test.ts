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
import {
  addPod,
  patience,
  startReady,
  untilInSync,
  untilIsolated,
  untilKnown,
  untilProblem,
  untilSessions,
} from '../support/kube/agent-state.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const deny: KubeObject = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'deny', namespace: 'default' },
  spec: { podSelector: {} },
};

suite('agents behind an API server that fails them', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server, { definitions: false });
  });
  after(() => server?.stop());

  test('definitions are absent at the start, installed, taken away and installed again', async (t) => {
    const { agent } = await kubeNode(t, server);
    await startReady(agent);
    await untilInSync(agent);
    await installDefinitions(server, definitions());
    const tor = calico('BGPPeer', 'tor', { peerIP: '192.0.2.2', asNumber: 64513 });
    await server.objects.create(tor);
    await untilSessions(agent, 'peer/tor');
    const [definition] = definitions().filter(({ metadata }) => metadata.name === 'bgppeers.projectcalico.org');
    await server.objects.delete(definition!);
    await untilSessions(agent);
    await until(async () => !(await server.objects.get(definition!)), {
      what: 'the definition to be gone',
      ...patience,
    });
    await untilInSync(agent);
    await installDefinitions(server, [definition!]);
    await server.objects.create(tor);
    await untilSessions(agent, 'peer/tor');
    await server.objects.delete(tor);
    await untilSessions(agent);
  });

  test('a role is taken away and given back', async (t) => {
    const { agent, relay } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await startReady(agent);
    const first = await schedulePod(server, 'n1', 'first');
    await addPod(agent, 'first', first);
    const token = await agentToken(server, 'n1');
    const status = async () => (await server.request({ path: '/api/v1/pods?limit=1', token })).status;
    const [binding] = installedObjects().filter(({ kind }) => kind === 'ClusterRoleBinding');
    await server.objects.delete(binding!);
    await until(async () => (await status()) === 403, { what: 'the role to count no more' });
    // What is watched goes on until it is asked for again.
    relay.cut();
    await untilProblem(agent, /Pod.*pods is forbidden.*grant the verbs list and watch on pods \(API group ""\)/);
    assert.equal((await agent.status()).datastore.inSync, false);
    const { exitCode, message } = await agent.cni('DEL', 'first', {}, first);
    assert.equal(exitCode, 0, message);
    await server.objects.create(deny);
    await server.objects.apply(binding!);
    await untilInSync(agent);
    await untilKnown(agent, 'NetworkPolicy', 1);
    await addPod(agent, 'second', await schedulePod(server, 'n1', 'second'));
    await untilIsolated(agent, 'second');
  });

  test('a token ends while the agent runs, and the kubelet renews it', async (t) => {
    const node = await kubeNode(t, server, { token: 'not renewed in time' });
    const { agent, relay } = node;
    agent.start();
    await until(async () => (await agent.status()).datastore.waitingFor.some((text) => text.includes('401')), {
      what: 'the agent to say that its token is refused',
      ...patience,
    });
    const token = await agentToken(server, 'n1', 30);
    node.renewToken(token);
    await agent.untilReady(60_000);
    const uid = await schedulePod(server, 'n1', 'before-the-end');
    await until(async () => (await server.request({ path: '/api', token })).status === 401, {
      what: 'the token to end',
      ...patience,
    });
    relay.cut();
    await untilProblem(agent, /^datastore: .*401/);
    await addPod(agent, 'before-the-end', uid);
    await schedulePod(server, 'n1', 'meanwhile');
    node.renewToken(await agentToken(server, 'n1'));
    await untilInSync(agent);
    await until(async () => agent.log.includes('changed its state') && (await agent.status()).ready.ok, {
      what: 'the agent to be ready',
      ...patience,
    });
  });

  test('the API server is restarted', async (t) => {
    const { agent } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await startReady(agent);
    await addPod(agent, 'over-a-restart', await schedulePod(server, 'n1', 'over-a-restart'));
    await server.restart('SIGTERM');
    await server.objects.create(deny);
    await untilIsolated(agent, 'over-a-restart');
    await server.restart();
    await server.objects.delete(deny);
    await untilKnown(agent, 'NetworkPolicy', 0);
    await untilInSync(agent);
  });

  test('the API server is away: known pods are wired, others are asked to wait, and an agent that restarts goes on from disk', async (t) => {
    const { agent } = await kubeNode(t, server);
    t.after(() => server.objects.delete(deny));
    await server.objects.create(deny);
    const uids = new Map<string, string>();
    for (const name of ['away-1', 'away-2']) uids.set(name, await schedulePod(server, 'n1', name));
    await startReady(agent);
    const disk = path.join(agent.directory, 'state', 'datastore', 'last-good-kube.jsonl');
    await until(() => fs.existsSync(disk) && fs.readFileSync(disk, 'utf8').includes('away-2'), {
      what: 'the model to be on disk',
      ...patience,
    });
    await server.down();
    t.after(() => (server.pid === undefined ? server.up() : undefined));
    await untilProblem(
      agent,
      /^datastore: changes of .*Pod.* are not seen: .*(ECONNREFUSED|ECONNRESET|closed|disconnected)/,
    );
    await addPod(agent, 'away-1', uids.get('away-1')!);
    await untilIsolated(agent, 'away-1');
    await agent.makePodNetns('unknown');
    const unknown = await agent.cni('ADD', 'unknown', {}, 'a-uid');
    assert.equal(unknown.code, 11, unknown.message);
    assert.match(unknown.message, /Pod default\/unknown with UID a-uid .* try again/);

    await agent.kill();
    await startReady(agent);
    await untilProblem(agent, /^datastore: what was known last is in force, from disk/);
    await addPod(agent, 'away-2', uids.get('away-2')!);
    await untilIsolated(agent, 'away-2');
    await untilIsolated(agent, 'away-1');
    const gone = await agent.cni('DEL', 'away-1', {}, uids.get('away-1')!);
    assert.equal(gone.exitCode, 0, gone.message);

    await server.up();
    await untilInSync(agent);
    await server.objects.delete(deny);
    await untilKnown(agent, 'NetworkPolicy', 0);
    await addPod(agent, 'back', await schedulePod(server, 'n1', 'back'));
  });
});
