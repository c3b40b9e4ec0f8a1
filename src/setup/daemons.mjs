/**
 * Daemons that the lab and the tests run (BIRD, containers' runtimes): unpacked into the cache, never installed. An installed one would start
 * itself on a user's machine, and on some distributions begin to speak BGP.
 */
import fs from 'node:fs';
import path from 'node:path';
import { refreshLists } from './debian.mjs';
import { run, which } from './exec.mjs';
import { cacheFolder, distribution, readManifest, writeManifest } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

/**
 * @typedef {object} Daemon
 * @property {string} debianPackage
 * @property {string} why
 * @property {Readonly<Record<string, string>>} files tool name -> path within the package
 */

/** @type {Readonly<Record<string, Daemon>>} */
export const daemons = Object.freeze({
  bird: {
    debianPackage: 'bird2',
    why: 'play the routers of the lab',
    files: { bird: 'usr/sbin/bird', birdc: 'usr/sbin/birdc' },
  },
  frr: {
    debianPackage: 'frr',
    why: 'play the router of the documentation that runs FRR',
    files: {
      zebra: 'usr/lib/frr/zebra',
      bgpd: 'usr/lib/frr/bgpd',
      bfdd: 'usr/lib/frr/bfdd',
      vtysh: 'usr/bin/vtysh',
    },
  },
  bgpdump: {
    debianPackage: 'bgpdump',
    why: 'read our MRT dumps with a reader that is not ours',
    files: { bgpdump: 'usr/bin/bgpdump' },
  },
  openbgpd: {
    debianPackage: 'openbgpd',
    why: 'test our BGP against it',
    files: { openbgpd: 'usr/sbin/bgpd', openbgpctl: 'usr/sbin/bgpctl' },
  },
  // Folders: Python's modules are found by PYTHONPATH; tshark's plugins and dissectors by its own.
  exabgp: {
    debianPackage: 'exabgp',
    why: 'test our BGP against it',
    files: { exabgp: 'usr/lib/python3/dist-packages' },
  },
  tshark: {
    debianPackage: 'tshark',
    why: 'read with an independent decoder what our BGP writes',
    files: { tshark: 'usr/bin/tshark' },
  },
  cniReference: {
    debianPackage: 'containernetworking-plugins',
    why: 'measure our CNI plugin against the reference ones',
    files: { cniReference: 'usr/lib/cni' },
  },
  runc: {
    debianPackage: 'runc',
    why: 'start the containers of a test cluster',
    files: { runc: 'usr/sbin/runc' },
  },
  containerd16: {
    debianPackage: 'containerd',
    why: 'run test clusters on the containerd that distributions ship as well',
    files: { containerd16: 'usr/bin' },
  },
  // Folders, not wrapped programs: these go into container images.
  busybox: { debianPackage: 'busybox-static', why: 'make the images of a test cluster', files: { busybox: 'bin' } },
  netcat: { debianPackage: 'netcat-openbsd', why: 'make the images of a test cluster', files: { netcat: 'bin' } },
  dnsutils: { debianPackage: 'bind9-dnsutils', why: 'make the images of a test cluster', files: { dnsutils: 'usr' } },
});

/** The package and those of its dependencies that this machine lacks, as `name=version`, from a dry run of apt-get. */
async function missingClosure(debianPackage) {
  const simulate = () => run('apt-get', ['-s', '-q', 'install', '--no-install-recommends', debianPackage]);
  let { code, output } = await simulate();
  if (code !== 0) {
    await refreshLists(true);
    ({ code, output } = await simulate());
  }
  if (code !== 0) throw new CannotGoOn(`apt-get cannot find ${debianPackage}:\n${output.trim()}`);
  const closure = [...output.matchAll(/^Inst (\S+)(?: \[[^\]]*\])? \((\S+)/gm)].map((m) => `${m[1]}=${m[2]}`);
  // Already installed: take the package itself from the archive all the same, so that every machine runs the cached one.
  if (!closure.some((item) => item.startsWith(`${debianPackage}=`))) closure.push(debianPackage);
  return closure.filter((item) => !/^libc6=/.test(item)); // a C library other than the machine's own cannot be mixed in
}

function libraryFolders(folder) {
  const machine = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  return [`usr/lib/${machine}`, `lib/${machine}`, 'usr/lib', `usr/lib/${machine}/frr`]
    .map((name) => path.join(folder, name))
    .filter(fs.existsSync);
}

