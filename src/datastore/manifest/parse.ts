/**
 * Text of a manifest file -> documents with their places. YAML (several documents, `List` kinds) and JSON. All or
 * nothing: with a syntax error anywhere it cannot be known which objects a file means to hold.
 */
import {
  Composer,
  type Document,
  isDocument,
  isNode,
  LineCounter,
  Parser,
  parseAllDocuments,
  type YAMLError,
} from 'yaml';
import { errorText } from '#kit';
import type { FieldPath } from './reader.ts';

export interface Place {
  /** 1-based. */
  readonly line: number;
  readonly column: number;
}

export interface ManifestDocument {
  readonly value: unknown;
  /** Where it begins, when that is known without another look at the text. */
  readonly start?: Place;
  /** Place of the document, or of a field in it (its nearest parent that is written down). */
  place(path: FieldPath): Place;
}

export type ParsedManifest =
  | { readonly ok: true; readonly documents: readonly ManifestDocument[] }
  | { readonly ok: false; readonly message: string; readonly place: Place };

/** Documents in one file. */
const documentsMax = 100_000;
/** A YAML alias may be expanded this many times: a small file must not become a large object. */
const aliasesMax = 100;

/** Runs `parseManifestSteps` to its end. */
export function parseManifest(text: string): ParsedManifest {
  const steps = parseManifestSteps(text);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Parses document by document, so that the caller may let other work pass in between. */
export function* parseManifestSteps(text: string): Generator<void, ParsedManifest> {
  // What is JSON is read ten times faster as such; places are looked up only when a fault needs one.
  if (/^\s*[[{]/.test(text)) {
    try {
      const value: unknown = JSON.parse(text);
      return { ok: true, documents: expandLists(value, lazyPlaces(text), [], false) };
    } catch (error) {
      // A YAML flow mapping, or broken: the YAML parser says which, and where.
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return yield* parseYaml(text);
}

function* parseYaml(text: string): Generator<void, ParsedManifest> {
  const lines = new LineCounter();
  const documents: ManifestDocument[] = [];
  const parser = new Parser(lines.addNewLine);
  let start: Place = { line: 1, column: 1 };
  try {
    for (const document of new Composer({ uniqueKeys: true }).compose(parser.parse(text))) {
      yield;
      start = placeAt(lines, document.contents?.range?.[0] ?? 0);
      const error = document.errors[0];
      if (error) return { ok: false, message: syntaxMessage(error), place: placeAt(lines, error.pos[0]) };
      const value: unknown = document.toJS({ maxAliasCount: aliasesMax });
      if (value === null || value === undefined) continue;
      documents.push(...expandLists(value, (path) => yamlPlace(document, lines, path), [], true));
      if (documents.length > documentsMax) {
        return { ok: false, message: `more than ${documentsMax} documents; split the file`, place: start };
      }
    }
  } catch (error) {
    // Too deep a nesting (RangeError), too many or unknown aliases (ReferenceError).
    return { ok: false, message: `cannot be read: ${errorText(error)}`, place: start };
  }
  return { ok: true, documents };
}

function syntaxMessage(error: YAMLError): string {
  const tab = /tab/i.test(error.message) ? '; indent with spaces' : '';
  return `not valid YAML: ${error.message}${tab}`;
}

type PlaceOf = (path: FieldPath) => Place;

/** `kind: List` (and PodList and so on) stands for its items. */
function expandLists(value: unknown, placeOf: PlaceOf, base: FieldPath, placesAreCheap: boolean): ManifestDocument[] {
  if (typeof value === 'object' && value !== null && 'kind' in value && 'items' in value) {
    const { kind, items, apiVersion } = value as { kind: unknown; items: unknown; apiVersion?: unknown };
    if (typeof kind === 'string' && kind.endsWith('List') && Array.isArray(items)) {
      return items.flatMap((item: unknown, index) =>
        expandLists(withListKind(item, kind, apiVersion), placeOf, [...base, 'items', index], placesAreCheap),
      );
    }
  }
  const place: PlaceOf = (path) => placeOf([...base, ...path]);
  return [placesAreCheap ? { value, place, start: place([]) } : { value, place }];
}

/** Items of a typed list, as the API server returns it, do not repeat their kind. */
function withListKind(item: unknown, listKind: string, apiVersion: unknown): unknown {
  if (listKind === 'List' || typeof item !== 'object' || item === null || 'kind' in item) return item;
  return { apiVersion, kind: listKind.slice(0, -'List'.length), ...item };
}

function lazyPlaces(text: string): PlaceOf {
  let found: { document: Document.Parsed; lines: LineCounter } | undefined;
  return (path) => {
    if (!found) {
      const lines = new LineCounter();
      const [document] = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: false }) as Document.Parsed[];
      if (!isDocument(document)) return { line: 1, column: 1 };
      found = { document, lines };
    }
    return yamlPlace(found.document, found.lines, path);
  };
}

/** Where the deepest part of `path` that exists is written: its key if it has one, else its value. */
function yamlPlace(document: Document.Parsed, lines: LineCounter, path: FieldPath): Place {
  for (let depth = path.length; depth >= 0; depth--) {
    const offset = offsetOf(document, path.slice(0, depth));
    if (offset !== undefined) return placeAt(lines, offset);
  }
  return placeAt(lines, document.contents?.range?.[0] ?? 0);
}

interface KeyNode {
  readonly value?: unknown;
  readonly range?: readonly number[] | null;
}

function offsetOf(document: Document.Parsed, path: FieldPath): number | undefined {
  const last = path.at(-1);
  if (last === undefined) return document.contents?.range?.[0];
  const parent: unknown = document.getIn(path.slice(0, -1), true);
  if (typeof last === 'string' && typeof parent === 'object' && parent !== null && 'items' in parent) {
    const pairs = (parent as { items: readonly { key?: KeyNode | null }[] }).items;
    const pair = pairs.find((candidate) => candidate.key && String(candidate.key.value) === last);
    return pair?.key?.range?.[0];
  }
  const node: unknown = document.getIn(path, true);
  return isNode(node) ? node.range?.[0] : undefined;
}

function placeAt(lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}
