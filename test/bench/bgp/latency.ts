/**
 * How long a change of one prefix takes through a speaker. The peers are a C program (latency-peers.c): what another runtime collects, compiles and
 * queues would be most of what is slow here. A sample ends when the kernel of the receiver has the packet.
 *
 * A percentile is that of a thousand samples, and of several thousand of one round, as of all rounds, the bench takes the median: a thousand in which the
 * machine was busy with something else, which lengthens a hundred samples in a row, is one value of many; were all samples thrown together it
 * would be the whole p99. And in one thousand alone p99 says little: it is the tenth slowest, and as long as they take the kernel's tick comes five times.
 *
 * The speakers' thousands are measured in turns: what the host of a guest does to it changes from one minute to the next, and with it p99 by half.
 */
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { constants, type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import readline from 'node:readline';
import type { BgpLink } from '../../support/bgp.ts';
import { compiled } from '../compiled.ts';
import { type DutName, type DutPeer, dutAddress } from './dut-starters.ts';
import { type Figures, figures, nextHopOf, type Run, receiver, sender } from './parts.ts';
import { makeTable } from './table.ts';
import { OverLimit, World } from './world.ts';

/**
 * While it is open processors do not sleep (PM QoS, as cyclictest has it). One that slept wakes within 10 or 70 us, and has its caches then or not:
 * on a guest that is as its host likes, differs from one minute to the next, and would be most of what is slow here, whoever is measured. Undefined where
 * the kernel has no such file, or does not let us.
 */
async function wakefulness(): Promise<FileHandle | undefined> {
  try {
    const file = await open('/dev/cpu_dma_latency', constants.O_WRONLY);
    await file.write(new Int32Array(1));
    return file;
  } catch {
    return undefined;
  }
}

/** FRR, which collects changes for 50 ms, takes 100 s for a thousand of each kind. */
const limitSec = 150;
/** Thousands that are measured in a round, fewer of who takes longer than that. */
const setsMax = 5;
const setsSec = 20;
/** Beside those that are measured. */
const churnPerSecond = 200;

class LatencyPeers {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(link: BgpLink, from: DutPeer, to: DutPeer) {
    const arguments_ = [dutAddress[4], from.address, String(from.asn), to.address, String(to.asn)];
    this.#process = link.spawn(link.b, compiled('bgp/latency-peers.c', link.folder), arguments_);
    this.#process.stderr!.on('data', (chunk) => (this.#errors += chunk));
    this.#lines = readline.createInterface({ input: this.#process.stdout! })[Symbol.asyncIterator]();
  }

  command(line: string): void {
    this.#process.stdin!.write(`${line}\n`);
  }

  /** @returns the lines before the one that ends the answer. @throws OverLimit; Error with what the peers said when they failed */
  async until(last: string): Promise<readonly string[]> {
    const lines: string[] = [];
    const { promise: over, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(
      () => reject(new OverLimit('latency', { overSec: limitSec, lacking: [last] })),
      limitSec * 1000,
    );
    try {
      for (;;) {
        const { value, done } = await Promise.race([this.#lines.next(), over]);
        if (done) throw new Error(`latency: ${this.#errors.trim()}`);
        if (value === last) return lines;
        lines.push(value);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Of lines of one kind. */
function percentiles(lines: readonly string[], what: 'announce' | 'withdraw'): Figures {
  const sorted = lines
    .filter((line) => line.startsWith(what))
    .map((line) => Number(line.split(' ')[2]))
    .sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(sorted.length * share)]!;
  return { [`${what}P50Ms`]: at(0.5), [`${what}P99Ms`]: at(0.99) };
}

/** One prefix through an idle speaker, and through one with a table and a steady stream of changes. Figures of each thousand. */
export async function* latency(name: DutName, count: number, prefixes: number): Run {
  const [from, to] = [sender(), receiver()];
  await using world = await World.start(name, [from, to], { limitSec });
  const peers = new LatencyPeers(world.link, from, to);
  await peers.until('up');
  await using awake = await wakefulness();
  const measuredOnce = async (perSecond: number): Promise<Figures> => {
    // Idle is who is done with what he does at his start, or with a table.
    await world.settledMib();
    const before = world.dut.usage().cpuSec;
    peers.command(`latency ${count} ${perSecond}`);
    const lines = await peers.until('done');
    const cpuSec = world.dut.usage().cpuSec - before;
    return { ...percentiles(lines, 'announce'), ...percentiles(lines, 'withdraw'), cpuSec };
  };
  async function* measured(perSecond: number, what = ''): Run {
    let leftMs = setsSec * 1000;
    for (let sets = 0; sets < setsMax && leftMs > 0; sets++) {
      const started = performance.now();
      const set = await measuredOnce(perSecond);
      leftMs -= performance.now() - started;
      yield figures(set, what);
    }
  }
  yield { processorsAwake: awake ? 1 : 0 };
  yield* measured(0);
  const table = path.join(world.link.folder, 'table');
  fs.writeFileSync(table, makeTable({ family: 4, prefixes, asn: from.asn, nextHop: nextHopOf(from) }).announce);
  peers.command(`load ${table} ${prefixes}`);
  await peers.until('loaded');
  yield* measured(churnPerSecond, 'churn');
}
