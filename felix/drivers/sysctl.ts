/**
 * Kernel settings that we change, with what they were before: recorded durably before the first change, put back by cleanup.
 * A value that is already right is neither written nor recorded.
 */
import { errorText, type Logger, PoplinError } from '#kit';
import type { StateFile, SysctlFiles } from './route-ports.ts';

export type SysctlFailure = { readonly code: 'SYSCTL_REFUSED'; readonly key: string; readonly value: string };
export class SysctlError extends PoplinError<SysctlFailure> {}

interface Recorded {
  readonly before: string;
  readonly ours: string;
}

export interface SysctlDeps {
  readonly files: SysctlFiles;
  readonly state: StateFile;
  readonly log: Logger;
}

export class SysctlSettings {
  readonly #deps: SysctlDeps;
  /** In order of the first change. */
  readonly #recorded: Map<string, Recorded>;

  constructor(deps: SysctlDeps) {
    this.#deps = deps;
    this.#recorded = parseRecord(deps.state.read(), deps.log);
  }

  get recorded(): ReadonlyMap<string, Recorded> {
    return this.#recorded;
  }

  /**
   * Sets `key` to `value`. A key that does not exist (family disabled, interface gone) is passed over: returns false.
   *
   * @throws SysctlError when the kernel refuses, e.g. /proc/sys is read-only.
   */
  ensure(key: string, value: string): boolean {
    const now = this.#deps.files.read(key);
    if (now === undefined) return false;
    if (now === value) return true;
    const before = this.#recorded.get(key)?.before ?? now;
    this.#recorded.set(key, { before, ours: value });
    this.#save();
    try {
      return this.#deps.files.write(key, value);
    } catch (error) {
      throw new SysctlError(
        `sysctl ${key} cannot be set to ${value} (it is ${now}): ${errorText(error)}; set it on the node or make /proc/sys writable`,
        { code: 'SYSCTL_REFUSED', key, value },
        { cause: error },
      );
    }
  }

  /** Last change first. A value that somebody else changed since is left alone. Returns the keys put back. */
  restore(): string[] {
    const restored: string[] = [];
    for (const [key, { before, ours }] of [...this.#recorded].reverse()) {
      const now = this.#deps.files.read(key);
      if (now === ours && now !== before) {
        this.#deps.files.write(key, before);
        restored.push(key);
      } else if (now !== undefined && now !== before) {
        this.#deps.log.warn({ key, value: now, ours, before }, 'sysctl was changed by somebody else, left as it is');
      }
      this.#recorded.delete(key);
    }
    this.#deps.state.remove();
    return restored;
  }

  #save(): void {
    this.#deps.state.write(`${JSON.stringify({ version: 1, sysctls: Object.fromEntries(this.#recorded) }, null, 2)}\n`);
  }
}

function parseRecord(text: string | undefined, log: Logger): Map<string, Recorded> {
  if (text === undefined) return new Map();
  try {
    const { sysctls } = JSON.parse(text) as { sysctls?: Record<string, Partial<Recorded>> };
    const found = new Map<string, Recorded>();
    for (const [key, { before, ours }] of Object.entries(sysctls ?? {})) {
      if (typeof before === 'string' && typeof ours === 'string') found.set(key, { before, ours });
    }
    return found;
  } catch (error) {
    log.error({ reason: errorText(error) }, 'record of changed sysctls is unreadable: cleanup cannot restore them');
    return new Map();
  }
}
