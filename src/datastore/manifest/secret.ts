/** v1 Secret: its data as text. Only those that other objects name mean something here. No message shows a value. */
import { Secret } from '#kit';
import type { ObjectMeta, SecretObject } from '#model';
import type { Reader } from './reader.ts';

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function readSecret(document: Reader, metadata: ObjectMeta): SecretObject {
  document.onlyFields(['apiVersion', 'kind', 'metadata', 'data', 'stringData', 'type', 'immutable']);
  const data = new Map<string, Secret>();
  for (const [key, reader] of entriesOf(document.field('data'))) {
    const text = reader.string();
    if (text === undefined) continue;
    const value = decodeBase64(text.replace(/\s/g, ''));
    if (value === undefined) reader.fault('is not base64; write `base64 < file`, or the text itself under stringData');
    // Bytes that are no text are nobody's password here; the key then counts as absent.
    else if (value !== null) data.set(key, new Secret(value));
  }
  for (const [key, reader] of entriesOf(document.field('stringData'))) {
    const text = reader.string();
    if (text !== undefined) data.set(key, new Secret(text));
  }
  return { metadata, data: Object.fromEntries(data) };
}

function entriesOf(reader: Reader): [string, Reader][] {
  return Object.entries(reader.mapping() ?? {}).map(([key, value]) => [key, reader.at(key, value)]);
}

/** Undefined when it is no base64, null when the bytes are no UTF-8 text. */
function decodeBase64(text: string): string | null | undefined {
  if (!base64.test(text)) return undefined;
  try {
    return utf8.decode(Buffer.from(text, 'base64'));
  } catch (error) {
    if (error instanceof TypeError) return null;
    throw error;
  }
}
