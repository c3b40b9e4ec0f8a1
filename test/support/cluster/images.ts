/**
 * Container images by hand, without a registry: what the pods of a test cluster and the upstream specs name. Each is a
 * docker-archive of one layer, kept in the cache under the hash of its contents.
 *
 * agnhost gets the tools that the specs call in it (sh, curl, nc, dig, ip, getent): its upstream base image has them.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { must } from '#lab';
import { exec } from '#sys';
import { CertificateAuthority } from '../kube/x509.ts';
import { fileEntry, type TarEntry, tar } from './tar.ts';
import { imageCache, kubeBinary, setupTool } from './tools.ts';

interface Image {
  readonly file: string;
  readonly names: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command?: readonly string[];
  readonly entries: readonly TarEntry[];
}

const registry = 'registry.k8s.io';
const tests = `${registry}/e2e-test-images`;
export const imageNames = {
  pause: 'localhost/pause:1',
  agnhost: `${tests}/agnhost:2.63.0`,
  busybox: 'localhost/busybox:1',
  coredns: 'localhost/coredns:1',
} as const;

const pauseSource = path.join(import.meta.dirname, 'pause.c');
const folders: readonly TarEntry[] = ['bin', 'etc', 'tmp', 'proc', 'sys', 'dev', 'usr', 'usr/bin', 'lib'].map(
  (name) => ({ type: 'folder', name, mode: name === 'tmp' ? 0o1777 : 0o755 }),
);

/** All images of a cluster as archives for `ctr images import`; those that changed are made anew. */
export async function clusterImages(): Promise<readonly string[]> {
  fs.mkdirSync(imageCache(), { recursive: true });
  const certificate = agnhostCertificate();
  const images: readonly Image[] = [
    {
      file: 'pause',
      names: [imageNames.pause, `${registry}/pause:3.10.2`],
      entrypoint: ['/pause'],
      entries: [fileEntry('pause', await pauseBinary())],
    },
    await agnhost(certificate),
    await busybox(),
    {
      file: 'coredns',
      names: [imageNames.coredns],
      entrypoint: ['/coredns'],
      entries: [fileEntry('coredns', kubeBinary('coredns'))],
    },
  ];
  return images.map(writeImage);
}

/** The static pause program, compiled into the cache. */
export async function pauseBinary(): Promise<string> {
  const file = path.join(imageCache(), `pause-${hashOf(fs.readFileSync(pauseSource))}`);
  if (fs.existsSync(file)) return file;
  fs.mkdirSync(imageCache(), { recursive: true });
  await must('gcc', ['-static', '-Os', '-s', '-o', `${file}.new`, pauseSource]);
  fs.renameSync(`${file}.new`, file);
  return file;
}

function hashOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = crypto.createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex').slice(0, 16);
}

