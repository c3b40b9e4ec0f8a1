/** `npm run manifests`: writes the manifests beside this file. */
import fs from 'node:fs';
import path from 'node:path';
import { renderManifests } from './render.ts';

for (const [file, text] of renderManifests()) fs.writeFileSync(path.join(import.meta.dirname, file), text);
