/** Puts the definitions of deploy/crds onto an API server. */
import type { ApiServer } from '../../support/kube/api-server.ts';
import { until } from '../../support/wait.ts';
import { type Definition, definitions } from './definitions.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message: string;
}
export async function conditionsOf(server: ApiServer, definition: Definition): Promise<readonly Condition[]> {
  const stored = await server.objects.get(definition);
  return (stored?.['status'] as { conditions?: readonly Condition[] } | undefined)?.conditions ?? [];
}

/** Resolves when all of `which` are served. */
export async function installDefinitions(server: ApiServer, which: readonly Definition[] = definitions): Promise<void> {
  for (const definition of which) await server.objects.create(definition);
  for (const definition of which) {
    const { group, names, versions } = definition.spec;
    const path = `/apis/${group}/${versions[0].name}/${names.plural}`;
    await until(async () => (await server.request({ path })).status === 200, {
      what: `${path} to be served`,
      deadlineMs: 60_000,
    });
  }
}
