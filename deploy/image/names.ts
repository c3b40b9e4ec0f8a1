/** The names of the image, each once: what is written here, imported on nodes, and named by the manifests. */
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';

/** `localhost/` keeps every runtime from looking for it in a registry. */
const repository = 'localhost/poplin';

export function packageVersion(): string {
  const text = fs.readFileSync(path.join(root, 'package.json'), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** `localhost/poplin:0.1.0`. */
export function imageReference(version = packageVersion()): string {
  return `${repository}:${version}`;
}

/** Where `npm run image` writes. */
export const outputFolder = path.join(root, 'dist', 'image');
export const archiveName = 'poplin.tar';
export const sbomName = 'poplin.spdx.json';

/** Debian's names of the machine that the image is for: the one that it is built on. */
export const machine =
  process.arch === 'arm64'
    ? ({ oci: 'arm64', debian: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' } as const)
    : ({ oci: 'amd64', debian: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' } as const);
