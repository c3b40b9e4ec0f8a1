/**
 * Debian packages as apt delivers them (it checks their signatures), kept in the cache by name and version, and read without being
 * installed or unpacked on this machine.
 */
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '#setup';
import { sha256 } from './archive.ts';
import { run } from './command.ts';
import { type Entry, file, link } from './entries.ts';
import { ImageError } from './errors.ts';
import { type DebianPackage, leftOut, matches } from './package-table.ts';
import { readTar } from './tar.ts';

export interface FetchedPackage {
  readonly name: string;
  readonly version: string;
  /** The source package, with its version where that differs. */
  readonly source: string;
  readonly maintainer: string;
  /** The .deb in the cache. */
  readonly archive: string;
  /** Of the .deb. */
  readonly sha256: string;
  /** Control fields, as dpkg writes them. */
  readonly control: string;
  /** What the image takes of it, with its copyright file. */
  readonly entries: readonly Entry[];
}

const packageBytesMax = 256 << 20;

interface Download {
  readonly fileName: string;
  readonly sha256: string;
}

/** Packages in the versions that this machine's sources offer, from the cache where they are there already. */
export async function fetchPackages(
  wanted: readonly DebianPackage[],
  log: (line: string) => void,
): Promise<readonly FetchedPackage[]> {
  const folder = path.join(cacheFolder(), 'image', 'packages');
  fs.mkdirSync(folder, { recursive: true });
  const names = wanted.map(({ name }) => name);
  const downloads = await resolve(names, log);
  const absent = names.filter((name) => !isThere(folder, downloads.get(name)!));
  if (absent.length > 0) {
    log(`downloading ${absent.join(' ')}`);
    await download(absent, folder);
  }
  return Promise.all(wanted.map((one) => readPackage(one, folder, downloads.get(one.name)!)));
}

