/** `npm run manifests`: writes the manifests beside this file, and what is made of them elsewhere. */
import fs from 'node:fs';
import path from 'node:path';
import { agentPodFile, renderAgentPod, renderManifests } from './render.ts';

for (const [file, text] of renderManifests()) fs.writeFileSync(path.join(import.meta.dirname, file), text);
fs.writeFileSync(agentPodFile, renderAgentPod());
