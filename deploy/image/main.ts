/** `npm run image`: writes dist/image/poplin.tar and its SBOM, and says how large the parts are. */
import fs from 'node:fs';
import path from 'node:path';
import { buildImage } from './build.ts';
import type { FileEntry } from './entries.ts';
import { archiveName, outputFolder, sbomName } from './names.ts';

const partsListed = 10;

const log = (line: string): void => void process.stderr.write(`image: ${line}\n`);
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const image = await buildImage({ log });
fs.mkdirSync(outputFolder, { recursive: true });
const archive = path.join(outputFolder, archiveName);
// Whoever imports it while it is made anew gets the old one, whole.
for (const [name, content] of [
  [archiveName, image.bytes],
  [sbomName, image.sbomText],
] as const) {
  const full = path.join(outputFolder, name);
  fs.writeFileSync(`${full}.new`, content);
  fs.renameSync(`${full}.new`, full);
}
const files = image.entries.filter((entry): entry is FileEntry => entry.type === 'file');
const largest = files.toSorted((a, b) => b.content.length - a.content.length).slice(0, partsListed);
const unpacked = files.reduce((sum, entry) => sum + entry.content.length, 0);
log(`${image.reference} ${image.digest}`);
log(`${archive}: ${megabytes(image.bytes.length)}; unpacked ${megabytes(unpacked)} in ${files.length} files`);
for (const layer of image.layers)
  log(`layer ${layer.digest.slice(7, 19)}: ${megabytes(layer.bytes)}, compressed ${megabytes(layer.compressedBytes)}`);
for (const entry of largest) log(`${megabytes(entry.content.length).padStart(9)} ${entry.path}`);
