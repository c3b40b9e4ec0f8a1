/**
 * Where the set-up keeps what it unpacked and built, and how others find it.
 *
 * Everything lies in one cache folder that may be deleted at any time: `ID-VERSION-ARCH` below `$POPLIN_CACHE`, by default
 * `~/.cache/poplin`. What is found there stands in the manifest `tools.json`, which the lab and the tests read.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { builtFolder, kubeTargets } from './kube-targets.mjs';

/** The checkout. */
export const root = fileURLToPath(new URL('../../', import.meta.url)).replace(/\/$/, '');

/** The pinned runtime from the npm registry (Node 24), whatever Node started us. */
export const nodeBinary = path.join(root, 'node_modules', '.bin', 'node');

/** @returns {{ id: string, version: string, name: string }} what /etc/os-release says, `unknown` where it says nothing. */
export function distribution(file = '/etc/os-release') {
  /** @type {Record<string, string>} */
  const fields = {};
  if (fs.existsSync(file)) {
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
      const match = /^([A-Z_]+)="?(.*?)"?$/.exec(line);
      if (match) fields[match[1]] = match[2];
    }
  }
  return {
    id: fields.ID ?? 'unknown',
    version: fields.VERSION_ID ?? 'unknown',
    name: fields.PRETTY_NAME ?? 'an unknown distribution',
  };
}

/** @param {NodeJS.ProcessEnv} env */
export function cacheFolder(env = process.env) {
  const base = env.POPLIN_CACHE || path.join(env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'poplin');
  const { id, version } = distribution();
  return path.join(base, `${id}-${version}-${process.arch}`);
}

/** @returns {Record<string, string>} tool name -> path, as the last set-up left it; empty before the first. */
export function readManifest(folder = cacheFolder()) {
  const file = path.join(folder, 'tools.json');
  if (!fs.existsSync(file)) return {};
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return {}; // cut off by a crash: the next set-up writes it again
    throw error;
  }
}

/** Adds `tools` to the manifest. @param {Record<string, string>} tools */
export function writeManifest(tools, folder = cacheFolder()) {
  const old = readManifest(folder);
  const next = { ...old, ...tools };
  if (JSON.stringify(next) === JSON.stringify(old)) return;
  fs.mkdirSync(folder, { recursive: true });
  const temporary = path.join(folder, `tools.json.${process.pid}`);
  fs.writeFileSync(temporary, `${JSON.stringify(next, null, 2)}\n`);
  fs.renameSync(temporary, path.join(folder, 'tools.json'));
}

/**
 * Path of a tool that the set-up provides, or undefined when it never did here. `cniReference`, `containerd16`, `busybox`, `netcat`,
 * `dnsutils` and `exabgp` are folders.
 * @param {'bird' | 'birdc' | 'zebra' | 'bgpd' | 'bfdd' | 'vtysh' | 'openbgpd' | 'openbgpctl' | 'exabgp' | 'bgpdump' | 'tshark' | 'cniShim' | 'cniReference' | 'runc' | 'containerd16' | 'busybox' | 'netcat' | 'dnsutils'} name
 */
export function toolPath(name) {
  const file = readManifest()[name];
  return file && fs.existsSync(file) ? file : undefined;
}

/** The folder of the Kubernetes programs: `$KUBE_ASSETS`, else that of the cache, where the set-up builds them. */
export function kubeFolder(env = process.env) {
  return env.KUBE_ASSETS || builtFolder(root, cacheFolder(env));
}

/** Path of a Kubernetes program, e.g. `kube-apiserver` or `portmap`; undefined when it is not there. @param {string} name */
export function kubeAsset(name, env = process.env) {
  if (!Object.hasOwn(kubeTargets, name)) throw new Error(`no Kubernetes asset is named ${name}`);
  const file = path.join(kubeFolder(env), name);
  return fs.existsSync(file) ? file : undefined;
}
