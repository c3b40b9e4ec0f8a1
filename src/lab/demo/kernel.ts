/** What the kernel of a lab's node or router says: routes with next-hop objects resolved, counters of interfaces. */

import type { Lab } from '../lab.ts';
import { machineNetns } from '../names.ts';
import { must } from '../netns.ts';

export interface KernelNextHop {
  readonly gateway: string;
  readonly device: string;
}
export interface KernelRoute {
  readonly prefix: string;
  readonly protocol: string;
  readonly nextHops: readonly KernelNextHop[];
}

interface IpRoute {
  readonly dst: string;
  readonly protocol?: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly dev?: string;
  readonly nhid?: number;
  readonly nexthops?: readonly IpRoute[];
}
interface IpNextHop {
  readonly id: number;
  readonly gateway?: string;
  readonly dev?: string;
  readonly group?: readonly { readonly id: number }[];
}

async function ipJson<T>(lab: Lab, machine: string, args: readonly string[]): Promise<T[]> {
  const text = await must('ip', ['-n', machineNetns(lab.paths, machine), '-j', ...args]);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

/** Routes of the main table, both families; `nhid N` followed to gateways and devices. */
export async function kernelRoutes(lab: Lab, machine: string): Promise<KernelRoute[]> {
  const objects = new Map(
    (await ipJson<IpNextHop>(lab, machine, ['nexthop', 'show'])).map((object) => [object.id, object]),
  );
  const routes = await Promise.all(
    ['-4', '-6'].map((family) => ipJson<IpRoute>(lab, machine, [family, 'route', 'show', 'table', 'main'])),
  );
  return routes.flatMap((list, i) =>
    list.map((route) => ({
      prefix: route.dst === 'default' ? (i === 0 ? '0.0.0.0/0' : '::/0') : route.dst,
      protocol: route.protocol ?? '',
      nextHops: resolve(route, objects).sort((a, b) => (a.device < b.device ? -1 : 1)),
    })),
  );
}

function resolve(route: IpRoute, objects: ReadonlyMap<number, IpNextHop>): KernelNextHop[] {
  const object = route.nhid === undefined ? undefined : objects.get(route.nhid);
  if (object) {
    const members = object.group ? object.group.map(({ id }) => objects.get(id)) : [object];
    return members.flatMap((member) => (member?.dev ? [{ gateway: member.gateway ?? '', device: member.dev }] : []));
  }
  return (route.nexthops ?? [route]).flatMap((hop) =>
    hop.dev ? [{ gateway: hop.gateway ?? hop.via?.host ?? '', device: hop.dev }] : [],
  );
}

/** Bytes sent by an interface since it was made. */
export async function bytesSent(lab: Lab, machine: string, device: string): Promise<number> {
  const [link] = await ipJson<{ stats64: { tx: { bytes: number } } }>(lab, machine, [
    '-s',
    'link',
    'show',
    'dev',
    device,
  ]);
  return link?.stats64.tx.bytes ?? 0;
}

export async function setLinks(
  lab: Lab,
  machine: string,
  devices: readonly string[],
  state: 'up' | 'down',
): Promise<void> {
  const lines = devices.map((device) => `link set ${device} ${state}`);
  await must('ip', ['-n', machineNetns(lab.paths, machine), '-batch', '-'], `${lines.join('\n')}\n`);
}
