/** Which test files there are, in which groups, and which of them the words on the command line choose. */
import fs from 'node:fs';
import path from 'node:path';
import { root } from './paths.mjs';

/**
 * @typedef {object} Group
 * @property {string} name
 * @property {readonly string[]} folders
 * @property {boolean} isolated a process a file
 * @property {number} concurrency files at a time; where not isolated, processes that share the files
 * @property {number} [testTimeoutMs]
 */

/** @type {readonly Group[]} */
const groups = [
  {
    name: 'unit',
    folders: [
      'src',
      'bgp',
      'policy',
      'felix',
      'deploy',
      'test/architecture.test.ts',
      'test/documentation.test.ts',
      'test/policy',
      'test/bgp',
      'test/fuzz',
    ],
    isolated: false,
    concurrency: 2,
  },
  { name: 'kernel', folders: ['test/kernel'], isolated: true, concurrency: 2 },
  { name: 'interop', folders: ['test/interop'], isolated: true, concurrency: 2 },
  { name: 'e2e', folders: ['test/e2e'], isolated: true, concurrency: 2 },
  { name: 'kubernetes', folders: ['test/kubernetes'], isolated: true, concurrency: 3 },
  // One cluster a machine at a time.
  { name: 'cluster', folders: ['test/cluster'], isolated: true, concurrency: 1, testTimeoutMs: 900_000 },
];

/** @returns {Generator<string>} test files below `name`, in order. */
function* testFiles(name) {
  const full = path.join(root, name);
  if (!fs.existsSync(full)) return;
  if (fs.statSync(full).isFile()) {
    yield name;
    return;
  }
  for (const entry of fs.readdirSync(full, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (entry.isDirectory() && entry.name !== 'node_modules') yield* testFiles(`${name}/${entry.name}`);
    else if (/\.test\.(ts|mjs)$/.test(entry.name)) yield `${name}/${entry.name}`;
  }
}

/**
 * @param {readonly string[]} args words, of which a file's path must hold one, and `--group=NAME`
 * @returns {{ group: Group, files: string[] }[]} groups in which something is left
 */
export function chooseTests(args) {
  const words = args.filter((word) => !word.startsWith('-'));
  const only = args.find((word) => word.startsWith('--group='))?.slice('--group='.length);
  return groups
    .filter((group) => only === undefined || group.name === only)
    .map((group) => ({
      group,
      files: group.folders
        .flatMap((folder) => [...testFiles(folder)])
        .filter((file) => words.length === 0 || words.some((word) => file.includes(word))),
    }))
    .filter(({ files }) => files.length > 0);
}
