import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IpAddress } from '#kit';
import type { ModelUpdate, PodObject } from '#model';
import { createPodAddresses } from './pod-addresses.ts';

const upsert = (name: string, ips: string[], fields: Partial<PodObject> = {}): ModelUpdate => ({
  type: 'upsert',
  kind: 'Pod',
  key: `shop/${name}`,
  object: {
    metadata: { name, namespace: 'shop', uid: '', labels: {}, annotations: {} },
    nodeName: 'n1',
    hostNetwork: false,
    serviceAccountName: 'default',
    ports: [],
    phase: 'Running',
    terminating: false,
    podIPs: ips as IpAddress[],
    ...fields,
  },
});

test('an address is spoken of while any Pod object of this node has it', () => {
  const pods = createPodAddresses('n1');
  const has = (address: string): boolean => pods.has(address as IpAddress);
  pods.note(upsert('a', ['10.1.0.1', 'fd00::1']));
  pods.note(upsert('b', ['10.1.0.1']));
  pods.note(upsert('elsewhere', ['10.1.0.9'], { nodeName: 'n2' }));
  pods.note(upsert('host', ['192.0.2.1'], { hostNetwork: true }));
  assert.deepEqual(['10.1.0.1', 'fd00::1', '10.1.0.9', '192.0.2.1'].map(has), [true, true, false, false]);
  pods.note({ type: 'delete', kind: 'Pod', key: 'shop/a' });
  assert.deepEqual(['10.1.0.1', 'fd00::1'].map(has), [true, false]);
  pods.note(upsert('b', ['10.1.0.2']));
  assert.deepEqual(['10.1.0.1', '10.1.0.2'].map(has), [false, true]);
});
