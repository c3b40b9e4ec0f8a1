/**
 * Puts the CNI plugins where the runtime looks for them, and takes them away again. Programs are replaced by rename, as the runtime may
 * be running the old one. What was installed is written down beside them, with checksums: a plugin of somebody else's that has the
 * name of one of ours is neither overwritten nor removed, except our own `poplin`.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { PoplinError } from '#kit';

export type InstallFailure =
  | { readonly code: 'NO_PLUGINS'; readonly source: string }
  | { readonly code: 'NOT_WRITABLE'; readonly destination: string };

export class InstallError extends PoplinError<InstallFailure> {}

/** What was done with each plugin, by its name. */
export type InstallResult = Readonly<Record<string, 'installed' | 'unchanged' | 'kept'>>;

/** Our own plugin: whoever else brings that name, it is meant to be ours. */
const OWN_PLUGIN = 'poplin';
/** Beside the plugins; no runtime looks at it. */
const RECORD_NAME = '.poplin-installed.json';
const TEMPORARY_PREFIX = '.poplin-new-';

/** Plugin -> checksums of it that are ours: one, or two while it is being replaced (a run that is killed then loses neither). */
type Checksums = Readonly<Record<string, readonly string[]>>;

/**
 * Copies every program in `source` into `destination`. Safe to repeat and to interrupt.
 *
 * @throws InstallError
 */
export function installPlugins(source: string, destination: string): InstallResult {
  const names = fs.existsSync(source)
    ? fs.readdirSync(source).filter((name) => isProgram(path.join(source, name)))
    : [];
  if (names.length === 0) {
    throw new InstallError(`no plugins in ${source}: give the folder that holds them with --source`, {
      code: 'NO_PLUGINS',
      source,
    });
  }
  return writing(destination, () => {
    fs.mkdirSync(destination, { recursive: true, mode: 0o755 });
    removeTemporaries(destination);
    const record: Record<string, readonly string[]> = readRecord(destination);
    const write = (name: string, checksums: readonly string[]): void => {
      record[name] = checksums;
      replace(destination, RECORD_NAME, recordText(record), 0o644);
    };
    const result: Record<string, 'installed' | 'unchanged' | 'kept'> = {};
    for (const name of names.sort()) {
      const content = fs.readFileSync(path.join(source, name));
      const there = checksumOf(path.join(destination, name));
      const ours = there === undefined || record[name]?.includes(there) === true || name === OWN_PLUGIN;
      const wanted = checksum(content);
      if (there === wanted && isProgram(path.join(destination, name))) result[name] = 'unchanged';
      else if (ours) {
        write(name, there === undefined ? [wanted] : [there, wanted]);
        replace(destination, name, content, 0o755);
        write(name, [wanted]);
        result[name] = 'installed';
      } else result[name] = 'kept';
    }
    return result;
  });
}

/** Removes what `installPlugins` installed and nobody replaced since. Returns the names. @throws InstallError */
export function removePlugins(destination: string): readonly string[] {
  if (!fs.existsSync(destination)) return [];
  return writing(destination, () => {
    removeTemporaries(destination);
    const removed: string[] = [];
    for (const [name, expected] of Object.entries(readRecord(destination))) {
      const full = path.join(destination, name);
      const there = checksumOf(full);
      if (there === undefined || !expected.includes(there)) continue;
      fs.rmSync(full);
      removed.push(name);
    }
    fs.rmSync(path.join(destination, RECORD_NAME), { force: true });
    return removed;
  });
}

function writing<T>(destination: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined || !['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'].includes(code)) throw error;
    const text = `${destination} cannot be written to (${code}): mount the folder of the runtime's CNI plugins there, writable`;
    throw new InstallError(text, { code: 'NOT_WRITABLE', destination }, { cause: error });
  }
}

function replace(folder: string, name: string, content: string | Uint8Array, mode: number): void {
  const temporary = path.join(folder, `${TEMPORARY_PREFIX}${process.pid}-${name}`);
  fs.writeFileSync(temporary, content, { mode, flush: true });
  fs.chmodSync(temporary, mode); // whatever the umask
  fs.renameSync(temporary, path.join(folder, name));
}

/** Left by a run that was killed. */
function removeTemporaries(folder: string): void {
  for (const name of fs.readdirSync(folder)) {
    if (name.startsWith(TEMPORARY_PREFIX)) fs.rmSync(path.join(folder, name));
  }
}

function readRecord(folder: string): Record<string, readonly string[]> {
  const file = path.join(folder, RECORD_NAME);
  if (!fs.existsSync(file)) return {};
  try {
    const { plugins } = JSON.parse(fs.readFileSync(file, 'utf8')) as { readonly plugins?: unknown };
    if (typeof plugins !== 'object' || plugins === null) return {};
    const valid = (entry: [string, unknown]): entry is [string, string[]] =>
      path.basename(entry[0]) === entry[0] && Array.isArray(entry[1]);
    return Object.fromEntries(Object.entries(plugins).filter(valid));
  } catch (error) {
    // Not ours to read: then nothing but our own plugin counts as installed by us.
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function recordText(plugins: Checksums): string {
  return `${JSON.stringify({ comment: 'CNI plugins that Poplin installed, with SHA-256', plugins }, null, 2)}\n`;
}

function isProgram(file: string): boolean {
  const stat = fs.statSync(file);
  return stat.isFile() && (stat.mode & 0o111) !== 0;
}

function checksumOf(file: string): string | undefined {
  return fs.existsSync(file) ? checksum(fs.readFileSync(file)) : undefined;
}

function checksum(content: Uint8Array): string {
  return crypto.createHash('sha256').update(content).digest('hex');
}
