/**
 * Kubernetes, etcd, containerd and their like (and GoBGP) for the tests, built from the Go modules below test/kubernetes/assets with the versions
 * and checksums that are committed there: on 2 cores about 11 minutes for all of it the first time, and nothing afterwards.
 *
 * They are no condition for the other tests: where there is no Go, or a build fails, this says so, and the tests that need them are
 * skipped by name (`needs({ kube: [...] })`).
 */
import fs from 'node:fs';
import path from 'node:path';
import { run, which } from './exec.mjs';
import { builtFile, kubeTargets, moduleFolder } from './kube-targets.mjs';
import { withLock } from './lock.mjs';
import { cacheFolder, kubeAsset, kubeFolder, root } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

/** What tests against a lone API server take. */
export const apiServerAssets = ['etcd', 'kube-apiserver', 'kubectl'];
/** The BGP peer that Debian has only in an old version. */
export const interopAssets = ['gobgp', 'gobgpd'];
export const allAssets = Object.keys(kubeTargets);

const stillBusyMs = 15_000;
/** Where Go's own archive is unpacked by its instructions, which leave PATH to the person (and sudo drops it). */
const usualGo = '/usr/local/go/bin/go';

/** @returns {number[]} e.g. [1, 26, 6]; empty where there is none. */
function versionIn(text) {
  return (
    /\b(?:go ?)(\d+)\.(\d+)(?:\.(\d+))?/
      .exec(text)
      ?.slice(1)
      .map((part) => Number(part ?? 0)) ?? []
  );
}

/** Whether Go `found` can build what wants `wanted`, both like [1, 26, 6]. */
export function goSuffices(found, wanted) {
  if (found.length === 0) return false;
  const [first] = wanted.map((part, index) => (found[index] ?? 0) - part).filter((difference) => difference !== 0);
  return first === undefined || first > 0;
}

/** The version that a module's go.mod wants. */
export function goWanted(folder) {
  return versionIn(/^go .*$/m.exec(fs.readFileSync(path.join(folder, 'go.mod'), 'utf8'))?.[0] ?? '');
}

function goCommand() {
  return which('go') ?? (fs.existsSync(usualGo) ? usualGo : undefined);
}

/** What is enough for all modules. */
function newestGoWanted() {
  const wanted = Object.values(kubeTargets).map(({ module }) => goWanted(moduleFolder(root, module)));
  return wanted.reduce((best, one) => (goSuffices(best, one) ? best : one)).join('.');
}

/**
 * Why no module can be built here, or undefined. Asked in the module's folder: a Go that may fetch its own newer version
 * (GOTOOLCHAIN=auto, the default) does so and answers with that.
 */
async function whyNoGo(go, folder) {
  const wanted = goWanted(folder);
  const how = `install Go ${newestGoWanted()} or later (https://go.dev/dl, unpacked to /usr/local/go), or name a folder with the programs by KUBE_ASSETS`;
  if (go === undefined) return `there is no Go toolchain: ${how}`;
  const { code, output } = await run(go, ['version'], { cwd: folder, what: 'go version', stillBusyMs });
  if (code === 0 && goSuffices(versionIn(output), wanted)) return undefined;
  return `Go ${wanted.join('.')} is needed, and ${go} says: ${output.trim()}; ${how}`;
}

/** @returns {Promise<string | undefined>} what went wrong */
async function build(go, name, file) {
  const target = kubeTargets[name];
  const folder = path.dirname(file);
  fs.mkdirSync(folder, { recursive: true });
  const temporary = path.join(folder, `.${name}.new`);
  const started = Date.now();
  const command = target.test ? ['test', '-c', '-vet=off'] : ['build'];
  const { code, output } = await run(
    go,
    [...command, '-mod=readonly', '-trimpath', '-buildvcs=false', ...target.flags, '-o', temporary, target.goPackage],
    {
      cwd: moduleFolder(root, target.module),
      env: { GOFLAGS: '', GOWORK: 'off', CGO_ENABLED: target.static ? '0' : '1' },
      what: `building ${name}`,
      stillBusyMs,
    },
  );
  if (code !== 0) return output.trim().slice(-2_000);
  fs.renameSync(temporary, file); // a killed build leaves no half program under its name
  say(`built ${name} (${Math.round((Date.now() - started) / 1000)} s)`);
  return undefined;
}

/** @param {string} file @param {string} link */
function linkInto(file, link) {
  fs.mkdirSync(path.dirname(link), { recursive: true });
  fs.rmSync(link, { force: true });
  fs.linkSync(file, link);
}

async function buildAll(missing) {
  const go = goCommand();
  /** @type {Map<string, string>} module -> why nothing of it can be built */
  const broken = new Map();
  const folder = kubeFolder();
  for (const name of missing) {
    const { module } = kubeTargets[name];
    const file = builtFile(root, cacheFolder(), name);
    if (!fs.existsSync(file) && !broken.has(module)) {
      const why = (await whyNoGo(go, moduleFolder(root, module))) ?? (await build(go, name, file));
      if (why !== undefined) broken.set(module, why);
    }
    if (fs.existsSync(file)) linkInto(file, path.join(folder, name));
  }
  for (const why of new Set(broken.values())) {
    const names = missing.filter(
      (name) => broken.get(kubeTargets[name].module) === why && kubeAsset(name) === undefined,
    );
    say(`skipped ${names.join(', ')}, and the tests that need them: ${why}`);
  }
}

/**
 * Builds what is missing of `names`; a look where nothing is. The lock is one of its own, so that nobody who needs none of it waits.
 * @param {readonly string[]} names keys of `kubeTargets`
 */
export async function ensureKubeAssets(names) {
  const strange = names.filter((name) => !allAssets.includes(name));
  if (strange.length > 0)
    throw new CannotGoOn(`no Kubernetes program is named ${strange.join(', ')}; there are: ${allAssets.join(', ')}`);
  const missing = () => allAssets.filter((name) => names.includes(name) && kubeAsset(name) === undefined);
  if (missing().length === 0) return;
  if (process.env.KUBE_ASSETS) {
    say(`KUBE_ASSETS=${process.env.KUBE_ASSETS} lacks ${missing().join(', ')}: the tests that need them are skipped`);
    return;
  }
  await withLock(path.join(cacheFolder(), 'kube', 'lock'), async () => {
    const toBuild = missing(); // another set-up may have built them while we waited
    if (toBuild.length === 0) return;
    say(`Kubernetes programs for the tests: ${toBuild.join(', ')}`);
    await buildAll(toBuild);
  });
}
