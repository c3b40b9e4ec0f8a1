/** Which upstream specs a run is made of. */
import { exec } from '#sys';
import { kubeBinary } from '../../support/cluster/tools.ts';
import { ciSpecs } from './ci-specs.ts';
import { leftOut } from './left-out.ts';

/** Suite -> what its specs' names match. */
export const suites = {
  netpol: /^\[sig-network\] Netpol/,
  conformance: /^\[sig-network\].*\[Conformance\]/,
} as const;
export type SuiteName = keyof typeof suites;
export const suiteNames: readonly SuiteName[] = ['netpol', 'conformance'];

/** Names of all specs that the pinned e2e.test holds. */
export async function listSpecs(): Promise<readonly string[]> {
  const { code, stdout, stderr } = await exec(kubeBinary('e2e.test'), ['--kubeconfig=/dev/null', '--list-tests']);
  if (code !== 0) throw new Error(`e2e.test --list-tests: exit ${code}: ${stderr.trim().slice(-500)}`);
  return parseSpecList(stdout);
}

/** Lines `    k8s.io/.../file.go:123: NAME`. Exported for its test. */
export function parseSpecList(text: string): readonly string[] {
  const names = [...text.matchAll(/^\s+\S+?:\d+: (.*\S)\s*$/gm)].map((match) => match[1]!);
  return [...new Set(names)].sort();
}

export interface Selection {
  readonly run: readonly string[];
  readonly leftOut: readonly { readonly spec: string; readonly why: string }[];
}

/** @throws Error when a list in the repository names a spec that is not there, or nothing is left to run. */
export function select(
  all: readonly string[],
  suite: SuiteName,
  options: { readonly ci: boolean; readonly focus?: RegExp },
): Selection {
  const known = new Set(all);
  const stale = [...leftOut.map(({ spec }) => spec), ...ciSpecs].filter((spec) => !known.has(spec));
  if (stale.length > 0) throw new Error(`the pinned e2e.test has no such spec: ${stale.join('; ')}`);
  const inSuite = all.filter((spec) => suites[suite].test(spec));
  const out = leftOut.filter(({ spec }) => inSuite.includes(spec));
  const run = inSuite.filter(
    (spec) =>
      !out.some((one) => one.spec === spec) &&
      (!options.ci || ciSpecs.includes(spec)) &&
      (options.focus?.test(spec) ?? true),
  );
  return { run, leftOut: out };
}

/** Specs dealt out in turn, no empty hand. Exported for its test. */
export function shard<T>(items: readonly T[], count: number): readonly (readonly T[])[] {
  const hands: T[][] = Array.from({ length: Math.min(count, items.length) }, () => []);
  for (const [i, item] of items.entries()) hands[i % hands.length]!.push(item);
  return hands;
}

/** A focus expression (Go's RE2) that matches exactly these names; ginkgo puts the name of its suite before each. */
export function focusOf(specs: readonly string[]): string {
  return specs.map((spec) => `${spec.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`).join('|');
}
