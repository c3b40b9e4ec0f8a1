/**
 * `npm run bench [-- NAME ARGS...]`: test/bench/NAME.ts with its arguments, or every bench one after the other. Each prints
 * JSON on stdout; what is said on the way goes to stderr.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from './paths.mjs';

const folder = path.join(root, 'test', 'bench');
const names = fs
  .readdirSync(folder, { withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
  .map((entry) => entry.name.slice(0, -'.ts'.length))
  .sort();
const [wanted, ...args] = process.argv.slice(2);
if (wanted !== undefined && !names.includes(wanted)) {
  process.stderr.write(`no bench named ${wanted}; there are: ${names.join(', ')}\n`);
  process.exit(2);
}
for (const name of wanted === undefined ? names : [wanted]) {
  process.stderr.write(`== ${name}\n`);
  const child = spawn(process.execPath, [path.join(folder, `${name}.ts`), ...args], { cwd: root, stdio: 'inherit' });
  const code = await new Promise((resolve) => child.on('close', (exitCode) => resolve(exitCode ?? 1)));
  if (code !== 0) process.exitCode = 1;
}
