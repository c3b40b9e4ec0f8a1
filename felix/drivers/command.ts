/** How drivers run programs: handed in, so that felix starts no process itself and tests can look at every line. */
export interface CommandOptions {
  readonly stdin?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}
export interface CommandResult {
  /** Exit code; not 0 also when it was killed or could not start. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface CommandRunner {
  run(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
}

/** What was sent to the kernel, for metrics and for tests that hold us to it. */
export interface WriteCounters {
  restoreCalls: number;
  restoreLines: number;
  saveCalls: number;
}
export const newCounters = (): WriteCounters => ({ restoreCalls: 0, restoreLines: 0, saveCalls: 0 });
