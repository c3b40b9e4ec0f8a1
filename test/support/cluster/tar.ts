/** Tar archives (POSIX ustar), written from memory and files: what a container image is made of. */
import fs from 'node:fs';

export type TarEntry =
  | { readonly type: 'file'; readonly name: string; readonly mode: number; readonly data: Buffer }
  | { readonly type: 'link'; readonly name: string; readonly target: string }
  | { readonly type: 'folder'; readonly name: string; readonly mode: number };

const blockBytes = 512;
const nameBytesMax = 100;
const prefixBytesMax = 155;

/** The whole archive, the same bytes for the same entries: no times, no owners. */
export function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    parts.push(header(entry));
    if (entry.type !== 'file') continue;
    parts.push(entry.data, Buffer.alloc((blockBytes - (entry.data.length % blockBytes)) % blockBytes));
  }
  parts.push(Buffer.alloc(2 * blockBytes));
  return Buffer.concat(parts);
}

export function fileEntry(name: string, source: string, mode = 0o755): TarEntry {
  return { type: 'file', name, mode, data: fs.readFileSync(source) };
}

function header(entry: TarEntry): Buffer {
  const block = Buffer.alloc(blockBytes);
  const { name, prefix } = splitName(entry.type === 'folder' ? `${entry.name}/` : entry.name);
  const octal = (value: number, at: number, length: number): void => {
    block.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  };
  block.write(name, 0);
  octal(entry.type === 'link' ? 0o777 : entry.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(entry.type === 'file' ? entry.data.length : 0, 124, 12);
  octal(0, 136, 12);
  block.write(' '.repeat(8), 148, 'latin1'); // the checksum counts its own field as blanks
  block.write({ file: '0', link: '2', folder: '5' }[entry.type], 156, 'latin1');
  if (entry.type === 'link') {
    if (Buffer.byteLength(entry.target) > nameBytesMax) throw new Error(`tar: link target too long: ${entry.target}`);
    block.write(entry.target, 157);
  }
  block.write('ustar\x0000', 257, 'latin1');
  block.write(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function splitName(full: string): { name: string; prefix: string } {
  const relative = full.replace(/^\/+/, '');
  if (Buffer.byteLength(relative) <= nameBytesMax) return { name: relative, prefix: '' };
  for (let at = relative.indexOf('/'); at > 0; at = relative.indexOf('/', at + 1)) {
    const prefix = relative.slice(0, at);
    const name = relative.slice(at + 1);
    if (Buffer.byteLength(prefix) <= prefixBytesMax && Buffer.byteLength(name) <= nameBytesMax && name)
      return { name, prefix };
  }
  throw new Error(`tar: name too long for ustar: ${relative}`);
}
