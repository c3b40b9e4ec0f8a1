/** From a schema and an object that it accepts: for every constraint a change of one value that breaks it, and values that just do not. */
import type { Schema } from './definitions.ts';

export type Path = readonly (string | number)[];

export interface Change {
  /** Constraint and schema path, e.g. `maximum .spec.listenPort`; what coverage is counted by. */
  readonly constraint: string;
  readonly path: Path;
  /** Undefined: the field is removed. */
  readonly value: unknown;
  /** What the API server says; absent where it is to accept the change. */
  readonly refusal?: RegExp;
}

/** Names of all constraints of one node, whether or not an object has the field. */
export function constraintsOf(at: string, schema: Schema): string[] {
  const given = [
    schema.type && 'type',
    schema['x-kubernetes-int-or-string'] && 'type',
    schema.enum && 'enum',
    schema.pattern && 'pattern',
    schema.format === 'date-time' && 'date-time',
    ...(['minLength', 'maxLength', 'minimum', 'maximum', 'minItems', 'maxItems'] as const).filter(
      (name) => schema[name] !== undefined,
    ),
    schema['x-kubernetes-list-type'] && schema['x-kubernetes-list-type'] !== 'atomic' && 'unique',
    ...(schema.required ?? []).map((name) => `required ${name}`),
  ];
  return given.filter((name) => typeof name === 'string').map((name) => `${name} ${at}`);
}

/** Changes of `value` and of what is below it; of lists the first entry is changed. */
export function* changes(schema: Schema, value: unknown, at = '', path: Path = []): Generator<Change> {
  const change = (constraint: string, to: unknown, refusal?: RegExp): Change => ({
    constraint: `${constraint} ${at}`,
    path,
    value: to,
    ...(refusal ? { refusal } : {}),
  });
  yield* typeChanges(schema, change);
  yield* textChanges(schema, change);
  yield* numberChanges(schema, change);
  if (Array.isArray(value)) {
    yield* listChanges(schema, value, change);
    yield* changes(schema.items!, value[0], `${at}[]`, [...path, 0]);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const name of schema.required ?? []) {
    if (!Object.hasOwn(value, name)) continue;
    yield { constraint: `required ${name} ${at}`, path: [...path, name], value: undefined, refusal: /Required value/ };
  }
  for (const [name, child] of Object.entries(value)) {
    const childSchema = schema.properties?.[name];
    if (childSchema) yield* changes(childSchema, child, `${at}.${name}`, [...path, name]);
  }
}

type MakeChange = (constraint: string, to: unknown, refusal?: RegExp) => Change;

function* typeChanges(schema: Schema, change: MakeChange): Generator<Change> {
  if (schema['x-kubernetes-int-or-string'])
    yield change('type', true, /must be of type (int-or-string|integer|string)/);
  if (schema.type === undefined) return;
  yield change(
    'type',
    schema.type === 'string' ? 7 : 'x',
    new RegExp(`must be of type ${schema.format === 'date-time' ? 'date-time' : schema.type}`),
  );
}

function* textChanges(schema: Schema, change: MakeChange): Generator<Change> {
  const free = !schema.pattern && !schema.format && !schema['x-kubernetes-validations'];
  if (schema.enum) {
    yield change('enum', 'Nonsense', /Unsupported value: "Nonsense": supported values/);
    for (const allowed of schema.enum) yield change('enum', allowed);
  }
  if (schema.pattern) yield change('pattern', '!', /should match/);
  if (schema.format === 'date-time') {
    yield change('date-time', 'yesterday', /must be of type date-time/);
    yield change('date-time', '2026-11-25T19:18:17Z');
  }
  if (schema.minLength !== undefined) yield change('minLength', '', /should be at least \d+ chars long/);
  if (schema.maxLength !== undefined) {
    // Digits, so that an AS number is too long and not only of the wrong form.
    yield change('maxLength', '1'.repeat(schema.maxLength + 1), /may not be more than \d+ bytes/);
    if (free) yield change('maxLength', 'a'.repeat(schema.maxLength));
  }
}

function* numberChanges(schema: Schema, change: MakeChange): Generator<Change> {
  const { minimum, maximum } = schema;
  if (minimum !== undefined) {
    yield change('minimum', minimum - 1, /should be greater than or equal to/);
    yield change('minimum', minimum);
  }
  if (maximum !== undefined) {
    yield change('maximum', maximum + 1, /should be less than or equal to/);
    yield change('maximum', maximum);
  }
}

function* listChanges(schema: Schema, value: readonly unknown[], change: MakeChange): Generator<Change> {
  const listType = schema['x-kubernetes-list-type'];
  if (listType === 'set' || listType === 'map') {
    yield change('unique', [...value, value[0]], /Duplicate value/);
  }
  if (schema.minItems !== undefined) yield change('minItems', [], /should have at least \d+ items/);
  if (schema.maxItems === undefined) return;
  const small = smallest(schema.items!, value[0]);
  yield change('maxItems', Array<unknown>(schema.maxItems + 1).fill(small), /must have at most \d+ items?/);
  if (listType === 'atomic') yield change('maxItems', Array<unknown>(schema.maxItems).fill(small));
}

/** What is required of an entry, so that thousands of it stay below what the API server takes. */
function smallest(schema: Schema, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  if (Object.keys(value).length === 1) return value; // exactly one of several, as a rule may say
  const wanted = (schema.required ?? []).map((name) => [name, (value as Record<string, unknown>)[name]] as const);
  return Object.fromEntries(wanted);
}

/** A copy of `object` with one value changed or, for undefined, removed. */
export function changed(object: unknown, path: Path, value: unknown): unknown {
  const [first, ...rest] = path;
  if (first === undefined) return value;
  if (Array.isArray(object))
    return object.map((entry, index) => (index === first ? changed(entry, rest, value) : entry));
  const { [first]: child, ...others } = object as Record<string, unknown>;
  const next = changed(child, rest, value);
  return next === undefined ? others : { ...others, [first]: next };
}

export function fieldOf(path: Path): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${part}`))
    .join('')
    .slice(1);
}
