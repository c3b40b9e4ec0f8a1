import type { IpFamily, Logger } from '#kit';
import {
  type RouteKernel,
  type RouteWrite,
  type StateFile,
  type SysctlFiles,
  TABLE_MAIN,
} from '../drivers/route-ports.ts';
import { SysctlSettings } from '../drivers/sysctl.ts';

export interface RouteCleanupDeps {
  readonly kernel: RouteKernel;
  readonly sysctls: SysctlFiles;
  readonly sysctlState: StateFile;
  readonly log: Logger;
}

export interface RouteCleanupReport {
  readonly links: number;
  readonly nexthops: number;
  readonly routes: number;
  readonly sysctls: readonly string[];
  /** What the kernel would not give up. */
  readonly failures: readonly string[];
}

const BATCH_MESSAGES_MAX = 200;

/**
 * Removes everything that the route side and CNI ever made in this namespace: pod interfaces, routes and next-hop objects with our
 * protocol number; puts changed sysctls back. No agent may run. Repeatable.
 */
export async function cleanupRoutes(
  deps: RouteCleanupDeps,
  options: { readonly protocol?: number; readonly interfacePrefix?: string } = {},
): Promise<RouteCleanupReport> {
  const { protocol = 155, interfacePrefix = 'pop' } = options;
  const { kernel } = deps;
  const failures: string[] = [];
  const remove = async (writes: readonly RouteWrite[]): Promise<void> => {
    for (let at = 0; at < writes.length; at += BATCH_MESSAGES_MAX) {
      const batch = writes.slice(at, at + BATCH_MESSAGES_MAX);
      for (const { index, code, text } of await kernel.writeAsync(batch)) {
        if (!['ENOENT', 'ESRCH', 'ENODEV'].includes(code)) {
          failures.push(`${JSON.stringify(batch[index])}: ${code} ${text}`.trimEnd());
        }
      }
    }
  };
  const links = kernel.dumpLinks().filter((link) => link.kind === 'veth' && link.name.startsWith(interfacePrefix));
  await remove(links.map(({ index }) => ({ op: 'linkDelete', index })));
  const nexthops = kernel.dumpNexthops().filter((nexthop) => nexthop.protocol === protocol);
  const groups = nexthops.filter((nexthop) => nexthop.group.length > 0);
  const singles = nexthops.filter((nexthop) => nexthop.group.length === 0);
  const count = (): number => ([4, 6] as const).reduce((sum, family) => sum + ours(family).length, 0);
  const ours = (family: IpFamily) => kernel.dumpRoutes(family, { protocol, table: TABLE_MAIN });
  const routes = count();
  // Groups take their routes along.
  await remove([...groups, ...singles].map(({ id }) => ({ op: 'nexthopDelete', id })));
  for (const family of [4, 6] as const) {
    await remove(
      ours(family).map(({ prefix, metric, type }) => ({
        op: 'routeDelete',
        route: { prefix, protocol, metric, ...(type === 'blackhole' ? { type } : {}) },
      })),
    );
  }
  const sysctls = new SysctlSettings({ files: deps.sysctls, state: deps.sysctlState, log: deps.log }).restore();
  return { links: links.length, nexthops: nexthops.length, routes, sysctls, failures };
}
