/** One file of the directory as parsed: what each document claims to be, and the object or the faults it gave. */
import type { Kind, ObjectKey } from '#model';
import { objectKey } from '#model';
import { decodeObject, identify, type ObjectRef, type TypedObject } from '../manifest/decode.ts';
import { type ManifestDocument, type Place, parseManifestSteps } from '../manifest/parse.ts';
import { type FieldFault, formatPath } from '../manifest/reader.ts';

/** A valid object together with the document that it was read from, as JSON text. */
export interface ObjectVersion {
  readonly key: ObjectKey;
  readonly typed: TypedObject;
  readonly document: string;
}

export interface LocatedFault extends Partial<Place> {
  readonly field?: string;
  readonly message: string;
}

export type ManifestEntry =
  | {
      readonly type: 'object';
      readonly ref: ObjectRef;
      readonly kind: Kind;
      readonly key: ObjectKey;
      /** Absent where looking it up would cost more than reading the file did, and nothing is wrong. */
      readonly place?: Place;
      /** Absent when there are faults. */
      readonly version?: ObjectVersion;
      readonly faults: readonly LocatedFault[];
      readonly notes: readonly LocatedFault[];
    }
  | { readonly type: 'ignored'; readonly apiVersion: string; readonly kind: string }
  | { readonly type: 'unidentified'; readonly faults: readonly LocatedFault[] };

/** `path` is relative to the directory. */
export type ManifestFile =
  | { readonly path: string; readonly state: 'parsed'; readonly entries: readonly ManifestEntry[] }
  | { readonly path: string; readonly state: 'broken'; readonly fault: LocatedFault };

/**
 * Reads the text of a file, document by document, so that the caller may let other work pass in between.
 *
 * @param replace what a document stands for.
 */
export function* readManifestFile(
  path: string,
  text: string,
  replace: (value: unknown) => unknown = (value) => value,
): Generator<void, ManifestFile> {
  const parsed = yield* parseManifestSteps(text);
  if (!parsed.ok) return { path, state: 'broken', fault: { ...parsed.place, message: parsed.message } };
  const entries: ManifestEntry[] = [];
  for (const document of parsed.documents) {
    entries.push(readEntry({ ...document, value: replace(document.value) }));
    yield;
  }
  return { path, state: 'parsed', entries };
}

/** Decodes a document that is known to be good (the last good one, kept on disk); undefined when it no longer is. */
export function readVersion(value: unknown): ObjectVersion | undefined {
  const identity = identify(value);
  if (identity.type !== 'object') return undefined;
  const { typed } = decodeObject(identity.kind, value);
  return typed && { key: identity.key, typed, document: JSON.stringify(value) };
}

function readEntry(document: ManifestDocument): ManifestEntry {
  const identity = identify(document.value);
  const located = (faults: readonly FieldFault[]): LocatedFault[] => faults.map((fault) => locate(document, fault));
  if (identity.type === 'ignored') return identity;
  if (identity.type === 'unidentified') return { type: 'unidentified', faults: located(identity.faults) };
  const { kind, ref, key } = identity;
  const { typed, faults, notes } = decodeObject(kind, document.value);
  const entry = { type: 'object', ref, kind, key, faults: located(faults), notes: located(notes) } as const;
  if (!typed) return { ...entry, place: document.place([]) };
  const version = { key: objectKey(typed.object.metadata), typed, document: JSON.stringify(document.value) };
  return document.start ? { ...entry, version, place: document.start } : { ...entry, version };
}

function locate(document: ManifestDocument, fault: FieldFault): LocatedFault {
  const field = formatPath(fault.path);
  return { ...document.place(fault.path), ...(field ? { field } : {}), message: fault.message };
}
