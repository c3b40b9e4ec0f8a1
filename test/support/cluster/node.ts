/**
 * A node: mount, network, UTS, IPC, PID and cgroup namespaces of its own.
 *
 * Its disk is a tmpfs in the mount namespace of a process that does nothing else, so that nothing that it writes is the machine's, a
 * reboot keeps it, and all of it is gone with that process: the machine's /usr is there read-only, /etc through an overlay, and nothing else. /opt/cni/bin and /etc/cni/net.d are empty; a hostPath
 * volume finds only what somebody put there. Of /proc/sys only `net` (the network namespace's own) can be written, and sysfs not
 * at all; three settings that a kubelet insists on show the values that it wants.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { isAlive, type LabProcess, netnsPath, startTimeOf } from '#lab';
import { cacheFolder, kubeFolder, toolPath } from '#setup';
import { type ExecResult, exec } from '#sys';
import { until } from '../wait.ts';
import {
  emptyNodeCgroups,
  type Hierarchy,
  hierarchies,
  makeNodeCgroups,
  nodeCgroups,
  processesInNode,
  removeNodeCgroups,
} from './cgroup.ts';
import { ClusterError } from './errors.ts';
import { pauseBinary } from './images.ts';
import { type NodeName, netnsOf, nodeMountPoint, paths, systemPath } from './layout.ts';
import { readState, updateState } from './state.ts';

const diskSize = '8g';
/** What a kubelet would write for the whole machine, at the values that it wants to read back. */
const masked: Readonly<Record<string, string>> = {
  'vm/overcommit_memory': '1',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};
const devices: readonly string[] = [
  'null 1 3',
  'zero 1 5',
  'full 1 7',
  'random 1 8',
  'urandom 1 9',
  'kmsg 1 11',
  'tty 5 0',
  'net/tun 10 200',
];

/** Folders of the machine that a node may read, at the same path: the programs that we start in it. */
function readOnlyFolders(): readonly string[] {
  const all = [kubeFolder(), cacheFolder()].map((folder) => fs.realpathSync(folder));
  return all.filter((folder) => !all.some((other) => other !== folder && folder.startsWith(`${other}/`)));
}

/** The shell script that builds the root on the disk and becomes pid 1. */
function initScript(node: NodeName, pause: string): string {
  const cgroupMounts = hierarchies().map((hierarchy) => mountLine(hierarchy));
  return `
cd ${nodeMountPoint(node)}
mkdir -p etc usr proc sys dev run tmp root home mnt srv opt/cni/bin var/lib var/log var/cache var/tmp .etc/upper .etc/work .old
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
chmod 1777 var/tmp
ln -sfn /run var/run
mount --bind /usr usr
mount -o remount,bind,ro usr
for d in bin sbin lib lib32 lib64 libx32; do
  if [ -L /$d ]; then ln -sfn "$(readlink /$d)" $d
  elif [ -d /$d ]; then mkdir -p $d; mount --bind /$d $d; mount -o remount,bind,ro $d; fi
done
mount -t overlay -o lowerdir=/etc,upperdir=$PWD/.etc/upper,workdir=$PWD/.etc/work overlay etc
if [ ! -e .installed ]; then rm -rf etc/cni etc/containerd etc/kubernetes; : > .installed; fi
mkdir -p etc/cni/net.d etc/containerd etc/kubernetes
echo ${node} > etc/hostname
printf '127.0.0.1 localhost ${node}\\n::1 localhost\\n' > etc/hosts
rm -f etc/resolv.conf; : > etc/resolv.conf
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 cgroups sys/fs/cgroup
${cgroupMounts.join('\n')}
mount -t tmpfs -o mode=755 devices dev
mkdir dev/pts dev/shm dev/net dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/\${i%:*} dev/\${i#*:}; done
${devices.map((line) => line.replace(/(\S+) (.*)/, 'mknod -m 666 dev/$1 c $2')).join('\n')}
for d in ${readOnlyFolders().join(' ')}; do
  mkdir -p .$d; mount --bind $d .$d; mount -o remount,bind,ro .$d
done
pivot_root . .old
cd /
umount -l /.old
rmdir /.old
for d in kernel vm fs; do mount --bind /proc/sys/$d /proc/sys/$d; mount -o remount,bind,ro /proc/sys/$d; done
mkdir /run/sysctl
${Object.entries(masked)
  .map(([key, value]) => {
    const file = `/run/sysctl/${key.replaceAll('/', '.')}`;
    return `if [ -e /proc/sys/${key} ]; then echo ${value} > ${file}; mount --bind ${file} /proc/sys/${key}; fi`;
  })
  .join('\n')}
mount --make-rshared /
hostname ${node}
ip link set lo up
echo 0 > /proc/sys/net/ipv4/ip_forward
exec ${pause}
`;
}

