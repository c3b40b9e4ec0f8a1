/**
 * The parts of the Helm chart that follow from something else: objects from the parts of the manifests, definitions from deploy/crds, the
 * schema of `config` from the agent's options. By hand are values.yaml, the helpers, and the templates in which nothing is shared.
 *
 * Objects are taken over as text, each value in its place; a place that is not there any more ends this, rather than a chart
 * that silently ignores a value.
 */
import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { agentOptions, type OptionName, optionNames } from '#config';

export const chartFolder = path.join(import.meta.dirname, '..', 'helm', 'poplin');
const parts = path.join(import.meta.dirname, 'src');
const crds = path.join(import.meta.dirname, '..', 'crds');

/** Options that the chart does not take, and why: the DaemonSet says them itself. */
export const fixedOptions: Readonly<Partial<Record<OptionName, string>>> = {
  nodeName: 'of one node',
  nodeIpv4: 'of one node: an annotation of the Node says it',
  nodeIpv6: 'of one node: an annotation of the Node says it',
  routerId: 'of one node',
  namespace: "the release's",
  kubeconfig: "the agents' service account is used",
  datastoreDir: 'of the other datastore',
  stateDir: 'a mount',
  runDir: 'a mount',
  apiSocket: 'in a mount',
  cniSocket: 'in a mount',
  cniQueue: 'in a mount',
  xtablesLockFile: 'a mount',
  procSys: 'a mount',
  cniConfDir: 'a mount: cni.confDir',
  cniBinary: 'a mount: cni.binDir',
};

/** File below the chart to its text. */
export function renderChart(version: string): Map<string, string> {
  const definitions = fs.readdirSync(crds).filter((name) => name.endsWith('.yaml'));
  return new Map([
    ['Chart.yaml', chartFile(version)],
    ['README.md', readme()],
    ['values.schema.json', `${JSON.stringify(valuesSchema(), null, 2)}\n`],
    ['templates/namespace.yaml', `${note}{{- if .Values.namespace.create }}\n${namespace()}{{- end }}\n`],
    ...plainParts().map((name): [string, string] => [
      `templates/${name.replace(/^\d+-/, '')}`,
      `${note}${inNamespace(part(name))}`,
    ]),
    ['templates/daemonset.yaml', `${note}${daemonSet()}`],
    ...definitions.map((name): [string, string] => [
      `crd-files/${name}`,
      fs.readFileSync(path.join(crds, name), 'utf8'),
    ]),
  ]);
}

const note = '{{- /* Made by `npm run manifests` from deploy/manifests/src; change it there. */ -}}\n';

/** What is the same whatever the values, but for the namespace. */
function plainParts(): string[] {
  const others = ['10-namespace.yaml', '40-config.yaml', '50-daemonset.yaml'];
  return fs.readdirSync(parts).filter((name) => !name.startsWith('own-') && !others.includes(name));
}

function part(name: string): string {
  return fs.readFileSync(path.join(parts, name), 'utf8');
}

function chartFile(version: string): string {
  return `# Made by \`npm run manifests\`.
apiVersion: v2
name: poplin
description: "Routed pod networking for Kubernetes: BGP, routes, network policy and CNI in one agent per node"
type: application
version: ${version}
appVersion: ${JSON.stringify(version)}
kubeVersion: ">=1.30.0-0"
`;
}

type Replacement = readonly [from: string, to: string, times?: number];

function replaced(text: string, replacements: readonly Replacement[]): string {
  let out = text;
  for (const [from, to, times = 1] of replacements) {
    const pieces = out.split(from);
    if (pieces.length !== times + 1) {
      const found = `found ${pieces.length - 1} times instead of ${times}`;
      throw new Error(
        `the chart's values have no place any more: ${JSON.stringify(from)} is ${found}; see deploy/manifests/chart.ts`,
      );
    }
    out = pieces.join(to);
  }
  return out;
}

function inNamespace(text: string): string {
  return text.replaceAll('poplin-system', '{{ .Release.Namespace }}');
}

