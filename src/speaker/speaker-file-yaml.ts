/** Reading of YAML with places: every mistake is an error that names file, line and column. What the readers of the speaker's file share. */
import { isMap, isScalar, isSeq, type LineCounter, type Node, type Pair, type YAMLMap } from 'yaml';
import { type IpAddress, PoplinError, toCidr, toIpAddress } from '#kit';

export type SpeakerFileFailure = {
  readonly code: 'BAD_SPEAKER_FILE';
  readonly file: string;
  readonly line: number;
  readonly column: number;
};
export class SpeakerFileError extends PoplinError<SpeakerFileFailure> {}

export interface Source {
  readonly file: string;
  readonly lines: LineCounter;
  readonly readFile: (file: string) => string;
}

export function fail(source: Source, node: Node | null | undefined, message: string): never {
  const { line, col } = source.lines.linePos(node?.range?.[0] ?? 0);
  const failure = { code: 'BAD_SPEAKER_FILE', file: source.file, line, column: col } as const;
  throw new SpeakerFileError(`${source.file}:${line}:${col}: ${message}`, failure);
}

export type Reader<T> = (source: Source, node: Node | null) => T;

/** The keys of one mapping: each is asked for once, and what nobody asked for is an error. */
export class Fields {
  readonly #source: Source;
  readonly #map: YAMLMap;
  readonly #known = new Set<string>();
  readonly #what: string;

  constructor(source: Source, node: Node | null, what: string) {
    if (!isMap(node)) fail(source, node, `${what} must be a mapping of keys to values`);
    this.#source = source;
    this.#map = node;
    this.#what = what;
  }
  optional<T>(key: string, read: Reader<T>): T | undefined {
    this.#known.add(key);
    const pair = this.#map.items.find((item) => isScalar(item.key) && item.key.value === key);
    return pair ? read(this.#source, pair.value as Node | null) : undefined;
  }
  required<T>(key: string, read: Reader<T>): T {
    const value = this.optional(key, read);
    if (value === undefined) fail(this.#source, this.#map, `${this.#what} lacks the key ${key}`);
    return value;
  }
  done(): void {
    for (const item of this.#map.items as Pair<Node, Node | null>[]) {
      const key = isScalar(item.key) ? String(item.key.value) : undefined;
      if (key !== undefined && this.#known.has(key)) continue;
      const known = [...this.#known].join(', ');
      fail(this.#source, item.key, `unknown key ${key ?? ''} in ${this.#what}; known are ${known}`);
    }
  }
}

export function listOf<T>(read: Reader<T>): Reader<T[]> {
  return (source, node) => {
    if (!isSeq(node)) fail(source, node, 'a list is wanted here');
    return node.items.map((item) => read(source, item as Node | null));
  };
}
export function scalar(source: Source, node: Node | null): unknown {
  if (!isScalar(node)) fail(source, node, 'a single value is wanted here');
  return node.value;
}
export function asText(source: Source, node: Node | null): string {
  const value = scalar(source, node);
  if (typeof value !== 'string') fail(source, node, `text is wanted here, not ${String(value)}`);
  return value;
}
export function asInteger(min: number, max: number, what: string): Reader<number> {
  return (source, node) => {
    const value = scalar(source, node);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    fail(source, node, `${what} must be a whole number from ${min} to ${max}, not ${String(value)}`);
  };
}
export const asAsn = asInteger(1, 0xffffffff, 'an AS number');
export const asPort = asInteger(1, 65535, 'a port');

export function asBoolean(source: Source, node: Node | null): boolean {
  const value = scalar(source, node);
  if (typeof value !== 'boolean') fail(source, node, `true or false is wanted here, not ${String(value)}`);
  return value;
}
export function asAddress(source: Source, node: Node | null): IpAddress {
  const text = asText(source, node);
  return toIpAddress(text) ?? fail(source, node, `${text} is not an IP address`);
}

export function asSeconds(what: string, min: number, max: number): Reader<number> {
  return (source, node) => {
    const value = scalar(source, node);
    const match = /^(\d{1,9})s?$/.exec(String(value));
    const seconds = match ? Number(match[1]) : -1;
    if (seconds >= min && seconds <= max) return seconds;
    fail(source, node, `${what} must be from ${min}s to ${max}s, not ${String(value)}`);
  };
}
export function asPrefix(source: Source, node: Node | null): string {
  const text = asText(source, node);
  return (
    (text.includes('/') ? toCidr(text) : undefined) ?? fail(source, node, `${text} is not a prefix such as 10.1.0.0/16`)
  );
}
/** An object with the key, or with none when there is no value. */
export function optionalKey<K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: T });
}
