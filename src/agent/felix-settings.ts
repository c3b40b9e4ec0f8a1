/**
 * What FelixConfiguration says for this node: `node.NAME` over `default`, field by field; an option given to the agent itself
 * counts more. Pure.
 */
import type { LoadedConfig, OptionName } from '#config';
import type { FelixConfigurationObject } from '#model';

export interface FelixSettings {
  readonly backend: 'auto' | 'nft' | 'legacy';
  readonly markMask: number;
  readonly logLevel: 'error' | 'warn' | 'info' | 'debug';
  readonly flowLog: 'off' | 'denied' | 'all';
  /** Undefined: the usual. */
  readonly flowWindowMs: number | undefined;
}

export function felixSettings(
  { config, values }: LoadedConfig,
  configurations: readonly FelixConfigurationObject[],
): FelixSettings {
  const named = (name: string): FelixConfigurationObject | undefined =>
    configurations.find(({ metadata }) => metadata.name === name);
  const [here, everywhere] = [named(`node.${config.nodeName}`), named('default')];
  const reporter = here?.flowLogsLocalReporter ?? everywhere?.flowLogsLocalReporter;
  const given = (name: OptionName): boolean => !values.some((v) => v.name === name && v.source.startsWith('default'));
  return {
    backend: given('iptablesBackend')
      ? config.iptablesBackend
      : (here?.iptablesBackend ?? everywhere?.iptablesBackend ?? config.iptablesBackend),
    markMask: given('markMask')
      ? config.markMask
      : (here?.iptablesMarkMask ?? everywhere?.iptablesMarkMask ?? config.markMask),
    logLevel: given('logLevel')
      ? config.logLevel
      : (here?.logSeverityScreen ?? everywhere?.logSeverityScreen ?? config.logLevel),
    // What Calico reports once it is enabled are all flows; those that are denied are told of here in any case.
    flowLog: !given('flowLog') && reporter === 'Enabled' ? 'all' : config.flowLog,
    flowWindowMs: here?.flowLogsFlushIntervalMs ?? everywhere?.flowLogsFlushIntervalMs,
  };
}
