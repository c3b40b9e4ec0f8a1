/**
 * The image, from its parts to its archive:
 *
 *   Debian packages --(table)--> libraries, iptables, ipset --+
 *   node-linux-ARCH --strip-------------------------> node ---+--> layer `base`: changes when Debian or Node does
 *   src/cni/shim, portmap (Go module or Debian) --> plugins --+
 *   src, bgp, policy, felix --esbuild--------------> bundle ------> layer `app`: changes with every commit
 *
 * Nothing in it depends on the machine, the time or the order of anything: equal parts give equal bytes.
 */
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';
import { type Archive, type ImageConfig, sha256, writeArchive } from './archive.ts';
import { type BuildStamp, bundle, bundleEntry, nodeFlags } from './bundle.ts';
import { run } from './command.ts';
import { neededLibraries } from './elf.ts';
import { complete, type Entry, file, folder, link, ownOrigin } from './entries.ts';
import { ImageError } from './errors.ts';
import { debianLicence } from './licenses.ts';
import { imageReference, packageVersion } from './names.ts';
import { npmLicenceTexts, npmParts } from './npm-parts.ts';
import { debianPackages } from './package-table.ts';
import { checkDependencies, type FetchedPackage, fetchPackages } from './packages.ts';
import { type Part, sbom } from './sbom.ts';
import { cniShim, type Portmap, portmap, strippedNode } from './tools.ts';

export interface BuiltImage extends Archive {
  readonly reference: string;
  readonly config: ImageConfig;
  /** Layers merged, sorted by path. */
  readonly entries: readonly Entry[];
  readonly sbomText: string;
}

export interface BuildOptions {
  readonly log: (line: string) => void;
  /** Default: of the checkout. */
  readonly stamp?: BuildStamp;
}

export const appFolder = 'app';
export const pluginFolder = `${appFolder}/cni`;
export const sbomPath = 'usr/share/poplin/sbom.spdx.json';

const config = (stamp: BuildStamp): ImageConfig => ({
  Entrypoint: ['/usr/bin/node', ...nodeFlags, `/${appFolder}/${bundleEntry}`],
  Cmd: ['agent'],
  Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  WorkingDir: '/',
  Labels: {
    'org.opencontainers.image.title': 'poplin',
    'org.opencontainers.image.description': 'Routed pod networking for Kubernetes: the agent of a node',
    'org.opencontainers.image.licenses': 'Apache-2.0',
    'org.opencontainers.image.version': stamp.version,
    'org.opencontainers.image.revision': stamp.commit,
    'org.opencontainers.image.created': stamp.date,
  },
});

export async function buildImage({ log, stamp: given }: BuildOptions): Promise<BuiltImage> {
  const stamp = given ?? (await checkoutStamp());
  const [packages, node, portmapPart] = [
    await fetchPackages(debianPackages, log),
    await strippedNode(),
    await portmap(log),
  ];
  checkDependencies(packages);
  const bundled = await bundle(stamp);
  const base = complete([
    ...skeleton(),
    ...packages.flatMap(({ entries }) => entries),
    ...packages.map(({ name, control }) => file(`var/lib/dpkg/status.d/${name}`, `${control}\n`, { origin: name })),
    file('usr/bin/node', node, { origin: 'node', mode: 0o755 }),
    file('usr/share/doc/node/LICENSE', fs.readFileSync(nodeLicence()), { origin: 'node' }),
  ]);
  const reference = imageReference(stamp.version);
  const sbomText = `${JSON.stringify(
    sbom({
      image: reference,
      version: stamp.version,
      created: stamp.date,
      parts: allParts(stamp, packages, portmapPart, bundled.packageFolders),
    }),
    null,
    1,
  )}\n`;
  const app = complete(
    [
      ...bundled.files.map(({ name, content }) =>
        file(`${appFolder}/${name}`, content, { mode: name === bundleEntry ? 0o755 : 0o644 }),
      ),
      link('usr/bin/poplin', `/${appFolder}/${bundleEntry}`),
      file(`${pluginFolder}/poplin`, cniShim(), { mode: 0o755 }),
      file(`${pluginFolder}/portmap`, portmapPart.content, { origin: 'portmap', mode: 0o755 }),
      file('usr/share/doc/poplin/LICENSE', fs.readFileSync(path.join(root, 'LICENSE'))),
      file('usr/share/doc/poplin/third-party-licences', npmLicenceTexts(bundled.packageFolders)),
      file(sbomPath, sbomText),
    ],
    base,
  );
  const entries = complete([...base, ...app.filter((entry) => !base.includes(entry))]);
  checkLibraries(entries);
  const layers = [
    { createdBy: 'npm run image: Debian packages and Node', entries: base },
    { createdBy: 'npm run image: Poplin', entries: app },
  ];
  const imageConfig = config(stamp);
  const archive = writeArchive({ reference, created: stamp.date, config: imageConfig, layers });
  return { ...archive, reference, config: imageConfig, entries, sbomText };
}

