/**
 * Programs started by posix_spawn, which lends them our memory until they have their own. Node's own way is a fork: it copies the page tables, 5 ms of
 * the thread with 200 MB, and every page that is written to after it faults.
 */
import fs from 'node:fs';
import path from 'node:path';
import { ENOENT, O_CLOEXEC } from './constants.ts';
import { Fd } from './fd.ts';
import * as libc from './libc.ts';
import { check, SysError } from './sys-error.ts';
import { watch } from './watch.ts';

export interface SpawnOptions {
  /** The whole environment of the child. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string | undefined;
  /** What the child has as 0, 1, 2 and on; it gets no other. */
  readonly descriptors: readonly number[];
}
export interface Spawned {
  readonly pid: number;
  /** Exit code, or 128 + n when signal n ended it. Until then `pid` is nobody else's. */
  readonly ended: Promise<number>;
}

const MFD_CLOEXEC = 1;
const F_DUPFD_CLOEXEC = 1030;
const PIDFD_OPEN = 434;
const WNOHANG = 1;
const [SETSIGDEF, SETSIGMASK] = [4, 8];
/** More than glibc's and musl's structures take: 336 at most, and sigset_t 128. */
const structBytes = 512;
const pathDefault = '/usr/bin:/bin';

/** A file without a name, to be read from its begin. @throws SysError */
export function fileOf(content: string | Uint8Array): Fd {
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const file = new Fd(check('memfd_create', libc.memfdCreate('stdin', MFD_CLOEXEC)));
  try {
    // Does not move the place that the child reads from.
    for (let at = 0; at < bytes.length; )
      at += check('pwrite', libc.pwrite(file.number, bytes.subarray(at), bytes.length - at, at));
  } catch (error) {
    file.close();
    throw error;
  }
  return file;
}

/** Both ends; what nobody took is closed on every way out. @throws SysError */
export function newPipe(): { readonly from: Fd; readonly to: Fd; [Symbol.dispose](): void } {
  const pair = Buffer.alloc(8);
  check('pipe2', libc.pipe2(pair, O_CLOEXEC));
  const [from, to] = [new Fd(pair.readInt32LE(0)), new Fd(pair.readInt32LE(4))];
  return {
    from,
    to,
    [Symbol.dispose]() {
      from.close();
      to.close();
    },
  };
}

/** In this thread's namespaces. A command without a slash is looked for in the child's PATH. @throws SysError */
export function spawnProgram(command: string, args: readonly string[], options: SpawnOptions): Spawned {
  const file = fileOfCommand(command, options.env['PATH'] ?? pathDefault);
  const env = Object.entries(options.env).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const attributes = asItWasBorn();
  const { actions, held } = fileActions(options);
  const pid = Buffer.alloc(4);
  try {
    const argv = [command, ...args, null];
    checkErrno('posix_spawn', libc.posixSpawn(pid, file, actions, attributes, argv, [...env, null]), command);
  } finally {
    libc.posixSpawnFileActionsDestroy(actions);
    libc.posixSpawnattrDestroy(attributes);
    for (const each of held) each.close();
  }
  const number = pid.readInt32LE(0);
  return { pid: number, ended: endOf(number) };
}

/** These give an error's number as their result. */
function checkErrno(call: string, errno: number, detail?: string): void {
  if (errno !== 0) throw new SysError(call, errno, detail);
}

/** No signal blocked or ignored, whatever this process does with its own. */
function asItWasBorn(): Buffer {
  const attributes = Buffer.alloc(structBytes);
  const signals = Buffer.alloc(structBytes);
  libc.posixSpawnattrInit(attributes);
  libc.posixSpawnattrSetsigmask(attributes, signals);
  libc.sigfillset(signals);
  libc.posixSpawnattrSetsigdefault(attributes, signals);
  libc.posixSpawnattrSetflags(attributes, SETSIGDEF | SETSIGMASK);
  return attributes;
}

/** `held` until the child is there. */
function fileActions({ cwd, descriptors }: SpawnOptions): { readonly actions: Buffer; readonly held: readonly Fd[] } {
  const actions = Buffer.alloc(structBytes);
  const held: Fd[] = [];
  libc.posixSpawnFileActionsInit(actions);
  if (cwd !== undefined) libc.posixSpawnFileActionsAddchdirNp(actions, cwd);
  for (const [at, descriptor] of descriptors.entries()) {
    // One that is among the child's numbers would be overwritten before its turn.
    if (descriptor < descriptors.length)
      held.push(new Fd(check('fcntl', libc.fcntl(descriptor, F_DUPFD_CLOEXEC, descriptors.length))));
    const source = descriptor < descriptors.length ? held.at(-1)!.number : descriptor;
    checkErrno('posix_spawn_file_actions_adddup2', libc.posixSpawnFileActionsAdddup2(actions, source, at));
  }
  return { actions, held };
}

function fileOfCommand(command: string, searched: string): string {
  if (command.includes('/')) return command;
  const file = searched
    .split(':')
    .map((folder) => path.join(folder, command))
    .find((each) => {
      const stat = fs.statSync(each, { throwIfNoEntry: false });
      return stat?.isFile() && (stat.mode & 0o111) !== 0;
    });
  if (file === undefined) throw new SysError('posix_spawn', ENOENT, `${command} is not in ${searched}`);
  return file;
}

/** Only who asks for this very child takes its end away; libuv asks for its own alone. */
function endOf(pid: number): Promise<number> {
  const pidfd = libc.syscall(PIDFD_OPEN, pid, 0, 0);
  if (pidfd < 0) {
    process.kill(pid, 'SIGKILL');
    libc.waitpid(pid, Buffer.alloc(4), 0);
    throw new SysError('pidfd_open', -pidfd);
  }
  const fd = new Fd(pidfd);
  return new Promise((resolve, reject) => {
    const watcher = watch(fd.number, { readable: true }, () => {
      const status = Buffer.alloc(4);
      const reaped = libc.waitpid(pid, status, WNOHANG);
      if (reaped === 0) return;
      watcher.close();
      fd.close();
      if (reaped < 0) reject(new SysError('waitpid', -reaped));
      else resolve(codeOf(status.readInt32LE(0)));
    });
  });
}

function codeOf(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}
