/**
 * TCP-MD5 passwords and TCP-AO keys from where objects say they are. A session whose password is not to be had is held down: it never goes on
 * without.
 */
import type { PasswordSource, SecretObject } from '#model';

/** RFC 2385 and RFC 5925 set no limit, Linux does: the same. */
const PASSWORD_BYTES_MAX = 80;

export type Password =
  | { readonly password: string; readonly warning?: string }
  /** Why there is none, and what to do. */
  | { readonly missing: string };

export type PasswordUse = 'TCP-MD5' | 'TCP-AO';

export function resolvePassword(
  source: PasswordSource,
  secrets: readonly SecretObject[],
  namespace: string,
  use: PasswordUse,
): Password {
  const noun = nouns[use];
  if (source.type === 'value') return checked(source.value.reveal(), `the ${noun}`, 'give a shorter one', use);
  const { name, key } = source;
  const secret = secrets.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
  const where = `Secret ${namespace}/${name}`;
  if (!secret) {
    return { missing: `${where} is not there or may not be read; create it in that namespace with the key ${key}` };
  }
  const value = secret.data[key];
  if (value === undefined) {
    const keys = Object.keys(secret.data).sort();
    const has = keys.length === 0 ? 'it has none' : `it has ${keys.join(', ')}`;
    return { missing: `${where} has no key ${key} (${has}); put the ${noun} there` };
  }
  return checked(value.reveal(), `${where}, key ${key}`, 'put a shorter one there, and at the other end', use);
}

const nouns = { 'TCP-MD5': 'password', 'TCP-AO': 'key of the session' } as const;

function checked(password: string, what: string, remedy: string, use: PasswordUse): Password {
  const bytes = Buffer.byteLength(password);
  if (bytes === 0) return { missing: `${what} is empty; put the ${nouns[use]} there` };
  if (bytes > PASSWORD_BYTES_MAX) {
    return { missing: `${what} has ${bytes} bytes and ${use} takes ${PASSWORD_BYTES_MAX} at most; ${remedy}` };
  }
  if (password.includes('\0')) return { missing: `${what} holds a zero byte; put text there` };
  const warning = `${what} ends with a line break, which is part of the ${nouns[use]}`;
  return /[\r\n]$/.test(password) ? { password, warning } : { password };
}
