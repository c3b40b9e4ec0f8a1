/** What a user asked of the API server, from the server's own audit log, and how that compares with what roles allow. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import type { KubeObject } from './objects.ts';

/** A request for a resource that was answered. */
export interface AuditedRequest {
  readonly verb: string;
  /** Empty: core. */
  readonly group: string;
  /** With its subresource, as roles write it: `nodes/status`. */
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
  /** HTTP status. */
  readonly code: number;
  readonly message?: string;
}

export interface AuditLog {
  /** Flags for `startApiServer`. */
  readonly args: readonly string[];
  /** All so far. */
  requests(): AuditedRequest[];
}

/** The log of one user's requests alone. */
export function auditLog(t: Pick<TestContext, 'after'>, user: string): AuditLog {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-audit-'));
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  const [policy, log] = [path.join(directory, 'policy.json'), path.join(directory, 'audit.log')];
  const rules = [{ level: 'Metadata', users: [user] }, { level: 'None' }];
  // A watch is answered long before it ends.
  const content = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules };
  fs.writeFileSync(policy, JSON.stringify(content));
  return {
    args: [`--audit-policy-file=${policy}`, `--audit-log-path=${log}`],
    // Of the last line only a part may be there yet.
    requests: () => (fs.existsSync(log) ? fs.readFileSync(log, 'utf8').split('\n').slice(0, -1).flatMap(parse) : []),
  };
}

interface AuditEvent {
  readonly verb: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number; readonly message?: string };
}

function parse(line: string): AuditedRequest[] {
  const { verb, objectRef, responseStatus } = JSON.parse(line) as AuditEvent;
  // Discovery and the like: everybody may.
  if (!objectRef) return [];
  const { apiGroup = '', resource, subresource, namespace, name } = objectRef;
  return [
    {
      verb,
      group: apiGroup,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      ...(namespace === undefined ? {} : { namespace }),
      ...(name === undefined ? {} : { name }),
      code: responseStatus?.code ?? 0,
      ...(responseStatus?.message === undefined ? {} : { message: responseStatus.message }),
    },
  ];
}

/** One verb on one resource that a role allows. */
export interface Permission {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  /** Of a Role; absent: everywhere. */
  readonly namespace?: string;
  /** Only for this object. */
  readonly name?: string;
}

interface PolicyRule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** Everything that a Role or ClusterRole allows, one by one. */
export function permissionsOf(role: KubeObject): Permission[] {
  const { namespace } = role.metadata;
  return (role['rules'] as readonly PolicyRule[]).flatMap(({ apiGroups = [], resources = [], resourceNames, verbs }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        verbs.flatMap((verb) =>
          (resourceNames ?? [undefined]).map((name) => ({
            verb,
            group,
            resource,
            ...(namespace === undefined ? {} : { namespace }),
            ...(name === undefined ? {} : { name }),
          })),
        ),
      ),
    ),
  );
}

export function allows(permission: Permission, request: AuditedRequest): boolean {
  return (
    permission.verb === request.verb &&
    permission.group === request.group &&
    permission.resource === request.resource &&
    (permission.namespace === undefined || permission.namespace === request.namespace) &&
    (permission.name === undefined || permission.name === request.name)
  );
}

/** E.g. `patch nodes/status`, `get secrets in poplin-system`. */
export function permissionText({ verb, group, resource, namespace, name }: Permission): string {
  const what = group === '' ? resource : `${resource}.${group}`;
  return [verb, what, ...(name ? [name] : []), ...(namespace ? ['in', namespace] : [])].join(' ');
}
