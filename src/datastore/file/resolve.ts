/**
 * Files as they stand + what was good before -> the objects in force. Pure. The rules:
 *
 * - An object belongs to the first document, in order of file name and then of place, that claims it; later claims are faults.
 * - A claim that is invalid keeps the last good version in force. Without one, the object is missing and blocks "in sync", unless it is a staged policy.
 * - A file that cannot be read or parsed claims every object it gave last, at its place in the order. When it never gave one,
 *   it blocks.
 * - A document that does not say which object it is may be any that the file gave last: it keeps those that the
 *   rest of the file no longer claims. When there is none, it blocks.
 * - What nothing claims is deleted.
 */
import { isStagedKind, type Kind, kinds } from '#model';
import type { ObjectRef } from '../manifest/decode.ts';
import type { LocatedFault, ManifestEntry, ManifestFile, ObjectVersion } from './manifest-file.ts';

/** A version in force, and the file that claims it. */
export interface Held {
  readonly version: ObjectVersion;
  readonly file: string;
}

export interface ResolvedFault extends LocatedFault {
  readonly file: string;
  readonly object?: ObjectRef;
  readonly effect: string;
  readonly blocking: boolean;
}

export interface Resolution {
  readonly held: ReadonlyMap<ObjectRef, Held>;
  readonly faults: readonly ResolvedFault[];
  readonly notes: readonly (LocatedFault & { readonly file: string; readonly object: ObjectRef })[];
  readonly ignored: readonly { readonly apiVersion: string; readonly kind: string; readonly count: number }[];
}

interface Claim {
  readonly file: string;
  readonly line?: number;
}

class Resolver {
  readonly held = new Map<ObjectRef, Held>();
  readonly faults: ResolvedFault[] = [];
  readonly notes: (LocatedFault & { file: string; object: ObjectRef })[] = [];
  readonly ignored = new Map<string, { apiVersion: string; kind: string; count: number }>();
  readonly #claims = new Map<ObjectRef, Claim>();
  readonly #lastGood: ReadonlyMap<ObjectRef, Held>;
  readonly #givenBy: ReadonlyMap<string, readonly ObjectRef[]>;

  constructor(lastGood: ReadonlyMap<ObjectRef, Held>) {
    this.#lastGood = lastGood;
    this.#givenBy = Map.groupBy(lastGood.keys(), (ref) => lastGood.get(ref)!.file);
  }

  addFile(file: ManifestFile): void {
    if (file.state === 'broken') {
      const kept = this.#keepUnclaimed(file.path);
      this.faults.push({ ...file.fault, file: file.path, effect: keptEffect(kept), blocking: kept === 0 });
      return;
    }
    for (const entry of file.entries) {
      if (entry.type === 'object') this.#addObject(file.path, entry);
      else if (entry.type === 'ignored') this.#addIgnored(entry.apiVersion, entry.kind);
    }
    const unidentified = file.entries.flatMap((entry) => (entry.type === 'unidentified' ? entry.faults : []));
    if (unidentified.length === 0) return;
    const kept = this.#keepUnclaimed(file.path);
    for (const fault of unidentified) {
      this.faults.push({ ...fault, file: file.path, effect: keptEffect(kept), blocking: kept === 0 });
    }
  }

  #addObject(file: string, entry: ManifestEntry & { readonly type: 'object' }): void {
    const { ref } = entry;
    const earlier = this.#claims.get(ref);
    if (earlier) {
      const first = [earlier.file, earlier.line].filter((part) => part !== undefined).join(':');
      this.faults.push({
        file,
        object: ref,
        ...entry.place,
        message: `is defined in ${first} as well; remove one of the two`,
        effect: 'the first one counts',
        blocking: false,
      });
      return;
    }
    this.#claims.set(ref, { file, ...(entry.place ? { line: entry.place.line } : {}) });
    for (const note of entry.notes) this.notes.push({ ...note, file, object: ref });
    const version = entry.version ?? this.#lastGood.get(ref)?.version;
    if (version) this.held.set(ref, { version, file });
    // A staged policy never is in force, whatever it says: nothing else has to wait for it.
    const isStaged = isStagedKind(ref.split(' ', 1)[0] as Kind);
    const lacking = isStaged ? 'nothing is reported of it' : 'not in force';
    const effect = version ? 'the last good version stays in force' : `it was never valid: ${lacking}`;
    for (const fault of entry.faults) {
      this.faults.push({ ...fault, file, object: ref, effect, blocking: version === undefined && !isStaged });
    }
  }

  #addIgnored(apiVersion: string, kind: string): void {
    const id = `${apiVersion} ${kind}`;
    const found = this.ignored.get(id);
    if (found) found.count++;
    else this.ignored.set(id, { apiVersion, kind, count: 1 });
  }

  /** Claims what `file` gave last and nothing claims now. @returns how many objects it keeps. */
  #keepUnclaimed(file: string): number {
    let kept = 0;
    for (const ref of this.#givenBy.get(file) ?? []) {
      if (this.#claims.has(ref)) continue;
      this.#claims.set(ref, { file });
      this.held.set(ref, this.#lastGood.get(ref)!);
      kept++;
    }
    return kept;
  }
}

function keptEffect(kept: number): string {
  if (kept === 0) return 'it never gave an object: nothing of it is in force';
  return kept === 1 ? 'the object it gave stays in force' : `the ${kept} objects it gave stay in force`;
}

/** `files` in any order; paths are unique. */
export function resolve(files: Iterable<ManifestFile>, lastGood: ReadonlyMap<ObjectRef, Held>): Resolution {
  const resolver = new Resolver(lastGood);
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
  for (const file of sorted) resolver.addFile(file);
  const { held, faults, notes, ignored } = resolver;
  return { held, faults, notes, ignored: [...ignored.values()].sort((a, b) => (a.kind < b.kind ? -1 : 1)) };
}

/** How many objects of each kind. */
export function countKinds(held: ReadonlyMap<ObjectRef, Held>): Record<Kind, number> {
  const counts = Object.fromEntries(kinds.map((kind) => [kind, 0])) as Record<Kind, number>;
  for (const { version } of held.values()) counts[version.typed.kind]++;
  return counts;
}
