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
  const loaded = loadConfig({ flags: { nodeName: 'n1', logLevel: 'warn' }, env: {} });
  const all = [
    configuration('default', { iptablesMarkMask: 0xff0000, iptablesBackend: 'legacy', logSeverityScreen: 'debug' }),
    configuration('node.n1', { iptablesBackend: 'nft' }),
    configuration('node.n2', { iptablesMarkMask: 0xf00000 }),
  ];
  assert.deepEqual(felixSettings(loaded, all), { backend: 'nft', markMask: 0xff0000, logLevel: 'warn' });
  assert.deepEqual(felixSettings(loaded, []), { backend: 'auto', markMask: 0x000f0000, logLevel: 'warn' });
});

test('the level of the log follows FelixConfiguration where no option says one', () => {
  const loaded = loadConfig({ flags: { nodeName: 'n1' }, env: {} });
  assert.equal(felixSettings(loaded, []).logLevel, 'info');
  assert.equal(felixSettings(loaded, [configuration('default', { logSeverityScreen: 'error' })]).logLevel, 'error');
});
