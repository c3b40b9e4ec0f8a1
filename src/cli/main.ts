/** Entry of the command line: the process's arguments, environment and streams around `runCli`. */
import { buildInfo, describeBuild } from '#config';
import { runCli } from './program.ts';

// `poplin bgp routes | head` is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

await runCli(process.argv.slice(2), {
  terminal: { out: (text) => void process.stdout.write(text), err: (text) => void process.stderr.write(text) },
  env: process.env,
  version: describeBuild(buildInfo()),
  now: Date.now,
  setExitCode: (code) => {
    process.exitCode = code;
  },
});
