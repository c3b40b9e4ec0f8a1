/** The CNI plugin: one C file, compiled by gcc into the cache under the hash of its source. */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { ensureTools } from './debian.mjs';
import { run } from './exec.mjs';
import { cacheFolder, root, writeManifest } from './paths.mjs';
import { CannotGoOn, say } from './say.mjs';

export const shimSource = path.join(root, 'src', 'cni', 'shim', 'poplin-cni.c');
const gccArguments = ['-Os', '-static', '-s', '-Wall', '-Wextra'];

export async function ensureShim() {
  if (!fs.existsSync(shimSource)) return;
  const hash = crypto.createHash('sha256');
  hash.update(gccArguments.join(' ')).update(fs.readFileSync(shimSource));
  const folder = path.join(cacheFolder(), 'shim');
  const file = path.join(folder, hash.digest('hex').slice(0, 16), 'poplin');
  if (!fs.existsSync(file)) {
    await ensureTools(['gcc', 'libc']);
    say('compiling the CNI plugin');
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const temporary = `${file}.${process.pid}`;
    const { code, output } = await run('gcc', [...gccArguments, '-o', temporary, shimSource]);
    if (code !== 0) throw new CannotGoOn(`gcc could not compile ${shimSource}:\n${output.trim()}`);
    fs.renameSync(temporary, file);
  }
  writeManifest({ cniShim: file });
}
