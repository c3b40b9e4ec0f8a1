/** A definition as the text of its file. */
import { stringify } from 'yaml';

export function yamlOf(definition: object): string {
  const text = stringify(definition, { lineWidth: 120, aliasDuplicateObjects: false });
  return `# Written by deploy/crds/write.ts from deploy/crds/schema; change it there.\n${text}`;
}
