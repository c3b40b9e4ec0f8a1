/**
 * Control groups of the nodes (version 1): a sub-group `poplin-cluster.NODE` below each mounted hierarchy, which the node sees as
 * its root. All that a node runs is in it: that is what accounts its CPU and memory, and what `down` finds it by.
 */
import fs from 'node:fs';
import path from 'node:path';
import { must } from '#lab';
import { readFileIfThere } from '#sys';
import { type NodeName, netnsPrefix } from './layout.ts';

export interface Hierarchy {
  /** Where the machine has it. */
  readonly mountPoint: string;
  /** What `mount -t TYPE -o OPTIONS` of the same hierarchy takes. */
  readonly type: 'cgroup' | 'cgroup2';
  readonly options: string;
}

const controllers = new Set(
  'cpu cpuacct cpuset memory devices freezer blkio pids net_cls net_prio perf_event hugetlb rdma misc'.split(' '),
);

export function hierarchies(): readonly Hierarchy[] {
  const found: Hierarchy[] = [];
  for (const line of fs.readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, mountPoint, type, flags = ''] = line.split(' ');
    if (!mountPoint?.startsWith('/sys/fs/cgroup')) continue;
    const wanted = flags.split(',').filter((flag) => controllers.has(flag) || flag.startsWith('name='));
    if (type === 'cgroup')
      found.push({ mountPoint, type, options: [...(flags.includes('name=') ? ['none'] : []), ...wanted].join(',') });
    if (type === 'cgroup2') found.push({ mountPoint, type, options: '' });
  }
  return found;
}

function folderIn(hierarchy: Hierarchy, node: NodeName): string {
  return path.join(hierarchy.mountPoint, netnsPrefix + node);
}

/** The node's group of one controller, e.g. `cpuacct`. */
export function nodeCgroup(node: NodeName, controller: string): string {
  const hierarchy = hierarchies().find(({ options }) => options.split(',').includes(controller));
  if (!hierarchy) throw new Error(`no cgroup (version 1) hierarchy of controller ${controller} is mounted`);
  return folderIn(hierarchy, node);
}

/** @returns the folders; a process that writes itself into `cgroup.procs` of each is in the node's group. */
export function makeNodeCgroups(node: NodeName): readonly string[] {
  return hierarchies().map((hierarchy) => {
    const folder = folderIn(hierarchy, node);
    fs.mkdirSync(folder, { recursive: true });
    // A new group of cpuset takes no process before it has cores and memory.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const parent = readFileIfThere(path.join(hierarchy.mountPoint, file))?.trim();
      if (parent && hierarchy.type === 'cgroup') fs.writeFileSync(path.join(folder, file), parent);
    }
    return folder;
  });
}

export function nodeCgroups(node: NodeName): readonly string[] {
  return hierarchies()
    .map((hierarchy) => folderIn(hierarchy, node))
    .filter((folder) => fs.existsSync(folder));
}

/** Every process in any of the node's groups or below them. */
export function processesInNode(node: NodeName): readonly number[] {
  const found = new Set<number>();
  for (const folder of nodeCgroups(node).flatMap(subfolders)) {
    const text = readFileIfThere(path.join(folder, 'cgroup.procs')) ?? '';
    for (const pid of text.split('\n').filter(Boolean)) found.add(Number(pid));
  }
  return [...found];
}

/**
 * Removes the groups below a node's own, whose processes are gone: a kernel that boots has none of before. A kubelet that finds
 * some asks containerd for each for three seconds before it starts any pod.
 */
export async function emptyNodeCgroups(node: NodeName): Promise<void> {
  const folders = nodeCgroups(node);
  if (folders.length > 0)
    await must('find', [...folders, '-mindepth', '1', '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']);
}

/** Removes the groups of a node whose processes are gone. */
export async function removeNodeCgroups(node: NodeName): Promise<void> {
  const folders = nodeCgroups(node);
  if (folders.length > 0) await must('find', [...folders, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', '+']);
}

function subfolders(folder: string): string[] {
  const below = fs
    .readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => subfolders(path.join(folder, entry.name)));
  return [folder, ...below];
}