/** A script that runs the program with the unpacked libraries; by `exec`, so that its pid is the program's. */
function writeWrapper(file, program, libraries) {
  const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  fs.writeFileSync(
    file,
    `#!/bin/sh\nLD_LIBRARY_PATH=${quoted(libraries.join(':'))}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\nexport LD_LIBRARY_PATH\nexec ${quoted(program)} "$@"\n`,
    { mode: 0o755 },
  );
}

async function unpack(name, daemon) {
  await refreshLists();
  const closure = await missingClosure(daemon.debianPackage);
  say(`unpacking ${closure.join(' ')} into the cache (not installed): needed to ${daemon.why}`);
  const base = path.join(cacheFolder(), 'daemons');
  fs.mkdirSync(base, { recursive: true });
  const work = fs.mkdtempSync(path.join(base, `.${name}-`));
  try {
    const packages = path.join(work, 'packages');
    fs.mkdirSync(packages);
    // As root apt drops to its own user for downloads, who may not enter a private cache: say so beforehand, not by a warning.
    const options = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    const { code, output } = await run('apt-get', [...options, '-q', 'download', ...closure], {
      cwd: packages,
      what: `apt-get download ${daemon.debianPackage}`,
    });
    if (code !== 0) throw new CannotGoOn(`apt-get download ${closure.join(' ')} failed:\n${output.trim()}`);
    const files = fs.readdirSync(packages).filter((file) => file.endsWith('.deb'));
    const tree = path.join(work, 'root');
    for (const file of files) {
      const result = await run('dpkg', ['-x', path.join(packages, file), tree]);
      if (result.code !== 0) throw new CannotGoOn(`dpkg -x ${file} failed:\n${result.output.trim()}`);
    }
    const own = files.find((file) => file.startsWith(`${daemon.debianPackage}_`)) ?? '';
    const version = decodeURIComponent(own.split('_')[1] ?? 'unknown').replaceAll(/[^\w.+~-]/g, '-');
    fs.rmSync(packages, { recursive: true });
    return publish(daemon, work, path.join(base, `${daemon.debianPackage}-${version}`));
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

/** Puts the finished tree where it belongs in one rename, so that no reader ever meets half of it. */
function publish(daemon, work, folder) {
  const tree = path.join(folder, 'root');
  /** @type {Record<string, string>} */
  const found = {};
  for (const [tool, file] of Object.entries(daemon.files)) {
    const inWork = path.join(work, 'root', file);
    if (!fs.existsSync(inWork)) throw new CannotGoOn(`${daemon.debianPackage} has no ${file}`);
    if (fs.statSync(inWork).isDirectory()) found[tool] = path.join(tree, file);
    else {
      const libraries = libraryFolders(path.join(work, 'root')).map((lib) => lib.replace(work, folder));
      writeWrapper(path.join(work, tool), path.join(tree, file), libraries);
      found[tool] = path.join(folder, tool);
    }
  }
  fs.rmSync(folder, { recursive: true, force: true });
  fs.renameSync(work, folder);
  return found;
}

function isKnown(daemon) {
  const known = readManifest();
  return Object.keys(daemon.files).every((tool) => known[tool] && fs.existsSync(known[tool]));
}

function mayDownload() {
  return distribution().id === 'debian' && which('apt-get') !== undefined && which('dpkg') !== undefined;
}

/** On another distribution a person may have installed the programs: then those are used. */
function inPath(daemon) {
  return Object.keys(daemon.files).every((tool) => which(tool));
}

/** Those that are missing and that only a person can bring here. @param {readonly string[]} names keys of `daemons` */
export function daemonsToInstall(names) {
  return mayDownload()
    ? []
    : names.map((name) => daemons[name]).filter((daemon) => !isKnown(daemon) && !inPath(daemon));
}

/** @param {readonly string[]} names keys of `daemons` */
export async function ensureDaemons(names) {
  for (const name of names) {
    const daemon = daemons[name];
    if (isKnown(daemon)) continue;
    if (mayDownload()) writeManifest(await unpack(name, daemon));
    else writeManifest(Object.fromEntries(Object.keys(daemon.files).map((tool) => [tool, which(tool)])));
  }
}
