/** Who names what: sets by policies, policies by endpoints. A change costs in proportion to what one user names. */
export class Users {
  readonly #named = new Map<string, ReadonlySet<string>>();
  readonly #users = new Map<string, Set<string>>();

  /** `user` names these now, and nothing else. */
  set(user: string, named: ReadonlySet<string>): void {
    const before = this.#named.get(user);
    this.#named.set(user, named);
    for (const name of named) {
      const users = this.#users.get(name);
      if (users) users.add(user);
      else this.#users.set(name, new Set([user]));
    }
    for (const name of before ?? []) if (!named.has(name)) this.#drop(name, user);
  }

  remove(user: string): void {
    for (const name of this.#named.get(user) ?? []) this.#drop(name, user);
    this.#named.delete(user);
  }

  of(name: string): Iterable<string> {
    return this.#users.get(name) ?? [];
  }

  #drop(name: string, user: string): void {
    const users = this.#users.get(name);
    users?.delete(user);
    if (users?.size === 0) this.#users.delete(name);
  }
}
