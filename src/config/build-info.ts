/** Which Poplin this is. The bundler of the image puts the values in; a checkout knows its version only. */
import fs from 'node:fs';
import path from 'node:path';

export interface BuildInfo {
  readonly version: string;
  /** Git commit, with `-dirty` where the working tree had changes; absent in a checkout that runs unbuilt. */
  readonly commit?: string;
  /** RFC 3339, time of the commit. */
  readonly date?: string;
}

/** Replaced by the bundler (deploy/image/bundle.ts) with the values as JSON; in a checkout there is no such name. */
declare const POPLIN_BUILD: string | undefined;

export function buildInfo(): BuildInfo {
  if (typeof POPLIN_BUILD !== 'undefined') return JSON.parse(POPLIN_BUILD) as BuildInfo;
  const file = path.join(import.meta.dirname, '..', '..', 'package.json');
  const { version } = JSON.parse(fs.readFileSync(file, 'utf8')) as { readonly version: string };
  return { version };
}

/** One line for people: `0.1.0 (commit 0123456789ab, 2026-01-01T00:00:00Z, node v24.0.0, linux-x64)`. */
export function describeBuild({ version, commit, date }: BuildInfo): string {
  const built =
    commit === undefined ? ['unbuilt checkout'] : [`commit ${commit}`, ...(date === undefined ? [] : [date])];
  return `${version} (${[...built, `node ${process.version}`, `${process.platform}-${process.arch}`].join(', ')})`;
}
