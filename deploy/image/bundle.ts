/**
 * The agent and its command line as a few ES modules, made by esbuild: what `src/cli/main.ts` imports at once is in or beside
 * poplin.mjs, what it imports later (`import()`) is in chunks that are read when they are needed, so that `poplin status`
 * pays for no agent.
 *
 * - What a module defines once is a constant, as in the sources (constants.ts).
 * - Names stay: stack traces and the names of error classes are for people. Only white space and comments go.
 * - `new Worker(new URL('./worker.ts', import.meta.url))`, or a process started by such a URL, works unbuilt and bundled alike: each file that
 *   the sources name so becomes an entry of its own beside the others, and the URL is rewritten to it.
 * - koffi's native part is a file beside the bundle; its loader, which looks for prebuilt parts of every system, is left out.
 * - The lab stays out: it builds its world from a checkout.
 */
import fs from 'node:fs';
import module from 'node:module';
import path from 'node:path';
import * as esbuild from 'esbuild';
import { root } from '#setup';
import { withConstants } from './constants.ts';

/** What `src/config/build-info.ts` reports in the image. */
export interface BuildStamp {
  readonly version: string;
  readonly commit: string;
  /** RFC 3339. */
  readonly date: string;
}

export interface BundleFile {
  /** Without folders. */
  readonly name: string;
  readonly content: Uint8Array;
}

export interface Bundle {
  readonly files: readonly BundleFile[];
  /** Folders of the npm packages that something in the bundle comes from, relative to the checkout, sorted. */
  readonly packageFolders: readonly string[];
}

export const bundleEntry = 'poplin.mjs';
const interpreter = '#!/usr/bin/node\n';
const sourceFolders = ['src', 'bgp', 'policy', 'felix'];
const workerUrl = /new URL\(\s*'(\.[^']+\.ts)',\s*import\.meta\.url\s*\)/g;

export async function bundle(stamp: BuildStamp): Promise<Bundle> {
  const workers = workerEntries();
  const results = await Promise.all([
    build(stamp, workers, 'src/cli/main.ts', path.parse(bundleEntry).name),
    ...workers.map((file) => build(stamp, workers, file, entryName(file))),
  ]);
  const files = new Map(
    results
      .flatMap(({ outputFiles }) => outputFiles)
      .map(({ path: full, contents }): [string, Uint8Array] => [path.basename(full), contents]),
  );
  for (const [name, content] of files) files.set(name, Buffer.from(withConstants(Buffer.from(content).toString())));
  files.set(bundleEntry, Buffer.concat([Buffer.from(interpreter), files.get(bundleEntry)!]));
  const native = path.join(koffiFolder(), 'koffi.node');
  files.set('koffi.node', fs.readFileSync(path.join(root, native)));
  const inputs = results.flatMap(({ metafile }) => Object.keys(metafile.inputs));
  return {
    files: [...files].map(([name, content]) => ({ name, content })).sort((a, b) => (a.name < b.name ? -1 : 1)),
    packageFolders: packageFolders([...inputs, native]),
  };
}

function build(stamp: BuildStamp, workers: readonly string[], entry: string, out: string) {
  return esbuild.build({
    absWorkingDir: root,
    entryPoints: [{ in: entry, out }],
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    outdir: 'bundle',
    outExtension: { '.js': '.mjs' },
    entryNames: '[name]',
    chunkNames: '[name]-[hash]',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    // As a string: an object would become a module that every other one has to wait for.
    define: { POPLIN_BUILD: JSON.stringify(JSON.stringify(stamp)) },
    // CommonJS packages in the bundle ask for Node's own modules by require.
    banner: { js: "import{createRequire as nodeRequire}from'node:module';const require=nodeRequire(import.meta.url);" },
    plugins: [
      withoutUnused,
      workerUrls(workers),
      builtinModules,
      commonJsByName,
      clientNodeByPart,
      nativeKoffi,
      withoutLab,
    ],
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
}

/** Files that the sources start by URL, relative to the checkout. */
function workerEntries(): readonly string[] {
  const found = new Set<string>();
  for (const folder of sourceFolders) {
    for (const name of fs.readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })) {
      const file = path.posix.join(folder, name);
      if (!file.endsWith('.ts') || file.endsWith('.test.ts') || file.startsWith('src/lab/')) continue;
      for (const [, target] of fs.readFileSync(path.join(root, file), 'utf8').matchAll(workerUrl)) {
        found.add(path.posix.join(path.posix.dirname(file), target!));
      }
    }
  }
  return [...found].sort();
}

