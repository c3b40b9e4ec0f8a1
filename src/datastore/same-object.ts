import { Secret } from '#kit';

/** Deep equality of model objects: plain data and Secrets (whose values a structural comparison would not see). */
export function sameObject(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (a instanceof Secret || b instanceof Secret) return a instanceof Secret && b instanceof Secret && a.equals(b);
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const aKeys = Object.keys(a);
  if (aKeys.length !== Object.keys(b).length) return false;
  return aKeys.every(
    (key) =>
      Object.hasOwn(b, key) && sameObject((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  );
}
