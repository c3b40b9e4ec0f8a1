/** Reads the `policy-suite/1` format. Unknown keys, values and names are errors, so that nothing of a suite is passed over in silence. */
import fs from 'node:fs';
import zlib from 'node:zlib';
import {
  type FlowExpectation,
  type Suite,
  type SuiteCase,
  type SuiteCluster,
  type SuiteExternal,
  type SuiteNamespace,
  type SuiteNode,
  type SuiteOperation,
  type SuitePod,
  type SuiteProbe,
  type SuiteProtocol,
  type SuiteService,
  type SuiteStep,
  type SuiteVerdict,
  suiteFamilies,
  suiteProtocols,
} from './suite.ts';

/** The file is not what a runner of `policy-suite/1` can run: nothing of it is. */
export class SuiteFormatError extends Error {}

type Json = Readonly<Record<string, unknown>>;

/** @throws SuiteFormatError naming the place of anything that is not `policy-suite/1`. */
export function loadPolicySuite(file: string): Suite {
  let text: string;
  let json: unknown;
  try {
    const bytes = fs.readFileSync(file);
    text = file.endsWith('.gz') ? zlib.gunzipSync(bytes).toString() : bytes.toString();
    json = JSON.parse(text);
  } catch (error) {
    throw new SuiteFormatError(`${file}: ${(error as Error).message}`);
  }
  return readPolicySuite(json, file);
}

/** @throws SuiteFormatError */
export function readPolicySuite(json: unknown, place: string): Suite {
  const suite = record(json, place, ['format', 'suite', 'description', 'source', 'clusters', 'cases']);
  if (suite['format'] !== 'policy-suite/1') fail(place, `format ${JSON.stringify(suite['format'])} is not known`);
  const name = text(suite['suite'], `${place}: suite`);
  if (suite['source'] !== undefined) {
    record(suite['source'], `${place}: source`, ['repository', 'paths', 'licence', 'commit']);
  }
  const clusters = new Map(
    Object.entries(plain(suite['clusters'], `${place}: clusters`)).map(([id, cluster]) => [
      id,
      readCluster(id, cluster, `${name} cluster ${id}`),
    ]),
  );
  const cases = list(suite['cases'], `${place}: cases`).map((raw, i) => readCase(raw, clusters, `${name} case ${i}`));
  const ids = new Set<string>();
  for (const { id } of cases) {
    if (ids.has(id)) fail(place, `two cases are called ${id}`);
    ids.add(id);
  }
  return { suite: name, cases };
}

function fail(place: string, what: string): never {
  throw new SuiteFormatError(`${place}: ${what}`);
}

function plain(value: unknown, place: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(place, 'is no object');
  return value as Json;
}

function record(value: unknown, place: string, known: readonly string[]): Json {
  const object = plain(value, place);
  for (const key of Object.keys(object)) {
    if (!known.includes(key)) fail(place, `unknown key ${key} (there are: ${known.join(', ')})`);
  }
  return object;
}

/** An absent list is empty. */
function list(value: unknown, place: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) fail(place, 'is no list');
  return value as unknown[];
}

function text(value: unknown, place: string): string {
  if (typeof value !== 'string') fail(place, `${JSON.stringify(value)} is no text`);
  return value as string;
}

function oneOf<T extends string>(value: unknown, known: readonly T[], place: string): T {
  if (!known.includes(value as T)) fail(place, `${JSON.stringify(value)} is none of ${known.join(', ')}`);
  return value as T;
}

function portNumber(value: unknown, place: string): number {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > 65535) {
    fail(place, `${JSON.stringify(value)} is no port`);
  }
  return value as number;
}

/** Checks a protocol and a port where they stand. */
function checkPort(port: Json, place: string): void {
  oneOf(port['protocol'], suiteProtocols, `${place}: protocol`);
  portNumber(port['port'], `${place}: port`);
}

