/**
 * The image, from its parts to its archive:
 *
 *   Debian packages --(package-table)--> libraries, iptables, ipset --+
 *   node-linux-ARCH --strip--> node ----------------------------------+--> layer `base`: changes when Debian or Node does
 *
 *   src, bgp, policy, felix --esbuild--> bundle ----------------------+
 *   src/cni/shim --gcc--> poplin; Go module or Debian --> portmap, loopback --+--> layer `app`: changes with every commit
 *   all of them --> SBOM ---------------------------------------------+
 *
 * Nothing in it depends on the machine, the time or the order of anything: equal parts give equal bytes.
 */
import { type Archive, type ImageConfig, writeArchive } from './archive.ts';
import { type BuildStamp, bundle, bundleEntry } from './bundle.ts';
import { complete, type Entry } from './entries.ts';
import { appFolder, appLayer, baseLayer, checkLibraries } from './layers.ts';
import { imageReference } from './names.ts';
import { debianPackages } from './package-table.ts';
import { checkDependencies, fetchPackages } from './packages.ts';
import { allParts } from './parts.ts';
import { nodeEnvironment, nodeFlags, searchPath } from './runtime.ts';
import { sbom } from './sbom.ts';
import { checkoutStamp } from './stamp.ts';
import { cniShim, referencePlugins, strippedNode } from './tools.ts';

export interface BuiltImage extends Archive {
  readonly reference: string;
  readonly config: ImageConfig;
  readonly layersByName: { readonly base: readonly Entry[]; readonly app: readonly Entry[] };
  /** Both layers, sorted by path. */
  readonly entries: readonly Entry[];
  readonly sbomText: string;
}

export interface BuildOptions {
  readonly log: (line: string) => void;
  /** Default: of the checkout. */
  readonly stamp?: BuildStamp;
}

export const imageConfig = (stamp: BuildStamp): ImageConfig => ({
  Entrypoint: ['/usr/bin/node', ...nodeFlags, `/${appFolder}/${bundleEntry}`],
  Cmd: ['agent'],
  Env: [`PATH=${searchPath}`, ...Object.entries(nodeEnvironment).map(([name, value]) => `${name}=${value}`)],
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
  const packages = await fetchPackages(debianPackages, log);
  checkDependencies(packages);
  const node = await strippedNode();
  const reference = imageReference(stamp.version);
  const [bundled, plugins] = [await bundle(stamp), await referencePlugins(log)];
  const parts = allParts(stamp, packages, plugins, bundled.packageFolders);
  const document = sbom({ image: reference, version: stamp.version, created: stamp.date, parts });
  const sbomText = `${JSON.stringify(document, null, 1)}\n`;

  const base = baseLayer({ packages, node });
  const app = appLayer({ bundled, shim: cniShim(), plugins: plugins.contents, sbomText }, base);
  const entries = complete([...base, ...app]);
  checkLibraries(entries);
  const config = imageConfig(stamp);
  const archive = writeArchive({
    reference,
    created: stamp.date,
    config,
    layers: [
      { createdBy: 'npm run image: Debian packages and Node', entries: base },
      { createdBy: 'npm run image: Poplin', entries: app },
    ],
  });
  return { ...archive, reference, config, layersByName: { base, app }, entries, sbomText };
}