function namespace(): string {
  return replaced(part('10-namespace.yaml'), [['name: poplin-system', 'name: {{ .Release.Namespace }}']]);
}

const yaml = (value: string, indent: number): string => `{{- toYaml .Values.${value} | nindent ${indent} }}`;

function daemonSet(): string {
  const annotations = 'annotations: { kubectl.kubernetes.io/default-container: agent }';
  return replaced(inNamespace(part('50-daemonset.yaml')), [
    ['image: @IMAGE@', 'image: {{ include "poplin.image" . | quote }}', 2],
    ['imagePullPolicy: IfNotPresent', 'imagePullPolicy: {{ .Values.image.pullPolicy }}', 2],
    [
      'updateStrategy:\n    type: RollingUpdate\n    rollingUpdate: { maxUnavailable: 1 }\n',
      `updateStrategy:\n    ${yaml('updateStrategy', 4)}\n`,
    ],
    [
      `      ${annotations}\n`,
      `      annotations:
        kubectl.kubernetes.io/default-container: agent
        {{- if .Values.restartOnConfigChange }}
        poplin.dev/config: {{ include "poplin.config" . | sha256sum }}
        {{- end }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
`,
    ],
    [
      '      serviceAccountName: poplin\n      priorityClassName: system-node-critical\n',
      `      serviceAccountName: poplin
      {{- with .Values.image.pullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
`,
    ],
    ['      tolerations:\n        - operator: Exists\n', `      tolerations:\n        ${yaml('tolerations', 8)}\n`],
    ['      nodeSelector: { kubernetes.io/os: linux }\n', `      nodeSelector:\n        ${yaml('nodeSelector', 8)}\n`],
    [
      '          resources:\n            requests: { cpu: 50m, memory: 128Mi }\n',
      `          resources:\n            ${yaml('resources', 12)}\n`,
    ],
    [
      'httpGet: { host: 127.0.0.1, port: 9179,',
      'httpGet: { host: {{ include "poplin.probeHost" . }}, port: {{ include "poplin.probePort" . }},',
      3,
    ],
    ['hostPath: { path: /etc/cni/net.d,', 'hostPath: { path: {{ .Values.cni.confDir }},'],
    ['hostPath: { path: /opt/cni/bin,', 'hostPath: { path: {{ .Values.cni.binDir }},'],
  ]);
}

const object = (properties: object, description?: string): object => ({
  type: 'object',
  ...(description === undefined ? {} : { description }),
  additionalProperties: false,
  properties,
});
const folder = { type: 'string', pattern: '^/' };
const text = { type: 'string' };
const flag = { type: 'boolean' };
const free = { type: 'object' };
const list = { type: 'array', items: { type: 'object' } };

function valuesSchema(): object {
  const options = optionNames.filter((name) => fixedOptions[name] === undefined);
  const config = options.map((name) => {
    const { description, schema, allowed } = agentOptions[name];
    // The chart makes agents in a cluster; the other datastore is for machines without one.
    const ours = name === 'datastore' ? { const: 'kube' } : schema;
    return [name, { description: `${description} Allowed: ${allowed}.`, ...ours }];
  });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $comment: 'Made by `npm run manifests` from src/config/options.ts and deploy/manifests/chart.ts.',
    ...object({
      image: object({
        repository: { type: 'string', minLength: 1 },
        tag: text,
        pullPolicy: { enum: ['Always', 'IfNotPresent', 'Never'] },
        pullSecrets: list,
      }),
      kubeApiServer: agentOptions.kubeApiServer.schema,
      config: object(Object.fromEntries(config), 'Options of the agent.'),
      restartOnConfigChange: flag,
      crds: object({ poplin: flag, projectcalico: flag, keep: flag }),
      namespace: object({ create: flag }),
      cni: object({ binDir: folder, confDir: folder }),
      resources: free,
      priorityClassName: text,
      tolerations: list,
      nodeSelector: free,
      podAnnotations: { type: 'object', additionalProperties: text },
      updateStrategy: free,
      // Helm's own.
      global: free,
    }),
  };
}

