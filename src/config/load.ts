/** Flag over environment over file over default; all mistakes at once, each with its place and a remedy. */
import os from 'node:os';
import path from 'node:path';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import { errorText, nearest, PoplinError } from '#kit';
import type { Option } from './option.ts';
import { type AgentConfig, agentOptions, envOf, flagOf, type OptionName, optionNames } from './options.ts';

export class ConfigError extends PoplinError<{
  readonly code: 'CONFIG_INVALID';
  readonly problems: readonly string[];
}> {}

export interface ConfigInput {
  /** From the command line, by option name. */
  readonly flags: Readonly<Partial<Record<OptionName, string>>>;
  /** The process environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Path given by --config or POPLIN_CONFIG, with its text. */
  readonly file?: { readonly path: string; readonly text: string };
  readonly hostname?: string;
}

export interface ConfigValue {
  readonly name: OptionName;
  readonly value: string | number | boolean;
  /** `flag --asn`, `env POPLIN_ASN`, `file /etc/poplin.yaml:3`, `default`, or `default: ...` where it is derived. */
  readonly source: string;
}

export interface LoadedConfig {
  readonly config: AgentConfig;
  /** In the order of the table. */
  readonly values: readonly ConfigValue[];
}

/** Names the configuration file; not an option of the table, as it cannot stand in the file. */
export const configFileEnv = 'POPLIN_CONFIG';

interface Given {
  readonly value: unknown;
  readonly source: string;
}

/** @throws ConfigError naming every unknown key and every value that is not allowed. */
export function loadConfig(input: ConfigInput): LoadedConfig {
  const problems: string[] = [];
  const file = readFile(input.file, problems);
  const env = readEnvironment(input.env, problems);
  const values = new Map<OptionName, ConfigValue>();
  for (const name of optionNames) {
    const option: Option<string | number | boolean> = agentOptions[name];
    const flag = input.flags[name];
    const given: Given | undefined =
      flag === undefined ? (env.get(name) ?? file.get(name)) : { value: flag, source: `flag ${flagOf(name)}` };
    // A wrong value that is overridden is a mistake all the same: it would come into force with the override's end.
    for (const { value, source } of [env.get(name), file.get(name), given].filter((g) => g !== undefined)) {
      const problem = `${source}: ${JSON.stringify(value)} is not allowed for ${name}; give ${option.allowed}`;
      if (option.parse(value) === undefined && !problems.includes(problem)) problems.push(problem);
    }
    const value = given ? option.parse(given.value) : option.default;
    values.set(name, { name, value: value ?? option.default, source: given?.source ?? 'default' });
  }
  derive(values, input.hostname ?? os.hostname(), problems);
  if (problems.length > 0) {
    throw new ConfigError(`configuration: ${problems.join('\n  ')}`, { code: 'CONFIG_INVALID', problems });
  }
  const list = [...values.values()];
  const config = Object.fromEntries(list.map(({ name, value }) => [name, value])) as AgentConfig;
  return { config, values: list };
}

/** Fills in what depends on the machine or on other options. */
function derive(values: Map<OptionName, ConfigValue>, hostname: string, problems: string[]): void {
  const fill = (name: OptionName, value: string): void => {
    if (values.get(name)?.value !== '') return;
    const option: Option<string | number | boolean> = agentOptions[name];
    const problem = `${name}: ${JSON.stringify(value)} (${option.derived}) is not allowed; give ${flagOf(name)}: ${option.allowed}`;
    if (option.parse(value) === undefined) problems.push(problem);
    values.set(name, { name, value, source: `default: ${option.derived}` });
  };
  const text = (name: OptionName): string => String(values.get(name)?.value);
  fill('nodeName', hostname.toLowerCase());
  fill('apiSocket', path.join(text('runDir'), 'api.sock'));
  fill('cniSocket', path.join(text('runDir'), 'cni', 'cni.sock'));
  fill('cniQueue', path.join(text('stateDir'), 'cni-queue'));
}

/** What kubelet sets in every pod for a Service called poplin or poplin-*: not meant for us. */
const serviceLink = /^POPLIN_(.*_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

function readEnvironment(env: ConfigInput['env'], problems: string[]): ReadonlyMap<OptionName, Given> {
  const known = new Map(optionNames.map((name) => [envOf(name), name]));
  const out = new Map<OptionName, Given>();
  for (const [key, value] of Object.entries(env)) {
    // Empty is how manifests and shells spell "not set".
    if (!key.startsWith('POPLIN_') || value === undefined || value === '' || key === configFileEnv) continue;
    if (serviceLink.test(key) && /^(tcp|udp|sctp):/.test(value)) continue;
    const name = known.get(key);
    if (name) out.set(name, { value, source: `env ${key}` });
    else if (!serviceLink.test(key)) {
      const meant = nearest(key, [...known.keys(), configFileEnv], 6);
      problems.push(`env ${key}: no such option; ${meant ? `did you mean ${meant}?` : 'unset it'}`);
    }
  }
  return out;
}

function readFile(file: ConfigInput['file'], problems: string[]): ReadonlyMap<OptionName, Given> {
  const out = new Map<OptionName, Given>();
  if (!file) return out;
  const lines = new LineCounter();
  const document = parseDocument(file.text, { lineCounter: lines, prettyErrors: false });
  const place = (offset: number | undefined): string => `file ${file.path}:${lines.linePos(offset ?? 0).line || 1}`;
  const error = document.errors[0];
  if (error) {
    problems.push(`${place(error.pos[0])}: not valid YAML: ${error.message}`);
    return out;
  }
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) return out;
  if (!isMap(document.contents)) {
    problems.push(`${place(0)}: not a mapping; write one option a line, e.g. nodeName: n1`);
    return out;
  }
  for (const pair of document.contents.items) {
    const key = isScalar(pair.key) ? String(pair.key.value) : '';
    const where = place(isScalar(pair.key) ? pair.key.range?.[0] : undefined);
    const name = optionNames.find((candidate) => candidate === key);
    if (name) {
      const value: unknown = isScalar(pair.value) ? scalarValue(pair.value) : document.toJS()?.[key];
      if (value !== null) out.set(name, { value, source: where });
    } else {
      const meant = nearest(key, optionNames);
      problems.push(
        `${where}: ${JSON.stringify(key)}: no such option; ${meant ? `did you mean ${meant}?` : 'remove it'}`,
      );
    }
  }
  return out;
}

/** Masks are written in hexadecimal, which YAML turns into numbers: both forms are as good. */
function scalarValue(scalar: { readonly value: unknown }): unknown {
  return typeof scalar.value === 'bigint' ? Number(scalar.value) : scalar.value;
}

/** The text of a configuration file for `loadConfig`. @throws ConfigError when it cannot be read. */
export function configFile(filePath: string, read: (path: string) => string): { path: string; text: string } {
  try {
    return { path: filePath, text: read(filePath) };
  } catch (error) {
    const problem = `file ${filePath}: cannot be read: ${errorText(error)}; give an existing file with --config`;
    throw new ConfigError(`configuration: ${problem}`, { code: 'CONFIG_INVALID', problems: [problem] });
  }
}
