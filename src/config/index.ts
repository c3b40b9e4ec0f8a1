export { type BuildInfo, buildInfo, describeBuild } from './build-info.ts';
export {
  ConfigError,
  type ConfigInput,
  type ConfigValue,
  configFile,
  configFileEnv,
  type LoadedConfig,
  loadConfig,
} from './load.ts';
export type { JsonSchema, Option } from './option.ts';
export { type AgentConfig, agentOptions, envOf, flagOf, type OptionName, optionNames } from './options.ts';
