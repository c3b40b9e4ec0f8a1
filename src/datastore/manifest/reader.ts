/**
 * Reads a parsed document field by field and collects what is wrong instead of stopping at the first fault. A reader stands
 * for the value at one path. Absent and null are the same, as for the Kubernetes API.
 */
import { editDistance, nearest } from '#kit';

export type FieldPath = readonly (string | number)[];

export interface FieldFault {
  readonly path: FieldPath;
  /** What is wrong, with the value, and what to do. */
  readonly message: string;
}

/** `spec.ingress[0].from[1].podSelector`; keys that hold dots or slashes are quoted. */
export function formatPath(path: FieldPath): string {
  let out = '';
  for (const part of path) {
    if (typeof part === 'number') out += `[${part}]`;
    else if (/^[A-Za-z0-9_-]+$/.test(part)) out += out === '' ? part : `.${part}`;
    else out += `[${JSON.stringify(part)}]`;
  }
  return out;
}

const shownValueCharsMax = 80;

/** A value as it stands in a message, cut to a readable length. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > shownValueCharsMax ? `${text.slice(0, shownValueCharsMax)}…` : text;
}

/** Messages go to logs and to everybody who may ask for the status. `data` and `stringData` are a Secret's. */
const secretFields: ReadonlySet<string | number> = new Set([
  'password',
  'nodeMeshPassword',
  'secret',
  'data',
  'stringData',
]);

/**
 * What a field that is not known here means. `fault`: nobody else has looked at the document, it may be a misspelt one that
 * restricts. `note`: the API server has its definition, perhaps of another version; it has no effect here. `pass`: one of the
 * many fields of Kubernetes' own kinds that nobody here reads.
 */
export type UnknownFields = 'fault' | 'note' | 'pass';

/** Shared by all readers of one document. */
interface Findings {
  readonly unknownFields: UnknownFields;
  readonly faults: FieldFault[];
  readonly notes: FieldFault[];
}

/**
 * More than an object can have that an API server takes (3 MB of JSON): whoever may create a NetworkPolicy could else make one that all agents
 * refuse, and wait for.
 */
const listEntriesMax = 1_000_000;

/** Faults of one document, and notes: who mends these sees the others. They go to the log and to statuses. */
const findingsMax = 100;
const andMore = 'there is more that is wrong, behind the first faults';

export class Reader {
  readonly value: unknown;
  readonly path: FieldPath;
  readonly #findings: Findings;

  constructor(
    value: unknown,
    path: FieldPath = [],
    findings: Findings = { unknownFields: 'fault', faults: [], notes: [] },
  ) {
    this.value = value;
    this.path = path;
    this.#findings = findings;
  }
  /** The whole document. */
  static of(value: unknown, unknownFields: UnknownFields): Reader {
    return new Reader(value, [], { unknownFields, faults: [], notes: [] });
  }

  /** What was found wrong. */
  get faults(): readonly FieldFault[] {
    return this.#findings.faults;
  }
  /** Valid, but without effect here. */
  get notes(): readonly FieldFault[] {
    return this.#findings.notes;
  }

  /** The value for a message; not where credentials stand, whatever was written there. */
  shown(): string {
    return this.path.some((part) => secretFields.has(part)) ? 'the value (not shown)' : show(this.value);
  }

