/**
 * Passwords of BGP sessions come from Secrets that are read by name, now and then: what becomes of sessions as their Secrets come, change and
 * go, and when they may not be read any more. BIRD plays a router for each.
 */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { outsideBird } from '../support/agent-outside.ts';
import {
  calico,
  installedObjects,
  installPoplin,
  kubeAgentNeeds,
  kubeNode,
  systemNamespace,
} from '../support/kube/agent.ts';
import { patience, startReady, untilNoProblem, untilProblem, untilSession } from '../support/kube/agent-state.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const secret = (name: string, password: string): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: systemNamespace },
  stringData: { password },
});
const peer = (name: string, peerIP: string): KubeObject =>
  calico('BGPPeer', name, {
    peerIP,
    asNumber: 64513,
    holdTime: '9s',
    password: { secretKeyRef: { name, key: 'password' } },
  });

/** The router at 192.0.2.`host`; without a password it takes any session. A BIRD each: one has but one session with an address. */
function router(host: number, password?: string): string {
  return `router id 192.0.2.${host};
log stderr all;
protocol device { scan time 1; }
protocol bgp agent {
  local 192.0.2.${host} as 64513; neighbor 192.0.2.1 as 64512; strict bind yes;
  hold time 9; error wait time 1, 2; connect delay time 1; connect retry time 1;
  ${password === undefined ? '' : `password "${password}";`}
  ipv4 { import all; export none; };
}
`;
}

suite('passwords from Secrets', needs({ ...kubeAgentNeeds, provided: ['cniShim', 'bird', 'birdc'] }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
  });
  after(() => server?.stop());

  test('a Secret that comes, one that changes, one that goes; then none may be read', async (t) => {
    const { agent } = await kubeNode(t, server, { config: { connectRetrySec: 1 } });
    for (const host of [3, 4, 5])
      await agent.must('ip', '-netns', agent.outside, 'addr', 'add', `192.0.2.${host}/24`, 'dev', 'up0');
    await server.objects.apply([secret('changes', 'old'), secret('goes', 'same')]);
    await server.objects.apply([
      peer('comes', '192.0.2.3'),
      peer('changes', '192.0.2.4'),
      peer('goes', '192.0.2.5'),
      calico('BGPConfiguration', 'default', { nodeToNodeMeshEnabled: false }),
    ]);
    // The router of the one that is missing would take a session without a password.
    const comes = await outsideBird(t, agent, router(3));
    const changes = await outsideBird(t, agent, router(4, 'old'));
    const goes = await outsideBird(t, agent, router(5, 'same'));
    await startReady(agent);
    await untilSession(agent, 'peer/changes', true);
    await untilSession(agent, 'peer/goes', true);
    const missing = (name: string) =>
      new RegExp(`BGPPeer ${name}: spec\\.password: Secret poplin-system/${name} is not there .*create it.*kept down`);
    await untilProblem(agent, missing('comes'));
    const [waiting] = (await agent.api.bgpPeers()).filter(({ name }) => name === 'peer/comes');
    assert.deepEqual([waiting?.state, waiting?.timesEstablished], ['Idle', 0]);
    assert.ok(!comes.established('agent'));

    comes.configure(router(3, 'new'));
    changes.configure(router(4, 'changed'));
    await server.objects.create(secret('comes', 'new'));
    await server.objects.apply(secret('changes', 'changed'));
    await server.objects.delete(secret('goes', ''));
    await untilSession(agent, 'peer/comes', true);
    await untilNoProblem(agent, missing('comes'));
    await untilProblem(agent, missing('goes'));
    await untilSession(agent, 'peer/goes', false);
    // BIRD has the new key alone: the session it has now is of that.
    await until(() => changes.established('agent'), { what: 'the session of the new key', ...patience });
    // Told, and not by the hold time.
    await until(() => !goes.established('agent'), {
      what: 'the router to hear that its session ends',
      deadlineMs: 5_000,
    });

    // What was read last stays in use while nothing may be read.
    const [binding] = installedObjects().filter(({ kind }) => kind === 'RoleBinding');
    await server.objects.delete(binding!);
    await untilProblem(agent, /changes of Secret are not seen: .*Secret poplin-system\/\w+ cannot be read: 403/);
    await untilSession(agent, 'peer/comes', true);
    await server.objects.create(binding!);
    await untilNoProblem(agent, /changes of Secret/);
    assert.equal((await agent.api.bgpPeers()).find(({ name }) => name === 'peer/comes')?.timesEstablished, 1);
    for (const password of ['old', 'new', 'changed', 'same'])
      assert.ok(!agent.log.includes(`"${password}"`), 'no password in the log');
  });
});