function mountLine({ mountPoint, type, options }: Hierarchy): string {
  const option = options ? `-o ${options}` : '';
  return `mkdir -p .${mountPoint}; mount -t ${type} ${option} ${type} .${mountPoint}`;
}

const diskRole = (node: NodeName): string => `disk ${node}`;

/** Starts the process whose mount namespace holds the node's disk. */
async function startDisk(node: NodeName): Promise<LabProcess> {
  const mountPoint = nodeMountPoint(node);
  fs.mkdirSync(mountPoint, { recursive: true });
  const script = `mount -t tmpfs -o mode=755,size=${diskSize} poplin-node ${mountPoint}; exec ${await pauseBinary()}`;
  const unshare = ['unshare', '-m', '--propagation', 'private', 'sh', '-euc', script];
  const pid = await spawnLogged(inGroups(makeNodeCgroups(node), unshare), logOf(node));
  const disk: LabProcess = { role: diskRole(node), pid, startTime: startTimeOf(pid) ?? 'gone' };
  updateState((state) => ({ ...state, processes: { ...state.processes, [disk.role]: disk } }));
  await booted(node, disk, 'disk');
  return disk;
}

const logOf = (node: NodeName): string => path.join(paths.logs, `${node}.log`);

/** Waits until the scripts have become the pause program. */
async function booted(node: NodeName, process_: LabProcess, what: string): Promise<void> {
  const pause = await pauseBinary();
  await until(
    () => {
      if (!isAlive(process_))
        throw new ClusterError(`${what} of ${node} ended: ${tail(logOf(node))}`, {
          code: 'PART_DIED',
          part: node,
          log: logOf(node),
        });
      return fs.readlinkSync(`/proc/${process_.pid}/exe`) === pause;
    },
    { what: `${what} of ${node}`, deadlineMs: 60_000 },
  );
}

/** Boots a node into its network namespace, which must exist, with the disk that it had, or an empty one. */
export async function startNode(node: NodeName): Promise<void> {
  const known = readState().processes[diskRole(node)];
  const disk = known && isAlive(known) ? known : await startDisk(node);
  const namespaces = [`--net=${netnsPath(netnsOf(node))}`, `--mount=/proc/${disk.pid}/ns/mnt`];
  const unshare = ['unshare', '-C', '-m', '-u', '-i', '-p', '--fork', '--kill-child', '--propagation', 'private'];
  const init = ['sh', '-euc', initScript(node, await pauseBinary())];
  const outer = await spawnLogged(
    inGroups(makeNodeCgroups(node), ['nsenter', ...namespaces, ...unshare, ...init]),
    logOf(node),
  );
  const pid = await childOf(outer, logOf(node), `node ${node}`);
  const started: LabProcess = { role: node, pid, startTime: startTimeOf(pid) ?? 'gone' };
  updateState((state) => ({ ...state, nodes: { ...state.nodes, [node]: started } }));
  await booted(node, started, 'boot');
}

/** Ends everything in a node at once, as a power cut does; its disk stays. */
export async function powerOff(node: NodeName): Promise<void> {
  const { nodes, processes } = readState();
  await endNode(node, nodes[node], processes[diskRole(node)]?.pid);
  await emptyNodeCgroups(node);
}

/** Ends a node with its disk, and removes its control groups. */
export async function removeNode(node: NodeName, first: LabProcess | undefined): Promise<void> {
  await endNode(node, first);
  await removeNodeCgroups(node);
}

