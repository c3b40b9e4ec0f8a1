/**
 * `node src/setup/run.mjs TASK ARGS...`: makes the machine ready for the task, then becomes it.
 *
 * Plain JavaScript for Node 20 without dependencies, because it runs before either the pinned runtime or node_modules
 * exist. Every step looks first and does nothing where nothing is missing; a second run costs some tens of ms.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';

const nodeMajor = Number(process.versions.node.split('.')[0]);
if (nodeMajor < 20) {
  process.stderr.write(`set-up: this is Node ${process.versions.node}; Node 20 or later is needed\n`);
  process.exit(2);
}

const { daemonsToInstall, ensureDaemons } = await import('./daemons.mjs');
const { ensureTools } = await import('./debian.mjs');
const { searchPath } = await import('./exec.mjs');
const { withLock } = await import('./lock.mjs');
const { allAssets, apiServerAssets, ensureKubeAssets, interopAssets } = await import('./kube-assets.mjs');
const { ensureNpmDependencies } = await import('./npm.mjs');
const { cacheFolder, nodeBinary, root } = await import('./paths.mjs');
const { CannotGoOn } = await import('./say.mjs');
const { ensureShim, shimTools } = await import('./shim.mjs');
const { chooseTests } = await import('./test-files.mjs');

const labTools = ['ip', 'nsenter', 'iptables', 'ipset'];
const imageTools = ['gcc', 'libc', 'strip'];
const testTools = [...labTools, 'nft', 'conntrack', 'gcc', 'libc', 'strip'];
const clusterTools = [...testTools, 'curl'];
const testDaemons = ['bird', 'bgpdump', 'tshark', 'openbgpd', 'exabgp'];
const clusterDaemons = [...testDaemons, 'frr', 'cniReference', 'runc', 'containerd16', 'busybox', 'netcat', 'dnsutils'];

/** What a cluster of nodes in namespaces takes. */
const wholeCluster = { tools: clusterTools, daemons: clusterDaemons, shim: true, assets: allAssets };

/** Of a run of tests, what those take that were chosen: `npm test -- bgp` waits for no build. */
function testTask(args) {
  const chosen = chooseTests(args).map(({ group }) => group.name);
  const run = ['src/setup/test.mjs', ...args];
  if (chosen.includes('cluster')) return { ...wholeCluster, run };
  const assets = [
    ...(chosen.includes('kubernetes') ? apiServerAssets : []),
    ...(chosen.includes('interop') ? interopAssets : []),
  ];
  return { tools: testTools, daemons: testDaemons, shim: true, assets, run };
}

/**
 * Task -> what it needs and what is run by the pinned Node.
 * @type {Readonly<Record<string, (args: readonly string[]) => { tools: readonly string[], daemons: readonly string[], shim: boolean, assets?: readonly string[], run: readonly string[] }>>}
 */
const tasks = {
  lab: (args) => ({ tools: labTools, daemons: ['bird'], shim: true, run: ['src/cli/main.ts', 'lab', 'demo', ...args] }),
  test: testTask,
  'test:cluster': (args) => testTask(['--group=cluster', ...args]),
  'test:conformance': (args) => ({ ...wholeCluster, run: ['test/cluster/conformance/main.ts', ...args] }),
  bench: (args) => {
    const run = ['src/setup/bench.mjs', ...args];
    if (args[0] === undefined || args[0] === 'kubernetes') return { ...wholeCluster, run };
    if (args[0] === 'bgp') {
      const daemons = ['bird', 'frr', 'openbgpd'];
      return { tools: testTools, daemons, shim: false, assets: interopAssets, run };
    }
    return { tools: testTools, daemons: ['bird', 'cniReference'], shim: true, run };
  },
  fuzz: (args) => ({ tools: [], daemons: [], shim: false, run: ['test/fuzz/main.ts', ...args] }),
  /** Suites of policy cases; packets only where they are asked for. */
  'policy-suite': (args) => ({
    tools: args.includes('--kernel') ? testTools : [],
    daemons: [],
    shim: false,
    run: ['test/policy-suite/main.ts', ...args],
  }),
  /** A test cluster by hand: `npm run cluster -- up`. */
  cluster: (args) => ({ ...wholeCluster, run: ['test/cluster/main.ts', ...args] }),
  poplin: (args) => {
    const lab = args[0] === 'lab' && !args.includes('--help') && !args.includes('-h');
    return lab
      ? { tools: labTools, daemons: ['bird'], shim: true, run: ['src/cli/main.ts', ...args] }
      : { tools: [], daemons: [], shim: false, run: ['src/cli/main.ts', ...args] };
  },
  image: (args) => ({ tools: imageTools, daemons: [], shim: true, run: ['deploy/image/main.ts', ...args] }),
  /** Everything (or of the Kubernetes programs only those named), and nothing run: for image builds and for the impatient. */
  setup: (args) => ({ ...wholeCluster, ...(args.length > 0 ? { assets: args } : {}), run: [] }),
};

/** @returns {Promise<NodeJS.ProcessEnv>} the environment of the task */
async function prepare(task) {
  await withLock(path.join(cacheFolder(), 'setup.lock'), async () => {
    // First what only a person may be able to mend: nobody should wait for npm to learn of it.
    await ensureTools([...task.tools, ...(task.shim ? shimTools() : [])], daemonsToInstall(task.daemons));
    await ensureNpmDependencies();
    await ensureDaemons(task.daemons);
    if (task.shim) await ensureShim();
  });
  await ensureKubeAssets(task.assets ?? []);
  return { ...process.env, PATH: [path.join(root, 'node_modules', '.bin'), ...searchPath].join(':') };
}

/** Node cannot exec(2): the child gets our terminal and our signals, and its end becomes ours. */
function become(args, env) {
  const child = spawn(nodeBinary, args, { stdio: 'inherit', env });
  // The terminal sends SIGINT to the whole group: only wait. What comes to us alone is passed on.
  process.on('SIGINT', () => undefined);
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`set-up: cannot start ${nodeBinary}: ${error.message}\n`);
    process.exitCode = 2;
  });
  child.on('close', (code, signal) => {
    process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
  });
}

const [name, ...args] = process.argv.slice(2);
const task = tasks[name ?? '']?.(args);
if (!task) {
  process.stderr.write(`set-up: no task ${JSON.stringify(name ?? '')}; there are: ${Object.keys(tasks).join(', ')}\n`);
  process.exit(2);
}
try {
  const env = await prepare(task);
  const [entry, ...rest] = task.run;
  if (entry) become([path.join(root, entry), ...rest], env);
} catch (error) {
  if (!(error instanceof CannotGoOn)) throw error;
  process.stderr.write(`set-up: ${error.message}\n`);
  process.exitCode = 2;
}
