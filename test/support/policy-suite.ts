/**
 * Reads the `policy-suite/1` format: clusters, policies and who may then talk to whom. Unknown keys are errors, so that
 * nothing of a suite is passed over in silence.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import zlib from 'node:zlib';

export interface SuitePod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly { readonly name?: string; readonly port: number; readonly protocol: string }[];
  readonly serves: readonly { readonly protocol: string; readonly port: number }[];
  readonly hostNetwork?: boolean;
  readonly phase?: string;
  readonly terminating?: boolean;
}

export interface SuiteCluster {
  readonly nodes: readonly { readonly name: string; readonly ips: readonly string[] }[];
  readonly namespaces: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[];
  readonly pods: readonly SuitePod[];
  readonly externals: readonly { readonly name: string; readonly ips: readonly string[] }[];
}

/** A manifest as a user writes it. */
export interface SuiteManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

export type SuiteOperation =
  | { readonly op: 'apply'; readonly object: SuiteManifest }
  | { readonly op: 'delete'; readonly kind: string; readonly namespace?: string; readonly name: string }
  | {
      readonly op: 'setLabels';
      readonly kind: string;
      readonly namespace?: string;
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
    }
  | { readonly op: 'addNamespace'; readonly namespace: SuiteCluster['namespaces'][number] }
  | { readonly op: 'deleteNamespace'; readonly name: string }
  | { readonly op: 'addPod'; readonly pod: SuitePod; readonly hammer?: unknown }
  | { readonly op: 'deletePod'; readonly namespace: string; readonly name: string }
  | {
      readonly op: 'setPod';
      readonly namespace: string;
      readonly name: string;
      readonly set: Partial<Pick<SuitePod, 'phase' | 'ips' | 'serves' | 'terminating'>>;
    }
  | { readonly op: 'openFlow' | 'closeFlow' | 'stopAgent' | 'startAgent' | 'restartAgent' };

export type SuiteVerdict = 'allow' | 'deny' | 'undefined';

/** One asserted connection. A matrix is unfolded into these; its `-` entries are left out. */
export interface SuiteProbe {
  readonly from: string;
  readonly to: string;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  readonly port: number;
  readonly verdict: SuiteVerdict;
  readonly family: 'IPv4' | 'IPv6';
}

export interface SuiteStep {
  readonly title?: string;
  readonly do: readonly SuiteOperation[];
  readonly probes: readonly SuiteProbe[];
  /** Ids of flows that the step makes a statement about. */
  readonly flows: readonly string[];
}

export interface SuiteCase {
  readonly id: string;
  readonly title: string;
  readonly cluster: SuiteCluster;
  readonly steps: readonly SuiteStep[];
}

export interface Suite {
  readonly suite: string;
  readonly cases: readonly SuiteCase[];
}

type Json = Readonly<Record<string, unknown>>;

/** @throws AssertionError naming the place of anything that is not `policy-suite/1`. */
export function loadPolicySuite(file: string): Suite {
  const bytes = fs.readFileSync(file);
  const text = file.endsWith('.gz') ? zlib.gunzipSync(bytes).toString() : bytes.toString();
  const json = JSON.parse(text) as Json;
  const name = String(json['suite']);
  checkKeys(json, name, ['format', 'suite', 'description', 'source', 'clusters', 'cases']);
  assert.equal(json['format'], 'policy-suite/1', `${name}: format`);
  const clusters = json['clusters'] as Readonly<Record<string, Json>>;
  for (const [id, cluster] of Object.entries(clusters)) checkCluster(cluster, `${name} cluster ${id}`);
  return { suite: name, cases: (json['cases'] as Json[]).map((raw) => readCase(raw, clusters)) };
}

function checkKeys(object: Json, place: string, known: readonly string[]): void {
  for (const key of Object.keys(object)) assert.ok(known.includes(key), `${place}: unknown key ${key}`);
}

const podKeys = [
  ...['namespace', 'name', 'node', 'ips', 'labels', 'ports', 'serves'],
  ...['hostNetwork', 'phase', 'terminating', 'serviceAccount'],
];

