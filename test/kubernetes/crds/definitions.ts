/** The CustomResourceDefinitions below deploy/crds as data, and what the API server says to objects of their kinds. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import type { ApiServer } from '../../support/kube/api-server.ts';
import type { KubeObject } from '../../support/kube/objects.ts';

export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}
export interface Schema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly format?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: Schema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-int-or-string'?: boolean;
}
export interface Definition extends KubeObject {
  readonly spec: {
    readonly group: string;
    readonly scope: 'Cluster' | 'Namespaced';
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames?: readonly string[] };
    readonly versions: readonly [
      {
        readonly name: string;
        readonly schema: { readonly openAPIV3Schema: Schema };
        readonly additionalPrinterColumns: readonly { readonly name: string; readonly priority?: number }[];
      },
    ];
  };
}

export const folder = path.join(import.meta.dirname, '..', '..', '..', 'deploy', 'crds');

export const definitions: readonly Definition[] = fs
  .readdirSync(folder)
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => parse(fs.readFileSync(path.join(folder, name), 'utf8')) as Definition);

export function definitionOf(kind: string): Definition {
  const found = definitions.find(({ spec }) => spec.names.kind === kind);
  assert.ok(found, kind);
  return found;
}
export const schemaOf = ({ spec }: Definition): Schema => spec.versions[0].schema.openAPIV3Schema;
export const apiVersionOf = ({ spec }: Definition): string => `${spec.group}/${spec.versions[0].name}`;

/** Every schema node with its path; items are `[]`. */
export function* schemaNodes(schema: Schema, at = ''): Generator<readonly [path: string, schema: Schema]> {
  yield [at, schema];
  for (const [name, child] of Object.entries(schema.properties ?? {})) yield* schemaNodes(child, `${at}.${name}`);
  if (schema.items) yield* schemaNodes(schema.items, `${at}[]`);
}

/** One thing that is wrong, as the API server lists them. */
export interface Cause {
  readonly field: string;
  readonly message: string;
}
export type Verdict =
  | { readonly accepted: true; readonly object: KubeObject }
  | { readonly accepted: false; readonly status: number; readonly causes: readonly Cause[]; readonly message: string };

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

function verdictOf({ status, body }: Answer): Verdict {
  if (status < 300) return { accepted: true, object: body as KubeObject };
  const { message, details } = body as { message: string; details?: { causes?: readonly Cause[] } };
  return { accepted: false, status, message, causes: details?.causes ?? [] };
}

const dryRun = 'dryRun=All&fieldValidation=Strict';

/** What creating it would give, with every field known; nothing is stored. */
export async function tryCreate(server: ApiServer, object: KubeObject): Promise<Verdict> {
  const { namespace } = object.metadata;
  const metadata = namespace === undefined ? {} : { namespace };
  const path = await server.objects.path({ apiVersion: object.apiVersion, kind: object.kind, metadata });
  return verdictOf(await server.request({ method: 'POST', path: `${path}?${dryRun}`, body: object }));
}

/** What replacing the stored object of that name, or its status, would give. */
export async function tryReplace(server: ApiServer, object: KubeObject, subresource?: 'status'): Promise<Verdict> {
  const stored = await server.objects.get(object);
  const { resourceVersion } = stored!.metadata;
  const body = { ...object, metadata: { ...object.metadata, resourceVersion } };
  const path = await server.objects.path(object, subresource);
  return verdictOf(await server.request({ method: 'PUT', path: `${path}?${dryRun}`, body }));
}

/** Those that say that other checks were left out because of the first failure tell nothing of their own. */
export function causesOf(verdict: Verdict): readonly Cause[] {
  return verdict.accepted
    ? []
    : verdict.causes.filter(({ message }) => !message.includes('some validation rules were not checked'));
}

export function sayVerdict(verdict: Verdict): string {
  return verdict.accepted ? 'accepted' : `${verdict.status} ${verdict.message}`;
}
