import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadConfig } from '#config';
import type { IpAddress } from '#kit';
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
  const { dns: _, ...settings } = felixSettings(loaded, all);
  assert.deepEqual(settings, { backend: 'nft', markMask: 0xff0000, logLevel: 'warn', ...flows });
  const { dns: __, ...usual } = felixSettings(loaded, []);
  assert.deepEqual(usual, { backend: 'auto', markMask: 0x000f0000, logLevel: 'warn', ...flows });
});

test('the level of the log follows FelixConfiguration where no option says one', () => {
  const loaded = loadConfig({ flags: { nodeName: 'n1' }, env: {} });
  assert.equal(felixSettings(loaded, []).logLevel, 'info');
  assert.equal(felixSettings(loaded, [configuration('default', { logSeverityScreen: 'error' })]).logLevel, 'error');
});

test('whose DNS answers count, and for how long: the same order, from the service kube-dns and resolv.conf on', () => {
  const server = { type: 'address', address: '192.0.2.1' as IpAddress } as const;
  const all = [
    configuration('default', { dnsTrustedServers: [server], dnsExtraTtlSec: 7 }),
    configuration('node.n1', { dnsExtraTtlSec: 5 }),
  ];
  const loaded = loadConfig({ flags: { nodeName: 'n1' }, env: {} });
  assert.deepEqual(felixSettings(loaded, all).dns, { minTtlSec: 10, extraTtlSec: 5, servers: [server] });
  const kubeDns = { type: 'service', namespace: 'kube-system', name: 'kube-dns' };
  assert.deepEqual(felixSettings(loaded, []).dns.servers, [kubeDns, { type: 'node' }]);
  const given = loadConfig({
    flags: { nodeName: 'n1', dnsTrustedServers: 'resolv.conf', dnsExtraTtlSec: '0' },
    env: {},
  });
  assert.deepEqual(felixSettings(given, all).dns, { minTtlSec: 10, extraTtlSec: 0, servers: [{ type: 'node' }] });
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
