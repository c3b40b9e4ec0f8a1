/** What we originate ourselves: prefixes of the configuration as paths of the local peer. */
import { type AttributePool, localPeer, noNextHop, type Rib } from '../rib/index.ts';
import { emptyAttributeValues, originatedAttributes, readCanonical } from '../wire/index.ts';

export class Origination {
  readonly #rib4: Rib;
  readonly #rib6: Rib;
  readonly #attributes: AttributePool;
  #set = -1;

  constructor(rib4: Rib, rib6: Rib, attributes: AttributePool) {
    this.#rib4 = rib4;
    this.#rib6 = rib6;
    this.#attributes = attributes;
  }

  /** @throws Error when a text is no prefix. */
  change(before: readonly string[], after: readonly string[]): void {
    if (this.#set < 0) this.#set = this.#intern();
    const wanted = new Set(after);
    for (const text of before) {
      if (wanted.has(text)) continue;
      const rib = this.#ribOf(text);
      const prefix = rib.prefixes.byText(text, false);
      if (prefix !== undefined && prefix >= 0) rib.withdrawId(localPeer, prefix);
    }
    for (const text of after) {
      const rib = this.#ribOf(text);
      const prefix = rib.internText(text);
      if (prefix === undefined) throw new Error(`originate: ${text} is not a prefix`);
      rib.announceId(localPeer, prefix, this.#set, noNextHop);
    }
  }

  #ribOf(prefix: string): Rib {
    return prefix.includes(':') ? this.#rib6 : this.#rib4;
  }
  #intern(): number {
    const bytes = originatedAttributes({});
    const values = emptyAttributeValues();
    readCanonical(bytes, 0, bytes.length, 0, 0, values);
    const set = this.#attributes.intern(bytes, values);
    this.#attributes.retain(set);
    return set;
  }
}
