/**
 * Loaded into a process by `node --import`: how much processor time each turn of the event loop of each of its threads takes, from where it
 * wakes up to where it would wait again. Time in which somebody else had the processor does not count, the collector's on this thread does.
 *
 * While there is work, an immediate marks every turn. That begins with the first immediate that somebody asks for, or timer that fires, and
 * ends a few turns after the last that did something. Each thread leaves `PROCESS-THREAD.json` in the folder in LOOP_TURNS_FOLDER. What threads did until
 * SIGUSR2 comes, their start above all, does not count any more then.
 */
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { BroadcastChannel, threadId } from 'node:worker_threads';

export interface LoopTurns {
  readonly turns: number;
  /** Index: whole ms of processor time, wall time; value: turns. */
  readonly cpuMs: readonly number[];
  readonly wallMs: readonly number[];
  readonly longestCpuMs: number;
  readonly longestWallMs: number;
}

const folder = process.env['LOOP_TURNS_FOLDER'];
/** Turns in which next to nothing was done before the marks end. */
const quietTurns = 3;
const quietMs = 0.2;
let forget = (): void => undefined;

/** Of this thread: what it did so far does not count. */
export function forgetTurns(): void {
  forget();
}

if (folder !== undefined) {
  const immediately = globalThis.setImmediate;
  const cpuMs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  const [cpu, wall]: [number[], number[]] = [[], []];
  let turns = 0;
  let longestCpuMs = 0;
  let longestWallMs = 0;
  let [cpuAt, wallAt] = [0, 0];
  let quiet = -1;
  const save = (): void => {
    const seen: LoopTurns = {
      turns,
      cpuMs: Array.from(cpu, zeroWhenEmpty),
      wallMs: Array.from(wall, zeroWhenEmpty),
      longestCpuMs,
      longestWallMs,
    };
    const file = path.join(folder, `${process.pid}-${threadId}.json`);
    // Whoever reads sees a whole one.
    fs.writeFileSync(`${file}.new`, JSON.stringify(seen));
    fs.renameSync(`${file}.new`, file);
  };
  const mark = (): void => {
    const [cpuNow, wallNow] = [cpuMs(), performance.now()];
    const [tookCpu, tookWall] = [cpuNow - cpuAt, wallNow - wallAt];
    [cpuAt, wallAt] = [cpuNow, wallNow];
    turns++;
    cpu[Math.floor(tookCpu)] = (cpu[Math.floor(tookCpu)] ?? 0) + 1;
    wall[Math.floor(tookWall)] = (wall[Math.floor(tookWall)] ?? 0) + 1;
    longestWallMs = Math.max(longestWallMs, tookWall);
    longestCpuMs = Math.max(longestCpuMs, tookCpu);
    quiet = tookCpu < quietMs ? quiet + 1 : 0;
    if (quiet < quietTurns) {
      immediately(mark);
      return;
    }
    quiet = -1;
    save();
  };
  forget = () => {
    cpu.length = 0;
    wall.length = 0;
    turns = 0;
    longestCpuMs = 0;
    longestWallMs = 0;
    [cpuAt, wallAt] = [cpuMs(), performance.now()];
  };
  // A signal comes to the main thread alone.
  const everywhere = new BroadcastChannel('forget loop turns');
  everywhere.onmessage = forget;
  everywhere.unref();
  if (threadId === 0) {
    process.on('SIGUSR2', () => {
      forget();
      everywhere.postMessage('');
    });
  }
  const begin = (): void => {
    if (quiet >= 0) return;
    quiet = 0;
    [cpuAt, wallAt] = [cpuMs(), performance.now()];
    immediately(mark);
  };
  const later = globalThis.setTimeout;
  globalThis.setTimeout = ((fn: (...args: unknown[]) => void, ms?: number, ...rest: unknown[]) => {
    const fired = (...args: unknown[]): void => {
      begin();
      fn(...args);
    };
    return later(fired, ms, ...rest);
  }) as typeof setTimeout;
  globalThis.setImmediate = ((fn: (...args: unknown[]) => void, ...rest: unknown[]) => {
    begin();
    return immediately(fn, ...rest);
  }) as typeof setImmediate;
}

function zeroWhenEmpty(count: number | undefined): number {
  return count ?? 0;
}

/** With it a process of Node measures itself, and leaves what it saw in `into`. */
export function loopTurnsEnvironment(into: string): Readonly<Record<string, string>> {
  return { NODE_OPTIONS: `--import ${import.meta.filename}`, LOOP_TURNS_FOLDER: into };
}

/** Of all threads of a process that has them in `from`: the one with most. */
export function loopTurns(from: string): LoopTurns {
  const all = fs
    .readdirSync(from)
    .filter((name) => name.endsWith('.json'))
    .map((name) => JSON.parse(fs.readFileSync(path.join(from, name), 'utf8')) as LoopTurns);
  return all.reduce((most, one) => (one.turns > most.turns ? one : most));
}

/** Processor time that `slowness` takes where the bounds of tests are meant. */
const calibrationMs = 6;

/** How many times slower than that this machine is now, at least 1. */
export function slowness(): number {
  const table = new Int32Array(1 << 20);
  const work = (steps: number): void => {
    let at = 1;
    for (let i = 0; i < steps; i++) {
      at = Math.imul(at ^ i, 0x9e3779b1);
      table[(at >>> 12) & 0xfffff]! += at;
    }
  };
  work(1 << 20);
  const before = process.threadCpuUsage();
  work(1 << 22);
  const { user, system } = process.threadCpuUsage(before);
  return Math.max(1, (user + system) / 1000 / calibrationMs);
}

/** Processor time (ms) that it takes here to write to memory for the first time: mostly the kernel's, 14 us a page where that was seen to matter. */
export function freshMemoryMs(bytes: number): number {
  const before = process.threadCpuUsage();
  const fresh = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 4096) fresh[at] = 1;
  const { user, system } = process.threadCpuUsage(before);
  return (user + system) / 1000;
}
