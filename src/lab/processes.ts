/**
 * Long-lived processes of a lab. They outlive the command that starts them, so each is known by pid and start time: a pid alone
 * may be somebody else's by the time that it is to be ended.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { netnsPath } from './names.ts';

export interface LabProcess {
  /** `agent node1`, `bird tor1`, `prober`. */
  readonly role: string;
  readonly pid: number;
  /** Clock ticks since boot, field 22 of /proc/PID/stat. */
  readonly startTime: string;
}

const endDeadlineMs = 5_000;
const pollMs = 10;

/** Start time of a live process; undefined when it is gone or a zombie. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? undefined : fields[19];
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return undefined;
    throw error;
  }
}

export function isAlive(process: LabProcess): boolean {
  return startTimeOf(process.pid) === process.startTime;
}

export interface StartOptions {
  readonly role: string;
  /** Name of the network namespace, or undefined for the machine's own. */
  readonly netns?: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly logFile: string;
}

/** Starts a process of its own session; its output is appended to `logFile`. */
export async function startProcess(options: StartOptions): Promise<LabProcess> {
  fs.mkdirSync(path.dirname(options.logFile), { recursive: true });
  const log = fs.openSync(options.logFile, 'a');
  try {
    // nsenter replaces itself by the command: the pid stays.
    const [command, args] = options.netns
      ? ['nsenter', [`--net=${netnsPath(options.netns)}`, options.command, ...options.args]]
      : [options.command, options.args];
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: options.env ?? process.env,
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid!;
    return { role: options.role, pid, startTime: startTimeOf(pid) ?? 'gone' };
  } finally {
    fs.closeSync(log);
  }
}

/** Sends a signal unless the process is gone. */
export function signal(process_: LabProcess, name: NodeJS.Signals): void {
  if (!isAlive(process_)) return;
  try {
    process.kill(process_.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** SIGTERM, then after 5 s SIGKILL; returns when all are gone. */
export async function endProcesses(processes: readonly LabProcess[]): Promise<void> {
  for (const name of ['SIGTERM', 'SIGKILL'] as const) {
    for (const one of processes) signal(one, name);
    const end = performance.now() + endDeadlineMs;
    while (processes.some(isAlive) && performance.now() < end) await sleep(pollMs);
    if (!processes.some(isAlive)) return;
  }
}

/** Processes whose network namespace is one of `netns`: found by the kernel's own inode, whatever a state file says. */
export function processesIn(netns: readonly string[]): LabProcess[] {
  const wanted = new Set<string>();
  for (const name of netns) {
    if (fs.existsSync(netnsPath(name))) wanted.add(inodeOf(netnsPath(name)));
  }
  const found: LabProcess[] = [];
  for (const entry of fs.readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const startTime = startTimeOf(Number(entry));
      if (startTime && wanted.has(inodeOf(`/proc/${entry}/ns/net`)))
        found.push({ role: 'found', pid: Number(entry), startTime });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EACCES') throw error;
    }
  }
  return found;
}

function inodeOf(file: string): string {
  const stat = fs.statSync(file, { bigint: true });
  return `${stat.dev}:${stat.ino}`;
}
