/** The model as the datastore last said it, by kind and key, for the parts that look things up. */
import { type Kind, kinds, type ModelObjects, type ModelUpdate, type ObjectKey } from '#model';

type Tables = { readonly [K in Kind]: Map<ObjectKey, ModelObjects[K]> };

export interface ModelStore {
  /** Applies one change; the same change again changes nothing. */
  apply(update: ModelUpdate): void;
  get<K extends Kind>(kind: K, key: ObjectKey): ModelObjects[K] | undefined;
  /** In order of keys, so that what is computed from it does not depend on arrival. */
  list<K extends Kind>(kind: K): ModelObjects[K][];
  /** Any that it holds of, without putting all in order. */
  find<K extends Kind>(kind: K, holds: (object: ModelObjects[K]) => boolean): ModelObjects[K] | undefined;
  count(kind: Kind): number;
}

export function createModelStore(): ModelStore {
  const tables = Object.fromEntries(kinds.map((kind) => [kind, new Map()])) as unknown as Tables;
  const table = <K extends Kind>(kind: K): Map<ObjectKey, ModelObjects[K]> => tables[kind];
  return {
    apply(update) {
      if (update.type === 'delete') tables[update.kind].delete(update.key);
      else (table(update.kind) as Map<ObjectKey, unknown>).set(update.key, update.object);
    },
    get: (kind, key) => table(kind).get(key),
    list: (kind) => [...table(kind)].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, object]) => object),
    find: (kind, holds) => table(kind).values().find(holds),
    count: (kind) => tables[kind].size,
  };
}
