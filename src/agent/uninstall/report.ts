/** The report of an uninstall for people. */
import type { NodeResult } from './clean-nodes.ts';
import { daemonSetPlace, namespacePlace, placeText, UNINSTALL_NAMESPACE } from './installation.ts';
import { isEmpty, type PlannedDefinition, type PlannedPod, type UninstallPlan } from './plan.ts';
import { foundNothing, type UninstallDone, type UninstallReport } from './uninstall.ts';

/** `table`: header and rows as columns. */
export function uninstallText(
  report: UninstallReport,
  table: (header: readonly string[], rows: readonly (readonly string[])[]) => string,
): string {
  const { plan, done } = report;
  return done ? doneText(report, done, table) : planText(plan, table);
}

type Table = Parameters<typeof uninstallText>[1];

function planText(plan: UninstallPlan, table: Table): string {
  const where = `${plan.server}, namespace ${plan.namespace}`;
  if (isEmpty(plan)) {
    return `No object of Poplin is in this cluster (${where}).\nWhether anything is left on its nodes is looked at, and removed, with --yes.\n${keptText(plan)}`;
  }
  return [
    `Poplin at ${where}, is to be uninstalled from ${count(plan.nodes.length, 'node')}.\n`,
    podsText(plan.pods, table, 'These pods lose their network until they are made anew under another CNI plugin:'),
    nodesWithoutPods(plan),
    'To be removed:\n',
    ...plannedNames(plan).map((name) => `  ${name}\n`),
    keptText(plan),
    `
Nothing was changed. To do it, one of:
  poplin uninstall --yes                       with the kubeconfig of an administrator
  kubectl apply -f uninstall-confirmed.yaml    as a Job; its report: kubectl -n ${UNINSTALL_NAMESPACE} logs -f job/poplin-uninstall-confirmed
`,
  ].join('');
}

function plannedNames(plan: UninstallPlan): string[] {
  return [
    ...(plan.daemonSet ? [placeText(daemonSetPlace(plan.namespace))] : []),
    ...plan.objects.map(placeText),
    ...plan.removedDefinitions.map(
      ({ place, objects }) => `${placeText(place)}${objects > 0 ? `, with ${count(objects, 'object')}` : ''}`,
    ),
    ...(plan.removesNamespace
      ? [`${placeText(namespacePlace(plan.namespace))}, with all that is in it (Secrets, too)`]
      : []),
    ...plan.nodes.map(({ name, unreachable }) =>
      unreachable === undefined
        ? `on node ${name}: rules, routes, interfaces of pods, CNI configuration and plugin, state; settings are put back`
        : `nothing on node ${name}, which cannot be reached: ${unreachable}`,
    ),
  ];
}

function podsText(pods: readonly PlannedPod[], table: Table, title: string): string {
  if (pods.length === 0) return '';
  const rows = pods.map(({ node, namespace, name, addresses }) => [node, namespace, name, addresses.join(', ')]);
  return `\n${title}\n${table(['NODE', 'NAMESPACE', 'POD', 'ADDRESSES'], rows)}\n`;
}

function nodesWithoutPods({ nodes, pods }: UninstallPlan): string {
  const names = nodes.filter(({ name }) => !pods.some(({ node }) => node === name)).map(({ name }) => name);
  return names.length === 0 ? '' : `No pod loses its network on: ${names.join(', ')}\n\n`;
}

function keptText({ keptDefinitions, foreignDefinitions }: UninstallPlan): string {
  const line = ({ place, objects }: PlannedDefinition): string =>
    `  ${placeText(place)}, ${count(objects, 'object')}\n`;
  const kept = keptDefinitions.map(line).join('');
  const foreign = foreignDefinitions
    .map((name) => `  CustomResourceDefinition ${name}, not installed with Poplin\n`)
    .join('');
  if (kept === '' && foreign === '') return '';
  return `Kept, with what is in them${kept === '' ? '' : ' (--crds removes those that were installed with Poplin, and every object of theirs)'}:\n${kept}${foreign}`;
}

function doneText(report: UninstallReport, done: UninstallDone, table: Table): string {
  const { plan } = report;
  if (foundNothing(report)) {
    return `Nothing of Poplin is left: no object at ${plan.server}, and nothing on ${count(done.nodes.length, 'node')}.\n${keptText(plan)}`;
  }
  return [
    table(
      ['NODE', 'RESULT', 'REMOVED'],
      done.nodes.map((result) => [result.node, result.outcome, removedText(result)]),
    ),
    ...done.nodes.flatMap(({ node, notes }) => notes.map((note) => `node ${node}: stays: ${note}\n`)),
    ...done.nodes
      .filter(({ log }) => log !== undefined && log !== '')
      .map(({ node, log }) => `\nLog of node ${node}:\n${log}\n`),
    done.removed.length > 0 ? `\nRemoved:\n${done.removed.map((name) => `  ${name}\n`).join('')}` : '',
    keptText(plan),
    podsText(plan.pods, table, 'These pods have no network now. Make them anew once another CNI plugin is in place:'),
    done.left.length > 0
      ? `\nNot everything is as it was:\n${done.left.map((what) => `  ${what}\n`).join('')}Mend it and run this again; what is done already is not done twice.\n`
      : '\nPoplin is uninstalled.\n',
  ].join('');
}

/** What `poplin cleanup` counts, in the singular. */
const wordFor: Readonly<Record<string, string>> = {
  configurations: 'CNI configuration',
  chains: 'chain',
  jumps: 'jump',
  sets: 'set',
  hostPorts: 'host port rule',
  interfaces: 'interface',
  routes: 'route',
  nexthops: 'next hop',
  plugins: 'CNI plugin',
  files: 'state file',
};

function removedText({ outcome, reason, removed, restored }: NodeResult): string {
  if (outcome === 'not reached') return reason ?? '';
  const words = [
    ...Object.entries(removed).map(([what, n]) => count(n, wordFor[what] ?? what)),
    ...(restored.length > 0 ? [`${count(restored.length, 'setting')} put back`] : []),
  ];
  return words.length === 0 ? 'nothing was there' : words.join(', ');
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? '' : 's'}`;
}
