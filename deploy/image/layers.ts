/** The two layers: what stands where in the image. */
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';
import { type Bundle, bundleEntry } from './bundle.ts';
import { neededLibraries } from './elf.ts';
import { complete, type Entry, file, folder, link } from './entries.ts';
import { ImageError } from './errors.ts';
import { npmLicenceTexts } from './npm-parts.ts';
import type { FetchedPackage } from './packages.ts';

/** The bundle; `poplin` in the PATH is a link to its entry. */
export const appFolder = 'app';
/** What `poplin install-cni` installs. */
export const pluginFolder = `${appFolder}/cni`;
export const sbomPath = 'usr/share/poplin/sbom.spdx.json';

export interface BaseParts {
  readonly packages: readonly FetchedPackage[];
  readonly node: Uint8Array;
}

/** Debian and Node: the same bytes for every commit until one of them changes. */
export function baseLayer({ packages, node }: BaseParts): readonly Entry[] {
  return complete([
    ...skeleton(),
    ...packages.flatMap(({ entries }) => entries),
    // Where scanners for known vulnerabilities look for the packages of an image without dpkg.
    ...packages.map(({ name, control }) => file(`var/lib/dpkg/status.d/${name}`, `${control}\n`, { origin: name })),
    file('usr/bin/node', node, { origin: 'node', mode: 0o755 }),
    file('usr/share/doc/node/LICENSE', fs.readFileSync(nodeLicence()), { origin: 'node' }),
  ]);
}

export interface AppParts {
  readonly bundled: Bundle;
  readonly shim: Uint8Array;
  /** Reference plugins by name. */
  readonly plugins: Readonly<Record<string, Uint8Array>>;
  readonly sbomText: string;
}

/** Poplin itself. @param base whose folders are there already. */
export function appLayer({ bundled, shim, plugins, sbomText }: AppParts, base: readonly Entry[]): readonly Entry[] {
  return complete(
    [
      ...bundled.files.map(({ name, content }) =>
        file(`${appFolder}/${name}`, content, { mode: name === bundleEntry ? 0o755 : 0o644 }),
      ),
      link('usr/bin/poplin', `/${appFolder}/${bundleEntry}`),
      file(`${pluginFolder}/poplin`, shim, { mode: 0o755 }),
      ...Object.entries(plugins).map(([name, content]) =>
        file(`${pluginFolder}/${name}`, content, { origin: name, mode: 0o755 }),
      ),
      file('usr/share/doc/poplin/LICENSE', fs.readFileSync(path.join(root, 'LICENSE'))),
      file('usr/share/doc/poplin/third-party-licences', npmLicenceTexts(bundled.packageFolders)),
      file(sbomPath, sbomText),
    ],
    base,
  );
}

/** What every root file system has. The root is mounted read-only: these are the places where others mount something. */
function skeleton(): readonly Entry[] {
  return [
    link('bin', 'usr/bin'),
    link('lib', 'usr/lib'),
    link('lib64', 'usr/lib64'),
    link('sbin', 'usr/sbin'),
    ...['dev', 'proc', 'run', 'sys', 'var/lib/poplin', 'usr/lib64'].map((name) => folder(name)),
    folder('tmp', 0o1777),
    file('etc/passwd', 'root:x:0:0:root:/:/usr/bin/poplin\n'),
    file('etc/group', 'root:x:0:\n'),
    file('etc/nsswitch.conf', 'hosts: files dns\n'),
  ];
}

function nodeLicence(): string {
  return path.join(root, 'node_modules', `node-linux-${process.arch}`, 'LICENSE');
}

/** Every library that a program of the image names is in the image. @throws ImageError CONTENT */
export function checkLibraries(entries: readonly Entry[]): void {
  const there = new Set(entries.map(({ path: name }) => path.basename(name)));
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const absent = neededLibraries(entry.content)?.find((name) => !there.has(name));
    if (absent === undefined) continue;
    const text = `${entry.path} (of ${entry.origin}) needs ${absent}, which is not in the image: add its package to the table, or take the file out`;
    throw new ImageError(text, { code: 'CONTENT', path: entry.path });
  }
}
