/** Manifests read once, for commands that look at them without an agent: the same readers and rules as the file datastore's. */
import fs from 'node:fs/promises';
import path from 'node:path';
import type { ModelUpdate, ServiceSelection } from '#model';
import type { DatastoreFault } from '../datastore.ts';
import { updatesBetween } from '../updates.ts';
import { withImpliedNamespaces } from './implied-namespaces.ts';
import { type ManifestFile, readManifestFile } from './manifest-file.ts';
import { resolve } from './resolve.ts';
import { serviceIn } from './services.ts';
import { walk } from './walk.ts';
import { podOfWorkload } from './workloads.ts';

export interface ReadManifests {
  /** All objects that are valid, Namespaces that are only mentioned, and a Pod for each workload. */
  readonly updates: readonly ModelUpdate[];
  readonly services: readonly ServiceSelection[];
  readonly faults: readonly Omit<DatastoreFault, 'since'>[];
  /** Fields that have no effect here. */
  readonly notes: readonly {
    readonly file: string;
    readonly line?: number;
    readonly object: string;
    readonly message: string;
  }[];
}

/**
 * @param places files, or folders that are read as the file datastore reads them. The same object in two of them is a fault.
 * @throws Error ENOENT (with `syscall`) when a place is not there.
 */
export async function readManifests(places: readonly string[]): Promise<ReadManifests> {
  const files: ManifestFile[] = [];
  const services: ServiceSelection[] = [];
  for (const place of places) {
    const stat = await fs.stat(place).catch((error: NodeJS.ErrnoException) => {
      // As opening it would fail: callers know a file of the user's by that.
      throw Object.assign(error, { syscall: 'open' });
    });
    if (!stat.isDirectory()) files.push(await readFile(place, services));
    else
      for (const found of (await walk(place)).files) files.push(await readFile(path.join(place, found.path), services));
  }
  const { held, faults, notes } = resolve(files, new Map());
  return { updates: updatesBetween(new Map(), withImpliedNamespaces(held)), services, faults, notes };
}

/** @param services those that it holds are added. */
async function readFile(file: string, services: ServiceSelection[]): Promise<ManifestFile> {
  const steps = readManifestFile(file, await fs.readFile(file, 'utf8'), (document) => {
    const service = serviceIn(document);
    if (service) services.push(service);
    return podOfWorkload(document);
  });
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
