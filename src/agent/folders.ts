/** Folders of the machine that the agent works in, looked at before it does anything: a mount that a container lacks is named here. */
import fs from 'node:fs';
import path from 'node:path';
import { type AgentConfig, flagOf, type OptionName } from '#config';
import { errorText } from '#kit';
import { AgentError } from './errors.ts';

/** @throws AgentError DIRECTORY for the first that is of no use */
export function checkFolders(config: Pick<AgentConfig, 'runDir' | 'stateDir' | 'cniConfDir' | 'procSys'>): void {
  for (const option of ['runDir', 'stateDir', 'cniConfDir'] as const)
    if (config[option]) mustTakeFiles(config[option], option);
  // Not to be made: without the kernel's files every setting would count as absent, and nothing be forwarded.
  const { procSys } = config;
  if (procSys && !fs.existsSync(path.join(procSys, 'net', 'ipv4', 'conf'))) {
    throw unusable(path.join(procSys, 'net'), "does not hold the kernel's settings", 'procSys');
  }
}

function mustTakeFiles(folder: string, option: OptionName): void {
  try {
    fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw unusable(folder, `cannot be made: ${errorText(error)}`, option, error);
  }
  try {
    fs.accessSync(folder, fs.constants.W_OK);
  } catch (error) {
    throw unusable(folder, `cannot be written: ${errorText(error)}`, option, error);
  }
}

function unusable(folder: string, why: string, option: OptionName, cause?: unknown): AgentError {
  const text = `${folder} ${why}; in a container mount that of the node there, or give another with ${flagOf(option)}`;
  return new AgentError(text, { code: 'DIRECTORY', path: folder }, { cause });
}
