/** What a run says at its end: a line a spec, totals, and what the agent's pods cost. */
import type { AgentUsage } from '../../support/cluster/usage.ts';
import type { SpecResult } from './junit.ts';

export interface SuiteReport {
  readonly agent: string;
  readonly suite: string;
  readonly family: 4 | 6;
  readonly shards: number;
  readonly wallSec: number;
  readonly results: readonly SpecResult[];
  readonly leftOut: readonly { readonly spec: string; readonly why: string }[];
  /** Per node, over the suite; empty for an agent that is no pod. */
  readonly usage: readonly AgentUsage[];
}

export function totals(results: readonly SpecResult[]): { passed: number; failed: number; skipped: number } {
  const count = (wanted: SpecResult['verdict']): number => results.filter(({ verdict }) => verdict === wanted).length;
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') };
}

const shown: Readonly<Record<SpecResult['verdict'], string>> = { passed: 'pass', failed: 'FAIL', skipped: 'skip' };

/** Without the marks that every line of a suite would carry. */
export function shortName(spec: string): string {
  return spec
    .replace(/^\[sig-network\] /, '')
    .replaceAll(/ ?\[(Feature:NetworkPolicy|Conformance|NodeConformance|LinuxOnly)\]/g, '');
}

export function table(report: SuiteReport): string {
  const lines = [...report.results]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap(({ name, verdict, seconds, reason }) => [
      `${shown[verdict]} ${seconds.toFixed(1).padStart(7)} s  ${shortName(name)}`,
      ...(reason && verdict !== 'passed' ? [`                ${reason}`] : []),
    ]);
  const out = report.leftOut.map(({ spec, why }) => `out             ${shortName(spec)}: ${why}`);
  const { passed, failed, skipped } = totals(report.results);
  const total = [
    `${report.agent}, ${report.suite}, IPv${report.family} first:`,
    `${passed} passed, ${failed} failed, ${skipped} skipped, ${report.leftOut.length} left out;`,
    `${report.wallSec.toFixed(0)} s with ${report.shards} shards`,
  ].join(' ');
  return [...lines, ...out, total, ...report.usage.map(usageLine)].join('\n');
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function usageLine({ node, cpuSec, rssBytes, peakRssBytes, peakBytes }: AgentUsage): string {
  return `agent on ${node}: ${cpuSec.toFixed(1)} CPU-s, RSS ${mib(rssBytes)}, peak RSS ${mib(peakRssBytes)}, peak of its cgroup ${mib(peakBytes)}`;
}

/** Why a run is no success; empty when it is one. */
export function complaints(report: SuiteReport): readonly string[] {
  const { passed, failed, skipped } = totals(report.results);
  const out: string[] = [];
  if (failed > 0) out.push(`${failed} specs failed`);
  if (skipped > 0) out.push(`${skipped} specs skipped themselves and are not in the list of those left out`);
  if (passed === 0) out.push('no spec passed');
  for (const { node, cpuSec } of report.usage) {
    // Every spec makes pods and policies: nothing used means that the wrong group was read.
    if (!(cpuSec > 0)) out.push(`the agent's pod on ${node} used no CPU time: its figures are wrong`);
  }
  return out;
}
