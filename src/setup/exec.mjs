/** Child processes of the set-up. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { say } from './say.mjs';

/** Root's PATH often lacks the sbin folders, where half of the network tools are. */
export const searchPath = [
  ...new Set([...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']),
].filter(Boolean);

/** @param {string} command @returns {string | undefined} the file that would run. */
export function which(command) {
  for (const folder of searchPath) {
    const file = path.join(folder, command);
    try {
      fs.accessSync(file, fs.constants.X_OK);
      if (fs.statSync(file).isFile()) return file;
    } catch (error) {
      if (error.code !== 'ENOENT' && error.code !== 'EACCES' && error.code !== 'ENOTDIR') throw error;
    }
  }
  return undefined;
}

const stillBusyMsDefault = 2_000;
const outputMaxBytes = 1 << 20;

/**
 * Runs a command to its end. A line every 2 s (or `stillBusyMs`) says that it is still at work.
 * @param {string} command @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, what?: string, stillBusyMs?: number }} options
 * @returns {Promise<{ code: number, output: string }>} `output` holds the end of stdout and stderr.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const started = Date.now();
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...process.env, PATH: searchPath.join(':'), ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const keep = (/** @type {Buffer} */ chunk) => {
      output = (output + chunk).slice(-outputMaxBytes);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const ticker = setInterval(() => {
      say(`  ... ${options.what ?? command}: ${Math.round((Date.now() - started) / 1000)} s`);
    }, options.stillBusyMs ?? stillBusyMsDefault);
    child.on('error', (error) => {
      clearInterval(ticker);
      reject(error);
    });
    child.on('close', (code) => {
      clearInterval(ticker);
      resolve({ code: code ?? 1, output });
    });
  });
}
