/** Calico's selectors decided straight from their text, by the words of its documents. Shares no code with the parser. */
import type { Labels } from '#model';

/** Of a selector that is known to be one. `prefix` stands before each label that it names; `everything` is what all() means. */
export function naiveSelects(text: string, labels: Labels, prefix = '', everything = true): boolean {
  const words =
    text.match(/'[^']*'|"[^"]*"|&&|\|\||==|!=|[!(){},]|not in\b|starts with\b|ends with\b|[A-Za-z0-9_./-]+/g) ?? [];
  let at = 0;
  const value = (): string => words[at++]!.slice(1, -1);
  const values = (): string[] => {
    const found: string[] = [];
    at++;
    while (words[at] !== '}') {
      if (words[at] === ',') at++;
      else found.push(value());
    }
    at++;
    return found;
  };
  const label = (key: string): string | undefined =>
    Object.entries(labels).find(([name]) => name === prefix + key)?.[1];
  const primary = (): boolean => {
    const word = words[at++]!;
    if (word === '!') return !primary();
    if (word === '(') {
      const inner = either();
      at++;
      return inner;
    }
    if (words[at] === '(') {
      at++;
      const key = words[at] === ')' ? '' : words[at++]!;
      at++;
      if (word === 'has') return label(key) !== undefined;
      return word === 'all' ? everything : !Object.keys(labels).includes('projectcalico.org/namespace');
    }
    const own = label(word);
    switch (words[at++]) {
      case '==':
        return own === value();
      case '!=':
        return own !== value();
      case 'in':
        return values().some((each) => each === own);
      case 'not in':
        return values().every((each) => each !== own);
      case 'contains': {
        const wanted = value();
        return own !== undefined && own.indexOf(wanted) >= 0;
      }
      case 'starts with': {
        const wanted = value();
        return own?.slice(0, wanted.length) === wanted;
      }
      case 'ends with': {
        const wanted = value();
        return own !== undefined && own.length >= wanted.length && own.slice(own.length - wanted.length) === wanted;
      }
      default:
        throw new Error(`${text}: what is ${words[at - 1]}?`);
    }
  };
  const both = (): boolean => {
    let result = primary();
    while (words[at] === '&&') {
      at++;
      result = primary() && result;
    }
    return result;
  };
  const either = (): boolean => {
    let result = both();
    while (words[at] === '||') {
      at++;
      result = both() || result;
    }
    return result;
  };
  return words.length === 0 || either();
}
