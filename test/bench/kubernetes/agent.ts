/** An agent that follows a real API server, as a process in a node's namespace, with what it costs. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import * as esbuild from 'esbuild';
import { bundle, bundleEntry, nodeEnvironment, nodeFlags } from '#image';
import { type KubeNode, kubeNode } from '../../support/kube/agent.ts';
import type { ApiServer } from '../../support/kube/api-server.ts';

export interface Undo {
  after(fn: () => unknown): void;
}

/** As in the image: bundled, under the image's own flags and environment. The folder goes with the bench. */
let program: Promise<readonly string[]> | undefined;
export function bundledProgram(): Promise<readonly string[]> {
  program ??= (async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-bundle-'));
    process.once('exit', () => fs.rmSync(folder, { recursive: true }));
    const { files } = await bundle({ version: 'bench', commit: 'none', date: '2026-01-01T00:00:00Z' });
    // Its process would stay, and look around ten thousand times a second for a while.
    await esbuild.stop();
    for (const { name, content } of files) fs.writeFileSync(path.join(folder, name), content);
    const environment = Object.entries(nodeEnvironment).map(([name, value]) => `${name}=${value}`);
    return ['env', ...environment, process.execPath, ...nodeFlags, path.join(folder, bundleEntry)];
  })();
  return program;
}

/** The Node n1 without an agent yet, from which the API server is reached. */
export async function benchNode(undo: Undo, server: ApiServer): Promise<KubeNode> {
  return kubeNode(undo, server, { program: await bundledProgram() });
}

export interface Cost {
  /** Of the process and of the children it waited for. */
  readonly cpuSec: number;
  readonly rssMb: number;
  readonly peakRssMb: number;
}

const TICKS_PER_SEC = 100;

/** What process `pid` has cost up to now. */
export function costOf(pid: number): Cost {
  const stat = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(stat[field]), 0);
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const mb = (field: string): number => {
    const kb = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
    assert.ok(kb, `${field} of process ${pid}`);
    return round(Number(kb) / 1024);
  };
  return { cpuSec: round(ticks / TICKS_PER_SEC), rssMb: mb('VmRSS'), peakRssMb: mb('VmHWM') };
}

export function round(value: number): number {
  return Math.round(value * 100) / 100;
}

export function percentile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
}
