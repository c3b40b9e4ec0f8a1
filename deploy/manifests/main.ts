/** `npm run manifests`: writes the manifests beside this file, and what is made of them elsewhere. */
import fs from 'node:fs';
import path from 'node:path';
import { chartFolder, renderChart } from './chart.ts';
import { agentPodFile, packageVersion, renderAgentPod, renderManifests } from './render.ts';

for (const [file, text] of renderManifests()) fs.writeFileSync(path.join(import.meta.dirname, file), text);
fs.writeFileSync(agentPodFile, renderAgentPod());
for (const [file, text] of renderChart(packageVersion())) {
  const target = path.join(chartFolder, file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, text);
}
