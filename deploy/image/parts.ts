/** The parts of an image for its SBOM. */
import { sha256 } from './archive.ts';
import type { BuildStamp } from './bundle.ts';
import { ownOrigin } from './entries.ts';
import { debianLicence } from './licenses.ts';
import { npmParts } from './npm-parts.ts';
import type { FetchedPackage } from './packages.ts';
import type { Part } from './sbom.ts';
import type { ReferencePlugins } from './tools.ts';

/** Everything that any file of the image comes from. */
export function allParts(
  stamp: BuildStamp,
  packages: readonly FetchedPackage[],
  plugins: ReferencePlugins,
  npmFolders: readonly string[],
): readonly Part[] {
  return [
    ...packages.map((one) => debianPart(one, packages)),
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
    ...Object.entries(plugins.contents).map(([name, content]) => ({
      name,
      version: plugins.version,
      license: 'Apache-2.0',
      purl: plugins.purl,
      sha256: sha256(content),
      comment: plugins.from,
    })),
    ...plugins.modules.map(({ name, version }) => ({
      name,
      version,
      purl: `pkg:golang/${name}@v${version}`,
      comment: `in ${Object.keys(plugins.contents).join(', ')}`,
    })),
  ];
}

function debianPart(one: FetchedPackage, all: readonly FetchedPackage[]): Part {
  const folder = one.entries.find(({ path: name }) => name === `usr/share/doc/${one.name}`);
  const holder = folder?.type === 'link' ? all.find(({ name }) => name === folder.target) : one;
  const copyright = holder?.entries.find(({ path: name }) => name.endsWith('/copyright'));
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
