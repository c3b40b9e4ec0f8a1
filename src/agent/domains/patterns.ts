/**
 * Which patterns a name matches, however many there are: a pattern is found by its labels behind the `*`, which are some of the last ones of the
 * name. A lookup costs as many steps as the name has labels, and the patterns that end alike.
 */
import type { DomainPattern } from '#model';

interface Wildcard<T> {
  readonly owner: T;
  /** In front of the `*`, with its dot. */
  readonly head: string;
  readonly pattern: DomainPattern;
}

export class DomainPatterns<T> {
  readonly #exact = new Map<string, Set<T>>();
  /** By what stands behind the `*`, without its dot. */
  readonly #wildcards = new Map<string, Wildcard<T>[]>();

  add(pattern: DomainPattern, owner: T): void {
    const wildcard = split(pattern);
    if (!wildcard) {
      const owners = this.#exact.get(pattern) ?? new Set();
      this.#exact.set(pattern, owners.add(owner));
      return;
    }
    const alike = this.#wildcards.get(wildcard.tail) ?? [];
    this.#wildcards.set(wildcard.tail, alike);
    alike.push({ owner, head: wildcard.head, pattern });
  }

  remove(pattern: DomainPattern, owner: T): void {
    const wildcard = split(pattern);
    if (!wildcard) {
      const owners = this.#exact.get(pattern);
      owners?.delete(owner);
      if (owners?.size === 0) this.#exact.delete(pattern);
      return;
    }
    const left =
      this.#wildcards.get(wildcard.tail)?.filter((one) => one.owner !== owner || one.pattern !== pattern) ?? [];
    if (left.length > 0) this.#wildcards.set(wildcard.tail, left);
    else this.#wildcards.delete(wildcard.tail);
  }

  /** Owners of the patterns that the name matches: lower case, without the last dot. */
  matching(name: string): Set<T> {
    const found = new Set(this.#exact.get(name));
    if (this.#wildcards.size === 0) return found;
    for (let dot = name.indexOf('.'); dot > 0; dot = name.indexOf('.', dot + 1)) this.#collect(name, dot + 1, found);
    this.#collect(name, name.length + 1, found);
    return found;
  }

  /** @param tailAt where the labels begin that stand behind the `*`. */
  #collect(name: string, tailAt: number, found: Set<T>): void {
    for (const { owner, head } of this.#wildcards.get(name.slice(tailAt)) ?? []) {
      // One label or more between them: an octet, and the dot.
      if (tailAt - 1 > head.length && name.startsWith(head)) found.add(owner);
    }
  }
}

/** Undefined when nothing in it is `*`. */
function split(pattern: DomainPattern): { readonly head: string; readonly tail: string } | undefined {
  const labels = pattern.split('.');
  const star = labels.indexOf('*');
  if (star < 0) return undefined;
  const head = labels.slice(0, star).map((label) => `${label}.`);
  return { head: head.join(''), tail: labels.slice(star + 1).join('.') };
}