function checkCluster(cluster: Json, place: string): void {
  checkKeys(cluster, place, ['nodes', 'namespaces', 'pods', 'services', 'externals']);
  const entries = (key: string): Json[] => (cluster[key] ?? []) as Json[];
  for (const node of entries('nodes')) checkKeys(node, place, ['name', 'ips', 'labels']);
  for (const namespace of entries('namespaces')) checkKeys(namespace, place, ['name', 'labels']);
  for (const pod of entries('pods')) checkKeys(pod, place, podKeys);
  for (const external of entries('externals')) checkKeys(external, place, ['name', 'ips', 'names', 'note']);
}

function readCase(raw: Json, clusters: Readonly<Record<string, Json>>): SuiteCase {
  const id = String(raw['id']);
  checkKeys(raw, id, ['id', 'title', 'origin', 'tags', 'note', 'cluster', 'deny', 'steps']);
  const cluster = clusters[String(raw['cluster'])];
  assert.ok(cluster, `${id}: no cluster ${raw['cluster']}`);
  return {
    id,
    title: String(raw['title']),
    cluster: cluster as unknown as SuiteCluster,
    steps: (raw['steps'] as Json[]).map((step, i) => readStep(step, `${id} step ${i + 1}`)),
  };
}

const operationKeys: Readonly<Record<string, readonly string[]>> = {
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

function readStep(raw: Json, place: string): SuiteStep {
  checkKeys(raw, place, ['title', 'do', 'expect']);
  const operations = raw['do'] as Json[];
  for (const operation of operations) {
    const keys = operationKeys[String(operation['op'])];
    assert.ok(keys, `${place}: unknown op ${operation['op']}`);
    checkKeys(operation, `${place} ${operation['op']}`, ['op', ...keys]);
    if (operation['op'] === 'addPod') checkKeys(operation['pod'] as Json, place, podKeys);
    if (operation['op'] === 'setPod') {
      checkKeys(operation['set'] as Json, place, ['phase', 'ips', 'serves', 'terminating']);
    }
  }
  const probes: SuiteProbe[] = [];
  const flows: string[] = [];
  for (const expect of raw['expect'] as (Json | unknown[])[]) {
    if (Array.isArray(expect)) probes.push(readProbe(expect, place));
    else if ('flow' in expect) flows.push(String(expect['flow']));
    else {
      checkKeys(expect, place, ['matrix']);
      probes.push(...readMatrix(expect['matrix'] as Json, place));
    }
  }
  return {
    ...(typeof raw['title'] === 'string' && { title: raw['title'] }),
    do: operations as unknown as SuiteOperation[],
    probes,
    flows,
  };
}

function readProbe(tuple: readonly unknown[], place: string): SuiteProbe {
  const [from, to, protocol, port, verdict, options] = tuple;
  if (options) checkKeys(options as Json, place, ['family']);
  assert.ok(['allow', 'deny', 'undefined'].includes(verdict as string), `${place}: verdict ${verdict}`);
  return {
    from: from as string,
    to: to as string,
    protocol: protocol as SuiteProbe['protocol'],
    port: port as number,
    verdict: verdict as SuiteVerdict,
    family: ((options as Json | undefined)?.['family'] ?? 'IPv4') as SuiteProbe['family'],
  };
}

const matrixVerdicts: Readonly<Record<string, SuiteVerdict>> = { '.': 'allow', X: 'deny', '?': 'undefined' };

function readMatrix(matrix: Json, place: string): SuiteProbe[] {
  checkKeys(matrix, place, ['protocol', 'port', 'ends', 'rows', 'family']);
  const ends = matrix['ends'] as string[];
  const probes: SuiteProbe[] = [];
  for (const [from, row] of Object.entries(matrix['rows'] as Readonly<Record<string, string>>)) {
    assert.equal(row.length, ends.length, `${place}: row ${from}`);
    for (const [i, to] of ends.entries()) {
      const verdict = matrixVerdicts[row[i]!];
      assert.ok(verdict ?? row[i] === '-', `${place}: row ${from} holds ${row[i]}`);
      if (!verdict) continue;
      probes.push({
        from,
        to,
        verdict,
        protocol: matrix['protocol'] as SuiteProbe['protocol'],
        port: matrix['port'] as number,
        family: (matrix['family'] ?? 'IPv4') as SuiteProbe['family'],
      });
    }
  }
  return probes;
}
