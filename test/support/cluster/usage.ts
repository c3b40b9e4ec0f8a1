/** What the agent's pods cost, from the kernel's accounting of their control groups: children (iptables-restore ...) included. */
import fs from 'node:fs';
import path from 'node:path';
import { readFileIfThere } from '#sys';
import type { KubeList, KubeObject } from './api.ts';
import { nodeCgroup } from './cgroup.ts';
import type { Cluster } from './cluster.ts';
import type { NodeName } from './layout.ts';

export interface AgentUsage {
  readonly node: NodeName;
  readonly pod: string;
  readonly uid: string;
  /** User and system time of all its containers since it was made; a difference: since then. */
  readonly cpuSec: number;
  /** Anonymous memory of its processes now. */
  readonly rssBytes: number;
  /** Sum of the highest RSS that each living process has had. */
  readonly peakRssBytes: number;
  /** Highest use of the group: page cache and kernel memory included. */
  readonly peakBytes: number;
}

interface Pod extends KubeObject {
  readonly spec: { readonly nodeName?: string };
  readonly status: { readonly phase?: string };
}

/** A pod's folder below the node's group of one controller: `kubepods/[burstable|besteffort/]podUID`. */
export function podCgroup(node: NodeName, uid: string, controller: string): string {
  const base = path.join(nodeCgroup(node, controller), 'kubepods');
  const found = ['', 'burstable', 'besteffort']
    .map((qos) => path.join(base, qos, `pod${uid}`))
    .find((folder) => fs.existsSync(folder));
  if (!found) throw new Error(`no control group of pod ${uid} below ${base}`);
  return found;
}

/** Pids of all processes of a pod, as seen from outside. */
export function podProcesses(node: NodeName, uid: string): readonly number[] {
  const folder = podCgroup(node, uid, 'cpuacct');
  return [
    folder,
    ...fs
      .readdirSync(folder, { withFileTypes: true })
      .filter((e) => e.isDirectory())
      .map((e) => path.join(folder, e.name)),
  ]
    .flatMap((group) => (readFileIfThere(path.join(group, 'cgroup.procs')) ?? '').split('\n'))
    .filter(Boolean)
    .map(Number);
}

function peakRss(pids: readonly number[]): number {
  return pids.reduce((total, pid) => {
    const kib = /^VmHWM:\s+(\d+) kB/m.exec(readFileIfThere(`/proc/${pid}/status`) ?? '')?.[1];
    return total + Number(kib ?? 0) * 1024;
  }, 0);
}

/** One for each running pod that `selector` finds. @throws Error when there is none, or one has no group. */
export async function agentUsage(
  { api }: Cluster,
  { namespace, selector }: { readonly namespace: string; readonly selector: string },
): Promise<readonly AgentUsage[]> {
  const query = `labelSelector=${encodeURIComponent(selector)}`;
  const { items } = await api.get<KubeList<Pod>>(`/api/v1/namespaces/${namespace}/pods?${query}`);
  const running = items.filter(({ status, spec }) => status.phase === 'Running' && spec.nodeName);
  if (running.length === 0) throw new Error(`no running pod in ${namespace} has labels ${selector}`);
  return running.map(({ metadata, spec }) => {
    const node = spec.nodeName as NodeName;
    const uid = metadata.uid!;
    const number = (controller: string, file: string): number =>
      Number(fs.readFileSync(path.join(podCgroup(node, uid, controller), file), 'utf8'));
    const stat = fs.readFileSync(path.join(podCgroup(node, uid, 'memory'), 'memory.stat'), 'utf8');
    return {
      node,
      pod: metadata.name,
      uid,
      cpuSec: number('cpuacct', 'cpuacct.usage') / 1e9,
      rssBytes: Number(/^total_rss (\d+)/m.exec(stat)?.[1]),
      peakRssBytes: peakRss(podProcesses(node, uid)),
      peakBytes: number('memory', 'memory.max_usage_in_bytes'),
    };
  });
}

/** CPU time between two readings; memory as of the second. @throws Error when a pod was replaced in between. */
export function usageSince(before: readonly AgentUsage[], after: readonly AgentUsage[]): readonly AgentUsage[] {
  return after.map((now) => {
    const then = before.find(({ uid }) => uid === now.uid);
    if (!then) throw new Error(`the agent's pod on ${now.node} was replaced meanwhile: ${now.pod} is new`);
    return { ...now, cpuSec: now.cpuSec - then.cpuSec };
  });
}
