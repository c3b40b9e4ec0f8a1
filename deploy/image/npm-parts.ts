/** The npm packages in the bundle: what they are, and the licence texts that must go with them. */
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';
import { npmLicence } from './licenses.ts';
import type { Part } from './sbom.ts';

interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
}

/** @param folders relative to the checkout. */
export function npmParts(folders: readonly string[]): readonly Part[] {
  const lock = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, LockEntry>>;
  };
  const parts = new Map<string, Part>();
  for (const folder of folders) {
    const { name, version, license } = readPackage(folder);
    const { expression, comment } = npmLicence(license);
    const resolved = lock.packages[folder]?.resolved;
    parts.set(`${name}@${version}`, {
      name,
      version,
      purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
      ...(expression === undefined ? {} : { license: expression }),
      ...(comment === undefined ? {} : { licenseComment: comment }),
      ...(resolved === undefined ? {} : { downloadLocation: resolved }),
    });
  }
  return [...parts.values()];
}

/** One text with the licences of all of them. */
export function npmLicenceTexts(folders: readonly string[]): string {
  const texts = new Map<string, string>();
  for (const folder of folders) {
    const { name, version, license } = readPackage(folder);
    const files = fs.readdirSync(path.join(root, folder)).filter((file) => /^(licen[cs]e|notice|copying)/i.test(file));
    const own = files.sort().map((file) => fs.readFileSync(path.join(root, folder, file), 'utf8').trim());
    const text = own.length > 0 ? own.join('\n\n') : `Licence: ${String(license)} (the package has no licence file)`;
    texts.set(`${name} ${version}`, text);
  }
  const sorted = [...texts].sort(([a], [b]) => (a < b ? -1 : 1));
  return sorted.map(([title, text]) => `${title}\n${'-'.repeat(title.length)}\n\n${text}\n`).join('\n\n');
}

function readPackage(folder: string): { readonly name: string; readonly version: string; readonly license?: unknown } {
  return JSON.parse(fs.readFileSync(path.join(root, folder, 'package.json'), 'utf8'));
}
