/**
 * The archive for `ctr images import`: an OCI image layout, with the manifest.json of `docker save` beside it so that
 * `docker load` and `podman load` take it too. Layers are compressed with zstd: a sixth smaller than gzip and quicker to unpack
 * on a node (containerd 1.5, CRI-O 1.20 and Docker 23 read it).
 */
import crypto from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { type Entry, file } from './entries.ts';
import { machine } from './names.ts';
import { tar } from './tar.ts';

const zstdLevel = 9;

export interface Layer {
  /** What made it, for `history`. */
  readonly createdBy: string;
  readonly entries: readonly Entry[];
}

export interface ImageConfig {
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[];
  readonly Env: readonly string[];
  readonly WorkingDir: string;
  readonly Labels: Readonly<Record<string, string>>;
}

export interface ArchiveOptions {
  readonly reference: string;
  /** RFC 3339. */
  readonly created: string;
  readonly config: ImageConfig;
  readonly layers: readonly Layer[];
}

export interface Archive {
  readonly bytes: Buffer;
  /** Digest of the OCI manifest: the identity of the image. */
  readonly digest: string;
  readonly layers: readonly { readonly digest: string; readonly bytes: number; readonly compressedBytes: number }[];
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

export function writeArchive(options: ArchiveOptions): Archive {
  const blobs = new Map<string, Uint8Array>();
  const add = (mediaType: string, content: Uint8Array): Descriptor => {
    const digest = sha256(content);
    blobs.set(digest, content);
    return { mediaType, digest: `sha256:${digest}`, size: content.length };
  };
  const layers = options.layers.map(({ entries }) => {
    const plain = tar(entries);
    const compressed = zstdCompressSync(plain, { params: { [constants.ZSTD_c_compressionLevel]: zstdLevel } });
    return {
      diffId: `sha256:${sha256(plain)}`,
      bytes: plain.length,
      descriptor: add('application/vnd.oci.image.layer.v1.tar+zstd', compressed),
    };
  });
  const config = add('application/vnd.oci.image.config.v1+json', json(imageConfig(options, layers)));
  const manifest = add(
    'application/vnd.oci.image.manifest.v1+json',
    json({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config,
      layers: layers.map((layer) => layer.descriptor),
    }),
  );
  const blobPath = (digest: string): string => `blobs/sha256/${digest.replace('sha256:', '')}`;
  const index = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [
      {
        ...manifest,
        platform: { architecture: machine.oci, os: 'linux' },
        annotations: {
          // containerd takes the first, podman and skopeo the second.
          'io.containerd.image.name': options.reference,
          'org.opencontainers.image.ref.name': options.reference,
        },
      },
    ],
  };
  const dockerManifest = [
    {
      Config: blobPath(config.digest),
      RepoTags: [options.reference],
      Layers: layers.map((layer) => blobPath(layer.descriptor.digest)),
    },
  ];
  const sortedBlobs = [...blobs].sort(([a], [b]) => (a < b ? -1 : 1));
  const bytes = tar([
    file('oci-layout', json({ imageLayoutVersion: '1.0.0' })),
    file('index.json', json(index)),
    file('manifest.json', json(dockerManifest)),
    ...sortedBlobs.map(([digest, content]) => file(blobPath(digest), content)),
  ]);
  return {
    bytes,
    digest: manifest.digest,
    layers: layers.map(({ descriptor, bytes: plain }) => ({
      digest: descriptor.digest,
      bytes: plain,
      compressedBytes: descriptor.size,
    })),
  };
}

function imageConfig(options: ArchiveOptions, layers: readonly { readonly diffId: string }[]): object {
  return {
    created: options.created,
    architecture: machine.oci,
    os: 'linux',
    config: options.config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: options.layers.map(({ createdBy }) => ({ created: options.created, created_by: createdBy })),
  };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

export function sha256(content: Uint8Array): string {
  return crypto.createHash('sha256').update(content).digest('hex');
}
