/**
 * The manifests that people apply, put together from the parts in `src/` and the definitions in `../crds`, as text: the comments in them
 * are for the reader of the installed file.
 *
 *   poplin.yaml                 everything
 *   poplin-existing-crds.yaml   without the projectcalico.org definitions, where a cluster has them already (`poplin preflight` tells)
 *   uninstall.yaml              a Job that lists what `poplin uninstall` would do
 *   uninstall-confirmed.yaml    one that does it
 *   NAME.yaml                   every other part in `src/` that is a file of its own (`own-NAME.yaml`)
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
      .filter((file) => path.basename(file).startsWith('own-') && path.basename(file) !== uninstallPart)
      .map((file): [string, string] => [path.basename(file).slice('own-'.length), fill(read(file))]),
    ...uninstalls.map((values): [string, string] => [
      values.FILE,
      fill(
        read(path.join(here, 'src', uninstallPart)).replaceAll(
          /@UNINSTALL_(\w+)@/g,
          (_, name: string) => values[name as keyof typeof values],
        ),
      ),
    ]),
  ]);
}

const uninstallPart = 'own-uninstall.yaml';

/** One Job for looking and one for doing: a Job's template cannot be changed, and with kubectl alone the choice of the file is the consent. */
const uninstalls = [
  {
    FILE: 'uninstall.yaml',
    JOB: 'poplin-uninstall',
    ARGS: '[uninstall]',
    ABOUT: 'lists what an uninstall would take away, and which pods lose their network. Changes nothing.',
    NOTE: 'The Job ends as failed when there is something to uninstall: `poplin uninstall` then exits with 1.',
  },
  {
    FILE: 'uninstall-confirmed.yaml',
    JOB: 'poplin-uninstall-confirmed',
    ARGS: '[uninstall, --yes]',
    ABOUT: 'UNINSTALLS IT: every node is put back to what it was, and pods lose their network.',
    NOTE: 'Look first with uninstall.yaml. To go on where it ended: kubectl -n poplin-uninstall delete job poplin-uninstall-confirmed, and apply again.',
  },
];

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
  const version = packageVersion();
  return text.replaceAll('@IMAGE@', `localhost/poplin:${version}`).replaceAll('@VERSION@', version);
}

export function packageVersion(): string {
  return (JSON.parse(read(path.join(here, '..', '..', 'package.json'))) as { readonly version: string }).version;
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
