/** Debian tools: found by the files they bring, installed by apt-get where the person may, named exactly where not. */
import fs from 'node:fs';
import { run, which } from './exec.mjs';
import { distribution } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

/**
 * @typedef {object} Tool
 * @property {string} debianPackage
 * @property {string} why what Poplin does with it, to end the sentence "needed to ..."
 * @property {readonly string[]} [commands] all must be in PATH
 * @property {readonly string[]} [anyFile] one of these must exist
 */

/** @type {Readonly<Record<string, Tool>>} */
export const tools = Object.freeze({
  ip: { debianPackage: 'iproute2', commands: ['ip'], why: 'build the network namespaces of the lab' },
  nsenter: { debianPackage: 'util-linux', commands: ['nsenter'], why: 'start agents and routers in their namespaces' },
  iptables: {
    debianPackage: 'iptables',
    commands: ['iptables', 'ip6tables', 'xtables-nft-multi', 'xtables-legacy-multi'],
    why: 'write network policy into the kernel',
  },
  ipset: { debianPackage: 'ipset', commands: ['ipset'], why: 'keep the address sets of network policies' },
  ping: { debianPackage: 'iputils-ping', commands: ['ping'], why: 'look into the lab by hand' },
  nft: { debianPackage: 'nftables', commands: ['nft'], why: 'prove with nft monitor that a restart writes no rule' },
  conntrack: { debianPackage: 'conntrack', commands: ['conntrack'], why: 'look at tracked connections in tests' },
  curl: { debianPackage: 'curl', commands: ['curl'], why: 'put it into the images of a test cluster' },
  gcc: { debianPackage: 'gcc', commands: ['gcc'], why: 'compile the CNI plugin, a small C program' },
  strip: { debianPackage: 'binutils', commands: ['strip'], why: 'make the Node of the image smaller' },
  libc: {
    debianPackage: 'libc6-dev',
    anyFile: ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/libc.a`),
    why: 'link the CNI plugin statically',
  },
});

/** @param {Tool} tool */
function present(tool) {
  return (
    (tool.commands ?? []).every((command) => which(command)) &&
    (!tool.anyFile || tool.anyFile.some((file) => fs.existsSync(file)))
  );
}

/** @param {readonly string[]} names @returns {Tool[]} */
export function missingTools(names) {
  return [...new Set(names)].map((name) => tools[name]).filter((tool) => !present(tool));
}

/** Whether apt-get has ever fetched its package lists here. */
function listsAreEmpty(folder = '/var/lib/apt/lists') {
  return !fs.existsSync(folder) || !fs.readdirSync(folder).some((name) => /_Packages(\.|$)/.test(name));
}

/** Fetches apt's package lists when there are none (a fresh container image), or in any case with `always`. */
export async function refreshLists(always = false) {
  if (!always && !listsAreEmpty()) return;
  say(`apt-get update (${always ? 'the package lists are out of date' : 'this machine has no package lists yet'})`);
  const { code, output } = await run('apt-get', ['update', '-q'], { what: 'apt-get update' });
  if (code !== 0 && listsAreEmpty()) throw new CannotGoOn(`apt-get update failed:\n${output.trim()}`);
}

export function canInstall() {
  const { id } = distribution();
  return process.getuid?.() === 0 && id === 'debian' && which('apt-get') !== undefined;
}

/** The sentence that tells a person what to install and why it was not done for them. @param {readonly Tool[]} missing */
export function installByHand(missing) {
  const packages = [...new Set(missing.map((tool) => tool.debianPackage))].sort();
  const { id, name } = distribution();
  const reason = id === 'debian' ? 'not running as root' : `this is ${name}, not Debian`;
  return [
    `missing tools, and ${reason}. Install these packages (Debian's names), then run the command again:`,
    `  ${packages.join(' ')}`,
    ...missing.map((tool) => `  - ${tool.debianPackage}: needed to ${tool.why}`),
    ...(id === 'debian' ? [`As root: apt-get install --no-install-recommends ${packages.join(' ')}`] : []),
  ].join('\n');
}

/**
 * @param {readonly string[]} names keys of `tools`
 * @param {readonly Tool[]} [others] what else is missing and cannot be fetched here: named in the same breath
 */
export async function ensureTools(names, others = []) {
  const missing = missingTools(names);
  if (missing.length === 0 && others.length === 0) return;
  if (!canInstall()) throw new CannotGoOn(installByHand([...missing, ...others]));
  for (const tool of missing) say(`installing Debian package ${tool.debianPackage}: needed to ${tool.why}`);
  const packages = [...new Set(missing.map((tool) => tool.debianPackage))];
  const install = () =>
    run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], {
      what: `apt-get install ${packages.join(' ')}`,
      env: { DEBIAN_FRONTEND: 'noninteractive' },
    });
  await refreshLists();
  let result = await install();
  if (result.code !== 0) {
    await refreshLists(true); // lists older than the mirror name versions that are gone
    result = await install();
  }
  if (result.code !== 0) throw new CannotGoOn(`apt-get install ${packages.join(' ')} failed:\n${result.output.trim()}`);
  const still = missingTools(names);
  if (still.length > 0) {
    throw new CannotGoOn(`installed, and still not found: ${still.map((tool) => tool.debianPackage).join(' ')}`);
  }
}