  get present(): boolean {
    return this.value !== undefined && this.value !== null;
  }
  fault(message: string): undefined {
    const { faults } = this.#findings;
    if (faults.length < findingsMax) faults.push({ path: this.path, message });
    else if (faults.length === findingsMax) faults.push({ path: [], message: andMore });
    return undefined;
  }
  note(message: string): void {
    const { notes } = this.#findings;
    if (notes.length < findingsMax) notes.push({ path: this.path, message });
  }
  at(key: string | number, value: unknown): Reader {
    return new Reader(value, [...this.path, key], this.#findings);
  }

  /** The mapping under here, or undefined with a fault when it is something else. Absent is an empty mapping. */
  mapping(): Readonly<Record<string, unknown>> | undefined {
    if (!this.present) return {};
    if (typeof this.value !== 'object' || Array.isArray(this.value)) {
      return this.fault(`${this.shown()} is not a mapping; write fields below it`);
    }
    return this.value as Record<string, unknown>;
  }
  field(name: string): Reader {
    const mapping = this.present && typeof this.value === 'object' ? (this.value as Record<string, unknown>) : {};
    return this.at(name, Object.hasOwn(mapping, name) ? mapping[name] : undefined);
  }
  /** Every key should be one of `known`; else see `UnknownFields`. */
  onlyFields(known: readonly string[]): void {
    const { unknownFields } = this.#findings;
    const mapping = this.mapping() ?? {};
    if (unknownFields === 'pass') return;
    for (const key of Object.keys(mapping)) {
      if (known.includes(key)) continue;
      const meant = nearest(key, known);
      const remedy = meant ? `did you mean ${meant}?` : `there are: ${known.join(', ')}`;
      if (unknownFields === 'fault') this.at(key, null).fault(`unknown field; ${remedy}`);
      else this.at(key, null).note(`is not known to Poplin and has no effect; ${remedy}`);
    }
  }
  /**
   * For objects of which only a few fields mean something here: others pass, but not a misspelt form of one of those
   * that do (`used`), unless it is a field of its own (`others`).
   */
  notMisspelt(used: readonly string[], others: readonly string[] = []): void {
    const mapping = this.mapping() ?? {};
    if (this.#findings.unknownFields !== 'fault') return;
    for (const key of Object.keys(mapping)) {
      if (used.includes(key) || others.includes(key)) continue;
      const lower = key.toLowerCase();
      const meant = used.find(
        (name) => name.toLowerCase() === lower || (name.length >= 5 && editDistance(name.toLowerCase(), lower) === 1),
      );
      if (meant) this.at(key, null).fault(`unknown field; did you mean ${meant}?`);
    }
  }

  string(): string | undefined {
    if (!this.present) return undefined;
    if (typeof this.value === 'string') return this.value;
    return this.fault(`${this.shown()} is not text; put it in quotes`);
  }
  /** Text that must be there and not be empty. */
  requiredString(): string | undefined {
    if (!this.present || this.value === '') return this.fault('is required');
    return this.string();
  }
  /** Text of which empty means the same as none, as Calico's stored objects have it. */
  textOrNone(): string | undefined {
    return this.string() || undefined;
  }
  oneOf<T extends string>(allowed: readonly T[]): T | undefined {
    const text = this.string();
    if (text === undefined) return undefined;
    if ((allowed as readonly string[]).includes(text)) return text as T;
    return this.fault(`${this.shown()} is not allowed; write one of ${allowed.join(', ')}`);
  }
  /** The same, and empty text is none. */
  choiceOrNone<T extends string>(allowed: readonly T[]): T | undefined {
    return this.value === '' ? undefined : this.oneOf(allowed);
  }
  boolean(): boolean | undefined {
    if (!this.present) return undefined;
    if (typeof this.value === 'boolean') return this.value;
    return this.fault(`${this.shown()} is not true or false`);
  }
  /** A whole number in `min..max`, both included. */
  integer(min: number, max: number): number | undefined {
    if (!this.present) return undefined;
    if (typeof this.value !== 'number' || !Number.isInteger(this.value)) {
      return this.fault(`${this.shown()} is not a whole number; write one in ${min}..${max}`);
    }
    if (this.value < min || this.value > max) return this.fault(`${this.value} is out of range ${min}..${max}`);
    return this.value;
  }
  /** The entries of a list, each present: a null entry would read as an empty one, which in a policy means "all". */
  list(entriesMax = listEntriesMax): Reader[] {
    if (!this.present) return [];
    if (!Array.isArray(this.value)) {
      this.fault(`${this.shown()} is not a list; begin each entry with "- "`);
      return [];
    }
    if (this.value.length > entriesMax) {
      this.fault(`${this.value.length} entries are more than the ${entriesMax} allowed; split the object`);
      return [];
    }
    const out: Reader[] = [];
    this.value.forEach((entry: unknown, index) => {
      const reader = this.at(index, entry);
      if (reader.present) out.push(reader);
      else reader.fault('is empty; write the entry, or {} if an empty one is meant');
    });
    return out;
  }
}