/** Reads the sources (a second for 150 MB) but writes only what is not there yet. */
function writeImage(image: Image): string {
  const layer = tar([...folders, ...image.entries]);
  const digest = crypto.createHash('sha256').update(layer).digest('hex');
  const config = JSON.stringify({
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    created: '2020-01-01T00:00:00Z',
    config: {
      Entrypoint: image.entrypoint,
      Cmd: image.command ?? [],
      Env: ['PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin'],
      WorkingDir: '/',
    },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digest}`] },
    history: [{ created: '2020-01-01T00:00:00Z' }],
  });
  const file = path.join(imageCache(), `${image.file}-${hashOf(config, JSON.stringify(image.names))}.tar`);
  if (fs.existsSync(file)) return file;
  const configName = `${crypto.createHash('sha256').update(config).digest('hex')}.json`;
  const manifest = [{ Config: configName, RepoTags: image.names, Layers: ['layer.tar'] }];
  const asFile = (name: string, data: Buffer): TarEntry => ({ type: 'file', name, mode: 0o644, data });
  const archive = tar([
    asFile('layer.tar', layer),
    asFile(configName, Buffer.from(config)),
    asFile('manifest.json', Buffer.from(JSON.stringify(manifest))),
  ]);
  for (const old of fs.readdirSync(imageCache()))
    if (new RegExp(`^${image.file}-[0-9a-f]{16}\\.tar$`).test(old)) fs.rmSync(path.join(imageCache(), old));
  fs.writeFileSync(`${file}.new`, archive);
  fs.renameSync(`${file}.new`, file);
  return file;
}

async function applets(leaveOut: readonly string[]): Promise<TarEntry[]> {
  const list = await must(path.join(setupTool('busybox'), 'busybox'), ['--list']);
  return list
    .split('\n')
    .filter((name) => name && name !== 'busybox' && !leaveOut.includes(name))
    .map((name) => ({ type: 'link', name: `bin/${name}`, target: 'busybox' }));
}

async function busybox(): Promise<Image> {
  const names = [imageNames.busybox, `${tests}/busybox:1.37.0-1`, `${tests}/busybox:1.36.1-1`];
  const program = fileEntry('bin/busybox', path.join(setupTool('busybox'), 'busybox'));
  return { file: 'busybox', names, entrypoint: ['/bin/sh'], entries: [program, ...(await applets([]))] };
}

async function agnhost(certificate: readonly TarEntry[]): Promise<Image> {
  const unpacked = setupTool('dnsutils');
  const programs: readonly (readonly [name: string, file: string])[] = [
    ['bash', '/usr/bin/bash'],
    ['curl', '/usr/bin/curl'],
    ['ip', '/usr/bin/ip'],
    ['ss', '/usr/bin/ss'],
    ['getent', '/usr/bin/getent'],
    ['nc', path.join(setupTool('netcat'), 'nc.openbsd')],
    ['dig', path.join(unpacked, 'bin', 'dig')],
  ];
  const libraries = await librariesOf(
    programs.map(([, file]) => file),
    path.join(unpacked, 'lib'),
  );
  return {
    file: 'agnhost',
    names: [imageNames.agnhost, `${tests}/agnhost:2.55`, `${tests}/glibc-dns-testing:2.0.0`],
    entrypoint: ['/agnhost'],
    command: ['pause'],
    entries: [
      fileEntry('agnhost', kubeBinary('agnhost')),
      { type: 'link', name: 'agnhost-2', target: 'agnhost' },
      fileEntry('bin/busybox', path.join(setupTool('busybox'), 'busybox')),
      // Not busybox as sh: it prefers its own applets, and its nc lacks the options that the specs give.
      ...(await applets(['sh', 'ash', 'bash', 'nc', 'ip', 'ss'])),
      { type: 'link', name: 'bin/sh', target: '../usr/bin/bash' },
      ...programs.map(([name, file]) => fileEntry(`usr/bin/${name}`, file)),
      ...libraries,
      fileEntry('etc/nsswitch.conf', '/etc/nsswitch.conf', 0o644),
      ...certificate,
    ],
  };
}

/** Shared libraries of `programs`, at the paths where their loader looks; those of unpacked packages beside the machine's. */
async function librariesOf(programs: readonly string[], unpackedLibraries: string): Promise<TarEntry[]> {
  const machine = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const own = path.join(unpackedLibraries, machine);
  const found = new Map<string, string>();
  for (const program of programs) {
    // A program without shared libraries makes ldd fail: there is nothing to bring.
    const { stdout } = await exec('ldd', [program], { env: { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: own } });
    for (const [file] of stdout.matchAll(/\/\S+/g)) {
      const inImage = file.startsWith(own) ? path.join('/usr/lib', machine, path.basename(file)) : file;
      found.set(inImage.replace(/^\/usr\/lib/, '/lib'), fs.realpathSync(file));
    }
  }
  return [...found].sort().map(([name, file]) => fileEntry(name.slice(1), file));
}

/** agnhost serves TLS with these files; a long-lived pair from the cache, so that the image's hash stays. */
function agnhostCertificate(): TarEntry[] {
  const [key, certificate] = ['key', 'crt'].map((end) => path.join(imageCache(), `agnhost.${end}`)) as [string, string];
  if (!fs.existsSync(certificate)) {
    const pair = new CertificateAuthority('agnhost').issue({ commonName: 'localhost', names: ['localhost'] });
    fs.writeFileSync(key, pair.key);
    fs.writeFileSync(`${certificate}.new`, pair.certificate);
    fs.renameSync(`${certificate}.new`, certificate);
  }
  return [fileEntry('localhost.crt', certificate, 0o644), fileEntry('localhost.key', key, 0o644)];
}
