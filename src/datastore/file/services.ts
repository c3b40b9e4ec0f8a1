/** Services among manifests, for looking at them without a cluster that makes their EndpointSlices. */
import type { ServiceSelection } from '#model';
import { protocols } from '../manifest/network-policy.ts';
import { asMapping } from '../mapping.ts';

/** Undefined for any other document, and for a service that cannot be understood: it has no endpoints then. */
export function serviceIn(document: unknown): ServiceSelection | undefined {
  const object = asMapping(document);
  if (object?.['apiVersion'] !== 'v1' || object['kind'] !== 'Service') return undefined;
  const { name, namespace = 'default' } = asMapping(object['metadata']) ?? {};
  const { selector, ports, type } = asMapping(object['spec']) ?? {};
  if (typeof name !== 'string' || typeof namespace !== 'string' || type === 'ExternalName') return undefined;
  const labels = Object.entries(asMapping(selector) ?? {}).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  const list: readonly unknown[] = Array.isArray(ports) ? ports : [];
  return { namespace, name, selector: Object.fromEntries(labels), ports: list.flatMap((each) => portOf(each) ?? []) };
}

function portOf(value: unknown): ServiceSelection['ports'][number] | undefined {
  const { port, targetPort, protocol = 'TCP' } = asMapping(value) ?? {};
  const known = protocols.find((each) => each === protocol);
  if (typeof port !== 'number' || !known) return undefined;
  const isTarget = typeof targetPort === 'number' || (typeof targetPort === 'string' && targetPort !== '');
  return { port, protocol: known, ...(isTarget && { targetPort }) };
}
