/** Entry of the command line: the process's arguments, environment and streams around `runCli`. */
import fs from 'node:fs';
import path from 'node:path';
import { runCli } from './program.ts';

const packageFile = path.join(import.meta.dirname, '..', '..', 'package.json');
const { version } = JSON.parse(fs.readFileSync(packageFile, 'utf8')) as { readonly version: string };

// `poplin bgp routes | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

await runCli(process.argv.slice(2), {
  terminal: { out: (text) => void process.stdout.write(text), err: (text) => void process.stderr.write(text) },
  env: process.env,
  version,
  now: Date.now,
  setExitCode: (code) => {
    process.exitCode = code;
  },
});
