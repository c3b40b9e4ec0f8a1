/**
 * The policy engine and what it writes: first calculations of Felix's own workloads, changes among many pods, rules rendered; then with a real
 * kernel, in namespaces: rules written from nothing, changes until they are in force, and what packets pay. Arguments: names of
 * workloads (all of them when none is given; those of the kernel also without their back end), `--small` for a tenth of the sizes. Prints one
 * JSON object a workload, and a table on stderr; exit code 1 where a bound is missed. Times of the processor for the engine, of the clock for the
 * kernel; heap in MB after a collection. The kernel's need root.
 *
 * Felix (Go, two cores, inputs decoded in memory): tag 7.05 s and 283 MB, netset of 10,000 13.4 to 14.0 s and 792 MB, tenants of
 * 100,000 9.3 to 12.1 s and 314 MB.
 */
import { events, everyPod, labelChange } from './policy/churn.ts';
import { netset, tag, tagCluster, tenants } from './policy/felix-workloads.ts';
import { first } from './policy/first.ts';
import { eventsToKernel, labelToKernel } from './policy/kernel-changes.ts';
import { fromNothing, onePolicy } from './policy/kernel-rules.ts';
import { rendered } from './policy/rendered.ts';
import { tableText } from './policy/table.ts';
import { traffic } from './policy/traffic.ts';

const small = process.argv.includes('--small');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const size = (full: number): number => (small ? full / 10 : full);
const must = (mustSec: number, mustMb: number) => (small ? undefined : { mustSec, mustMb });

const backends = ['nft', 'legacy'] as const;
/** A tenth, and at least one. */
const scale = (full: number): number => Math.ceil(size(full));
const ofKernel: Readonly<Record<string, (backend: 'nft' | 'legacy') => Promise<object>>> = {
  fromNothing: (backend) => fromNothing(backend, 'shared', scale),
  fromNothingOwn: (backend) => fromNothing(backend, 'own', scale),
  onePolicy: (backend) => onePolicy(backend, scale),
  labelToKernel: (backend) => labelToKernel(backend, false, scale),
  ownLabelToKernel: (backend) => labelToKernel(backend, true, scale),
  eventsToKernel: (backend) => eventsToKernel(backend, scale),
  connections: (backend) => traffic(backend, 'connections', scale),
  throughput: (backend) => traffic(backend, 'throughput', scale),
};

interface Bench {
  readonly names: readonly string[];
  readonly run: () => object | Promise<object>;
}
const benches: readonly Bench[] = [
  { names: ['tag'], run: () => first('tag', () => tag(size(250_000), size(10_000)), must(5, 280)) },
  {
    names: ['tagCluster'],
    run: () => first('tag of ClusterNetworkPolicy', () => tagCluster(size(250_000), size(10_000))),
  },
  { names: ['netset'], run: () => first('netset', () => netset(size(10_000), size(10_000)), must(6, 400)) },
  { names: ['tenants'], run: () => first('tenants', () => tenants(size(100_000)), must(6, 320)) },
  { names: ['label'], run: labelChange },
  { names: ['events'], run: events },
  { names: ['every'], run: everyPod },
  { names: ['rendered'], run: rendered },
  ...Object.entries(ofKernel).flatMap(([name, run]) =>
    backends.map((backend) => ({ names: [name, `${name}-${backend}`, 'kernel'], run: () => run(backend) })),
  ),
];
const known = new Set(benches.flatMap(({ names }) => names));
const unknown = wanted.filter((name) => !known.has(name));
if (unknown.length > 0) {
  process.stderr.write(`no workload named ${unknown.join(', ')}; there are: ${[...known].join(', ')}\n`);
  process.exit(2);
}
const results: object[] = [];
for (const { names, run } of benches) {
  if (wanted.length > 0 && !names.some((name) => wanted.includes(name))) continue;
  const result = await run();
  results.push(result);
  console.log(JSON.stringify(result));
}
process.stderr.write(tableText(results));
if (!small && results.some((result) => 'ok' in result && result.ok === false)) process.exitCode = 1;
