/** The CNI plugin: one C file, compiled by gcc into the cache under the hash of its source. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { run } from './exec.mjs';
import { cacheFolder, root, writeManifest } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

export const shimSource = path.join(root, 'src', 'cni', 'shim', 'poplin-cni.c');
const gccArguments = ['-Os', '-static', '-s', '-Wall', '-Wextra'];

function shimFile() {
  const hash = crypto.createHash('sha256');
  hash.update(gccArguments.join(' ')).update(fs.readFileSync(shimSource));
  return path.join(cacheFolder(), 'shim', hash.digest('hex').slice(0, 16), 'poplin');
}

/** The tools that compiling takes; none when the plugin is there. */
export function shimTools() {
  return fs.existsSync(shimFile()) ? [] : ['gcc', 'libc'];
}

/** The tools must be there. */
export async function ensureShim() {
  const file = shimFile();
  if (!fs.existsSync(file)) {
    say('compiling the CNI plugin');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const temporary = `${file}.${process.pid}`;
    const { code, output } = await run('gcc', [...gccArguments, '-o', temporary, shimSource]);
    if (code !== 0) throw new CannotGoOn(`gcc could not compile ${shimSource}:\n${output.trim()}`);
    fs.renameSync(temporary, file);
  }
  writeManifest({ cniShim: file });
}
