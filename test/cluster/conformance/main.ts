/**
 * `npm run test:conformance [-- SUITE...] [--family 4|6] [--shards N] [--ci] [--agent poplin|bridge] [--focus EXPRESSION]
 * [--report FOLDER]`: upstream specs of the pinned Kubernetes release on a cluster with the agent.
 *
 * Suites: netpol, conformance (both without a name); both families, one cluster after the other, without --family. A cluster
 * that somebody keeps (`npm run cluster -- up`) is used as it is and left alone. Exit code 1 when a spec failed.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { netnsPath } from '#lab';
import { root } from '#setup';
import { type Cluster, collectLogs, down, openCluster, up } from '../../support/cluster/cluster.ts';
import { type AgentHook, bridgeHook, manifestHook } from '../../support/cluster/hooks.ts';
import { cores, type IpVersion, netnsOf, paths, systemPath } from '../../support/cluster/layout.ts';
import { readStateIfThere } from '../../support/cluster/state.ts';
import { kubeBinary } from '../../support/cluster/tools.ts';
import { type AgentUsage, agentUsage, usageSince } from '../../support/cluster/usage.ts';
import { collect, parseJunit } from './junit.ts';
import { complaints, type SuiteReport, table } from './report.ts';
import { focusOf, listSpecs, type Selection, type SuiteName, select, shard, suiteNames } from './specs.ts';

const limit = '3h';
const say = (line: string): void => void process.stdout.write(`${line}\n`);

interface Run {
  readonly agent: AgentHook;
  readonly suites: readonly SuiteName[];
  readonly ci: boolean;
  readonly focus: RegExp | undefined;
  readonly shards: number;
  readonly folder: string;
}

/** Runs one hand of specs to its end; its output and JUnit file are in `folder`. */
function runShard(specs: readonly string[], folder: string): Promise<void> {
  fs.mkdirSync(folder, { recursive: true });
  const log = fs.openSync(path.join(folder, 'output.log'), 'w');
  const args = [
    `--net=${netnsPath(netnsOf('wire'))}`,
    kubeBinary('e2e.test'),
    ...['--ginkgo.no-color', '--ginkgo.succinct', `--ginkgo.timeout=${limit}`, `--ginkgo.focus=${focusOf(specs)}`],
    ...['--provider=skeleton', `--kubeconfig=${paths.adminKubeconfig}`, `--kubectl-path=${kubeBinary('kubectl')}`],
    ...[`--report-dir=${folder}`, '--delete-namespace=true', '--dump-logs-on-failure=false', '--disable-log-dump=true'],
  ];
  return new Promise((resolve, reject) => {
    const child = spawn('nsenter', args, {
      cwd: folder,
      stdio: ['ignore', log, log],
      env: { PATH: systemPath, HOME: paths.home },
    });
    child.on('error', reject);
    // Its verdicts are in the JUnit file; a shard that wrote none has failed specs that did not run.
    child.on('close', () => {
      fs.closeSync(log);
      resolve();
    });
  });
}

function junitOf(folder: string): string[] {
  return fs
    .readdirSync(folder)
    .filter((file) => /^junit.*\.xml$/.test(file))
    .map((file) => fs.readFileSync(path.join(folder, file), 'utf8'));
}

async function runSuite(
  run: Run,
  suite: SuiteName,
  { run: specs, leftOut }: Selection,
  cluster: Cluster,
): Promise<boolean> {
  const { family } = cluster.options;
  const folder = path.join(run.folder, run.agent.name, `ipv${family}`, suite);
  fs.rmSync(folder, { recursive: true, force: true });
  const hands = shard(specs, run.shards);
  say(`== ${run.agent.name}, ${suite}, IPv${family} first: ${specs.length} specs in ${hands.length} shards`);
  const usage = async (): Promise<readonly AgentUsage[]> => (run.agent.pods ? agentUsage(cluster, run.agent.pods) : []);
  const before = await usage();
  const started = performance.now();
  const folders = hands.map((_, i) => path.join(folder, `shard${i + 1}`));
  await Promise.all(hands.map((hand, i) => runShard(hand, folders[i]!)));
  const wallSec = (performance.now() - started) / 1000;
  const results = collect(specs, folders.flatMap(junitOf).map(parseJunit));
  const report: SuiteReport = {
    agent: run.agent.name,
    suite,
    family,
    shards: hands.length,
    wallSec,
    results,
    leftOut,
    usage: usageSince(before, await usage()),
  };
  const wrong = complaints(report);
  const text = [table(report), ...wrong.map((line) => `NOT DONE: ${line}`)].join('\n');
  fs.writeFileSync(path.join(folder, 'table.txt'), `${text}\n`);
  fs.writeFileSync(path.join(folder, 'report.json'), `${JSON.stringify(report, null, 1)}\n`);
  say(text);
  if (wrong.length > 0) await collectLogs(path.join(folder, 'logs'));
  return wrong.length === 0;
}

async function runSuites(run: Run, cluster: Cluster): Promise<boolean> {
  const all = await listSpecs();
  let good = true;
  for (const suite of run.suites) {
    const selection = select(all, suite, { ci: run.ci, ...(run.focus ? { focus: run.focus } : {}) });
    if (selection.run.length === 0) say(`== ${suite}: no spec is selected`);
    else good = (await runSuite(run, suite, selection, cluster)) && good;
  }
  return good;
}

async function onOwnCluster(run: Run, family: IpVersion): Promise<boolean> {
  try {
    const cluster = await up({ agent: run.agent, family, say });
    const good = await runSuites(run, cluster);
    cluster.api.close();
    return good;
  } catch (error) {
    if (readStateIfThere()) await collectLogs(path.join(run.folder, run.agent.name, `ipv${family}`, 'logs'));
    throw error;
  } finally {
    await down();
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      family: { type: 'string' },
      shards: { type: 'string', default: String(Math.max(1, Math.min(4, cores))) },
      ci: { type: 'boolean', default: false },
      agent: { type: 'string', default: 'poplin' },
      focus: { type: 'string' },
      report: { type: 'string', default: path.join(root, 'dist', 'conformance') },
    },
  });
  const unknown = positionals.filter((name) => !suiteNames.some((suite) => suite === name));
  const families: readonly IpVersion[] = values.family === undefined ? [4, 6] : [Number(values.family) as IpVersion];
  if (unknown.length > 0 || !families.every((family) => family === 4 || family === 6)) {
    process.stderr.write(`suites are ${suiteNames.join(', ')}; --family is 4 or 6\n`);
    process.exitCode = 2;
    return;
  }
  const run: Run = {
    agent: values.agent === 'bridge' ? bridgeHook : manifestHook(),
    suites: positionals.length > 0 ? suiteNames.filter((name) => positionals.includes(name)) : suiteNames,
    ci: values.ci,
    focus: values.focus === undefined ? undefined : new RegExp(values.focus),
    shards: Number(values.shards),
    folder: path.resolve(values.report),
  };
  // The families' clusters come and go with this process; SIGINT must not leave one behind.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      const kept = readStateIfThere()?.kept ?? true;
      void (kept ? Promise.resolve() : down()).finally(() => process.exit(130));
    });
  }
  let good = true;
  const kept = readStateIfThere()?.kept ?? false;
  if (kept) {
    const cluster = openCluster();
    good = await runSuites(run, cluster);
    cluster.api.close();
  } else {
    for (const family of families) good = (await onOwnCluster(run, family)) && good;
  }
  say(`reports: ${run.folder}`);
  process.exitCode = good ? 0 : 1;
}

await main();
