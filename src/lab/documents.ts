/** Manifests as files hold them: YAML documents with the place that each stands at, for messages with file and line. */
import fs from 'node:fs';
import path from 'node:path';
import { type Document, LineCounter, parseAllDocuments } from 'yaml';
import { badInput } from './errors.ts';

/** One YAML document. */
export interface Manifest {
  readonly file: string;
  /** 1-based line of the document's first entry. */
  readonly line: number;
  readonly kind: string;
  readonly name: string;
  /** Empty for cluster-scoped kinds; `default` where a namespaced kind names none. */
  readonly namespace: string;
  /** The document as plain data. */
  readonly value: Readonly<Record<string, unknown>>;
  /** 1-based line of the value at `path`, or of the nearest thing above it. */
  lineOf(path: readonly (string | number)[]): number;
}

/** `Kind/namespace/name`: unique in a lab. */
export function manifestKey(manifest: Pick<Manifest, 'kind' | 'namespace' | 'name'>): string {
  return `${manifest.kind}/${manifest.namespace}/${manifest.name}`;
}

const namespacedKinds = new Set([
  'Pod',
  'NetworkPolicy',
  'StagedNetworkPolicy',
  'StagedKubernetesNetworkPolicy',
  'NetworkSet',
  'ServiceAccount',
  'EndpointSlice',
]);
/** As the model calls it: Kubernetes' own has the same name. */
const calicoNetworkPolicy = 'CalicoNetworkPolicy';
const fileBytesMax = 16 << 20;

/** The files that `-f` means: itself, or every .yaml, .yml and .json directly in the directory, by name. */
export function manifestFiles(fileOrDirectory: string): string[] {
  if (!fs.existsSync(fileOrDirectory)) throw badInput([`${fileOrDirectory}: no such file or directory`]);
  if (!fs.statSync(fileOrDirectory).isDirectory()) return [fileOrDirectory];
  const files = fs
    .readdirSync(fileOrDirectory)
    .filter((name) => /\.(ya?ml|json)$/.test(name) && !name.startsWith('.'))
    .sort()
    .map((name) => path.join(fileOrDirectory, name));
  if (files.length === 0) throw badInput([`${fileOrDirectory}: holds no .yaml, .yml or .json file`]);
  return files;
}

/** Reads every document of every file. @throws LabError BAD_INPUT naming each broken document, or one that is there twice. */
export function readManifests(places: readonly string[]): Manifest[] {
  const problems: string[] = [];
  const manifests: Manifest[] = [];
  for (const file of places.flatMap(manifestFiles)) {
    if (fs.statSync(file).size > fileBytesMax) problems.push(`${file}: larger than ${fileBytesMax} bytes`);
    else manifests.push(...parseManifests(fs.readFileSync(file, 'utf8'), file, problems));
  }
  const seen = new Map<string, Manifest>();
  for (const manifest of manifests) {
    const twin = seen.get(manifestKey(manifest));
    if (twin)
      problems.push(
        `${manifest.file}:${manifest.line}: ${describe(manifest)} stands in ${twin.file}:${twin.line} already`,
      );
    else seen.set(manifestKey(manifest), manifest);
  }
  if (problems.length > 0) throw badInput(problems);
  return manifests;
}

function describe(manifest: Manifest): string {
  return `${manifest.kind} ${manifest.namespace ? `${manifest.namespace}/` : ''}${manifest.name}`;
}

export function parseManifests(text: string, file: string, problems: string[]): Manifest[] {
  const counter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: counter });
  const out: Manifest[] = [];
  for (const document of documents as Document.Parsed[]) {
    const broken = document.errors[0];
    if (broken) {
      // The parser adds the place to its message, and a colon for the excerpt that follows.
      const what = broken.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '');
      problems.push(`${file}:${counter.linePos(broken.pos[0]).line}: not YAML: ${what}`);
      continue;
    }
    const value: unknown = document.toJS();
    if (value === null || value === undefined) continue;
    const manifest = toManifest(document, value, file, counter, problems);
    if (manifest) out.push(manifest);
  }
  return out;
}

function toManifest(
  document: Document.Parsed,
  value: unknown,
  file: string,
  counter: LineCounter,
  problems: string[],
): Manifest | undefined {
  const lineOf = (at: readonly (string | number)[]): number => {
    for (let depth = at.length; depth >= 0; depth--) {
      const node = depth === 0 ? document.contents : document.getIn(at.slice(0, depth), true);
      const range = (node as { range?: readonly number[] | null } | null | undefined)?.range;
      if (range?.[0] !== undefined) return counter.linePos(range[0]).line;
    }
    return 1;
  };
  const line = lineOf([]);
  const bad = (what: string, at: readonly string[] = []): undefined => {
    problems.push(`${file}:${at.length ? lineOf(at) : line}: ${what}`);
    return undefined;
  };
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return bad('not a Kubernetes object (a mapping is wanted)');
  const record = value as Record<string, unknown>;
  const metadata = record['metadata'] as Record<string, unknown> | undefined;
  const kind = record['kind'];
  const name = metadata?.['name'];
  const namespace = metadata?.['namespace'];
  if (typeof record['apiVersion'] !== 'string') return bad('apiVersion is missing');
  if (typeof kind !== 'string' || kind === '') return bad('kind is missing');
  if (typeof name !== 'string' || !/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/.test(name)) {
    return bad(`metadata.name: ${JSON.stringify(name)} is not a DNS name`, ['metadata', 'name']);
  }
  if (
    namespace !== undefined &&
    (typeof namespace !== 'string' || !/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
  ) {
    return bad(`metadata.namespace: ${JSON.stringify(namespace)} is not a DNS label`, ['metadata', 'namespace']);
  }
  const scope = namespacedKinds.has(kind) ? ((namespace as string | undefined) ?? 'default') : '';
  const isCalicos = kind === 'NetworkPolicy' && /(^|\.)projectcalico\.org\//.test(record['apiVersion']);
  return { file, line, kind: isCalicos ? calicoNetworkPolicy : kind, name, namespace: scope, value: record, lineOf };
}
