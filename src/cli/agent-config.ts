/** The agent's options as flags, and the configuration that results. */
import fs from 'node:fs';
import { type Command, Option } from 'commander';
import {
  agentOptions,
  configFile,
  configFileEnv,
  envOf,
  flagOf,
  type LoadedConfig,
  loadConfig,
  type OptionName,
  optionNames,
} from '#config';
import type { Environment } from './connection.ts';

const configFlag = '--config <file>';

/** Adds `--config` and a flag for every option of the agent. */
export function withAgentOptions(command: Command): Command {
  command.option(configFlag, `YAML file with options, e.g. "asn: 65001" ($${configFileEnv})`);
  for (const name of optionNames) {
    const option = agentOptions[name];
    const fallback = 'derived' in option ? `default: ${option.derived}` : `default: ${showDefault(name)}`;
    const text = `${option.description} (${option.allowed}; ${fallback}; $${envOf(name)})`;
    command.addOption(new Option(`${flagOf(name)} ${option.placeholder}`, text));
  }
  return command;
}

export function showValue(name: OptionName, value: string | number | boolean): string {
  if (name === 'markMask') return `0x${Number(value).toString(16)}`;
  return value === '' ? '""' : String(value);
}

function showDefault(name: OptionName): string {
  const option = agentOptions[name];
  return option.default === '' ? 'none' : showValue(name, option.default);
}

/** From the options that commander parsed. @throws ConfigError */
export function loadFrom(parsed: Readonly<Record<string, unknown>>, env: Environment): LoadedConfig {
  const flags: Partial<Record<OptionName, string>> = {};
  for (const name of optionNames) {
    const value = parsed[name];
    if (typeof value === 'string') flags[name] = value;
  }
  const file = typeof parsed['config'] === 'string' ? parsed['config'] : env[configFileEnv];
  const read = (path: string): string => fs.readFileSync(path, 'utf8');
  return loadConfig({ flags, env, ...(file ? { file: configFile(file, read) } : {}) });
}
