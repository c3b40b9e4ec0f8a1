/** Names of domains in egress rules: those of the Network Policy API, and Calico's, whose `*` may stand for any label. */
import type { DomainPattern } from '#model';
import { type Reader, show } from './reader.ts';

/** Of one rule. The Network Policy API takes fewer. */
const domainsMax = 1_024;
const nameCharsMax = 253;
/** As the Network Policy API's definition has it, but for the length of a label (RFC 1035 2.3.4). */
const labelText = '[a-z0-9](?:[-a-z0-9_]{0,61}[a-z0-9])?';
const namePattern = new RegExp(`^(?:\\*\\.)?(?:${labelText}\\.)+${labelText}\\.?$`, 'i');
const labelPattern = new RegExp(`^(?:\\*|${labelText})$`, 'i');

/** `example.com`, or `*.example.com` for what is below it: one label or more. */
export function readDomainName(reader: Reader): DomainPattern | undefined {
  const name = reader.requiredString();
  if (name === undefined) return undefined;
  if (namePattern.test(name) && name.length <= nameCharsMax) return canonical(name);
  return reader.fault(`${show(name)} is no domain name, nor *. and one`);
}

/** Calico's: one whole label, wherever it stands, may be `*`. Each once. */
export function readCalicoDomains(reader: Reader): readonly DomainPattern[] {
  const names = reader.list(domainsMax).flatMap((entry) => {
    const text = entry.requiredString();
    if (text === undefined) return [];
    const labels = canonical(text).split('.');
    const stars = labels.filter((label) => label === '*').length;
    if (
      stars > 1 ||
      stars === labels.length ||
      text.length > nameCharsMax ||
      !labels.every((l) => labelPattern.test(l))
    )
      return entry.fault(`${show(text)} is no domain name; one label, and a whole one, may be *`) ?? [];
    return [canonical(text)];
  });
  return [...new Set(names)];
}

function canonical(name: string): DomainPattern {
  return name.toLowerCase().replace(/\.$/, '');
}
