import type { Clock, IpFamily } from '#kit';
import { paced } from '../pace.ts';

/** How drivers run programs: handed in, so that felix starts no process itself and tests can look at every line. */
export interface CommandOptions {
  /** All of it, or as it is made: the program works on what it has meanwhile. */
  readonly stdin?: string | AsyncIterable<string>;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Descriptors that the program gets, as 3 and on. */
  readonly inherit?: readonly number[];
  /** What it prints, in pieces, instead of `stdout` of the result; a runner may as well give it there. */
  readonly onOutput?: (text: string) => void;
  /** Told its process's number before `run` returns. */
  readonly onStart?: (pid: number) => void;
}
/** All of it, for a runner that wants it whole. */
export async function inputText(stdin: CommandOptions['stdin']): Promise<string> {
  let text = '';
  for await (const part of typeof stdin === 'object' ? stdin : [stdin ?? '']) text += part;
  return text;
}
export interface CommandResult {
  /** Exit code; not 0 also when it was killed or could not start. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
/** What a program printed, a line a step: all lines of megabytes at once are more than one turn of the main loop may take. */
export function* linesOf(text: string): Generator<string> {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    yield text.slice(at, end < 0 ? undefined : end);
    at = end < 0 ? text.length : end + 1;
  }
}
export interface CommandRunner {
  run(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
}

/** Hands over every line that a program prints, as they come: of megabytes nothing is kept. All of it has been when this resolves. */
export async function runLines(
  { run, clock }: { readonly run: CommandRunner['run']; readonly clock: Clock },
  argv: readonly string[],
  options: CommandOptions,
  line: (line: string) => void,
): Promise<CommandResult> {
  let begun = '';
  const onOutput = (text: string): void => {
    const end = text.lastIndexOf('\n') + 1;
    if (end > 0) for (const each of linesOf(begun + text.slice(0, end))) line(each);
    begun = end > 0 ? text.slice(end) : begun + text;
  };
  const result = await run(argv, { ...options, onOutput });
  await paced(clock, linesOf(begun + result.stdout), line);
  return result;
}

export interface HeldLock {
  readonly descriptor: number;
  /** For programs that have the descriptor to lock instead: each opens a file of its own. */
  readonly ownFile: string;
  release(): void;
}
/** Takes an exclusive flock without waiting, handed in like the runner. Undefined: another program has it. */
export type TakeLock = (file: string) => HeldLock | undefined;

/** One member of one kernel set, as `ipset save` prints it. */
export interface SetMemberChange {
  readonly op: 'add' | 'del';
  readonly set: string;
  readonly type: 'ip' | 'net' | 'ip,port' | 'net,iface';
  readonly family: IpFamily;
  readonly member: string;
  /** Of a set whose members go by themselves: when, and what is noted with the member. */
  readonly life?: MemberLife;
}
/** 1..2147483 s; a comment holds no quote, and at most 255 characters. */
export interface MemberLife {
  readonly timeoutSec: number;
  readonly comment: string;
}
/** A set without members, with room for so many. */
export interface SetCreation {
  readonly op: 'create';
  readonly set: string;
  readonly type: SetMemberChange['type'];
  readonly family: IpFamily;
  readonly room: number;
}
/** Makes sets, and changes members of sets that exist, without a process; handed in like the runner. */
export interface SetMemberWriter {
  /** In order; repeating a change is no failure. Returns the first failure in words. */
  change(changes: readonly (SetMemberChange | SetCreation)[]): string | undefined;
}

/** What was sent to the kernel, for metrics and for tests that hold us to it. */
export interface WriteCounters {
  restoreCalls: number;
  restoreLines: number;
  saveCalls: number;
}
export const newCounters = (): WriteCounters => ({ restoreCalls: 0, restoreLines: 0, saveCalls: 0 });
