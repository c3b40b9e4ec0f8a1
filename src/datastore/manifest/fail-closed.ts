/** What an API server holds and cannot be read here, as of a newer API: it fails closed where it stands, and the rest counts. */
import type { DocumentSource } from './metadata.ts';
import { formatPath, Reader } from './reader.ts';

/** In a directory every fault is one of the document. From an API server what has one is undefined, and noted. */
export function known<T>(
  reader: Reader,
  { source }: { readonly source: DocumentSource },
  read: (reader: Reader) => T | undefined,
): T | undefined {
  if (source === 'directory') return read(reader);
  const alone = Reader.of(reader.value, 'fault');
  const found = read(alone);
  if (found !== undefined && alone.faults.length === 0) return found;
  const faults = alone.faults.map(({ path, message }) => `${formatPath(path)}${path.length > 0 ? ': ' : ''}${message}`);
  reader.note(`cannot be read, and the rule fails closed: ${faults.join('; ')}`);
  return undefined;
}
