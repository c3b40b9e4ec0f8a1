/** What an image consists of: files, symbolic links and folders, each with the part that it comes from. */

interface EntryBase {
  /** Without a leading slash. */
  readonly path: string;
  /** Name of the part in the SBOM that brought it. */
  readonly origin: string;
}

export interface FileEntry extends EntryBase {
  readonly type: 'file';
  readonly mode: number;
  readonly content: Uint8Array;
}
export interface LinkEntry extends EntryBase {
  readonly type: 'link';
  readonly target: string;
}
export interface FolderEntry extends EntryBase {
  readonly type: 'folder';
  readonly mode: number;
}
export type Entry = FileEntry | LinkEntry | FolderEntry;

export const ownOrigin = 'poplin';

export function file(
  path: string,
  content: string | Uint8Array,
  options: { origin?: string; mode?: number } = {},
): FileEntry {
  const { origin = ownOrigin, mode = 0o644 } = options;
  return { type: 'file', path, origin, mode, content: typeof content === 'string' ? Buffer.from(content) : content };
}

export function link(path: string, target: string, origin = ownOrigin): LinkEntry {
  return { type: 'link', path, origin, target };
}

export function folder(path: string, mode = 0o755): FolderEntry {
  return { type: 'folder', path, origin: ownOrigin, mode };
}

/**
 * Sorted by path, with every parent folder there once. Parents of `below` are taken as there already: they are in a lower layer.
 *
 * @throws RangeError when two parts bring the same path.
 */
export function complete(entries: readonly Entry[], below: readonly Entry[] = []): readonly Entry[] {
  const there = new Set(below.map((entry) => entry.path));
  const all = new Map<string, Entry>();
  for (const entry of entries) {
    const other = all.get(entry.path);
    if (other) throw new RangeError(`${entry.path} comes from both ${other.origin} and ${entry.origin}`);
    all.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const parent = path.slice(0, end);
      if (!all.has(parent) && !there.has(parent)) all.set(parent, folder(parent));
    }
  }
  return [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}
