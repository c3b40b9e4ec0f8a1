/**
 * `npm run image`: writes dist/image/poplin.tar and its SBOM, and says how large the parts are.
 * `npm run image -- --unpack FOLDER [--layer base|app]`: writes the files below FOLDER instead (for the Dockerfile).
 */
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type BuiltImage, buildImage } from './build.ts';
import type { FileEntry } from './entries.ts';
import { archiveName, outputFolder, sbomName } from './names.ts';
import { unpack } from './unpack.ts';

const partsListed = 10;

const log = (line: string): void => void process.stderr.write(`image: ${line}\n`);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

/** Whoever imports the archive while it is made anew gets the old one, whole. */
function writeOutput(image: BuiltImage): void {
  fs.mkdirSync(outputFolder, { recursive: true });
  const outputs: readonly (readonly [string, string | Uint8Array])[] = [
    [archiveName, image.bytes],
    [sbomName, image.sbomText],
  ];
  for (const [name, content] of outputs) {
    const full = path.join(outputFolder, name);
    fs.writeFileSync(`${full}.new`, content);
    fs.renameSync(`${full}.new`, full);
  }
}

function report(image: BuiltImage): void {
  const files = image.entries.filter((entry): entry is FileEntry => entry.type === 'file');
  const unpacked = files.reduce((sum, entry) => sum + entry.content.length, 0);
  log(`${image.reference} ${image.digest}`);
  const archive = path.join(outputFolder, archiveName);
  log(`${archive}: ${megabytes(image.bytes.length)}; unpacked ${megabytes(unpacked)} in ${files.length} files`);
  for (const layer of image.layers) {
    log(
      `layer ${layer.digest.slice(7, 19)}: ${megabytes(layer.bytes)}, compressed ${megabytes(layer.compressedBytes)}`,
    );
  }
  for (const entry of files.toSorted((a, b) => b.content.length - a.content.length).slice(0, partsListed)) {
    log(`${megabytes(entry.content.length).padStart(9)} ${entry.path}`);
  }
}

const { values } = parseArgs({ options: { unpack: { type: 'string' }, layer: { type: 'string' } } });
const image = await buildImage({ log });
if (values.unpack === undefined) {
  writeOutput(image);
  report(image);
} else {
  const { base, app } = image.layersByName;
  const layers = new Map([
    [undefined, image.entries],
    ['base', base],
    ['app', app],
  ]);
  const entries = layers.get(values.layer);
  if (!entries) throw new RangeError(`--layer ${values.layer}: there are base and app`);
  unpack(entries, values.unpack);
}
