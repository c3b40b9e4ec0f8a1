/**
 * Words in which the definitions beside this file are written: each schema node carries its description, and everything that a
 * CEL rule walks over has a bound, without which the API server refuses the rule as too costly.
 */

export interface CelRule {
  /** True is accepted. Needs Kubernetes 1.31 where it uses isIP(), ip(), isCIDR() or cidr(). */
  readonly rule: string;
  /** Names the field and what to do. */
  readonly message: string;
  /** Where the message points, relative to the schema node, e.g. `.peerIP`. */
  readonly fieldPath?: string;
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired';
}

/** The part of a structural schema (apiextensions.k8s.io/v1 JSONSchemaProps) that is used here. */
export interface Schema {
  readonly description?: string;
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly format?: string;
  readonly default?: unknown;
  readonly nullable?: boolean;
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
  readonly additionalProperties?: Schema;
  readonly required?: readonly string[];
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly 'x-kubernetes-validations'?: readonly CelRule[];
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic' | 'granular';
  readonly 'x-kubernetes-int-or-string'?: true;
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
}
type More = Omit<Schema, 'description' | 'type'>;

export function text(description: string, maxLength: number, more: More = {}): Schema {
  return { description, type: 'string', maxLength, ...more };
}
export function oneOf(description: string, values: readonly string[], more: More = {}): Schema {
  return { description, type: 'string', enum: values, ...more };
}
export function integer(description: string, minimum: number, maximum: number, more: More = {}): Schema {
  return { description, type: 'integer', format: 'int64', minimum, maximum, ...more };
}
export function number(description: string, more: More = {}): Schema {
  return { description, type: 'number', ...more };
}
export function flag(description: string, more: More = {}): Schema {
  return { description, type: 'boolean', ...more };
}
export function time(description: string, more: More = {}): Schema {
  return { description, type: 'string', format: 'date-time', ...more };
}
export function list(description: string, items: Schema, maxItems: number, more: More = {}): Schema {
  return { description, type: 'array', items, maxItems, 'x-kubernetes-list-type': 'atomic', ...more };
}
export function object(description: string, properties: Readonly<Record<string, Schema>>, more: More = {}): Schema {
  return { description, type: 'object', properties, ...more };
}
export function rules(...list: readonly CelRule[]): { readonly 'x-kubernetes-validations': readonly CelRule[] } {
  return { 'x-kubernetes-validations': list };
}

/** metav1.Condition, one of each type. */
export function conditions(description: string): Schema {
  const condition = object(
    'One aspect of the state.',
    {
      type: text('The aspect, in CamelCase; one entry of each.', 316, {
        pattern:
          '^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$',
      }),
      status: oneOf('Whether the condition holds.', ['True', 'False', 'Unknown']),
      observedGeneration: integer('metadata.generation of the object that this was found for.', 0, 2 ** 53 - 1),
      lastTransitionTime: time('When `status` changed last.'),
      reason: text('Why, in one CamelCase word for programs.', 1024, {
        minLength: 1,
        pattern: '^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$',
      }),
      message: text('Why, in words for people: object, field, value and remedy.', 32_768),
    },
    { required: ['type', 'status', 'lastTransitionTime', 'reason', 'message'] },
  );
  return list(description, condition, 32, { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });
}

/** Status of a kind about which there is nothing to say but conditions. */
export function conditionsOnlyStatus(what: string): Schema {
  return object('What Poplin makes of this object. Written by one agent for the whole cluster.', {
    observedGeneration: integer('metadata.generation of the object that this status is about.', 0, 2 ** 53 - 1),
    conditions: conditions(what),
  });
}

/** Of what nodes have to put in force. */
export function inForceStatus(): Schema {
  return conditionsOnlyStatus(
    'Accepted: understood. InForce: on how many nodes metadata.generation is in force, and what nodes refuse and why. FieldsNotUsed: fields that are set and have no effect.',
  );
}

/** Of staged policies. */
export function stagedStatus(): Schema {
  return conditionsOnlyStatus(
    'Accepted: understood. Staged: on how many nodes what metadata.generation would decide is reported. FieldsNotUsed: fields that are set and have no effect.',
  );
}

export interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly jsonPath: string;
  readonly description: string;
  /** Above 0: only with `-o wide`. */
  readonly priority?: number;
}
export const ageColumn: PrinterColumn = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Time since the object was made.',
};

export const inForceColumn: PrinterColumn = {
  name: 'In Force',
  type: 'string',
  jsonPath: ".status.conditions[?(@.type=='InForce')].status",
  description: 'The current generation is in force on every node.',
};

export const stagedColumn: PrinterColumn = {
  name: 'Staged',
  type: 'string',
  jsonPath: ".status.conditions[?(@.type=='Staged')].status",
  description: 'What the current generation would decide is reported on every node.',
};

export interface KindDefinition {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly shortNames: readonly string[];
  readonly description: string;
  /** Required, unless it has a default. */
  readonly spec?: Schema;
  /** Left out: nobody writes one. */
  readonly status?: Schema;
  /** Objects of the kind stand in namespaces. */
  readonly namespaced?: true;
  /** Over the whole object: metadata.name and the fields of spec. */
  readonly rules?: readonly CelRule[];
  readonly columns: readonly PrinterColumn[];
}

/** The CustomResourceDefinition as an API server takes it. */
export function customResourceDefinition(definition: KindDefinition): object {
  const { group, version, kind, plural, shortNames, description, spec, status, columns } = definition;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}`, labels: { 'app.kubernetes.io/part-of': 'poplin' } },
    spec: {
      group,
      scope: definition.namespaced ? 'Namespaced' : 'Cluster',
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        ...(shortNames.length > 0 ? { shortNames } : {}),
        categories: ['poplin'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          ...(status ? { subresources: { status: {} } } : {}),
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              description,
              type: 'object',
              properties: {
                apiVersion: { description: `${group}/${version}`, type: 'string' },
                kind: { description: kind, type: 'string' },
                // The name is listed so that a rule may point at it.
                metadata: { type: 'object', properties: { name: { type: 'string' } } },
                ...(spec ? { spec } : {}),
                ...(status ? { status } : {}),
              },
              ...(spec && spec.default === undefined ? { required: ['spec'] } : {}),
              ...(definition.rules ? rules(...definition.rules) : {}),
            },
          },
        },
      ],
    },
  };
}