/** Version, commit and the commit's time: a build of the same commit says the same. */
export async function checkoutStamp(): Promise<BuildStamp> {
  const version = packageVersion();
  const git = (...args: readonly string[]): Promise<string> =>
    run('git', ['-c', `safe.directory=${root}`, '-C', root, ...args]);
  try {
    const [commit, time] = (await git('log', '-1', '--format=%h %ct', '--abbrev=12')).trim().split(' ');
    const dirty = (await git('status', '--porcelain', '--untracked-files=no')).trim() !== '';
    const date = new Date(Number(time) * 1000).toISOString().replace('.000Z', 'Z');
    return { version, commit: `${commit}${dirty ? '-dirty' : ''}`, date };
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    // An unpacked source archive.
    return { version, commit: 'unknown', date: '1970-01-01T00:00:00Z' };
  }
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

/** Everything that any file of the image comes from. */
function allParts(
  stamp: BuildStamp,
  packages: readonly FetchedPackage[],
  portmapPart: Portmap,
  npmFolders: readonly string[],
): readonly Part[] {
  return [
    ...packages.map(debianPart),
    ...npmParts(npmFolders),
    {
      name: ownOrigin,
      version: stamp.version,
      license: 'Apache-2.0',
      comment: `commit ${stamp.commit}; the agent, its command line and its CNI plugin (statically linked with the C library of the machine that built it)`,
    },
    {
      name: 'node',
      version: process.versions.node,
      license: 'MIT',
      licenseComment: 'and the licences of the libraries in it: usr/share/doc/node/LICENSE',
      purl: `pkg:npm/node-linux-${process.arch}@${process.versions.node}`,
      downloadLocation: `https://registry.npmjs.org/node-linux-${process.arch}/-/node-linux-${process.arch}-${process.versions.node}.tgz`,
      comment: 'without its symbol tables',
    },
    {
      name: 'portmap',
      version: portmapPart.version,
      license: 'Apache-2.0',
      purl: portmapPart.purl,
      sha256: sha256(portmapPart.content),
      comment: portmapPart.from,
    },
  ];
}

function debianPart(one: FetchedPackage): Part {
  const copyright = one.entries.find(({ path: name }) => name.endsWith('/copyright'));
  const licence = copyright?.type === 'file' ? debianLicence(Buffer.from(copyright.content).toString()) : {};
  return {
    name: one.name,
    version: one.version,
    purl: `pkg:deb/debian/${one.name}@${encodeURIComponent(one.version)}?distro=bookworm`,
    supplier: one.maintainer,
    sha256: one.sha256,
    ...(licence.expression === undefined ? {} : { license: licence.expression }),
    ...(licence.comment === undefined ? {} : { licenseComment: licence.comment }),
    comment: `from source package ${one.source}`,
  };
}

/** Every library that a program of the image names is in the image. @throws ImageError CONTENT */
function checkLibraries(entries: readonly Entry[]): void {
  const there = new Set(entries.map(({ path: name }) => path.basename(name)));
  for (const entry of entries) {
    if (entry.type !== 'file') continue;
    const absent = neededLibraries(entry.content)?.find((name) => !there.has(name));
    if (absent === undefined) continue;
    const text = `${entry.path} (of ${entry.origin}) needs ${absent}, which is not in the image: add its package to the table, or take the file out`;
    throw new ImageError(text, { code: 'CONTENT', path: entry.path });
  }
}
