/** The statuses of policies that agents write to a real API server, with upstream's definitions. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  installDefinitions,
  installPoplin,
  kubeAgentNeeds,
  kubeNode,
  networkPolicyApiDefinitions,
} from '../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type ConditionView, conditionIn, eventsOf } from './status-views.ts';

const policy = (name: string, namespaces: object, egress: object[] = []): KubeObject => ({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name },
  spec: { tier: 'Admin', priority: 5, subject: { namespaces }, egress },
});

suite('statuses of policies', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
    await installDefinitions(server, networkPolicyApiDefinitions());
  });
  after(() => server?.stop());

  const untilCondition = (
    object: KubeObject,
    type: string,
    wanted: (found: ConditionView) => boolean,
  ): Promise<ConditionView> => {
    let found: ConditionView | undefined;
    return until(
      async () => {
        found = conditionIn(await server.objects.get(object), type);
        return found && wanted(found) && found;
      },
      {
        what: () => `${type} of ${object.kind} ${object.metadata.name}; last: ${JSON.stringify(found)}`,
        deadlineMs: 90_000,
        intervalMs: 200,
      },
    );
  };

  test('the status of a policy follows its generations, and says what cannot be read', async (t) => {
    const { agent } = await kubeNode(t, server, { name: 'n1' });
    const deny = policy('deny', { matchLabels: { team: 'a' } }, [{ action: 'Deny', to: [{ namespaces: {} }] }]);
    const older: KubeObject = {
      apiVersion: 'policy.networking.k8s.io/v1alpha1',
      kind: 'AdminNetworkPolicy',
      metadata: { name: 'older' },
      spec: { priority: 1, subject: { namespaces: {} } },
    };
    const unread = policy('unread', { matchExpressions: [{ key: 'a', operator: 'Within', values: ['b'] }] });
    await server.objects.apply([deny, older, unread]);
    agent.start();
    await agent.untilReady();
    const first = await untilCondition(deny, 'InForce', ({ status }) => status === 'True');
    assert.equal(first.reason, 'InForceOnAllNodes');
    assert.match(first.message, /^generation 1 is in force on 1 of 1 nodes$/);
    await untilCondition(older, 'InForce', ({ status }) => status === 'True');
    const invalid = await untilCondition(unread, 'InForce', ({ reason }) => reason === 'Invalid');
    assert.match(invalid.message, /^generation 1 is in force on no node: spec\.subject.*not in force/);
    const events = await until(
      async () => (await eventsOf(server, 'Invalid')).length > 0 && eventsOf(server, 'Invalid'),
      {
        what: 'the Event',
        deadlineMs: 60_000,
      },
    );
    assert.deepEqual(
      events.map(({ regarding }) => regarding.name),
      ['unread'],
    );

    await server.objects.apply(
      policy('deny', { matchLabels: { team: 'a' } }, [
        { action: 'Deny', to: [{ namespaces: { matchExpressions: [{ key: 'a', operator: 'Within' }] } }] },
      ]),
    );
    const second = await untilCondition(
      deny,
      'InForce',
      ({ status, observedGeneration }) => status === 'True' && observedGeneration === 2,
    );
    assert.match(second.message, /^generation 2 is in force on 1 of 1 nodes$/);
    const part = await untilCondition(deny, 'Accepted', ({ reason }) => reason === 'InForceInPart');
    assert.match(part.message, /^spec\.egress\[0\]\.to\[0\]: .*fails closed/);
  });

  test("Calico's kinds have it too, in namespaces and out of them", async (t) => {
    // Not another: nobody collects what the first one left, as a cluster would, and it would count.
    const { agent } = await kubeNode(t, server, { name: 'n1' });
    const ofCalico = (kind: string, name: string, spec: object, namespace?: string): KubeObject => ({
      apiVersion: 'projectcalico.org/v3',
      kind,
      metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
      spec,
    });
    const services = { services: { name: 'kubernetes' } };
    const objects = [
      ofCalico('NetworkPolicy', 'p', { egress: [{ action: 'Allow', destination: services }] }, 'default'),
      ofCalico('GlobalNetworkPolicy', 'p', { ingress: [{ action: 'Deny' }], selector: 'has(nobody)' }),
      ofCalico('Tier', 'first', { order: 5 }),
      ofCalico('NetworkSet', 's', { nets: ['192.0.2.0/24'] }, 'default'),
      ofCalico('GlobalNetworkSet', 's', { nets: ['192.0.2.0/24'] }),
    ];
    const staged = [
      ofCalico('StagedNetworkPolicy', 'p', { selector: 'has(nobody)' }, 'default'),
      ofCalico('StagedGlobalNetworkPolicy', 'p', { selector: 'has(nobody)' }),
      ofCalico('StagedKubernetesNetworkPolicy', 'p', { podSelector: {}, ingress: [{}] }, 'default'),
    ];
    const uplink = ofCalico('HostEndpoint', 'up', { node: 'n1', interfaceName: 'absent0' });
    const nowhere = ofCalico('HostEndpoint', 'nowhere', { node: 'n1', expectedIPs: ['198.51.100.77'] });
    await server.objects.apply([...objects, ...staged, uplink, nowhere]);
    agent.start();
    await agent.untilReady();
    for (const object of [...objects, uplink])
      await untilCondition(object, 'InForce', ({ status }) => status === 'True');
    for (const object of staged) await untilCondition(object, 'Staged', ({ status }) => status === 'True');
    await untilCondition(
      nowhere,
      'InForce',
      ({ reason, message }) => reason === 'RefusedByNodes' && /no interface has any of its expectedIPs/.test(message),
    );
  });
});
