/** A CEL rule, with an object that it lets pass and one that it, and nothing else, refuses; and how to write many of them. */
import type { KubeObject } from '../../support/kube/objects.ts';
import { objectOf } from './objects.ts';

export interface CelCase {
  readonly kind: string;
  /** Schema node that holds the rule. */
  readonly at: string;
  /** The beginning of the rule's message, which tells it from the others of that node. */
  readonly message: RegExp;
  /** Where the API server says it. */
  readonly field: string;
  readonly accepted: readonly KubeObject[];
  readonly refused: readonly KubeObject[];
  /** For rules about changes: both replace this. */
  readonly stored?: KubeObject;
}

export type Fields = Readonly<Record<string, unknown>>;

export const secret = { secretKeyRef: { name: 'bgp', key: 'tor' } };

/** `undefined` removes a field. */
export function withSpec(object: KubeObject, fields: Fields, name?: string): KubeObject {
  const spec = Object.fromEntries(
    Object.entries({ ...(object['spec'] as Fields), ...fields }).filter(([, value]) => value !== undefined),
  );
  return objectOf(object.kind, spec, { name: name ?? object.metadata.name });
}

/** A duration field: its form, and for hold times what RFC 4271 refuses. */
export function durations(
  kind: string,
  field: string,
  maxSec: number,
  make: (text: string) => KubeObject,
  { holds = false, minSec = 0 } = {},
): CelCase[] {
  const each = { kind, at: `.spec.${field}`, field: `spec.${field}` };
  const short = minSec > 0 ? [`${minSec - 1}s`] : [];
  const form: CelCase = {
    ...each,
    message: new RegExp(`^${field} must be whole seconds`),
    accepted: [`${maxSec}s`, '10s', '1m30s', '1h0m0s'].map(make),
    refused: [`${maxSec + 1}s`, '1.5s', '90', 's', '', '500ms', '-5s', '5s1m', ...short].map(make),
  };
  if (!holds) return [form];
  const range: CelCase = {
    ...each,
    message: new RegExp(`^${field} must be 0s`),
    accepted: ['0s', '3s', '0m0s'].map(make),
    refused: ['1s', '2s'].map(make),
  };
  return [form, range];
}

/** The two intervals of BFD. */
export function intervals(kind: string, field: string, make: (bfd: Fields) => KubeObject): CelCase[] {
  return ['minTx', 'minRx'].map((name) => ({
    kind,
    at: `.spec.${field}.${name}`,
    message: new RegExp(`^${field}\\.${name} must be 10ms to 60s`),
    field: `spec.${field}.${name}`,
    accepted: ['10ms', '300ms', '60000ms', '1s', '60s'].map((text) => make({ [name]: text })),
    refused: ['9ms', '60001ms', '0s', '61s', '1.5s', '300', '', '1m', '-1s'].map((text) => make({ [name]: text })),
  }));
}
