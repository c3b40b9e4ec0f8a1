/** What differs between two values of a configuration, down to the leaf, for people: `holdTimeSec: 90 -> 30`. Pure. */

/** Never shown. */
const secretFields: ReadonlySet<string> = new Set(['password', 'tcpAo']);
/** Of one field; of a filter that is another altogether, more than these says nothing. */
const differencesMax = 5;
const shownCharsMax = 80;

type Fields = Readonly<Record<string, unknown>>;

/** One for each leaf that differs, at most five a field. Rules of filters are called by their names: `importFilter: from-tor rule 2: action: ...`. */
export function differences(before: Fields, after: Fields): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.flatMap((name) => {
    if (same(before[name], after[name])) return [];
    if (secretFields.has(name)) return [`${name} changed`];
    // The terms of a filter are there for each family, and mostly the same.
    const found = [...new Set(leaves(name, before[name], after[name]))];
    if (found.length <= differencesMax) return found.length > 0 ? found : [`${name} changed`];
    return [...found.slice(0, differencesMax), `${name}: ${found.length - differencesMax} more differences`];
  });
}

function leaves(at: string, from: unknown, to: unknown): string[] {
  if (same(from, to)) return [];
  if (Array.isArray(from) && Array.isArray(to)) return items(at, from, to);
  if (isFields(from) && isFields(to) && from['type'] === to['type']) {
    return [...new Set([...Object.keys(from), ...Object.keys(to)])].flatMap((key) => {
      if (key === 'from' || same(from[key], to[key])) return [];
      if (secretFields.has(key)) return [`${at}.${key} changed`];
      return leaves(isFamily(key) ? at : `${at}${at.endsWith(':') ? ' ' : '.'}${key}`, from[key], to[key]);
    });
  }
  return [`${at}: ${shown(from)} -> ${shown(to)}`];
}

/** What both lists begin and end with is left out; of what is between, one after the other where there are as many, else as a whole. */
function items(at: string, from: readonly unknown[], to: readonly unknown[]): string[] {
  const shorter = Math.min(from.length, to.length);
  let start = 0;
  while (start < shorter && same(from[start], to[start])) start++;
  let end = 0;
  while (end < shorter - start && same(from.at(-1 - end), to.at(-1 - end))) end++;
  const [old, next] = [from.slice(start, from.length - end), to.slice(start, to.length - end)];
  if (old.length === next.length) {
    return next.flatMap((each, index) => leaves(itemName(at, each, start + index), old[index], each));
  }
  const each = (list: readonly unknown[], what: string): string[] =>
    list.map((item, index) => `${itemName(at, item, start + index).replace(/:$/, '')} ${what}: ${shown(item)}`);
  return [...each(old, 'removed'), ...each(next, 'added')];
}

function itemName(at: string, item: unknown, index: number): string {
  if (!isFields(item)) return `${at}[${index}]`;
  const { from, type } = item;
  if (isFields(from)) return `${at}: ${from['filter']} rule ${Number(from['index']) + 1}:`;
  const name = [type, item['name'], item['prefix']].find((each) => typeof each === 'string');
  return `${at}[${name ?? index}]`;
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isFamily = (key: string): boolean => key === 'ipv4' || key === 'ipv6';

/** Where a term was written is no difference. */
function withoutOrigin(key: string, value: unknown): unknown {
  return key === 'from' ? undefined : value;
}
function withoutSecrets(key: string, value: unknown): unknown {
  return secretFields.has(key) ? '...' : withoutOrigin(key, value);
}
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a, withoutOrigin) === JSON.stringify(b, withoutOrigin);
}
function shown(value: unknown): string {
  const json = JSON.stringify(value, withoutSecrets);
  if (json === undefined) return 'none';
  return json.length > shownCharsMax ? `${json.slice(0, shownCharsMax)}…` : json;
}
