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
  'src/bfd': ['#kit', '#bgp', '#sys'],
  'src/speaker': ['#kit', '#bgp', '#bfd', '#sys', '#obs'],
  'src/agent': ['*'],
  'src/cli': ['*'],
  'src/lab': ['*'],
  'src/setup': [],
  deploy: ['#kit', '#setup', '#config'],
  test: ['*'],
};

/** Nothing of Node but assert: sockets, timers, files and the clock are handed in. */
const pureFolders = ['bgp', 'policy', 'src/ipam', 'src/kit', 'src/model'];
const nobodyImports = new Map([
  ['#agent', ['src/cli', 'src/lab', 'test']],
  ['#agent/speaker', ['src/cli']],
]);
/** What `felix` may import of Node: nothing that does I/O; the kernel comes through its ports. */
const felixMayImport = ['node:assert', 'node:assert/strict', 'node:crypto', 'node:timers/promises'];
/** Globals that are a clock, a source of chance, or the process. The system's clock stands in one file. */
const impureGlobal =
  /(?<![.\w$])(?:process\.|performance\.|Date\.now\b|new Date\(\s*\)|Math\.random\b|set(?:Timeout|Interval|Immediate)\(|queueMicrotask\(|console\.|fetch\(|crypto\.|globalThis\b)/g;
const globalsAllowed = ['src/kit/clock.ts'];
/** Below these are the kernel's pseudo file systems; a path there in code is I/O that belongs to src/sys. */
const pseudoFileSystem = /['"`]\/(?:proc|sys)\//g;
const pseudoFileFolders = ['src/sys', 'src/lab', 'src/setup', 'test'];
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
      if (folder === 'felix' && name.startsWith('node:') && !felixMayImport.includes(name)) {
        out.push(`${file}: felix sees the kernel through its ports and may not import ${name}`);
      }
      if (name === 'koffi' && !ffiFolders.includes(folder)) out.push(`${file}: only ${ffiFolders} uses koffi`);
      if (
        /^(node:)?child_process$/.test(name) &&
        ![...ffiFolders, 'src/setup', 'src/lab', 'deploy', 'test'].includes(folder)
      ) {
        out.push(`${file}: only src/sys, src/setup, src/lab, deploy and test start processes`);
      }
    }
  }
  return out;
}

/** The text without comments and string bodies, so that prose does not count; template literals stay. */
function codeOf(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, (found) =>
    found.startsWith('/') ? ' ' : "''",
  );
}

/** What a file does besides importing: pure folders touch no clock, chance or process; pseudo files are read in src/sys. */
export function impurities(file: string, text: string): string[] {
  const folder = folderOf(file);
  if (!folder || /\.test\.ts$/.test(file)) return [];
  const out: string[] = [];
  if (pureFolders.includes(folder) && !globalsAllowed.includes(file)) {
    for (const [found] of codeOf(text).matchAll(impureGlobal))
      out.push(`${file}: ${folder} is pure and may not use ${found}`);
  }
  if (!pseudoFileFolders.includes(folder)) {
    const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/[^\n]*/gm, ' ');
    for (const [found] of code.matchAll(pseudoFileSystem)) out.push(`${file}: only src/sys touches ${found.slice(1)}`);
  }
  return out;
}

test('no file imports what the design forbids', () => {
  const folders = ['src', 'bgp', 'policy', 'felix', 'deploy', 'test'].filter((f) => fs.existsSync(path.join(root, f)));
  const all = folders.flatMap((folder) => [...sourceFiles(folder)]);
  assert.ok(all.length > 10, 'found the sources');
  const found = all.flatMap((file) => [
    ...violations(file, importsOf(file)),
    ...impurities(file, fs.readFileSync(path.join(root, file), 'utf8')),
  ]);
  assert.deepEqual(found, []);
});

test('the check itself catches each kind of violation', () => {
  assert.equal(violations('bgp/rib/x.ts', ['#model']).length, 1);
  assert.equal(violations('bgp/rib/x.ts', ['node:net']).length, 1);
  assert.equal(violations('policy/x.ts', ['#felix']).length, 1);
  assert.equal(violations('felix/x.ts', ['#sys']).length, 1);
  assert.equal(violations('felix/x.ts', ['../policy/calc/graph.ts']).length, 1);
  assert.equal(violations('src/cni/x.ts', ['#agent']).length, 2);
  assert.equal(violations('src/api/x.ts', ['koffi', 'node:child_process']).length, 2);
  assert.equal(violations('felix/x.ts', ['node:fs']).length, 1);
  assert.equal(violations('felix/x.ts', ['node:child_process']).length, 2);
  assert.equal(violations('felix/x.test.ts', ['node:fs']).length, 0);
  assert.equal(violations('src/agent/x.ts', ['#bgp', '#felix', 'node:fs']).length, 0);
});

test('the check of globals catches code and passes prose', () => {
  const uses = [
    'const t = Date.now();',
    'const d = new Date();',
    'setTimeout(() => go(), 5);',
    'const r = Math.random();',
    'if (process.env["X"]) go();',
    'say(performance.now());',
    'console.log(1);',
  ];
  for (const text of uses) {
    for (const folder of pureFolders) assert.equal(impurities(`${folder}/x.ts`, text).length, 1, `${folder}: ${text}`);
    assert.deepEqual(impurities('src/agent/x.ts', text), []);
  }
  assert.deepEqual(
    impurities('bgp/x.ts', "/** the process. */ // Date.now\nclock.setTimeout(f); say('process.exit');"),
    [],
  );
  assert.deepEqual(impurities('src/kit/clock.ts', 'performance.now()'), []);
  assert.equal(impurities('felix/x.ts', "files.read('/proc/sys/net')").length, 1);
  assert.deepEqual(impurities('felix/x.ts', '/** reads /proc/sys/net */ const key = "net/ipv4";'), []);
  assert.deepEqual(impurities('src/sys/x.ts', "open('/proc/self')"), []);
});
