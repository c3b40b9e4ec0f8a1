import fs from 'node:fs';
import path from 'node:path';
import { latestVersion, supportedVersions } from './request.ts';

export interface ConflistOptions {
  /** Default 10-poplin.conflist. Runtimes take the first file by name. */
  readonly fileName?: string;
  /** Name of the network; default `poplin`. GC goes by it: never change it under running pods. */
  readonly network?: string;
  /** Name of the plugin's executable; default `poplin`. */
  readonly type?: string;
  /** Default 1.1.0; older runtimes (containerd 1.6) want 1.0.0, and then call neither GC nor STATUS. */
  readonly cniVersion?: string;
  /** Bytes; absent: the agent chooses. */
  readonly mtu?: number;
  /** Plugins behind ours, e.g. portmap for hostPort. */
  readonly chained?: readonly object[];
}

export const CONFLIST_NAME = '10-poplin.conflist';
export const NETWORK_NAME = 'poplin';

/**
 * Tells the runtime that pods can be added: written last, when the agent can serve, whole or not at all (a runtime that reads half a file
 * takes the next network instead). Mode 0600, as runtimes run as root. An equal file is left alone. Returns its path.
 *
 * @throws Error of the file system; RangeError for a version that the plugin does not speak.
 */
export function writeConflist(directory: string, options: ConflistOptions = {}): string {
  const cniVersion = options.cniVersion ?? latestVersion;
  if (!supportedVersions.some((version) => version === cniVersion)) {
    throw new RangeError(`cniVersion ${cniVersion} is not supported: use one of ${supportedVersions.join(', ')}`);
  }
  const plugin = { type: options.type ?? 'poplin', ...(options.mtu === undefined ? {} : { mtu: options.mtu }) };
  const conflist = { cniVersion, name: options.network ?? NETWORK_NAME, plugins: [plugin, ...(options.chained ?? [])] };
  const text = `${JSON.stringify(conflist, null, 2)}\n`;
  const file = path.join(directory, options.fileName ?? CONFLIST_NAME);
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) return file;
  fs.mkdirSync(directory, { recursive: true });
  // No suffix that a runtime looks for (.conf, .conflist, .json).
  const temporary = `${file}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, text, { mode: 0o600, flush: true });
  fs.renameSync(temporary, file);
  return file;
}

/** Tells the runtime that no pod can be added any more; takes what a killed writer left along. Returns whether there was anything. */
export function removeConflist(directory: string, options: Pick<ConflistOptions, 'fileName'> = {}): boolean {
  if (!fs.existsSync(directory)) return false;
  const name = options.fileName ?? CONFLIST_NAME;
  const ours = fs
    .readdirSync(directory)
    .filter((each) => each === name || (each.startsWith(`${name}.`) && each.endsWith('.tmp')));
  for (const each of ours) fs.rmSync(path.join(directory, each), { force: true });
  return ours.length > 0;
}
