/**
 * The kube datastore alone, in a process of its own, against a real API server and etcd that hold a whole cluster: CPU seconds from the
 * start of the process to in sync, of which what its modules cost to load, memory, and the longest that its main loop was held up.
 *
 *   kube-datastore.ts [PODS POLICIES NODES]    default 10000 1000 500
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createKubeDatastore } from '#datastore';
import { nodeFlags } from '#image';
import { silentLogger } from '#kit';
import { startApiServer } from '../support/kube/api-server.ts';
import { fillCluster } from '../support/kube/scale.ts';

const round = (value: number): number => Math.round(value * 100) / 100;
const cpuSec = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

/** The measured process: prints one JSON object. */
async function measured(kubeconfig: string, stateDir: string): Promise<void> {
  const loadedCpuSec = cpuSec();
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const began = performance.now();
  const datastore = createKubeDatastore({ log: silentLogger }, { kubeconfig, namespace: 'poplin-system', stateDir });
  let updates = 0;
  let batches = 0;
  datastore.onUpdates((batch) => {
    updates += batch.length;
    batches++;
  });
  const inSync = new Promise<void>((resolve) => datastore.onInSync(resolve));
  const alive = setInterval(() => undefined, 1_000);
  await datastore.start();
  await inSync;
  const result = {
    cpuSec: round(cpuSec()),
    loadedCpuSec: round(loadedCpuSec),
    wallSec: round((performance.now() - began) / 1000),
    peakRssMb: round(process.resourceUsage().maxRSS / 1024),
    heapMb: round(process.memoryUsage().heapUsed / 2 ** 20),
    // Beside the API server on the same cores: an upper bound.
    longestDelayMs: round(delay.max / 1e6),
    updates,
    batches,
  };
  process.stdout.write(`${JSON.stringify(result)}\n`);
  clearInterval(alive);
  await datastore.stop();
}

async function bench([pods = 10_000, policies = 1_000, nodes = 500]: readonly number[]): Promise<void> {
  const server = await startApiServer();
  const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-bench-'));
  try {
    await fillCluster(server, { pods, policies, nodes }, (line) => void process.stderr.write(`${line}\n`));
    const args = [...nodeFlags, import.meta.filename, 'measured', server.adminKubeconfig, stateDir];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += String(chunk);
    });
    await new Promise((resolve) => child.once('close', resolve));
    process.stdout.write(`${JSON.stringify({ pods, policies, nodes, ...(JSON.parse(output) as object) }, null, 2)}\n`);
  } finally {
    fs.rmSync(stateDir, { recursive: true, force: true });
    await server.stop();
  }
}

const args = process.argv.slice(2);
if (args[0] === 'measured') await measured(args[1]!, args[2]!);
else await bench(args.map(Number));
