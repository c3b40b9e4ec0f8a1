/** Policies that name services, and the EndpointSlices that they wait for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FakeObject, refusal } from './fake-cluster.ts';
import { pod, pods, world } from './kube-world.ts';

const slices = '/apis/discovery.k8s.io/v1/endpointslices';

test('EndpointSlices are followed once a policy names a service, which waits for them', async (t) => {
  const calico = '/apis/projectcalico.org/v3/globalnetworkpolicies';
  const global = (name: string, source: object): FakeObject => ({
    apiVersion: 'projectcalico.org/v3',
    kind: 'GlobalNetworkPolicy',
    metadata: { name },
    spec: { ingress: [{ action: 'Deny', source }] },
  });
  const ofService = { services: { name: 'web', namespace: 'shop' } };
  const w = await world(t);
  w.cluster.serve(slices, calico);
  w.cluster.put(slices, {
    metadata: { name: 'a', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    endpoints: [{ addresses: ['10.0.0.1'] }],
    ports: [{ port: 80 }],
  });
  w.cluster.put(calico, global('one', { nets: ['10.0.0.0/8'] }));
  await w.datastore.start();
  await w.pass(200);
  assert.equal(w.inSync(), 1);
  assert.deepEqual(w.requestsTo(slices), [], 'no policy needs them');
  assert.equal(w.datastore.status().kinds?.EndpointSlice?.state, 'synced');

  const refuse = w.cluster.fault;
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(503) : undefined);
  const handedOn = (): string | undefined => w.datastore.status().kinds?.GlobalNetworkPolicy?.resourceVersion;
  const before = handedOn();
  w.cluster.put(calico, global('one', ofService));
  w.cluster.put(calico, global('two', ofService));
  w.cluster.put(pods, pod('a', 1));
  await w.pass(200);
  assert.ok(w.requestsTo(slices).length > 0);
  assert.equal(w.get('GlobalNetworkPolicy', 'two'), undefined, 'it would deny nothing yet');
  assert.deepEqual(w.get('GlobalNetworkPolicy', 'one')?.ingress[0]?.source, { nets: ['10.0.0.0/8'] });
  assert.deepEqual(w.pods(), { a: '1' }, 'others do not wait');
  assert.equal(handedOn(), before, 'nor is it told as handed on');
  assert.equal(w.datastore.status().kinds?.EndpointSlice?.state, 'failing');
  w.cluster.remove(calico, 'two');
  w.cluster.put(calico, global('three', ofService));

  w.cluster.fault = refuse;
  await w.pass(20_000);
  assert.deepEqual(w.get('GlobalNetworkPolicy', 'one')?.ingress[0]?.source, ofService);
  assert.ok(w.get('GlobalNetworkPolicy', 'three'));
  assert.equal(w.get('GlobalNetworkPolicy', 'two'), undefined);
  assert.deepEqual(w.get('EndpointSlice', 'shop/a')?.addresses, ['10.0.0.1']);
  assert.notEqual(handedOn(), before);
  const order = w.batches.flat().map(({ kind }) => kind);
  assert.ok(order.indexOf('EndpointSlice') < order.lastIndexOf('GlobalNetworkPolicy'), 'slices first');

  w.cluster.remove(slices, 'shop/a');
  await w.pass();
  assert.equal(w.get('EndpointSlice', 'shop/a'), undefined);
});

test('an agent whose policies name services is in sync with their EndpointSlices, not before', async (t) => {
  const calico = '/apis/projectcalico.org/v3/networkpolicies';
  const w = await world(t);
  w.cluster.serve(slices, calico);
  w.cluster.put(calico, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace: 'web' },
    spec: { egress: [{ action: 'Allow', destination: { services: { name: 'x' } } }] },
  });
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(500);
  assert.equal(w.inSync(), 0);
  assert.match(w.datastore.status().waitingFor.join(), /^EndpointSlice \(discovery.k8s.io\/v1\): /);
  w.cluster.fault = () => undefined;
  await w.pass(20_000);
  assert.equal(w.inSync(), 1);
  assert.ok(w.get('CalicoNetworkPolicy', 'web/p'));
});

test('a staged policy that names a service waits for the EndpointSlices alone', async (t) => {
  const staged = '/apis/projectcalico.org/v3/stagednetworkpolicies';
  const w = await world(t);
  w.cluster.serve(slices, staged);
  w.cluster.put(staged, {
    apiVersion: 'projectcalico.org/v3',
    kind: 'StagedNetworkPolicy',
    metadata: { name: 'p', namespace: 'web' },
    spec: { egress: [{ action: 'Allow', destination: { services: { name: 'x' } } }] },
  });
  w.cluster.fault = ({ path: asked }) => (asked === slices ? refusal(403) : undefined);
  await w.datastore.start();
  await w.pass(500);
  assert.equal(w.inSync(), 1);
  assert.ok(w.requestsTo(slices).length > 0);
  assert.equal(w.datastore.status().inSync, true, 'nothing in force waits');
  assert.equal(w.get('StagedNetworkPolicy', 'web/p'), undefined, 'it would report what is not so');
  w.cluster.fault = () => undefined;
  await w.pass(20_000);
  assert.ok(w.get('StagedNetworkPolicy', 'web/p'));
});
