/** Which addresses an answer gives to which names. Pure. */
import type { IpAddress } from '#kit';
import type { DnsAnswer } from './dns-message.ts';

export interface AddressFact {
  readonly name: string;
  readonly address: IpAddress;
  /** Of the address, and of every alias on the way to it the least. */
  readonly ttlSec: number;
}

/** Longer chains of aliases are cut: resolvers give up there too. */
const ALIASES_MAX = 16;

/**
 * The addresses of the name that was asked for, and of every name on the way that aliases lead, which the same server says to be theirs. Records
 * beside that way say nothing: an answer is about its question.
 */
export function factsOf({ question, records }: DnsAnswer): AddressFact[] {
  const aliases = new Map<string, { readonly of: string; readonly ttlSec: number }>();
  for (const { owner, data, ttlSec } of records)
    if (data.type === 'alias' && !aliases.has(owner)) aliases.set(owner, { of: data.of, ttlSec });
  /** From the question on, with what each step on the way lives. */
  const way: { readonly name: string; readonly ttlSec: number }[] = [];
  let last = question;
  for (let alias = aliases.get(last); alias && way.length < ALIASES_MAX; alias = aliases.get(last)) {
    way.push({ name: last, ttlSec: alias.ttlSec });
    last = alias.of;
  }
  return records.flatMap(({ owner, data, ttlSec }) => {
    if (data.type !== 'address' || owner !== last) return [];
    const { address } = data;
    let least = ttlSec;
    const named = way.toReversed().map((step) => {
      least = Math.min(least, step.ttlSec);
      return { name: step.name, address, ttlSec: least };
    });
    return [{ name: last, address, ttlSec }, ...named];
  });
}
