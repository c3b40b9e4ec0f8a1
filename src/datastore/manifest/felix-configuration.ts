/** projectcalico.org/v3 FelixConfiguration: the few of its parameters that mean something here; the others are named. */
import type { FelixConfigurationObject, ObjectMeta } from '#model';
import { isSet, isSettingsName } from './calico-fields.ts';
import { type Reader, show } from './reader.ts';

const used = [
  ...['iptablesMarkMask', 'iptablesBackend', 'logSeverityScreen'],
  ...['flowLogsLocalReporter', 'flowLogsFlushInterval'],
];

const backends = { auto: 'auto', legacy: 'legacy', nft: 'nft' } as const;
const reporters = { enabled: 'Enabled', disabled: 'Disabled' } as const;
const severities = {
  trace: 'debug',
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
  fatal: 'error',
} as const;

export function readFelixConfiguration(document: Reader, metadata: ObjectMeta): FelixConfigurationObject {
  const spec = document.field('spec');
  const set = Object.keys(spec.mapping() ?? {}).filter((name) => isSet(spec.field(name)));
  if (!isForAllOrOneNode(document, metadata.name)) return { metadata, notUsed: set.sort() };
  const notUsed = set.filter((name) => !used.includes(name)).sort();
  for (const name of notUsed) spec.field(name).note('is not used by Poplin; the object works as if it were absent');
  const iptablesMarkMask = readMarkMask(spec.field('iptablesMarkMask'));
  const iptablesBackend = readWord(spec.field('iptablesBackend'), backends);
  const logSeverityScreen = readWord(spec.field('logSeverityScreen'), severities);
  const flowLogsLocalReporter = readWord(spec.field('flowLogsLocalReporter'), reporters);
  const flowLogsFlushIntervalMs = readInterval(spec.field('flowLogsFlushInterval'));
  return {
    metadata,
    ...(iptablesMarkMask === undefined ? {} : { iptablesMarkMask }),
    ...(iptablesBackend === undefined ? {} : { iptablesBackend }),
    ...(logSeverityScreen === undefined ? {} : { logSeverityScreen }),
    ...(flowLogsLocalReporter === undefined ? {} : { flowLogsLocalReporter }),
    ...(flowLogsFlushIntervalMs === undefined ? {} : { flowLogsFlushIntervalMs }),
    notUsed,
  };
}

/** Newer Calico has objects of other names as well, for the nodes that a selector selects. */
function isForAllOrOneNode(document: Reader, name: string): boolean {
  const selector = document.field('spec').field('nodeSelector');
  const nameReader = document.field('metadata').field('name');
  if (isSettingsName(name)) {
    if (isSet(selector))
      selector.fault(`stands in the object ${name}, whose name says which nodes it is for; remove it`);
    return true;
  }
  if (!isSet(selector)) {
    if (name) nameReader.fault(`${show(name)} has no meaning; write default for all nodes or node.NAME for one`);
  } else nameReader.note('is not used by Poplin, which reads the objects default and node.NAME only');
  return false;
}

/** In any case of letters, as Calico takes them. */
function readWord<T extends string>(reader: Reader, words: Readonly<Record<string, T>>): T | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  const word = text.toLowerCase();
  if (Object.hasOwn(words, word)) return words[word];
  return reader.fault(`${show(text)} is not allowed; write one of ${Object.keys(words).join(', ')}`);
}

const intervalMs = { min: 1_000, max: 3_600_000 };
const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** As Go writes durations, `15s`, `1m30s`, `1.5h`. */
function readInterval(reader: Reader): number | undefined {
  const text = reader.textOrNone();
  if (text === undefined) return undefined;
  const parts = /^(\d{1,7}(\.\d{1,6})?(ms|s|m|h)){1,4}$/.test(text) ? text.matchAll(/([\d.]+)(ms|s|m|h)/g) : [];
  const ms = [...parts].reduce((sum, [, number, unit]) => sum + Number(number) * unitMs[unit!]!, 0);
  if (ms >= intervalMs.min && ms <= intervalMs.max) return Math.round(ms);
  return reader.fault(`${show(text)} is no interval that is used here; write one in 1s..1h, such as 15s`);
}

/** The marks that kube-proxy sets on packets to drop and to masquerade, unless told otherwise. */
const kubeProxyMarks = 0xc000;
const markBitsMin = 2;

function readMarkMask(reader: Reader): number | undefined {
  const mask = reader.integer(0, 0xffffffff);
  if (mask === undefined) return undefined;
  const bits = Array.from({ length: 32 }, (_, bit) => 2 ** bit).filter((bit) => Math.floor(mask / bit) % 2 === 1);
  const shown = `${mask} (0x${mask.toString(16)})`;
  const remedy = 'write one such as 983040 (0xf0000)';
  if (bits.length < markBitsMin) return reader.fault(`${shown} has fewer than ${markBitsMin} bits set; ${remedy}`);
  const clash = bits.slice(0, markBitsMin).some((bit) => (bit & kubeProxyMarks) !== 0);
  return clash ? reader.fault(`${shown} begins with bits that kube-proxy sets (0xc000); ${remedy}`) : mask;
}
