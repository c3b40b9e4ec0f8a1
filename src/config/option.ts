/** What an option is: how its value is written, checked and described. */
import { familyOf, type IpFamily, parseIp, toIpAddress } from '#kit';
import { parseDnsServer } from '#model';

export interface Option<T> {
  /** One sentence, as `--help` prints it. */
  readonly description: string;
  /** Stands for the value in help, e.g. `<seconds>`. */
  readonly placeholder: string;
  /** Text as help prints it; absent: `derived` says where it comes from. */
  readonly default: T;
  /** How the default is found when it depends on the machine or on other options. */
  readonly derived?: string;
  /** What is allowed, for messages and help, e.g. `3..65535`. */
  readonly allowed: string;
  /** Value from text (flag, environment) or from a YAML scalar; undefined when it is not allowed. */
  readonly parse: (value: unknown) => T | undefined;
  /**
   * JSON Schema of the value in a file, for those who check one without us (the Helm chart). It takes what `parse` takes, as people write it
   * in YAML, and may take more where a pattern cannot say it.
   */
  readonly schema: JsonSchema;
}

export type JsonSchema = Readonly<Record<string, unknown>>;

function pattern(text: string): JsonSchema {
  return { type: 'string', pattern: text };
}

interface Text {
  readonly description: string;
}

export function integerOption(
  option: Text & {
    readonly default: number;
    readonly min: number;
    readonly max: number;
    readonly unit?: string;
    /** 0 is allowed as well, though it is less than `min`. */
    readonly orZero?: boolean;
  },
): Option<number> {
  const { min, max, orZero = false, unit } = option;
  const range = { type: 'integer', minimum: min, maximum: max };
  return {
    description: option.description,
    placeholder: `<${unit ?? 'number'}>`,
    default: option.default,
    allowed: `${orZero ? '0 or ' : ''}${min}..${max}${unit ? ` ${unit}` : ''}`,
    parse: (value) => {
      const number = typeof value === 'string' && /^(0|[1-9]\d{0,14})$/.test(value) ? Number(value) : value;
      if (typeof number !== 'number' || !Number.isInteger(number)) return undefined;
      return (number >= min && number <= max) || (orZero && number === 0) ? number : undefined;
    },
    schema: orZero ? { anyOf: [{ const: 0 }, range] } : range,
  };
}

/** A 32-bit mask, written as 0xf0000 or as a number. */
export function maskOption(option: Text & { readonly default: number; readonly bitsMin: number }): Option<number> {
  const bits = (mask: number): number => mask.toString(2).replaceAll('0', '').length;
  return {
    description: option.description,
    placeholder: '<mask>',
    default: option.default,
    allowed: `a 32-bit mask with at least ${option.bitsMin} bits set, e.g. 0xf0000`,
    schema: {
      anyOf: [{ type: 'integer', minimum: 1, maximum: 0xffffffff }, pattern('^(0x[0-9a-fA-F]{1,8}|[1-9][0-9]{0,9})$')],
    },
    parse: (value) => {
      const text = String(value);
      if (!/^(0x[0-9a-fA-F]{1,8}|[1-9]\d{0,9})$/.test(text)) return undefined;
      const mask = Number(text);
      return mask <= 0xffffffff && bits(mask) >= option.bitsMin ? mask : undefined;
    },
  };
}

export function booleanOption(option: Text & { readonly default: boolean }): Option<boolean> {
  return {
    ...option,
    placeholder: '<true|false>',
    allowed: 'true or false',
    schema: { type: 'boolean' },
    parse: (value) =>
      value === true || value === 'true' ? true : value === false || value === 'false' ? false : undefined,
  };
}

export function choiceOption<T extends string>(
  option: Text & { readonly default: T; readonly choices: readonly T[] },
): Option<T> {
  return {
    description: option.description,
    placeholder: `<${option.choices.join('|')}>`,
    default: option.default,
    allowed: `one of ${option.choices.join(', ')}`,
    schema: { enum: option.choices },
    parse: (value) => option.choices.find((choice) => choice === value),
  };
}

/** sun_path holds 108 bytes with its final zero (unix(7)); sockets are bound under a longer, temporary name first. */
const socketPathBytesMax = 95;

/** An absolute path; with `optional`, empty text switches the thing off or leaves it to the default. */
export function pathOption(
  option: Text & {
    readonly default: string;
    readonly derived?: string;
    readonly optional?: boolean;
    readonly socket?: boolean;
  },
): Option<string> {
  const { optional, socket, ...rest } = option;
  return {
    ...rest,
    placeholder: '<path>',
    allowed: `an absolute path${socket ? ` of at most ${socketPathBytesMax} bytes` : ''}${optional ? ', or empty' : ''}`,
    schema: { ...pattern(optional ? '^(/.*)?$' : '^/'), ...(socket ? { maxLength: socketPathBytesMax } : {}) },
    parse: (value) => {
      if (typeof value !== 'string' || value.includes('\0')) return undefined;
      if (value === '') return optional ? '' : undefined;
      if (socket && Buffer.byteLength(value) > socketPathBytesMax) return undefined;
      return value.startsWith('/') ? value : undefined;
    },
  };
}

