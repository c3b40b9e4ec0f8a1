import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '#config';
import type { FelixConfigurationObject } from '#model';
import { felixSettings } from './felix-settings.ts';

const configuration = (name: string, fields: Partial<FelixConfigurationObject>): FelixConfigurationObject => ({
  metadata: { name, namespace: '', uid: '', labels: {}, annotations: {} },
  notUsed: [],
  ...fields,
});

test('an option counts more than the node, the node more than the default, each field by itself', () => {
  const loaded = loadConfig({ flags: { nodeName: 'n1', interfaceMtu: '1400' }, env: {} });
  const all = [
    configuration('default', { iptablesMarkMask: 0xff0000, iptablesBackend: 'legacy', mtu: 9000 }),
    configuration('node.n1', { iptablesBackend: 'nft' }),
    configuration('node.n2', { iptablesMarkMask: 0xf00000 }),
  ];
  assert.deepEqual(felixSettings(loaded, all), { backend: 'nft', markMask: 0xff0000, mtu: 1400 });
  assert.deepEqual(felixSettings(loaded, []), { backend: 'auto', markMask: 0x000f0000, mtu: 1400 });
});
