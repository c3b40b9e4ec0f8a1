import fs from 'node:fs';
import path from 'node:path';

/** Version of this checkout or image, from package.json. */
export function agentVersion(): string {
  const file = path.join(import.meta.dirname, '..', '..', 'package.json');
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { readonly version: string }).version;
}
