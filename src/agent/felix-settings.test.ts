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
  const flows = { flowLog: 'denied', flowWindowMs: undefined };
  assert.deepEqual(felixSettings(loaded, all), { backend: 'nft', markMask: 0xff0000, logLevel: 'warn', ...flows });
  assert.deepEqual(felixSettings(loaded, []), { backend: 'auto', markMask: 0x000f0000, logLevel: 'warn', ...flows });
});

test('the level of the log follows FelixConfiguration where no option says one', () => {
  const loaded = loadConfig({ flags: { nodeName: 'n1' }, env: {} });
  assert.equal(felixSettings(loaded, []).logLevel, 'info');
  assert.equal(felixSettings(loaded, [configuration('default', { logSeverityScreen: 'error' })]).logLevel, 'error');
});

test('flows: all of them where the local reporter is enabled, unless the option says which', () => {
  const loaded = loadConfig({ flags: { nodeName: 'n1' }, env: {} });
  const enabled = configuration('default', { flowLogsLocalReporter: 'Enabled', flowLogsFlushIntervalMs: 60_000 });
  const { flowLog, flowWindowMs } = felixSettings(loaded, [enabled]);
  assert.deepEqual([flowLog, flowWindowMs], ['all', 60_000]);
  const here = configuration('node.n1', { flowLogsLocalReporter: 'Disabled', flowLogsFlushIntervalMs: 5_000 });
  const there = felixSettings(loaded, [enabled, here]);
  assert.deepEqual([there.flowLog, there.flowWindowMs], ['denied', 5_000]);
  const off = loadConfig({ flags: { nodeName: 'n1', flowLog: 'off' }, env: {} });
  assert.equal(felixSettings(off, [enabled]).flowLog, 'off');
});
