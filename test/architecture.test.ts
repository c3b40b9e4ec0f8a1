/** The dependency rule: reads the import statements of every source file and fails on a forbidden one. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';

const root = path.join(import.meta.dirname, '..');

/** Folder -> what of ours it may import (besides itself). `agent` and the composition roots beside it see everything. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  'src/kit': [],
  'src/model': ['#kit'],
  bgp: ['#kit'],
  policy: ['#kit', '#model'],
  'src/ipam': ['#kit', '#model'],
  felix: ['#kit', '#model'],
  'src/datastore': ['#kit', '#model'],
  'src/cni': ['#kit', '#model', '#ipam'],
  'src/sys': ['#kit'],
  'src/obs': ['#kit'],
  'src/config': ['#kit', '#model'],
  'src/api': ['#kit', '#model', '#obs'],
  'src/speaker': ['#kit', '#bgp', '#sys', '#obs'],
  'src/agent': ['*'],
  'src/cli': ['*'],
  'src/lab': ['*'],
  'src/setup': [],
  deploy: [],
  test: ['*'],
};

/** Nothing of Node but assert: sockets, timers, files and the clock are handed in. */
const pureFolders = ['bgp', 'policy', 'src/ipam', 'src/kit', 'src/model'];
const nobodyImports = new Map([['#agent', ['src/cli', 'src/lab', 'test']]]);
/** Only here may child processes, FFI and the kernel's pseudo file systems be touched. */
const ffiFolders = ['src/sys'];

function* sourceFiles(folder: string): Generator<string> {
  for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
    const name = `${folder}/${entry.name}`;
    if (entry.name === 'node_modules' || entry.name.startsWith('.')) continue;
    if (entry.isDirectory()) yield* sourceFiles(name);
    else if (/\.(ts|mjs)$/.test(entry.name)) yield name;
  }
}

function importsOf(file: string): string[] {
  const text = fs.readFileSync(path.join(root, file), 'utf8');
  const found: string[] = [];
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s(?:[^'"`;]*?\sfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/g;
  for (const match of text.matchAll(pattern)) found.push((match[1] ?? match[2])!);
  return found;
}

function folderOf(file: string): string | undefined {
  return Object.keys(mayImport)
    .filter((folder) => file.startsWith(`${folder}/`))
    .sort((a, b) => b.length - a.length)[0];
}

export function violations(file: string, imports: readonly string[]): string[] {
  const folder = folderOf(file);
  if (!folder) return [`${file}: stands in no folder of the layout`];
  const allowed = mayImport[folder]!;
  const isTest = /\.test\.ts$/.test(file);
  const out: string[] = [];
  for (const name of imports) {
    if (name.startsWith('#')) {
      if (!allowed.includes('*') && !allowed.includes(name)) out.push(`${file}: ${folder} may not import ${name}`);
      const only = nobodyImports.get(name);
      if (only && !only.includes(folder) && folder !== name.replace('#', 'src/'))
        out.push(`${file}: nobody imports ${name}`);
    } else if (name.startsWith('.')) {
      const target = path.posix.join(path.posix.dirname(file), name);
      const targetFolder = folderOf(target);
      if (targetFolder !== folder) out.push(`${file}: reaches into ${targetFolder} by path; use its index (${name})`);
    } else if (!isTest) {
      if (pureFolders.includes(folder) && name !== 'node:assert' && name !== 'node:assert/strict') {
        out.push(`${file}: ${folder} is pure and may not import ${name}`);
      }
      if (name === 'koffi' && !ffiFolders.includes(folder)) out.push(`${file}: only ${ffiFolders} uses koffi`);
      if (name === 'node:child_process' && ![...ffiFolders, 'src/setup', 'src/lab', 'test'].includes(folder)) {
        out.push(`${file}: only src/sys, src/setup, src/lab and test start processes`);
      }
    }
  }
  return out;
}

test('no file imports what the design forbids', () => {
  const folders = ['src', 'bgp', 'policy', 'felix', 'deploy', 'test'].filter((f) => fs.existsSync(path.join(root, f)));
  const all = folders.flatMap((folder) => [...sourceFiles(folder)]);
  assert.ok(all.length > 10, 'found the sources');
  assert.deepEqual(
    all.flatMap((file) => violations(file, importsOf(file))),
    [],
  );
});

test('the check itself catches each kind of violation', () => {
  assert.equal(violations('bgp/rib/x.ts', ['#model']).length, 1);
  assert.equal(violations('bgp/rib/x.ts', ['node:net']).length, 1);
  assert.equal(violations('policy/x.ts', ['#felix']).length, 1);
  assert.equal(violations('felix/x.ts', ['#sys']).length, 1);
  assert.equal(violations('felix/x.ts', ['../policy/calc/graph.ts']).length, 1);
  assert.equal(violations('src/cni/x.ts', ['#agent']).length, 2);
  assert.equal(violations('src/api/x.ts', ['koffi', 'node:child_process']).length, 2);
  assert.equal(violations('src/agent/x.ts', ['#bgp', '#felix', 'node:fs']).length, 0);
});
