/** Statuses that one agent writes for the whole cluster, from what all agents report. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import {
  calico,
  definitions,
  installDefinitions,
  installPoplin,
  kubeAgentNeeds,
  kubeNode,
  systemNamespace,
} from '../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type ConditionView, conditionIn, eventsOf, poplinNode } from './status-views.ts';

const peer = (name: string, spec: object): KubeObject => calico('BGPPeer', name, { asNumber: 64999, ...spec });

suite('statuses of the whole cluster', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
  });
  after(() => server?.stop());

  const untilCondition = (object: KubeObject, type: string, reason: string): Promise<ConditionView> =>
    until(
      async () => {
        const found = conditionIn(await server.objects.get(object), type);
        return found?.reason === reason && found;
      },
      { what: `${object.kind} ${object.metadata.name} to be ${type} ${reason}`, deadlineMs: 60_000, intervalMs: 200 },
    );
  const holder = async (): Promise<string | undefined> => {
    const lease = await server.objects.get({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'poplin-status', namespace: systemNamespace },
    });
    return (lease?.['spec'] as { readonly holderIdentity?: string } | undefined)?.holderIdentity;
  };

  test('what is wrong with an object stands in its status, and in an Event where somebody must act', async (t) => {
    const { agent: one } = await kubeNode(t, server, { name: 'n1' });
    one.start();
    await one.untilReady();
    const objects = {
      away: peer('away', { peerIP: '192.0.2.77' }),
      secret: peer('secret', {
        peerIP: '192.0.2.78',
        password: { secretKeyRef: { name: 'tor-password', key: 'password' } },
      }),
      nobody: peer('nobody', { peerIP: '192.0.2.79', nodeSelector: "rack == 'none'" }),
      first: calico('IPPool', 'first', { cidr: '10.42.0.0/16' }),
      overlap: calico('IPPool', 'overlap', { cidr: '10.42.8.0/24' }),
      services: calico('IPPool', 'services', { cidr: '10.96.0.0/20' }),
      felix: calico('FelixConfiguration', 'default', { bpfEnabled: true, logSeverityScreen: 'Info' }),
      filter: calico('BGPFilter', 'plain', { exportV4: [{ action: 'Accept' }] }),
      settings: calico('BGPConfiguration', 'default', { asNumber: 64512 }),
    };
    await server.objects.apply(Object.values(objects).filter(({ metadata }) => metadata.name !== 'overlap'));
    await server.objects.apply(objects.overlap);

    const refused = await untilCondition(objects.away, 'Established', 'NoneEstablished');
    assert.match(refused.message, /^0 of 1 sessions on 1 nodes are Established; 192\.0\.2\.77 .*\(on n1\)/);
    assert.equal((await untilCondition(objects.away, 'Accepted', 'Accepted')).status, 'True');
    const missing = await untilCondition(objects.secret, 'Established', 'PasswordMissing');
    assert.match(missing.message, /Secret poplin-system\/tor-password .*\(on n1\)/);
    assert.equal((await untilCondition(objects.nobody, 'Established', 'NoSession')).status, 'Unknown');
    assert.equal((await untilCondition(objects.first, 'Allocatable', 'OK')).status, 'True');
    const overlap = await untilCondition(objects.overlap, 'Accepted', 'CIDROverlap');
    assert.match(overlap.message, /10\.42\.8\.0\/24 overlaps 10\.42\.0\.0\/16 of IPPool first/);
    const services = await untilCondition(objects.services, 'Accepted', 'InServiceRange');
    assert.match(services.message, /10\.96\.0\.0\/20 overlaps 10\.96\.0\.0\/16, the range of Services/);
    assert.equal(
      (await untilCondition(objects.felix, 'FieldsNotUsed', 'FieldsWithoutEffect')).message,
      'spec.bpfEnabled',
    );
    assert.equal((await untilCondition(objects.filter, 'Applied', 'NotReferenced')).status, 'True');
    assert.equal((await untilCondition(objects.settings, 'Accepted', 'Accepted')).status, 'True');

    for (const [reason, name] of [
      ['PasswordMissing', 'secret'],
      ['CIDROverlap', 'overlap'],
      ['InServiceRange', 'services'],
    ] as const) {
      const events = await until(
        async () => {
          const found = await eventsOf(server, reason);
          return found.length > 0 && found;
        },
        { what: `the Event ${reason}`, deadlineMs: 60_000, intervalMs: 200 },
      );
      assert.deepEqual(
        events.map(({ regarding }) => regarding.name),
        [name],
      );
    }
    const table = await server.kubectl(['get', 'bgppeers']);
    assert.match(table, /^away .* False /m);
    assert.match(await server.kubectl(['describe', 'ippool', 'overlap']), /Warning +CIDROverlap/);

    await server.objects.delete(objects.first);
    await untilCondition(objects.overlap, 'Accepted', 'Accepted');
    const [changed] = await server.objects.apply({
      ...objects.away,
      spec: { ...(objects.away['spec'] as object), maxRestartTime: '60s' },
    });
    await until(
      async () =>
        conditionIn(await server.objects.get(objects.away), 'Accepted')?.observedGeneration ===
        changed!.metadata.generation,
      { what: 'the new generation to be judged', deadlineMs: 60_000, intervalMs: 200 },
    );
    await one.kill('SIGTERM');
  });

  test('another agent takes over from one that stops, and from one that was killed', async (t) => {
    const { agent: two } = await kubeNode(t, server, { name: 'n2' });
    const { agent: three } = await kubeNode(t, server, { name: 'n3' });
    two.start();
    await two.untilReady();
    await until(async () => (await holder())?.startsWith('n2_'), { what: 'n2 to hold the Lease', deadlineMs: 60_000 });
    three.start();
    await three.untilReady();
    await two.kill('SIGTERM');
    await until(async () => (await holder())?.startsWith('n3_'), { what: 'n3 to take over', deadlineMs: 30_000 });
    const object = peer('late', { peerIP: '192.0.2.80' });
    await server.objects.apply(object);
    await untilCondition(object, 'Established', 'NoneEstablished');
    two.start();
    await two.untilReady();
    await three.kill('SIGKILL');
    await until(async () => (await holder())?.startsWith('n2_'), { what: 'n2 to take over', deadlineMs: 90_000 });
  });
});

test("definitions that are Calico's get no statuses, and the node says so", needs(kubeAgentNeeds), async (t) => {
  const server = await startApiServer(t);
  await installPoplin(server, { definitions: false });
  await installDefinitions(server, definitions().map(asCalicos));
  await server.objects.apply([
    peer('tor', { peerIP: '192.0.2.77' }),
    calico('IPPool', 'pods', { cidr: '10.42.0.0/16' }),
  ]);
  const { agent } = await kubeNode(t, server);
  agent.start();
  await agent.untilReady();
  const condition = await until(
    async () => {
      const found = conditionIn(await poplinNode(server, 'n1'), 'ClusterStatusWritten');
      return found?.message.startsWith('BGPPeer, IPPool: ') && found;
    },
    { what: 'the condition', deadlineMs: 90_000, intervalMs: 200 },
  );
  assert.deepEqual([condition.status, condition.reason], ['False', 'ForeignDefinitions']);
});

/** BGPPeer without a status, IPPool with conditions alone, as Calico has them; PoplinNode is ours. */
function asCalicos(definition: KubeObject): KubeObject {
  const spec = definition['spec'] as {
    readonly names: { readonly kind: string };
    readonly versions: readonly object[];
  };
  const [version] = structuredClone(spec.versions) as {
    subresources?: object;
    schema: { openAPIV3Schema: { properties: { status?: { properties: Record<string, object> } } } };
  }[];
  const { properties } = version!.schema.openAPIV3Schema;
  if (spec.names.kind === 'BGPPeer') {
    version!.subresources = {};
    delete properties.status;
  } else if (spec.names.kind === 'IPPool') delete properties.status!.properties['observedGeneration'];
  return { ...definition, spec: { ...spec, versions: [version] } };
}
