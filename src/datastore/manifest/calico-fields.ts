/** What several of Calico's kinds hold: AS numbers, durations, passwords, communities; and how unused fields are named. */
import { Secret } from '#kit';
import type { PasswordSource } from '#model';
import { dnsSubdomainFault } from './names.ts';
import { type Reader, show } from './reader.ts';

/** Fields without effect here, each with the value that says no more than its absence, if there is one (as a default of the API). */
export type FieldsNotUsed = Readonly<Record<string, string | number | boolean | undefined>>;

/** Set, and not to what holds anyway. */
export function isSet(reader: Reader, neutral?: string | number | boolean): boolean {
  return reader.present && reader.value !== '' && reader.value !== neutral;
}

export function noteNotUsed(spec: Reader, fields: FieldsNotUsed): void {
  for (const [name, neutral] of Object.entries(fields)) {
    const reader = spec.field(name);
    if (isSet(reader, neutral)) reader.note('is not used by Poplin; the object works as if it were absent');
  }
}

/** The name of an object whose settings are for all nodes or for one. */
export function isSettingsName(name: string): boolean {
  return name === 'default' || (name.startsWith('node.') && name.length > 'node.'.length);
}

export const asnMax = 0xffffffff;

/** A number, or text as `65001` or `1.10` (RFC 5396 asdot). */
export function readAsn(reader: Reader): number | undefined {
  if (!reader.present) return undefined;
  const { value } = reader;
  if (typeof value === 'number' && !Number.isInteger(value)) {
    return reader.fault(`${value} was read as a fraction; put an AS number with a dot in quotes`);
  }
  let asn = typeof value === 'number' ? value : Number.NaN;
  if (typeof value === 'string') {
    const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(value);
    if (dotted && Number(dotted[1]) <= 0xffff && Number(dotted[2]) <= 0xffff) {
      asn = Number(dotted[1]) * 0x10000 + Number(dotted[2]);
    } else if (/^\d{1,10}$/.test(value)) asn = Number(value);
  }
  if (asn >= 1 && asn <= asnMax) return asn;
  return reader.fault(`${show(value)} is not an AS number; write one in 1..${asnMax}, or "high.low"`);
}

/** Each entry an AS number; undefined where the list is absent or empty. */
export function readAsns(reader: Reader, entriesMax: number): readonly number[] | undefined {
  const asNumbers = reader.list(entriesMax).flatMap((entry) => readAsn(entry) ?? []);
  return asNumbers.length > 0 ? asNumbers : undefined;
}

/** RFC 4271 4.2: zero or at least three seconds. */
export function readHoldTime(reader: Reader): number | undefined {
  const seconds = readSeconds(reader, 65535);
  if (seconds === 1 || seconds === 2)
    return reader.fault(`${show(reader.value)} is refused by BGP; write 0s or at least 3s`);
  return seconds;
}

/** RFC 4724 3: twelve bits. */
export const restartTimeSecMax = 4095;

/** A duration as Kubernetes writes it (`90s`, `1m30s`, `2h`), whole seconds, at most `max`. */
export function readSeconds(reader: Reader, max: number): number | undefined {
  if (!reader.present) return undefined;
  const remedy = `write whole seconds like 90s or 1m30s, at most ${max}s`;
  const text = typeof reader.value === 'string' ? reader.value : '';
  const match = /^(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?$/.exec(text);
  if (!match || text === '') return reader.fault(`${show(reader.value)} is not a duration; ${remedy}`);
  const seconds = Number(match[1] ?? 0) * 3600 + Number(match[2] ?? 0) * 60 + Number(match[3] ?? 0);
  return seconds <= max ? seconds : reader.fault(`${show(reader.value)} is too long; ${remedy}`);
}

/** TCP_MD5SIG_MAXKEYLEN, TCP_AO_MAXKEYLEN. */
const keyBytesMax = 80;

/** `value` (ours) or `secretKeyRef`, not both. */
export function readPassword(reader: Reader): PasswordSource | undefined {
  return readSecretSource(reader, 'TCP-MD5');
}

/** The same, of a key of the other kind. */
export function readSecretSource(reader: Reader, use: 'TCP-MD5' | 'TCP-AO'): PasswordSource | undefined {
  if (!reader.present) return undefined;
  reader.onlyFields(['value', 'secretKeyRef']);
  const value = reader.field('value');
  const reference = reader.field('secretKeyRef');
  if (reference.present && value.present) return value.fault('stands beside secretKeyRef; keep one of them');
  if (reference.present) return readSecretKeyRef(reference);
  if (typeof value.value !== 'string' || value.value === '') {
    return value.fault('is required and must be text; put it in quotes. Or name a Secret: secretKeyRef: {name, key}');
  }
  const bytes = Buffer.byteLength(value.value);
  if (bytes > keyBytesMax) return value.fault(`has ${bytes} bytes; ${use} takes at most ${keyBytesMax}`);
  return { type: 'value', value: new Secret(value.value) };
}

function readSecretKeyRef(reader: Reader): PasswordSource | undefined {
  reader.onlyFields(['name', 'key', 'optional']);
  const nameReader = reader.field('name');
  const name = nameReader.requiredString();
  const nameFault = name && dnsSubdomainFault(name);
  if (nameFault) nameReader.fault(`${nameReader.shown()} ${nameFault}`);
  const key = reader.field('key').requiredString();
  const optional = reader.field('optional');
  if (optional.boolean()) optional.note('is not used by Poplin: without the Secret the session stays down');
  return name && key ? { type: 'secretKeyRef', name, key } : undefined;
}

/** `aa:nn` (RFC 1997) or `aa:nn:mm` (RFC 8092), without leading zeros. */
export function readCommunity(reader: Reader): string | undefined {
  const text = reader.requiredString();
  if (text === undefined) return undefined;
  const parts = /^\d{1,10}(:\d{1,10}){1,2}$/.test(text) ? text.split(':').map(Number) : [];
  const max = parts.length === 2 ? 0xffff : 0xffffffff;
  if (parts.length > 0 && parts.every((part) => part <= max)) return parts.join(':');
  return reader.fault(
    `${show(text)} is not a community; write aa:nn with numbers up to 65535, or aa:nn:mm with numbers up to 4294967295`,
  );
}

const interfacePattern = /^[a-zA-Z0-9_.*-]{1,15}$/;

/** A name of an interface in which `*` stands for any characters. */
export function readInterfacePattern(reader: Reader): string | undefined {
  const text = reader.textOrNone();
  if (text === undefined || interfacePattern.test(text)) return text;
  return reader.fault(`${show(text)} is no name of an interface; write at most 15 letters, digits, _ . - and *`);
}

const filtersMax = 100;

/** Names of BGPFilters, in order. */
export function readFilterNames(reader: Reader): readonly string[] {
  return reader.list(filtersMax).flatMap((entry) => {
    const name = entry.requiredString();
    if (name === undefined) return [];
    const fault = dnsSubdomainFault(name);
    return fault ? (entry.fault(`${show(name)} names no BGPFilter: it ${fault}`) ?? []) : name;
  });
}
