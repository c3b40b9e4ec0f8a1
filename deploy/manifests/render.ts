/**
 * The manifests that people apply, put together from the parts in `src/` and the definitions in `../crds`, as text: the comments in them
 * are for the reader of the installed file.
 *
 *   poplin.yaml                 everything
 *   poplin-existing-crds.yaml   without the projectcalico.org definitions, where a cluster has them already (`poplin preflight` tells)
 *   uninstall.yaml, ...         every part in `src/` that is a file of its own (`own-NAME.yaml`)
 */
import fs from 'node:fs';
import path from 'node:path';

const here = import.meta.dirname;

const about = (file: string, what: string): string => `# Poplin @VERSION@: ${what}
#
#   kubectl apply -f ${file}
#
# Made by \`npm run manifests\` from deploy/manifests/src and deploy/crds.
`;

/** File name to text, for the version of package.json. */
export function renderManifests(): Map<string, string> {
  const { version } = JSON.parse(read(path.join(here, '..', '..', 'package.json'))) as { version: string };
  const fill = (text: string): string =>
    text.replaceAll('@IMAGE@', `localhost/poplin:${version}`).replaceAll('@VERSION@', version);
  const parts = files(path.join(here, 'src'));
  const installed = parts.filter((file) => !path.basename(file).startsWith('own-'));
  const definitions = files(path.join(here, '..', 'crds'));
  const ours = definitions.filter((file) => file.endsWith('.poplin.dev.yaml'));
  const join = (file: string, what: string, texts: readonly string[]): [string, string] => [
    file,
    fill([about(file, what), ...texts.map((text) => text.trimEnd())].join('\n---\n').concat('\n')),
  ];
  return new Map([
    join('poplin.yaml', 'one agent per node', [...definitions, ...installed].map(read)),
    join(
      'poplin-existing-crds.yaml',
      'one agent per node, where the projectcalico.org kinds are served already',
      [...ours, ...installed].map(read),
    ),
    ...parts
      .filter((file) => path.basename(file).startsWith('own-'))
      .map((file): [string, string] => [path.basename(file).slice('own-'.length), fill(read(file))]),
  ]);
}

function read(file: string): string {
  return fs.readFileSync(file, 'utf8');
}

function files(folder: string): string[] {
  if (!fs.existsSync(folder)) return [];
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => path.join(folder, name));
}
