/** Statuses that one agent writes for the whole cluster, from what all agents report. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type ApiServer, apiServerAssets } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type ConditionView, conditionIn, eventsOf, makeNode, NAMESPACE, startWorld } from './status-world.ts';

const machine = needs({
  root: true,
  commands: ['ip', 'nsenter', 'ipset', 'xtables-nft-multi'],
  provided: ['cniShim'],
  kube: apiServerAssets,
});

const calico = (kind: string, name: string, spec: object): KubeObject => ({
  apiVersion: 'projectcalico.org/v3',
  kind,
  metadata: { name },
  spec,
});
const peer = (name: string, spec: object): KubeObject => calico('BGPPeer', name, { asNumber: 64999, ...spec });

suite('statuses of the whole cluster', machine, () => {
  let server: ApiServer;
  before(async () => {
    server = await startWorld();
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
      metadata: { name: 'poplin-status', namespace: NAMESPACE },
    });
    return (lease?.['spec'] as { readonly holderIdentity?: string } | undefined)?.holderIdentity;
  };

  test('what is wrong with an object stands in its status, and in an Event where somebody must act', async (t) => {
    const one = await makeNode(t, server, 'n1');
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
      const events = await eventsOf(server, reason);
      assert.deepEqual(
        events.map(({ regarding }) => regarding.name),
        [name],
      );
    }
    const table = await server.kubectl(['get', 'bgppeers']);
    assert.match(table, /^away .* False /m);
    assert.match(await server.kubectl(['describe', 'ippool', 'overlap']), /Warning +CIDROverlap/);

    const repaired = { ...objects.overlap, spec: { cidr: '10.43.0.0/16' } };
    const [applied] = await server.objects.apply(repaired);
    const condition = await untilCondition(repaired, 'Accepted', 'Accepted');
    assert.equal(condition.observedGeneration, applied!.metadata.generation);
    await server.objects.delete(repaired);
  });

  test('another agent takes over from one that stops, and from one that was killed', async (t) => {
    const [two, three] = [await makeNode(t, server, 'n2'), await makeNode(t, server, 'n3')];
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
