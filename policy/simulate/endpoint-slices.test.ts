import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type { EndpointSliceObject, ModelUpdate, PodObject, ServiceSelection } from '#model';
import { endpointSlicesOf, upsertSlice, withEndpointSlices } from './endpoint-slices.ts';

function pod(name: string, part: Partial<PodObject> = {}): PodObject {
  return {
    metadata: { name, namespace: 'shop', uid: name, labels: { app: 'web' }, annotations: {} },
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: [`10.0.0.${name}` as IpAddress],
    ...part,
  };
}
const service = (part: Partial<ServiceSelection> = {}): ServiceSelection => ({
  namespace: 'shop',
  name: 'web',
  selector: { app: 'web' },
  ports: [{ port: 80, protocol: 'TCP' }],
  ...part,
});
const said = (slices: readonly EndpointSliceObject[]): unknown[] =>
  slices.map(({ addresses, ports }) => [
    addresses.join(),
    ports.map(({ protocol, port }) => `${protocol} ${port}`).join(),
  ]);

test('pods that the service selects, each family by itself; completed ones and those of other namespaces are not', () => {
  const pods = [
    pod('1', { podIPs: ['10.0.0.1', 'fd00::1'] as IpAddress[] }),
    pod('2', { phase: 'Pending' }),
    pod('3', { terminating: true, hostNetwork: true }),
    pod('4', { phase: 'Succeeded' }),
    pod('5', { metadata: { ...pod('5').metadata, namespace: 'other' } }),
    pod('6', { metadata: { ...pod('6').metadata, labels: { app: 'db' } } }),
    pod('7', { podIPs: [] }),
  ];
  assert.deepEqual(said(endpointSlicesOf(service(), pods)), [
    ['10.0.0.1,10.0.0.2,10.0.0.3', 'TCP 80'],
    ['fd00::1', 'TCP 80'],
  ]);
  assert.deepEqual(endpointSlicesOf(service({ selector: {} }), pods), []);
  assert.deepEqual(said(endpointSlicesOf(service(), [])), [['', '']]);
});

test('target ports: the number, or what each pod declares under the name', () => {
  const web = (containerPort: number) => [{ name: 'http', containerPort, protocol: 'TCP' }] as const;
  const pods = [
    pod('1', { ports: web(8080) }),
    pod('2', { ports: web(8081) }),
    pod('3', { ports: web(8080) }),
    pod('4'),
  ];
  const ports = [
    { port: 80, protocol: 'TCP', targetPort: 'http' },
    { port: 53, protocol: 'UDP', targetPort: 5353 },
  ] as const;
  assert.deepEqual(said(endpointSlicesOf(service({ ports }), pods)), [
    ['10.0.0.1,10.0.0.3', 'TCP 8080,UDP 5353'],
    ['10.0.0.2', 'TCP 8081,UDP 5353'],
    ['10.0.0.4', 'UDP 5353'],
  ]);
});

test('slices that are there count, and nothing is made beside them', () => {
  const [own] = endpointSlicesOf(service(), [pod('9')]);
  const updates: ModelUpdate[] = [{ type: 'upsert', kind: 'Pod', key: 'shop/1', object: pod('1') }, upsertSlice(own!)];
  assert.equal(withEndpointSlices(updates, [service()]).length, 2);
  assert.equal(withEndpointSlices(updates, [service({ name: 'other' })]).length, 3);
});
