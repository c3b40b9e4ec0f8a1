/** What tests of statuses look at. */
import type { ApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';

export interface ConditionView {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export function conditionIn(object: KubeObject | undefined, type: string): ConditionView | undefined {
  const status = object?.['status'] as { readonly conditions?: readonly ConditionView[] } | undefined;
  return status?.conditions?.find((each) => each.type === type);
}

export function poplinNode(server: ApiServer, name: string): Promise<KubeObject | undefined> {
  return server.objects.get({ apiVersion: 'poplin.dev/v1alpha1', kind: 'PoplinNode', metadata: { name } });
}

export interface EventView extends KubeObject {
  readonly reason: string;
  readonly note: string;
  readonly regarding: { readonly kind: string; readonly name: string };
}

export async function eventsOf(server: ApiServer, reason: string): Promise<EventView[]> {
  const all = await server.objects.list({ apiVersion: 'events.k8s.io/v1', kind: 'Event' });
  return (all as EventView[]).filter((event) => event.reason === reason);
}
