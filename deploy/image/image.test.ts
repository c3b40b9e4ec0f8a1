/** The image as a whole: what is in the archive, that two builds are equal, and that its programs run in it and in nothing else. */
import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { root } from '#setup';
import { sha256 } from './archive.ts';
import { type BuiltImage, buildImage } from './build.ts';
import { controlField } from './packages.ts';
import { readTar } from './tar.ts';
import { imageNeeds } from './test-needs.ts';
import { unpack } from './unpack.ts';

/** It was 41 MB (agent, Node, two table tools, plugins) when this was written: whoever makes it grow should know. */
const archiveBytesMax = 45_000_000;
const unpackedBytesMax = 140_000_000;

const stamp = { version: '9.8.7', commit: '0123456789ab', date: '2026-01-02T03:04:05Z' };

suite('image', imageNeeds(), () => {
  let image: BuiltImage;
  let folder: string;
  before(async () => {
    image = await buildImage({ log: () => undefined, stamp });
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-image-'));
    unpack(image.entries, folder);
  });
  after(() => fs.rmSync(folder, { recursive: true, force: true }));

  const blobsOf = (): ReadonlyMap<string, Uint8Array> =>
    new Map(readTar(image.bytes).flatMap((entry) => (entry.type === 'file' ? [[entry.path, entry.content]] : [])));
  const json = (content: Uint8Array | undefined) => JSON.parse(Buffer.from(content ?? []).toString());

  test('the archive is an OCI layout and a docker archive under one name, every blob under its digest', () => {
    const blobs = blobsOf();
    for (const [name, content] of blobs) {
      if (name.startsWith('blobs/')) assert.equal(name, `blobs/sha256/${sha256(content)}`);
    }
    assert.deepEqual(json(blobs.get('oci-layout')), { imageLayoutVersion: '1.0.0' });
    const [descriptor] = json(blobs.get('index.json')).manifests;
    assert.equal(descriptor.annotations['io.containerd.image.name'], 'localhost/poplin:9.8.7');
    assert.equal(descriptor.digest, image.digest);
    const blobOf = (digest: string): Uint8Array | undefined => blobs.get(digest.replace('sha256:', 'blobs/sha256/'));
    const manifest = json(blobOf(descriptor.digest));
    const config = json(blobOf(manifest.config.digest));
    assert.equal(config.os, 'linux');
    assert.deepEqual(config.config.Entrypoint, [
      '/usr/bin/node',
      '--max-semi-space-size=2',
      '--heap-growing-percent=20',
      '--max-inlined-bytecode-size=800',
      '--max-inlined-bytecode-size-cumulative=2000',
      '--gc-memory-reducer-start-delay-ms=1000',
      '--external-memory-accounted-in-global-limit',
      '/app/poplin.mjs',
    ]);
    assert.deepEqual(config.config.Cmd, ['agent']);
    assert.equal(config.config.Labels['org.opencontainers.image.revision'], '0123456789ab');
    const diffIds = manifest.layers.map(
      (layer: { digest: string }) => `sha256:${sha256(zstdDecompressSync(blobOf(layer.digest) ?? new Uint8Array()))}`,
    );
    assert.deepEqual(config.rootfs.diff_ids, diffIds);
    const [docker] = json(blobs.get('manifest.json'));
    assert.deepEqual(docker.RepoTags, ['localhost/poplin:9.8.7']);
    assert.equal(docker.Config, manifest.config.digest.replace('sha256:', 'blobs/sha256/'));
  });

  test('layers hold root-owned files of time 0, sorted, each after its folder, none with a set-ID bit', () => {
    const seen = new Set<string>();
    const manifest = json(blobsOf().get(image.digest.replace('sha256:', 'blobs/sha256/')));
    for (const { digest } of manifest.layers as readonly { digest: string }[]) {
      const layer = zstdDecompressSync(blobsOf().get(digest.replace('sha256:', 'blobs/sha256/'))!);
      const entries = readTar(layer);
      const paths = entries.map((entry) => entry.path);
      assert.deepEqual(
        paths,
        paths.toSorted((a, b) => (a < b ? -1 : 1)),
      );
      for (const entry of entries) {
        assert.ok(!seen.has(entry.path), `${entry.path} once`);
        seen.add(entry.path);
        const parent = path.posix.dirname(entry.path);
        assert.ok(parent === '.' || seen.has(parent), `${entry.path} after its folder`);
        if (entry.type !== 'link') assert.equal(entry.mode & 0o6000, 0, entry.path);
        if (entry.type === 'file') assert.ok([0o644, 0o755].includes(entry.mode), entry.path);
      }
      assert.match(
        spawnSync('tar', ['-tv'], { input: layer, maxBuffer: 1 << 26, encoding: 'utf8' }).stdout,
        /root\/root .* 1970-01-01/,
      );
    }
  });

  test('what an agent needs is there, and no shell, no package manager, no document but licences', () => {
    const at = new Map(image.entries.map((entry) => [entry.path, entry]));
    for (const name of [
      'usr/bin/node',
      'usr/sbin/xtables-nft-multi',
      'usr/sbin/xtables-legacy-multi',
      'usr/sbin/ipset',
      'app/poplin.mjs',
      'app/cni/poplin',
      'app/cni/portmap',
      'app/cni/loopback',
    ]) {
      const entry = at.get(name);
      assert.ok(entry?.type === 'file' && entry.mode === 0o755, name);
    }
    for (const name of [
      'usr/bin/sh',
      'usr/bin/bash',
      'usr/bin/dpkg',
      'usr/bin/apt-get',
      'usr/share/man',
      'usr/share/locale',
      'usr/share/zoneinfo',
    ]) {
      assert.ok(!at.has(name), name);
    }
    const documents = [...at.keys()].filter(
      (name) => name.startsWith('usr/share/doc/') && at.get(name)?.type === 'file',
    );
    for (const name of documents) assert.match(name, /\/(copyright|LICENSE|third-party-licences)$/);
    for (const entry of image.entries) {
      if (entry.type === 'file' && entry.path.endsWith('.mjs'))
        assert.ok(!Buffer.from(entry.content).includes(root), entry.path);
    }
  });

  test('it is small', () => {
    const unpacked = image.entries.reduce((sum, entry) => sum + (entry.type === 'file' ? entry.content.length : 0), 0);
    assert.ok(image.bytes.length < archiveBytesMax, `archive: ${image.bytes.length} bytes`);
    assert.ok(unpacked < unpackedBytesMax, `unpacked: ${unpacked} bytes`);
  });

  test('the SBOM names everything that a file comes from, in the version that is there', () => {
    const document = JSON.parse(image.sbomText);
    assert.equal(document.spdxVersion, 'SPDX-2.3');
    const ids = new Set<string>(document.packages.map((one: { SPDXID: string }) => one.SPDXID));
    assert.equal(ids.size, document.packages.length);
    for (const id of ids) assert.match(id, /^SPDXRef-[A-Za-z0-9.-]+$/);
    for (const { spdxElementId, relatedSpdxElement } of document.relationships) {
      assert.ok(spdxElementId === 'SPDXRef-DOCUMENT' || ids.has(spdxElementId));
      assert.ok(ids.has(relatedSpdxElement));
    }
    const versions = new Map<string, string>(
      document.packages.map((one: { name: string; versionInfo: string }) => [one.name, one.versionInfo]),
    );
    for (const entry of image.entries) {
      if (entry.type === 'file') assert.ok(versions.has(entry.origin), `${entry.path} of ${entry.origin}`);
      if (entry.type === 'file' && entry.path.startsWith('var/lib/dpkg/status.d/')) {
        assert.equal(versions.get(entry.origin), controlField(Buffer.from(entry.content).toString(), 'Version'));
      }
    }
    for (const name of ['fastify', 'koffi', 'pino', 'yaml', 'commander', 'prom-client'])
      assert.ok(versions.has(name), name);
    for (const { licenseDeclared } of document.packages) assert.match(licenseDeclared, /^(NOASSERTION|[\w.+\-() ]+)$/);
    assert.equal(fs.readFileSync(path.join(folder, 'usr/share/poplin/sbom.spdx.json'), 'utf8'), image.sbomText);
  });

  test('two builds of the same parts are equal to the byte', async () => {
    const again = await buildImage({ log: () => undefined, stamp });
    assert.equal(again.digest, image.digest);
    assert.equal(sha256(again.bytes), sha256(image.bytes));
  });

  /** In the image's root, mounted read-only, with a network namespace of its own; /run/poplin and /var/lib/poplin as a pod has them. */
  function inside(script: string): SpawnSyncReturns<string> {
    const setUp = [
      'mount --make-rprivate /',
      `mount --bind ${folder} ${folder}`,
      `mount -o remount,bind,ro ${folder}`,
      `mount -t proc proc ${folder}/proc`,
      `mount --bind /dev ${folder}/dev`,
      `mount -t tmpfs run ${folder}/run`,
      `mount -t tmpfs state ${folder}/var/lib/poplin`,
      'ip link set lo up',
      `run="env -i ${image.config.Env.join(' ')} chroot ${folder}"`,
    ];
    const args = [
      '--mount',
      '--net',
      '--pid',
      '--fork',
      '--kill-child',
      'sh',
      '-eu',
      '-c',
      `${setUp.join('\n')}\n${script}`,
    ];
    return spawnSync('unshare', args, { encoding: 'utf8', timeout: 120_000 });
  }

  test('its programs run with nothing but it, and write nowhere', () => {
    const { stdout, stderr, status } = inside(`
      $run poplin --version
      $run iptables-nft --version
      $run iptables-legacy --version
      $run xtables-nft-multi ip6tables-save
      $run xtables-legacy-multi iptables-save
      $run ipset --version
      $run iptables-nft -A OUTPUT -p tcp -m multiport --dports 1,2 -m conntrack --ctstate NEW -m comment --comment c -j MARK --set-xmark 1/1
      $run iptables-nft-save -t filter
      $run poplin install-cni --dest /run/cni
      $run ipset create s hash:net
      $run iptables-legacy -A OUTPUT -m set --match-set s dst -j ACCEPT
      CNI_COMMAND=VERSION chroot ${folder} /run/cni/poplin </dev/null
    `);
    assert.equal(status, 0, stderr);
    for (const wanted of [
      /^9\.8\.7 \(commit 0123456789ab/m,
      /^iptables v[\d.]+ \(nf_tables\)$/m,
      /^iptables v[\d.]+ \(legacy\)$/m,
      /^ipset v/m,
      /--dports 1,2/,
      /installed \/run\/cni\/portmap/,
      /installed \/run\/cni\/loopback/,
      /"supportedVersions"/,
    ]) {
      assert.match(stdout, wanted);
    }
  });

  test('an agent becomes ready in it, says so to `poplin status`, and stops', () => {
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1' },
      spec: { podCIDRs: ['10.42.1.0/24'] },
      status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] },
    };
    const { stdout, stderr, status } = inside(`
      ip link add up0 type veth peer name up1
      ip addr add 192.0.2.1/24 dev up0
      ip link set up0 up
      mkdir ${folder}/run/manifests
      echo '${JSON.stringify(node)}' > ${folder}/run/manifests/node.yaml
      $run ${image.config.Entrypoint.join(' ')} agent --node-name n1 --datastore-dir /run/manifests &
      agent=$!
      tries=0
      until $run poplin status > ${folder}/run/status 2>&1 && grep -q 'AS 64512, router ID 192.0.2.1' ${folder}/run/status; do
        tries=$((tries + 1))
        if [ $tries -gt 200 ]; then cat ${folder}/run/status; exit 7; fi
        sleep 0.1
      done
      cat ${folder}/run/status
      kill $agent
      wait $agent
    `);
    assert.equal(status, 0, `${stdout}\n${stderr}`);
    assert.match(stdout, /^ready +yes$/m);
    assert.match(stdout, /version 9\.8\.7/);
    assert.match(stderr, /agent stops/);
  });
});
