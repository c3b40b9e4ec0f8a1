/** Puts the definitions of deploy/crds onto an API server. */
import { untilServed } from '../../support/kube/agent.ts';
import type { ApiServer } from '../../support/kube/api-server.ts';
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
  await untilServed(server, which);
}