function readCluster(id: string, raw: unknown, place: string): SuiteCluster {
  const cluster = record(raw, place, ['nodes', 'namespaces', 'pods', 'services', 'externals']);
  const entries = (key: string): readonly unknown[] => list(cluster[key], `${place} ${key}`);
  for (const node of entries('nodes')) record(node, `${place} node`, ['name', 'ips', 'labels']);
  for (const namespace of entries('namespaces')) record(namespace, `${place} namespace`, ['name', 'labels']);
  for (const pod of entries('pods')) checkPod(pod, `${place} pod`);
  for (const service of entries('services')) checkService(service, `${place} service`);
  for (const external of entries('externals')) record(external, `${place} external`, ['name', 'ips', 'names', 'note']);
  return {
    id,
    nodes: entries('nodes') as SuiteNode[],
    namespaces: entries('namespaces') as SuiteNamespace[],
    pods: entries('pods') as SuitePod[],
    services: entries('services') as SuiteService[],
    externals: entries('externals') as SuiteExternal[],
  };
}

const podKeys = [
  ...['namespace', 'name', 'node', 'ips', 'labels', 'ports', 'serves'],
  ...['hostNetwork', 'phase', 'terminating', 'serviceAccount'],
];
const phases = ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'];

function checkPod(raw: unknown, place: string): void {
  const pod = record(raw, place, podKeys);
  const named = `${place} ${text(pod['namespace'], place)}/${text(pod['name'], place)}`;
  for (const port of list(pod['ports'], named)) {
    checkPort(record(port, `${named} ports`, ['name', 'port', 'protocol']), `${named} ports`);
  }
  checkStatus(pod, named);
}

function checkStatus(pod: Json, place: string): void {
  for (const port of list(pod['serves'], place)) {
    checkPort(record(port, `${place} serves`, ['port', 'protocol']), `${place} serves`);
  }
  if (pod['phase'] !== undefined) oneOf(pod['phase'], phases, `${place} phase`);
}

function checkService(raw: unknown, place: string): void {
  const service = record(raw, place, ['namespace', 'name', 'selector', 'clusterIPs', 'ports']);
  for (const port of list(service['ports'], place)) {
    checkPort(record(port, `${place} ports`, ['name', 'protocol', 'port', 'targetPort']), `${place} ports`);
  }
}

function readCase(raw: unknown, clusters: ReadonlyMap<string, SuiteCluster>, where: string): SuiteCase {
  const one = record(raw, where, ['id', 'title', 'origin', 'tags', 'note', 'cluster', 'deny', 'steps']);
  const id = text(one['id'], where);
  const cluster = clusters.get(String(one['cluster'])) ?? fail(id, `no cluster ${String(one['cluster'])}`);
  if (one['deny'] !== undefined) oneOf(one['deny'], ['drop'], `${id}: deny`);
  return {
    id,
    title: String(one['title'] ?? id),
    cluster,
    denyByDrop: one['deny'] === 'drop',
    steps: list(one['steps'], id).map((step, i) => readStep(step, `${id} step ${i + 1}`)),
  };
}

const operationKeys: Readonly<Record<SuiteOperation['op'], readonly string[]>> = {
  apply: ['object'],
  delete: ['kind', 'namespace', 'name', 'apiGroup'],
  setLabels: ['kind', 'namespace', 'name', 'labels'],
  addNamespace: ['namespace'],
  deleteNamespace: ['name'],
  addPod: ['pod', 'hammer'],
  deletePod: ['namespace', 'name'],
  setPod: ['namespace', 'name', 'set'],
  openFlow: ['id', 'from', 'to', 'protocol', 'port', 'retry'],
  closeFlow: ['id'],
  stopAgent: [],
  startAgent: [],
  restartAgent: [],
};

