/** `poplin cleanup`: takes away everything that an agent with this configuration ever made on the machine. */
import fs from 'node:fs';
import { removeConflist } from '#cni';
import type { AgentConfig } from '#config';
import { cleanupPolicyDataplane, cleanupRoutes } from '#felix';
import { createLogger } from '#obs';
import { durableFile, openRouteKernel, sysctlFiles } from '#sys';
import { takeNode } from './agent.ts';
import { agentPaths, INTERFACE_PREFIX, runCommand } from './system.ts';

export interface CleanupSummary {
  /** What was removed, by kind. */
  readonly removed: Readonly<Record<string, number>>;
  /** Settings of the kernel that were put back. */
  readonly restored: readonly string[];
  /** What would not go, in words; empty when all is as before. */
  readonly left: readonly string[];
  /** What the kernel keeps until its module or namespace goes, though nothing of ours is in it. */
  readonly notes: readonly string[];
}

/** Refuses while an agent runs. Safe to repeat. @throws AgentError LOCKED */
export async function runCleanup(config: AgentConfig): Promise<CleanupSummary> {
  const release = await takeNode(config);
  const log = createLogger({ level: config.logLevel, base: { node: config.nodeName } });
  const paths = agentPaths(config);
  try {
    // First of all nobody may ask for new pods.
    if (config.cniConfDir) removeConflist(config.cniConfDir);
    const policy = await cleanupPolicyDataplane(
      { run: runCommand, log },
      { env: { XTABLES_LOCKFILE: config.xtablesLockFile } },
    );
    const routes = await cleanupRoutes(
      {
        kernel: openRouteKernel(),
        sysctls: sysctlFiles(config.procSys || undefined),
        sysctlState: durableFile(paths.sysctls),
        log,
      },
      { interfacePrefix: INTERFACE_PREFIX },
    );
    for (const folder of [paths.attachments, paths.cniQueue, `${config.stateDir}/datastore`]) {
      fs.rmSync(folder, { recursive: true, force: true });
    }
    const { chains, jumps, sets } = policy;
    const { links, nexthops, routes: routeCount } = routes;
    return {
      removed: { chains, jumps, sets, interfaces: links, routes: routeCount, nexthops },
      restored: routes.sysctls,
      left: routes.failures,
      notes: policy.left,
    };
  } finally {
    release();
  }
}
