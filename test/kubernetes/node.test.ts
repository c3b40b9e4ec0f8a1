/** The agent's own Node: pod CIDRs that come late, and a node that has IPv6 alone. (Addresses that change: bgp.test.ts.) */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { outsideBird } from '../support/agent-outside.ts';
import { calico, installPoplin, kubeAgentNeeds, kubeNode, nodeName, schedulePod } from '../support/kube/agent.ts';
import {
  addPod,
  patience,
  startReady,
  untilNoProblem,
  untilProblem,
  untilSession,
} from '../support/kube/agent-state.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

suite("the agent's own Node", needs({ ...kubeAgentNeeds, provided: ['cniShim', 'bird', 'birdc'] }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
  });
  after(() => server?.stop());

  test('without pod CIDRs: pods wait, the runtime is told nothing, until they are assigned', async (t) => {
    const { agent } = await kubeNode(t, server, { podCIDRs: [] });
    const conflists = (): readonly string[] => {
      const folder = path.join(agent.directory, 'net.d');
      return fs.existsSync(folder) ? fs.readdirSync(folder) : [];
    };
    agent.start();
    await untilProblem(agent, /Node n1: spec\.podCIDRs: is empty/);
    const { ready, cni } = await until(
      async () => {
        const status = await agent.status();
        return /spec\.podCIDRs of the Node is empty/.test(status.cni.notServing ?? '') && status;
      },
      { what: 'pods to wait for pod CIDRs', ...patience },
    );
    assert.equal(ready.ok, false);
    assert.match(cni.notServing!, /\(--allocate-node-cidrs\), or set them by hand/);
    assert.deepEqual(conflists(), []);
    const uid = await schedulePod(server, 'n1', 'early');
    await agent.makePodNetns('early');
    const refused = await agent.cni('ADD', 'early', {}, uid);
    assert.equal(refused.code, 11, refused.message);
    assert.match(refused.message, /spec\.podCIDRs/);

    await server.objects.patch(nodeName('n1'), { spec: { podCIDR: '10.42.7.0/24', podCIDRs: ['10.42.7.0/24'] } });
    await agent.untilReady(patience.deadlineMs);
    assert.equal(conflists().length, 1);
    const added = await agent.cni('ADD', 'early', {}, uid);
    assert.equal(added.exitCode, 0, added.message);
    assert.match(added.addresses.join(), /^10\.42\.7\.\d+$/);
  });

  test('IPv6 alone: API server, session, routes and pods', async (t) => {
    const { agent } = await kubeNode(t, server, {
      internalIPs: ['2001:db8::1'],
      podCIDRs: ['fd00:42:1::/64'],
      apiAddress: '::1',
      config: { connectRetrySec: 1 },
    });
    for (const netns of [agent.netns, agent.outside])
      await agent.must('ip', '-netns', netns, '-4', 'addr', 'flush', 'dev', 'up0');
    await server.objects.apply([calico('BGPPeer', 'tor', { peerIP: '2001:db8::2', asNumber: 64513, holdTime: '9s' })]);
    const bird = await outsideBird(
      t,
      agent,
      `router id 192.0.2.2;
log stderr all;
protocol device { scan time 1; }
protocol static { ipv6; route fd60:1::/64 blackhole; }
protocol bgp tor {
  local 2001:db8::2 as 64513; neighbor 2001:db8::1 as 64512;
  hold time 9; error wait time 1, 2; connect delay time 1; connect retry time 1;
  ipv6 { import all; export all; };
}
`,
    );
    await startReady(agent);
    await untilSession(agent, 'peer/tor', true);
    await until(() => bird.birdc('show route').includes('fd00:42:1::/64'), {
      what: 'the pod CIDR at the router',
      ...patience,
    });
    await until(
      async () => (await agent.inside('ip', '-6', 'route', 'get', 'fd60:1::5')).stdout.includes('via 2001:db8::2'),
      { what: "the router's prefix in the kernel", ...patience },
    );
    const addresses = await addPod(agent, 'six', await schedulePod(server, 'n1', 'six'));
    assert.match(addresses.join(), /^fd00:42:1::[0-9a-f:]+$/);
    await untilNoProblem(agent, /^/);
  });
});
