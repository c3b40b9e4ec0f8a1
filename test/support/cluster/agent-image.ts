/** The agent's image as this checkout builds it: never one of other sources, whose verdicts would be about something else. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { root } from '#setup';
import { ClusterError } from './errors.ts';

const archive = path.join(root, 'dist', 'image', 'poplin.tar');
/** What goes into the image, or decides what does. */
const sources = ['package-lock.json', 'src', 'bgp', 'policy', 'felix', 'deploy/image'];

function newestMs(file: string): number {
  const stat = fs.statSync(file);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return fs.readdirSync(file).reduce((newest, name) => {
    // Tests are not in it.
    return /\.test\.m?ts$/.test(name) ? newest : Math.max(newest, newestMs(path.join(file, name)));
  }, stat.mtimeMs);
}

function isFresh(): boolean {
  if (!fs.existsSync(archive)) return false;
  const builtMs = fs.statSync(archive).mtimeMs;
  return sources.every((source) => newestMs(path.join(root, source)) <= builtMs);
}

/** Path of the archive; builds it (as `npm run image`) when it is missing or older than its sources. @throws ClusterError COMMAND_FAILED */
export async function agentImage(): Promise<string> {
  if (isFresh()) return archive;
  const child = spawn(process.execPath, [path.join(root, 'deploy', 'image', 'main.ts')], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code === 0 && fs.existsSync(archive)) return archive;
  throw new ClusterError(`${archive} could not be built: see what \`npm run image\` says`, {
    code: 'COMMAND_FAILED',
    command: 'npm run image',
  });
}
