/** What a program needs of shared libraries, so that one that is not there is found while the image is built and not on a node. */

const sectionDynamic = 6;
const tagNull = 0n;
const tagNeeded = 1n;

/** Names of the libraries that a 64-bit little-endian ELF file names; undefined for any other file. */
export function neededLibraries(content: Uint8Array): readonly string[] | undefined {
  const bytes = Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2 || bytes[5] !== 1) return undefined;
  const tableOffset = Number(bytes.readBigUInt64LE(40));
  const [entryBytes, count] = [bytes.readUInt16LE(58), bytes.readUInt16LE(60)];
  const section = (index: number): { type: number; offset: number; size: number; link: number } => {
    const at = tableOffset + index * entryBytes;
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      link: bytes.readUInt32LE(at + 40),
    };
  };
  const dynamic = Array.from({ length: count }, (_, index) => section(index)).find(
    ({ type }) => type === sectionDynamic,
  );
  if (!dynamic) return [];
  const strings = section(dynamic.link).offset;
  const out: string[] = [];
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = bytes.readBigUInt64LE(at);
    if (tag === tagNull) break;
    if (tag !== tagNeeded) continue;
    const start = strings + Number(bytes.readBigUInt64LE(at + 8));
    out.push(bytes.toString('latin1', start, bytes.indexOf(0, start)));
  }
  return out;
}
