/**
 * The policy engine: first calculations of Felix's own workloads, changes among many pods, and rules rendered. Arguments: names of
 * workloads (all of them when none is given), `--small` for a tenth of the sizes. Prints one JSON object a workload; times of the
 * processor, heap in MB after a collection.
 *
 * Felix (Go, two cores, inputs decoded in memory): tag 7.05 s and 283 MB, netset of 10,000 13.4 to 14.0 s and 792 MB, tenants of
 * 100,000 9.3 to 12.1 s and 314 MB.
 *
 * With the kernel: `npm run bench -- dataplane`.
 */
import { events, everyPod, labelChange } from './policy/churn.ts';
import { netset, tag, tagCluster, tenants } from './policy/felix-workloads.ts';
import { first } from './policy/first.ts';
import { rendered } from './policy/rendered.ts';

const small = process.argv.includes('--small');
const wanted = process.argv.slice(2).filter((word) => !word.startsWith('-'));
const size = (full: number): number => (small ? full / 10 : full);
const must = (mustSec: number, mustMb: number) => (small ? undefined : { mustSec, mustMb });

const benches: Readonly<Record<string, () => object | Promise<object>>> = {
  tag: () => first('tag', () => tag(size(250_000), size(10_000)), must(5, 280)),
  tagCluster: () => first('tag of ClusterNetworkPolicy', () => tagCluster(size(250_000), size(10_000))),
  netset: () => first('netset', () => netset(size(10_000), size(10_000)), must(6, 400)),
  tenants: () => first('tenants', () => tenants(size(100_000)), must(6, 320)),
  label: labelChange,
  events,
  every: everyPod,
  rendered,
};
for (const [name, run] of Object.entries(benches)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.log(JSON.stringify(await run()));
}
