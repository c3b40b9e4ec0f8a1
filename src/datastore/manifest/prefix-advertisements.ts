/** `communities` and `prefixAdvertisements` of a BGPConfiguration: which communities go with which of the node's own prefixes. */
import { toCidr } from '#kit';
import type { PrefixAdvertisement } from '#model';
import { readCommunity } from './calico-fields.ts';
import { type Reader, show } from './reader.ts';

const entriesMax = 500;
const communitiesMax = 50;

/** Names stand for what `communities` of the same object gives them. */
export function readPrefixAdvertisements(spec: Reader): readonly PrefixAdvertisement[] {
  const named = readNames(spec.field('communities'));
  return spec
    .field('prefixAdvertisements')
    .list(entriesMax)
    .flatMap((entry): readonly PrefixAdvertisement[] => {
      entry.onlyFields(['cidr', 'communities']);
      const cidr = readPrefix(entry.field('cidr'));
      const communities = entry
        .field('communities')
        .list(communitiesMax)
        .map((each) => readNameOrValue(each, named));
      if (cidr === undefined || communities.length === 0) return [];
      return [{ cidr, communities: [...new Set(communities.filter((value) => value !== undefined))] }];
    });
}

function readNames(reader: Reader): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  for (const entry of reader.list(entriesMax)) {
    entry.onlyFields(['name', 'value']);
    const name = entry.field('name').requiredString();
    const value = readCommunity(entry.field('value'));
    if (name === undefined || value === undefined) continue;
    const before = names.get(name);
    if (before !== undefined && before !== value) entry.field('name').fault(`${show(name)} has another value above`);
    names.set(name, value);
  }
  return names;
}

function readNameOrValue(reader: Reader, named: ReadonlyMap<string, string>): string | undefined {
  const text = reader.requiredString();
  if (text === undefined) return undefined;
  const value = named.get(text);
  if (value !== undefined) return value;
  if (/^[\d:]+$/.test(text)) return readCommunity(reader);
  return reader.fault(`${show(text)} is no name in communities; add it there, or write aa:nn or aa:nn:mm`);
}

function readPrefix(reader: Reader): PrefixAdvertisement['cidr'] | undefined {
  const text = reader.requiredString();
  const cidr = text?.includes('/') ? toCidr(text) : undefined;
  return text === undefined || cidr
    ? cidr
    : reader.fault(`${show(text)} is not a prefix; write one such as 10.1.0.0/16`);
}
