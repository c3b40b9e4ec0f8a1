/** Writes the YAML files beside this one from `schema`. Run it after a change there: `node deploy/crds/write.ts`. */
import fs from 'node:fs';
import path from 'node:path';
import { definitions } from './schema/index.ts';
import { yamlOf } from './schema/yaml.ts';

for (const [file, definition] of definitions)
  fs.writeFileSync(path.join(import.meta.dirname, file), yamlOf(definition));
