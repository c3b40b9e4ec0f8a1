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
import { parse } from 'yaml';

const here = import.meta.dirname;

const about = (file: string, what: string): string => `# Poplin @VERSION@: ${what}
#
#   kubectl apply -f ${file}
#
# Made by \`npm run manifests\` from deploy/manifests/src and deploy/crds.
`;

/** File name to text, for the version of package.json. */
export function renderManifests(): Map<string, string> {
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

/**
 * `spec.template.spec` of the DaemonSet, as JSON: `poplin uninstall` makes the pods that clean nodes of it where the installation's own
 * DaemonSet is gone already.
 */
export function renderAgentPod(): string {
  const text = fill(read(path.join(here, 'src', '50-daemonset.yaml')));
  const { spec } = parse(text) as { readonly spec: { readonly template: { readonly spec: object } } };
  return `${JSON.stringify(spec.template.spec, null, 2)}\n`;
}

/** Where the result of `renderAgentPod` stands. */
export const agentPodFile = path.join(here, '..', '..', 'src', 'agent', 'uninstall', 'daemonset-pod.json');

function fill(text: string): string {
  const { version } = JSON.parse(read(path.join(here, '..', '..', 'package.json'))) as { version: string };
  return text.replaceAll('@IMAGE@', `localhost/poplin:${version}`).replaceAll('@VERSION@', version);
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