async function endNode(node: NodeName, first: LabProcess | undefined, keepPid?: number): Promise<void> {
  if (first && isAlive(first)) kill(first.pid);
  await until(
    () => {
      const left = processesInNode(node).filter((pid) => pid !== keepPid);
      for (const pid of left) kill(pid);
      // Its first process ends last, and is out of the group before: it waits for the others.
      return left.length === 0 && !(first && isAlive(first));
    },
    { what: `${node}'s processes to end`, deadlineMs: 20_000 },
  );
}

/** SIGKILL to a process, or where it is negative to a group, that may be gone. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Pid 1 of the node as seen from outside. @throws ClusterError NOT_UP */
export function nodePid(node: NodeName): number {
  const first = readState().nodes[node];
  if (first && isAlive(first)) return first.pid;
  throw new ClusterError(`${node} is not up: \`npm run cluster -- up\``, { code: 'NOT_UP' });
}

/** A path of the node as seen from outside. */
export function nodePath(node: NodeName, file: string): string {
  return path.join(`/proc/${nodePid(node)}/root`, file);
}

function enter(node: NodeName): readonly string[] {
  return ['nsenter', '-t', String(nodePid(node)), '-m', '-n', '-u', '-i', '-p', '-C', '--'];
}

/** PATH within a node: our programs first. */
function nodeEnvironment(): Record<string, string> {
  const runc = toolPath('runc');
  const folders = [kubeFolder(), ...(runc ? [path.dirname(runc)] : []), systemPath];
  return { PATH: folders.join(':'), HOME: '/root', TMPDIR: '/tmp' };
}

export interface NodeExecOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
}

/** Runs a command inside a node to its end. */
export function execOnNode(
  node: NodeName,
  command: readonly string[],
  options: NodeExecOptions = {},
): Promise<ExecResult> {
  const [first, ...rest] = [...enter(node), ...command];
  return exec(first!, rest, { env: nodeEnvironment(), ...options });
}

/** The arguments that run `command` inside a node, for a caller that wants a terminal. */
export function nodeCommand(node: NodeName, command: readonly string[]): readonly string[] {
  return [
    ...enter(node),
    'env',
    ...Object.entries(nodeEnvironment()).map(([key, value]) => `${key}=${value}`),
    ...command,
  ];
}

/** Starts a daemon inside a node and in its control group; output is appended to `log`. */
export async function startOnNode(
  node: NodeName,
  role: string,
  command: readonly string[],
  log: string,
  env: Readonly<Record<string, string>> = {},
): Promise<LabProcess> {
  const outer = await spawnLogged(inGroups(nodeCgroups(node), [...enter(node), ...command]), log, {
    ...nodeEnvironment(),
    ...env,
  });
  // nsenter forks to enter a PID namespace: its child is the one meant.
  const pid = await childOf(outer, log, role);
  return { role, pid, startTime: startTimeOf(pid) ?? 'gone' };
}

function inGroups(groups: readonly string[], command: readonly string[]): readonly string[] {
  const files = groups.map((folder) => path.join(folder, 'cgroup.procs')).join(' ');
  return ['sh', '-euc', `for f in ${files}; do echo $$ > $f; done; exec "$@"`, 'sh', ...command];
}

async function spawnLogged(
  [command, ...args]: readonly string[],
  log: string,
  env: Readonly<Record<string, string>> = { PATH: systemPath },
): Promise<number> {
  fs.mkdirSync(path.dirname(log), { recursive: true });
  const file = fs.openSync(log, 'a');
  try {
    const child = spawn(command!, args, { detached: true, stdio: ['ignore', file, file], env });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    return child.pid!;
  } finally {
    fs.closeSync(file);
  }
}

async function childOf(pid: number, log: string, part: string): Promise<number> {
  return until(
    () => {
      if (startTimeOf(pid) === undefined)
        throw new ClusterError(`${part} ended at once: ${tail(log)}`, { code: 'PART_DIED', part, log });
      return Number.parseInt(fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10);
    },
    { what: `${part} to start (${log})`, deadlineMs: 60_000, intervalMs: 5 },
  );
}

/** The end of a log, for messages. */
export function tail(log: string, lines = 15): string {
  return fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : '(no log)';
}
