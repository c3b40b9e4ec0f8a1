import * as libc from './libc.ts';
import { SysError } from './sys-error.ts';

const SCHED_RR = 2;
/** What the thread starts later is scheduled as usual. */
const SCHED_RESET_ON_FORK = 0x40000000;

/**
 * Real-time scheduling for the calling thread, at `priority` (1..99). Needs CAP_SYS_NICE, and in cgroup v1 a share of real time.
 *
 * @returns why it was refused; undefined when it is in force.
 */
export function becomeRealtime(priority: number): SysError | undefined {
  const parameters = Buffer.alloc(4);
  parameters.writeInt32LE(priority);
  const result = libc.schedSetscheduler(libc.gettid(), SCHED_RR | SCHED_RESET_ON_FORK, parameters);
  return result < 0 ? new SysError('sched_setscheduler(SCHED_RR)', -result) : undefined;
}