export function asnOption(option: Text & { readonly default: number }): Option<number> {
  return {
    ...option,
    placeholder: '<asn>',
    allowed: '1..4294967295, or high.low',
    schema: {
      anyOf: [
        { type: 'integer', minimum: 1, maximum: 0xffffffff },
        pattern('^([1-9][0-9]{0,9}|[0-9]{1,5}\\.[0-9]{1,5})$'),
      ],
    },
    parse: (value) => {
      const text = String(value);
      const dotted = /^(\d{1,5})\.(\d{1,5})$/.exec(text);
      // A dotted number in YAML is a fraction, and 1.10 has become 1.1 before it can be seen.
      if (dotted && typeof value === 'string' && Number(dotted[1]) <= 0xffff && Number(dotted[2]) <= 0xffff) {
        return Number(dotted[1]) * 0x10000 + Number(dotted[2]) || undefined;
      }
      const asn = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : 0;
      return asn >= 1 && asn <= 0xffffffff ? asn : undefined;
    },
  };
}

/** RFC 6286: any number but zero, written as a dotted quad. Empty: derived. */
export function routerIdOption(option: Text & { readonly derived: string }): Option<string> {
  return {
    ...option,
    placeholder: '<dotted-quad>',
    default: '',
    allowed: 'a dotted quad other than 0.0.0.0, or empty',
    schema: pattern('^([0-9]{1,3}(\\.[0-9]{1,3}){3})?$'),
    parse: (value) => {
      if (value === '') return '';
      const bytes = typeof value === 'string' ? parseIp(value) : undefined;
      return bytes?.length === 4 && bytes.some((byte) => byte !== 0) ? toIpAddress(value as string) : undefined;
    },
  };
}

/** Name of a Node object: a DNS subdomain. */
export function nodeNameOption(option: Text & { readonly derived: string }): Option<string> {
  const text = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
  return {
    ...option,
    placeholder: '<name>',
    default: '',
    allowed: 'the name of a Node: lower-case letters, digits, "-" and "."',
    schema: { ...pattern(text.source), maxLength: 253 },
    parse: (value) => (typeof value === 'string' && value.length <= 253 && text.test(value) ? value : undefined),
  };
}

/** `https://HOST[:PORT]`, without a path. Empty: none. */
export function urlOption(option: Text): Option<string> {
  return {
    ...option,
    placeholder: '<url>',
    default: '',
    allowed: 'https://HOST:PORT, or empty',
    schema: pattern('^(https://[^/?#@ ]+/?)?$'),
    parse: (value) => {
      if (value === '') return '';
      if (typeof value !== 'string' || !URL.canParse(value)) return undefined;
      const { protocol, host, pathname, search, hash, username } = new URL(value);
      const plain = protocol === 'https:' && host !== '' && pathname === '/' && !search && !hash && !username;
      return plain ? `https://${host}` : undefined;
    },
  };
}

export function namespaceOption(option: Text & { readonly default: string }): Option<string> {
  return {
    ...option,
    placeholder: '<name>',
    allowed: 'the name of a namespace: lower-case letters, digits and "-"',
    schema: { ...pattern('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'), maxLength: 63 },
    parse: (value) =>
      typeof value === 'string' && value.length <= 63 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(value)
        ? value
        : undefined,
  };
}

/** A unicast address of one family. Empty: none. */
export function addressOption(option: Text & { readonly family: IpFamily }): Option<string> {
  return {
    ...option,
    placeholder: '<address>',
    default: '',
    allowed: `an IPv${option.family} address, or empty`,
    schema: pattern(option.family === 4 ? '^([0-9.]+)?$' : '^([0-9a-fA-F:.]*:[0-9a-fA-F:.]*)?$'),
    parse: (value) => {
      if (value === '') return '';
      const address = typeof value === 'string' ? toIpAddress(value) : undefined;
      return address && familyOf(address) === option.family ? address : undefined;
    },
  };
}

/** `ADDRESS:PORT`, IPv6 in brackets. Empty: none. */
export function listenOption(option: Text): Option<string> {
  return {
    ...option,
    placeholder: '<address:port>',
    default: '',
    allowed: '192.0.2.1:9179, [2001:db8::1]:9179 or 0.0.0.0:9179, or empty',
    schema: pattern('^((\\[[0-9a-fA-F:.]+\\]|[0-9.]+):[1-9][0-9]{0,4})?$'),
    parse: (value) => {
      if (value === '') return '';
      const match = typeof value === 'string' ? /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) : null;
      const address = match && toIpAddress(match[1] ?? match[2]!);
      const port = Number(match?.[3]);
      if (!address || port < 1 || port > 65535 || (familyOf(address) === 6) !== (match?.[1] !== undefined))
        return undefined;
      return value as string;
    },
  };
}

/** Whose DNS answers count, separated by commas. */
export function dnsServersOption(option: Text & { readonly default: string; readonly max: number }): Option<string> {
  const { max, ...rest } = option;
  const [ipv4, ipv6] = ['[0-9]{1,3}(\\.[0-9]{1,3}){3}', '[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*'];
  const server = `(resolv\\.conf|k8s-service:[-a-z0-9/]+(:53)?|${ipv4}(:53)?|${ipv6}|\\[${ipv6}\\](:53)?)`;
  return {
    ...rest,
    placeholder: '<servers>',
    allowed: `addresses, k8s-service:NAMESPACE/NAME and resolv.conf, at most ${max}, separated by commas`,
    schema: pattern(`^(${server}(,${server}){0,${max - 1}})?$`),
    parse: (value) => {
      if (typeof value !== 'string') return undefined;
      const entries = value === '' ? [] : value.split(',');
      return entries.length <= max && entries.every((entry) => parseDnsServer(entry)) ? value : undefined;
    },
  };
}