/** `src/speaker/worker.ts` -> `speaker-worker`. */
function entryName(file: string): string {
  return file
    .replace(/^src\//, '')
    .replace(/\.ts$/, '')
    .replaceAll('/', '-');
}

/** Every output is in one folder, so what was beside the source is beside the output under its entry's name. */
function workerUrls(workers: readonly string[]): esbuild.Plugin {
  return {
    name: 'worker-urls',
    setup(build) {
      build.onLoad({ filter: /\.ts$/ }, ({ path: full }) => {
        const text = fs.readFileSync(full, 'utf8');
        if (text.search(workerUrl) < 0) return undefined;
        const contents = text.replaceAll(workerUrl, (whole, target: string) => {
          const file = path.relative(root, path.join(path.dirname(full), target));
          return workers.includes(file) ? `new URL('./${entryName(file)}.mjs', import.meta.url)` : whole;
        });
        return { contents, loader: 'ts' };
      });
    },
  };
}

/**
 * Node's own modules without the wrapper that an import statement gets: that one reads every export once, and so loads undici (through
 * http.WebSocket) and others that nothing uses: 15 ms and 3 MB at the start.
 */
const builtinModules: esbuild.Plugin = {
  name: 'builtin-modules',
  setup(build) {
    const names = new Set(module.builtinModules.flatMap((name) => [name, `node:${name}`]));
    build.onResolve({ filter: /^[a-z_:/0-9]+$/, namespace: 'file' }, ({ path: name, kind }) => {
      if (!names.has(name) || !kind.startsWith('import')) return undefined;
      return { path: name, namespace: 'builtin', sideEffects: false };
    });
    build.onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(name)});`,
      loader: 'js',
    }));
  },
};

/**
 * `const { stringify } = await import('yaml')`: Node finds the names of a CommonJS package by reading it, esbuild gives its chunk a default
 * export only. So the names are taken from Node, while the bundle is made.
 */
const commonJsByName: esbuild.Plugin = {
  name: 'commonjs-by-name',
  setup(build) {
    build.onResolve({ filter: /^[a-z@]/ }, async ({ path: name, kind }) => {
      if (kind !== 'dynamic-import' || name === 'koffi' || module.isBuiltin(name)) return undefined;
      const names = Object.keys(await import(name));
      return names.includes('module.exports') ? { path: name, namespace: 'commonjs', pluginData: names } : undefined;
    });
    build.onLoad({ filter: /.*/, namespace: 'commonjs' }, ({ path: name, pluginData }) => {
      const names = (pluginData as readonly string[]).filter((one) => /^\w+$/.test(one) && one !== 'default');
      const contents = `import * as all from ${JSON.stringify(name)}; export const { ${names.join(', ')} } = all; export default all.default;`;
      return { contents, resolveDir: root };
    });
  },
};

/** client-node has 6 MB of generated API types, of which its credentials use nothing; it does not say that they may be left out. */
const clientNodeByPart: esbuild.Plugin = {
  name: 'client-node-by-part',
  setup(build) {
    build.onResolve({ filter: /^\./ }, async ({ path: name, kind, importer, resolveDir, pluginData }) => {
      if (pluginData === 'resolved' || !importer.includes('/node_modules/@kubernetes/client-node/')) return undefined;
      const found = await build.resolve(name, { kind, importer, resolveDir, pluginData: 'resolved' });
      return { ...found, sideEffects: false };
    });
  },
};

/**
 * What packages load at once for what nobody here asks of them, by who asks: fastify's compilers of schemas (see src/api/bare-app.ts), its requests
 * without a socket for tests, and TLS; prom-client's way to push. 430 kB of code, and with Node's https, http2 and zlib 10 MB at rest.
 */
const leftOut: readonly { readonly of: string; readonly names: RegExp }[] = [
  {
    of: 'fastify',
    names: /^(@fastify\/(ajv-compiler|fast-json-stringify-compiler)|light-my-request|node:https|node:http2)$/,
  },
  { of: 'prom-client', names: /\/pushgateway$/ },
];

const withoutUnused: esbuild.Plugin = {
  name: 'without-unused',
  setup(build) {
    for (const { of, names } of leftOut) {
      build.onResolve({ filter: names }, ({ path: name, importer }) =>
        importer.includes(`/node_modules/${of}/`) ? { path: name, namespace: 'left-out' } : undefined,
      );
    }
    build.onLoad({ filter: /.*/, namespace: 'left-out' }, () => ({ contents: 'module.exports = undefined;' }));
  },
};

const nativeKoffi: esbuild.Plugin = {
  name: 'native-koffi',
  setup(build) {
    build.onResolve({ filter: /^koffi$/ }, () => ({ path: 'koffi', namespace: 'koffi' }));
    build.onLoad({ filter: /.*/, namespace: 'koffi' }, () => ({ contents: "export default require('./koffi.node');" }));
    build.onResolve({ filter: /^\.\/koffi\.node$/, namespace: 'koffi' }, () => ({
      path: './koffi.node',
      external: true,
    }));
  },
};

const noLab = `export function registerLabCommands(program) {
  program.command('lab').summary('not in the image: it needs a checkout').allowUnknownOption().argument('[args...]').action(() => {
    process.stderr.write('poplin: the lab is not in the image: run it from a checkout (npm run lab)\\n');
    process.exitCode = 2;
  });
}`;

const withoutLab: esbuild.Plugin = {
  name: 'without-lab',
  setup(build) {
    build.onResolve({ filter: /^#lab$/ }, () => ({ path: 'lab', namespace: 'lab' }));
    build.onLoad({ filter: /.*/, namespace: 'lab' }, () => ({ contents: noLab }));
  },
};

/** Where koffi's native part for this machine is, relative to the checkout: the glibc one, as the image has glibc. */
function koffiFolder(): string {
  return `node_modules/@koromix/koffi-linux-${process.arch}/linux_${process.arch}`;
}

function packageFolders(inputs: readonly string[]): readonly string[] {
  const folders = inputs.flatMap((input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(input) ?? []);
  return [...new Set([...folders, 'node_modules/koffi'])].sort();
}
