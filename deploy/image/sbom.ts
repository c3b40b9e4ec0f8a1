/** Software bill of materials: SPDX 2.3 as JSON. Everything in it follows from the parts, so that equal images have equal ones. */
import { sha256 } from './archive.ts';

export interface Part {
  /** Files of the image name it as their origin, where they do not come from a package in the bundle. */
  readonly name: string;
  readonly version: string;
  /** Package URL (purl) by which scanners know it. */
  readonly purl?: string;
  /** SPDX expression, or undefined where none is known for sure. */
  readonly license?: string;
  /** What is known of the licence besides. */
  readonly licenseComment?: string;
  readonly supplier?: string;
  readonly downloadLocation?: string;
  /** Of the archive that it came in. */
  readonly sha256?: string;
  readonly comment?: string;
}

export interface SbomOptions {
  /** Name of the image with its tag. */
  readonly image: string;
  readonly version: string;
  /** RFC 3339. */
  readonly created: string;
  readonly parts: readonly Part[];
}

const rootId = 'SPDXRef-image';

export function sbom(options: SbomOptions): object {
  const parts = options.parts.toSorted((a, b) => (idOf(a) < idOf(b) ? -1 : 1));
  // A document's name space must be its own: it follows from what the document says.
  const identity = sha256(Buffer.from(JSON.stringify({ ...options, parts })));
  return {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: options.image,
    documentNamespace: `https://poplin.dev/spdx/${options.version}/${identity}`,
    creationInfo: { created: options.created, creators: [`Tool: poplin-image-${options.version}`] },
    packages: [
      {
        SPDXID: rootId,
        name: options.image,
        versionInfo: options.version,
        primaryPackagePurpose: 'CONTAINER',
        downloadLocation: 'NOASSERTION',
        filesAnalyzed: false,
        licenseConcluded: 'NOASSERTION',
        licenseDeclared: 'Apache-2.0',
        copyrightText: 'NOASSERTION',
      },
      ...parts.map(describe),
    ],
    relationships: [
      { spdxElementId: 'SPDXRef-DOCUMENT', relationshipType: 'DESCRIBES', relatedSpdxElement: rootId },
      ...parts.map((part) => ({ spdxElementId: rootId, relationshipType: 'CONTAINS', relatedSpdxElement: idOf(part) })),
    ],
  };
}

function describe(part: Part): object {
  return {
    SPDXID: idOf(part),
    name: part.name,
    versionInfo: part.version,
    ...(part.supplier === undefined ? {} : { supplier: `Organization: ${part.supplier.replace(/<(.*)>$/, '($1)')}` }),
    downloadLocation: part.downloadLocation ?? 'NOASSERTION',
    filesAnalyzed: false,
    ...(part.sha256 === undefined ? {} : { checksums: [{ algorithm: 'SHA256', checksumValue: part.sha256 }] }),
    licenseConcluded: 'NOASSERTION',
    licenseDeclared: part.license ?? 'NOASSERTION',
    ...(part.licenseComment === undefined ? {} : { licenseComments: part.licenseComment }),
    copyrightText: 'NOASSERTION',
    ...(part.purl === undefined
      ? {}
      : {
          externalRefs: [{ referenceCategory: 'PACKAGE-MANAGER', referenceType: 'purl', referenceLocator: part.purl }],
        }),
    ...(part.comment === undefined ? {} : { comment: part.comment }),
  };
}

function idOf(part: Part): string {
  return `SPDXRef-${part.name.replaceAll(/[^A-Za-z0-9.-]/g, '-')}-${sha256(Buffer.from(`${part.name}@${part.version}`)).slice(0, 8)}`;
}
