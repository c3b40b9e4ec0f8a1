/** The programs of the image that are neither Debian's nor JavaScript: Node, the CNI plugin, and two of the reference plugins. */
import fs from 'node:fs';
import path from 'node:path';
import { cacheFolder, root, toolPath } from '#setup';
import { sha256 } from './archive.ts';
import { run } from './command.ts';
import { ImageError } from './errors.ts';
import { cniPluginsPackage } from './package-table.ts';
import { fetchPackages } from './packages.ts';

/** Its version stands in plugins/go.mod. */
const pluginsModule = 'github.com/containernetworking/plugins';
/** portmap for hostPort; loopback because containerd runs it for every pod, and not every node has it. Name to folder of the module. */
const pluginSources = { portmap: 'plugins/meta/portmap', loopback: 'plugins/main/loopback' } as const;

export interface ReferencePlugins {
  readonly version: string;
  /** By name. */
  readonly contents: Readonly<Record<string, Uint8Array>>;
  /** Package URL (purl). */
  readonly purl: string;
  readonly from: string;
  /** Go modules that are linked into it. */
  readonly modules: readonly GoModule[];
}

export interface GoModule {
  readonly name: string;
  readonly version: string;
}

/** The pinned Node without its symbol tables (18 MB of 127); what addons link to is in another table, which stays. */
export async function strippedNode(): Promise<Uint8Array> {
  const packageFolder = path.join(root, 'node_modules', `node-linux-${process.arch}`);
  const binary = path.join(packageFolder, 'bin', 'node');
  const { version } = JSON.parse(fs.readFileSync(path.join(packageFolder, 'package.json'), 'utf8')) as {
    version: string;
  };
  const { size } = fs.statSync(binary);
  return cached(`node-${version}-${size}`, (target) => run('strip', ['--strip-all', '-o', target, binary]));
}

/** The CNI plugin as the set-up compiled it. */
export function cniShim(): Uint8Array {
  const file = toolPath('cniShim');
  if (file !== undefined) return fs.readFileSync(file);
  throw new ImageError('the CNI plugin was never compiled here: build the image with npm run image', {
    code: 'CONTENT',
    path: 'app/cni/poplin',
  });
}

/** Built from their pinned Go module where there is a Go toolchain; otherwise Debian's, which are older. */
export async function referencePlugins(log: (line: string) => void): Promise<ReferencePlugins> {
  const source = path.join(import.meta.dirname, 'plugins');
  const required = goModules(fs.readFileSync(path.join(source, 'go.mod'), 'utf8'));
  const { version } = required.find(({ name }) => name === pluginsModule)!;
  const go = await run('go', ['version']).catch(() => undefined);
  if (go === undefined) {
    log('no Go toolchain here: the reference plugins come from Debian, in an older version');
    return debianPlugins(log);
  }
  const purl = `pkg:golang/${pluginsModule}@v${version}`;
  const lock = sha256(fs.readFileSync(path.join(source, 'go.sum'))).slice(0, 12);
  const toolchain = go.split(' ')[2] ?? 'go';
  const contents: Record<string, Uint8Array> = {};
  for (const [name, folder] of Object.entries(pluginSources)) {
    contents[name] = await cached(`${name}-${version}-${toolchain}-${lock}`, async (target) => {
      log(`building ${name} ${version} with ${toolchain}`);
      const env = { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local', GOWORK: 'off' };
      const flags = ['-trimpath', '-buildvcs=false', '-ldflags=-s -w', '-o', target];
      await run('go', ['build', ...flags, `${pluginsModule}/${folder}`], { cwd: source, env });
    });
  }
  const modules = required.filter(({ name }) => name !== pluginsModule);
  return { version, contents, purl, modules, from: `built with ${toolchain}` };
}

async function debianPlugins(log: (line: string) => void): Promise<ReferencePlugins> {
  const [fetched] = await fetchPackages([cniPluginsPackage], log);
  const contents: Record<string, Uint8Array> = {};
  for (const name of Object.keys(pluginSources)) {
    const entry = fetched?.entries.find((one) => one.path === `usr/lib/cni/${name}`);
    if (entry?.type !== 'file') {
      throw new ImageError(`${cniPluginsPackage.name} has no ${name}`, {
        code: 'PACKAGE',
        debianPackage: cniPluginsPackage.name,
      });
    }
    contents[name] = entry.content;
  }
  const { name, version } = fetched!;
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?distro=bookworm`;
  return { version, contents, purl, modules: [], from: `Debian package ${name}` };
}

/** What a go.mod requires, without the leading v of versions. */
export function goModules(text: string): readonly GoModule[] {
  return [...text.matchAll(/^(?:require )?\t?(\S+\.\S+\/\S+) v(\S+)/gm)].map(([, name, version]) => ({
    name: name!,
    version: version!,
  }));
}

/** `make` writes the file that it is given; only a finished one appears in the cache. */
async function cached(name: string, make: (target: string) => Promise<unknown>): Promise<Uint8Array> {
  const folder = path.join(cacheFolder(), 'image');
  const full = path.join(folder, name);
  if (!fs.existsSync(full)) {
    fs.mkdirSync(folder, { recursive: true });
    const work = fs.mkdtempSync(path.join(folder, '.new-'));
    try {
      const target = path.join(work, 'out');
      await make(target);
      fs.renameSync(target, full);
    } finally {
      fs.rmSync(work, { recursive: true, force: true });
    }
  }
  return fs.readFileSync(full);
}
