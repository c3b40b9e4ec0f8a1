/** npm dependencies: there, and the ones that package-lock.json names. */
import fs from 'node:fs';
import path from 'node:path';
import { run } from './exec.mjs';
import { nodeBinary, root } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/**
 * Why the dependencies must be installed, or undefined when they are right. npm records what it installed in
 * node_modules/.package-lock.json: that is compared with package-lock.json (2 ms), so an install made by hand counts too.
 * @param {string} folder the checkout
 */
export function staleReason(folder) {
  const wanted = readJson(path.join(folder, 'package-lock.json'));
  if (!wanted)
    throw new CannotGoOn(
      `${folder}/package-lock.json is missing or damaged: restore it (git checkout package-lock.json)`,
    );
  const found = readJson(path.join(folder, 'node_modules', '.package-lock.json'));
  if (!found) return 'they are not installed';
  for (const [name, entry] of Object.entries(wanted.packages)) {
    if (name === '' || entry.link) continue;
    const there = found.packages[name];
    if (!there && entry.optional) continue; // for another system or processor
    if (there?.version !== entry.version || there?.integrity !== entry.integrity) {
      return `${name.replace(/^.*node_modules\//, '')} should be ${entry.version}, is ${there?.version ?? 'missing'}`;
    }
    if (name.split('node_modules/').length === 2 && !fs.existsSync(path.join(folder, name))) return `${name} is gone`;
  }
  return undefined;
}

export async function ensureNpmDependencies() {
  const reason = staleReason(root) ?? (fs.existsSync(nodeBinary) ? undefined : 'the pinned Node runtime is missing');
  if (!reason) return;
  say(`npm dependencies: ${reason}; running npm ci`);
  const { code, output } = await run('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit'], {
    cwd: root,
    what: 'npm ci',
    // npm run exports its own configuration to us; a plain `npm ci` must not inherit half of it.
    env: { npm_config_loglevel: 'error', NODE_ENV: 'development' },
  });
  if (code !== 0)
    throw new CannotGoOn(
      `npm ci failed (exit ${code}); mend what it says and run the command again:\n${output.trim()}`,
    );
  if (!fs.existsSync(nodeBinary)) {
    throw new CannotGoOn(
      `no Node runtime for ${process.platform}-${process.arch} among the npm dependencies: Poplin runs on linux-x64 and linux-arm64`,
    );
  }
}
