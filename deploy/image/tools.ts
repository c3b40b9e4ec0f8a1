/** The programs of the image that are neither Debian's nor JavaScript: Node, the CNI plugin, portmap. */
import fs from 'node:fs';
import path from 'node:path';
import { cacheFolder, root, toolPath } from '#setup';
import { sha256 } from './archive.ts';
import { run } from './command.ts';
import { ImageError } from './errors.ts';
import { cniPluginsPackage } from './package-table.ts';
import { fetchPackages } from './packages.ts';

/** Version of github.com/containernetworking/plugins in portmap/go.mod. */
const portmapModule = 'github.com/containernetworking/plugins';

export interface Portmap {
  readonly version: string;
  readonly content: Uint8Array;
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

/** Built from its pinned Go module where there is a Go toolchain; otherwise Debian's, which is older. */
export async function portmap(log: (line: string) => void): Promise<Portmap> {
  const source = path.join(import.meta.dirname, 'portmap');
  const required = goModules(fs.readFileSync(path.join(source, 'go.mod'), 'utf8'));
  const { version } = required.find(({ name }) => name === portmapModule)!;
  const go = await run('go', ['version']).catch(() => undefined);
  if (go === undefined) {
    log('no Go toolchain here: portmap comes from Debian, an older version');
    return debianPortmap(log);
  }
  const purl = `pkg:golang/${portmapModule}@v${version}`;
  const lock = sha256(fs.readFileSync(path.join(source, 'go.sum'))).slice(0, 12);
  const toolchain = go.split(' ')[2] ?? 'go';
  const content = await cached(`portmap-${version}-${toolchain}-${lock}`, async (target) => {
    log(`building portmap ${version} with ${toolchain}`);
    const env = { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOTOOLCHAIN: 'local', GOWORK: 'off' };
    await run(
      'go',
      [
        'build',
        '-trimpath',
        '-buildvcs=false',
        '-ldflags=-s -w',
        '-o',
        target,
        `${portmapModule}/plugins/meta/portmap`,
      ],
      {
        cwd: source,
        env,
      },
    );
  });
  const modules = required.filter(({ name }) => name !== portmapModule);
  return { version, content, purl, modules, from: `built with ${toolchain}` };
}

async function debianPortmap(log: (line: string) => void): Promise<Portmap> {
  const [fetched] = await fetchPackages([cniPluginsPackage], log);
  const entry = fetched?.entries.find(({ path: name }) => name === 'usr/lib/cni/portmap');
  if (fetched === undefined || entry?.type !== 'file') {
    throw new ImageError(`${cniPluginsPackage.name} has no portmap`, {
      code: 'PACKAGE',
      debianPackage: cniPluginsPackage.name,
    });
  }
  const purl = `pkg:deb/debian/${fetched.name}@${encodeURIComponent(fetched.version)}?distro=bookworm`;
  return {
    version: fetched.version,
    content: entry.content,
    purl,
    modules: [],
    from: `Debian package ${fetched.name}`,
  };
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