function readOperation(raw: unknown, place: string): SuiteOperation {
  const op = oneOf(plain(raw, place)['op'], Object.keys(operationKeys) as SuiteOperation['op'][], `${place}: op`);
  const where = `${place} ${op}`;
  const operation = record(raw, where, ['op', ...operationKeys[op]]);
  if (op === 'apply') {
    const object = plain(operation['object'], where);
    for (const key of ['apiVersion', 'kind']) text(object[key], `${where}: ${key}`);
    text(plain(object['metadata'], where)['name'], `${where}: metadata.name`);
  }
  if (op === 'setLabels') oneOf(operation['kind'], ['Namespace', 'Pod', 'Node'], `${where}: kind`);
  if (op === 'addNamespace') record(operation['namespace'], where, ['name', 'labels']);
  if (op === 'addPod') {
    checkPod(operation['pod'], where);
    if (operation['hammer'] !== undefined) {
      checkPort(record(operation['hammer'], `${where} hammer`, ['from', 'protocol', 'port']), `${where} hammer`);
    }
  }
  if (op === 'setPod') {
    checkStatus(record(operation['set'], `${where} set`, ['phase', 'ips', 'serves', 'terminating']), `${where} set`);
  }
  if (op === 'openFlow') checkPort(operation, where);
  return operation as unknown as SuiteOperation;
}

function readStep(raw: unknown, place: string): SuiteStep {
  const step = record(raw, place, ['title', 'do', 'expect']);
  const operations = list(step['do'], place).map((operation) => readOperation(operation, place));
  const probes: SuiteProbe[] = [];
  const flows: FlowExpectation[] = [];
  for (const expect of list(step['expect'], place)) {
    if (Array.isArray(expect)) probes.push(readProbe(expect, place));
    else if ('flow' in plain(expect, place)) flows.push(readFlow(expect, place));
    else probes.push(...readMatrix(record(expect, place, ['matrix'])['matrix'], place));
  }
  return { ...(typeof step['title'] === 'string' && { title: step['title'] }), do: operations, probes, flows };
}

function readFlow(raw: unknown, place: string): FlowExpectation {
  const flow = record(raw, place, ['flow', 'verdict']);
  return {
    flow: text(flow['flow'], `${place}: flow`),
    verdict: oneOf(flow['verdict'], ['alive', 'dead', 'either'], `${place}: verdict of flow ${flow['flow']}`),
  };
}

function readProbe(tuple: readonly unknown[], place: string): SuiteProbe {
  const [from, to, protocol, port, verdict, options] = tuple;
  if (tuple.length < 5 || tuple.length > 6) fail(place, `a probe of ${tuple.length} entries`);
  const { family } = options === undefined ? {} : record(options, place, ['family']);
  return {
    from: text(from, `${place}: from`),
    to: text(to, `${place}: to`),
    protocol: oneOf(protocol, suiteProtocols, `${place}: protocol`),
    port: portNumber(port, `${place}: port`),
    verdict: oneOf(verdict, ['allow', 'deny', 'undefined'], `${place}: verdict`),
    family: family === undefined ? 'IPv4' : oneOf(family, suiteFamilies, `${place}: family`),
  };
}

const matrixVerdicts: Readonly<Record<string, SuiteVerdict>> = { '.': 'allow', X: 'deny', '?': 'undefined' };

function readMatrix(raw: unknown, place: string): SuiteProbe[] {
  const matrix = record(raw, `${place} matrix`, ['protocol', 'port', 'ends', 'rows', 'family']);
  checkPort(matrix, `${place} matrix`);
  const family = matrix['family'] === undefined ? 'IPv4' : oneOf(matrix['family'], suiteFamilies, `${place}: family`);
  const ends = list(matrix['ends'], `${place} ends`).map((end) => text(end, `${place} ends`));
  const probes: SuiteProbe[] = [];
  for (const [from, entries] of Object.entries(plain(matrix['rows'], `${place} rows`))) {
    const row = text(entries, `${place} row ${from}`);
    if (row.length !== ends.length) fail(place, `row ${from} has ${row.length} entries for ${ends.length} ends`);
    for (const [i, to] of ends.entries()) {
      const verdict = matrixVerdicts[row[i]!];
      if (!verdict && row[i] !== '-') fail(place, `row ${from} holds ${row[i]}`);
      if (!verdict) continue;
      const { protocol, port } = matrix as { protocol: SuiteProtocol; port: number };
      probes.push({ from, to, verdict, protocol, port, family });
    }
  }
  return probes;
}