/** Fails on a dependency that is neither there nor left out on purpose. */
export function checkDependencies(packages: readonly FetchedPackage[]): void {
  const there = new Set(packages.map(({ name }) => name));
  for (const one of packages) {
    for (const field of ['Depends', 'Pre-Depends']) {
      for (const group of (controlField(one.control, field) ?? '').split(',').filter((text) => text.trim() !== '')) {
        const names = group.split('|').map((text) => text.trim().replace(/[\s(:].*$/, ''));
        if (names.some((name) => there.has(name) || leftOut[name] !== undefined)) continue;
        const text = `${one.name} ${one.version} depends on ${names.join(' or ')}: add it to the table of packages, or leave it out there with a reason`;
        throw new ImageError(text, { code: 'PACKAGE', debianPackage: one.name });
      }
    }
  }
}

/** Name -> file name and checksum, from apt's lists; these are fetched when they are not there or too old. */
async function resolve(names: readonly string[], log: (line: string) => void): Promise<Map<string, Download>> {
  const ask = async (): Promise<Map<string, Download>> => {
    const text = await run('apt-get', ['-q', 'download', '--print-uris', ...names]);
    const found = [...text.matchAll(/^'[^']+' (\S+) \d+ SHA256:([0-9a-f]{64})$/gm)];
    return new Map(
      found.map(([, fileName, hash]) => [fileName!.split('_')[0]!, { fileName: fileName!, sha256: hash! }]),
    );
  };
  const isWhole = (found: ReadonlyMap<string, Download>): boolean => names.every((name) => found.has(name));
  const known = await ask().catch(() => new Map<string, Download>());
  if (isWhole(known)) return known;
  log('apt-get update');
  await run('apt-get', ['-q', 'update']);
  const found = await ask();
  if (isWhole(found)) return found;
  const absent = names.filter((name) => !found.has(name));
  throw new ImageError(
    `apt-get knows no ${absent.join(', ')}: the image is made of Debian 12 packages; build it there, or with the Dockerfile`,
    {
      code: 'PACKAGE',
      debianPackage: absent[0]!,
    },
  );
}

function isThere(folder: string, { fileName, sha256: expected }: Download): boolean {
  const full = path.join(folder, fileName);
  return fs.existsSync(full) && sha256(fs.readFileSync(full)) === expected;
}

/** Whole files only appear in the cache: a build that is killed leaves none behind. */
async function download(names: readonly string[], folder: string): Promise<void> {
  const work = fs.mkdtempSync(path.join(folder, '.new-'));
  try {
    // As root apt drops to its own user for downloads, who may not enter a private cache.
    const options = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    const get = (): Promise<string> => run('apt-get', [...options, '-q', 'download', ...names], { cwd: work });
    // Lists older than the mirror name versions that are gone.
    await get().catch(async () => {
      await run('apt-get', ['-q', 'update']);
      return get();
    });
    for (const name of fs.readdirSync(work)) fs.renameSync(path.join(work, name), path.join(folder, name));
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

async function readPackage(
  wanted: DebianPackage,
  folder: string,
  { fileName, sha256: hash }: Download,
): Promise<FetchedPackage> {
  const full = path.join(folder, fileName);
  const [control, tree] = await Promise.all([run('dpkg-deb', ['--field', full]), unpack(full)]);
  const field = (name: string): string => controlField(control, name) ?? '';
  // Packages of one source share a copyright file: then the folder is a link to that of another package.
  const always = [`usr/share/doc/${wanted.name}`, `usr/share/doc/${wanted.name}/copyright`];
  const used = new Set<string>();
  const entries = tree.flatMap((entry): readonly Entry[] => {
    const place = inUsr(entry.path);
    const pattern = [...always, ...wanted.take].find((one) => matches(one, place));
    if (pattern === undefined || entry.type === 'folder') return [];
    used.add(pattern);
    if (entry.type === 'link') return [link(place, entry.target, wanted.name)];
    // Programs of the image run as root: no set-user-ID bit, and nothing that only some may read.
    return [file(place, entry.content, { origin: wanted.name, mode: entry.mode & 0o111 ? 0o755 : 0o644 })];
  });
  const unused = wanted.take.find((pattern) => !used.has(pattern) && !isOfOtherMachine(pattern));
  if (unused !== undefined) {
    throw new ImageError(`${fileName} has no ${unused}: mend the table of packages`, {
      code: 'PACKAGE',
      debianPackage: wanted.name,
    });
  }
  const version = field('Version');
  const source = field('Source') || wanted.name;
  return {
    name: wanted.name,
    version,
    source,
    maintainer: field('Maintainer'),
    archive: full,
    sha256: hash,
    control: control.trim(),
    entries,
  };
}

/** Where the dynamic loader's second name is differs between machines. */
function isOfOtherMachine(pattern: string): boolean {
  return pattern === 'usr/lib64/ld-linux*' || pattern === 'usr/lib/ld-linux*';
}

function unpack(full: string): Promise<ReturnType<typeof readTar>> {
  return new Promise((resolved, reject) => {
    execFile(
      'dpkg-deb',
      ['--fsys-tarfile', full],
      { encoding: 'buffer', maxBuffer: packageBytesMax },
      (error, stdout) => {
        if (error)
          reject(
            new ImageError(
              `dpkg-deb --fsys-tarfile ${full} failed`,
              { code: 'COMMAND', command: 'dpkg-deb' },
              { cause: error },
            ),
          );
        else resolved(readTar(stdout));
      },
    );
  });
}

/** /bin, /lib, /lib64 and /sbin are links into /usr, as on every installed Debian 12. */
function inUsr(place: string): string {
  return /^(bin|sbin|lib|lib64)\//.test(place) ? `usr/${place}` : place;
}

/** A field of a control file, continuation lines included. */
export function controlField(control: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.*(?:\\n[ \\t].*)*)`, 'm').exec(control)?.[1]?.trim();
}
