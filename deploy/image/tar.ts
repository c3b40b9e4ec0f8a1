/** Tar archives (POSIX ustar) whose bytes depend on nothing but the entries: owner root, time 0, the order given. */
import type { Entry, FileEntry, FolderEntry, LinkEntry } from './entries.ts';

export type TarEntry = Omit<FileEntry, 'origin'> | Omit<LinkEntry, 'origin'> | Omit<FolderEntry, 'origin'>;

const blockBytes = 512;
const nameBytesMax = 100;
const prefixBytesMax = 155;
const linkBytesMax = 100;

/** @throws RangeError for a name that ustar cannot hold. */
export function tar(entries: readonly Entry[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(header(entry));
    if (entry.type !== 'file') continue;
    parts.push(entry.content);
    const rest = entry.content.length % blockBytes;
    if (rest > 0) parts.push(Buffer.alloc(blockBytes - rest));
  }
  parts.push(Buffer.alloc(2 * blockBytes));
  return Buffer.concat(parts);
}

function header(entry: Entry): Buffer {
  const block = Buffer.alloc(blockBytes);
  const text = (value: string, offset: number): void => void block.write(value, offset, 'utf8');
  const octal = (value: number, offset: number, length: number): void =>
    text(value.toString(8).padStart(length - 1, '0'), offset);
  const [prefix, name] = splitName(entry.type === 'folder' ? `${entry.path}/` : entry.path);
  text(name, 0);
  octal(entry.type === 'link' ? 0o777 : entry.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.type === 'file' ? entry.content.length : 0, 124, 12);
  octal(0, 136, 12);
  text(' '.repeat(8), 148);
  text({ file: '0', link: '2', folder: '5' }[entry.type], 156);
  if (entry.type === 'link') {
    if (Buffer.byteLength(entry.target) > linkBytesMax) throw new RangeError(`link target ${entry.target} is too long`);
    text(entry.target, 157);
  }
  text('ustar\u000000', 257);
  text('root', 265);
  text('root', 297);
  text(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  text(`${sum.toString(8).padStart(6, '0')}\u0000 `, 148);
  return block;
}

/** ustar keeps a long name in two fields, cut at a slash. */
function splitName(path: string): readonly [prefix: string, name: string] {
  if (Buffer.byteLength(path) <= nameBytesMax) return ['', path];
  for (let cut = path.indexOf('/'); cut >= 0; cut = path.indexOf('/', cut + 1)) {
    const [prefix, name] = [path.slice(0, cut), path.slice(cut + 1)];
    if (name && Buffer.byteLength(name) <= nameBytesMax && Buffer.byteLength(prefix) <= prefixBytesMax)
      return [prefix, name];
  }
  throw new RangeError(`${path} is too long for a tar archive`);
}

/** The entries of a tar archive (ustar, GNU long names). Devices and the like are left out; hard links are refused. */
export function readTar(bytes: Uint8Array): readonly TarEntry[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: TarEntry[] = [];
  let longName: string | undefined;
  let longTarget: string | undefined;
  for (let offset = 0; offset + blockBytes <= buffer.length; ) {
    const block = buffer.subarray(offset, offset + blockBytes);
    if (block[0] === 0) break;
    const text = (from: number, length: number): string =>
      block.toString('utf8', from, from + length).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 12).trim() || '0', 8);
    const content = buffer.subarray(offset + blockBytes, offset + blockBytes + size);
    offset += blockBytes + Math.ceil(size / blockBytes) * blockBytes;
    const type = text(156, 1) || '0';
    if (type === 'L') longName = content.toString('utf8').replace(/\0.*$/s, '');
    else if (type === 'K') longTarget = content.toString('utf8').replace(/\0.*$/s, '');
    else {
      const prefix = text(257, 6).startsWith('ustar') && !text(257, 8).startsWith('ustar ') ? text(345, 155) : '';
      const name = longName ?? (prefix ? `${prefix}/${text(0, 100)}` : text(0, 100));
      const path = name.replace(/^\.?\//, '').replace(/\/$/, '');
      const mode = Number.parseInt(text(100, 8).trim(), 8) & 0o7777;
      if (type === '1') throw new RangeError(`${path} is a hard link: not supported`);
      if (type === '0') out.push({ type: 'file', path, mode, content });
      if (type === '2') out.push({ type: 'link', path, target: longTarget ?? text(157, 100) });
      if (type === '5' && path !== '') out.push({ type: 'folder', path, mode });
      longName = undefined;
      longTarget = undefined;
    }
  }
  return out;
}