/** What the comments in values.yaml do not say themselves. */
const about: Readonly<Record<string, string>> = {
  'image.repository': 'Image of agent and CNI plugins',
  'image.tag': 'Tag; empty: the version of the chart',
  'image.pullPolicy': 'When the kubelet fetches it',
  'image.pullSecrets': 'Names of Secrets for a private registry',
  kubeApiServer:
    'Address of the API server that works without kube-proxy, e.g. `https://10.0.0.10:6443`; counts more than `config.kubeApiServer`',
  restartOnConfigChange: 'A change of `config` restarts the agents, one after the other',
  'crds.poplin': 'Install the definition of PoplinNode',
  'crds.projectcalico':
    'Install the definitions of projectcalico.org; `false` where a cluster has them already (`poplin preflight` tells)',
  'crds.keep': '`helm uninstall` leaves definitions and objects',
  'namespace.create': "The release's namespace is an object of the release",
  'cni.binDir': "Folder of the runtime's CNI plugins on the nodes",
  'cni.confDir': "Folder of the runtime's CNI configuration on the nodes",
  resources: 'Of the agent',
  priorityClassName: 'Of the pods',
  tolerations: 'Of the pods',
  nodeSelector: 'Of the pods',
  podAnnotations: 'Further ones',
  updateStrategy: 'Of the DaemonSet',
};

function readme(): string {
  const values = parse(fs.readFileSync(path.join(chartFolder, 'values.yaml'), 'utf8')) as Record<string, unknown>;
  const { config, ...others } = values as { readonly config: Readonly<Record<string, unknown>> };
  const isGroup = (name: string): boolean => Object.keys(about).some((key) => key.startsWith(`${name}.`));
  const entries = Object.entries(others).flatMap(([name, value]): [string, unknown][] =>
    isGroup(name) ? Object.entries(value as object).map(([key, inner]) => [`${name}.${key}`, inner]) : [[name, value]],
  );
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  const row = (name: string, value: unknown, what: string): string =>
    `| \`${name}\` | ${value === undefined ? '' : `\`${cell(JSON.stringify(value))}\``} | ${cell(what)} |\n`;
  const rows = entries.map(([name, value]) => {
    const what = about[name];
    if (what === undefined)
      throw new Error(`values.yaml has ${name}, and deploy/manifests/chart.ts does not say what it is`);
    return row(name, value, what);
  });
  const options = optionNames
    .filter((name) => fixedOptions[name] === undefined)
    .map((name) =>
      row(`config.${name}`, config[name], `${agentOptions[name].description} (${agentOptions[name].allowed})`),
    );
  const fixed = Object.entries(fixedOptions).map(([name, why]) => `\`${name}\` (${why})`);
  return `<!-- Made by \`npm run manifests\` from values.yaml, src/config/options.ts and deploy/manifests/chart.ts. -->
# Helm chart of Poplin

The same objects as \`deploy/manifests/poplin.yaml\`, under the same names: one installation a cluster.

\`\`\`sh
helm install poplin deploy/helm/poplin --namespace poplin-system --create-namespace \\
  --set kubeApiServer=https://10.0.0.10:6443
\`\`\`

Where a cluster enforces Pod Security, the namespace needs the label \`pod-security.kubernetes.io/enforce=privileged\`: agents use the network and
folders of their node. \`helm uninstall\` stops the agents and leaves what they made on the nodes, and the definitions; \`docs/uninstall.md\` says how
nodes are put back to what they were.

## Values

Unknown values and wrong ones are refused (\`values.schema.json\`).

| value | default | meaning |
|---|---|---|
${rows.join('')}
## Options of the agent

An option without a default here has the agent's: \`poplin agent --help\` prints it.

| value | default | meaning |
|---|---|---|
${options.join('')}
Not taken, for the chart says them itself or they are of one node: ${fixed.join(', ')}.
`;
}
