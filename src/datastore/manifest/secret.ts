/** v1 Secret: its data as text. Only those that other objects name mean something here. */
import { Secret } from '#kit';
import type { ObjectMeta, SecretObject } from '#model';
import type { Reader } from './reader.ts';

export function readSecret(document: Reader, metadata: ObjectMeta): SecretObject {
  const data: Record<string, Secret> = {};
  for (const [key, value] of Object.entries(document.field('data').mapping() ?? {})) {
    if (typeof value === 'string') data[key] = new Secret(Buffer.from(value, 'base64').toString('utf8'));
  }
  for (const [key, value] of Object.entries(document.field('stringData').mapping() ?? {})) {
    if (typeof value === 'string') data[key] = new Secret(value);
  }
  return { metadata, data };
}
