/** The truth table: every ordered pair, every port that the target serves, every family that both have, by real packets. */
import { familyOf, type IpAddress, type IpFamily } from '#kit';
import { type Lab, targetsOf } from './lab.ts';
import { ProberClient } from './prober/client.ts';
import type { ProbeProtocol, ProbeRequest, Target } from './prober/protocol.ts';

/** One line of `probe -o json`. */
export interface ProbeResult {
  /** `namespace/pod`, `node:NAME` or `ext:NAME`. */
  readonly from: string;
  readonly to: string;
  readonly protocol: ProbeProtocol;
  readonly port: number;
  readonly family: 'ipv4' | 'ipv6';
  readonly verdict: 'allow' | 'deny';
}

export interface ProbeTable {
  readonly results: readonly ProbeResult[];
  /** Why each denied one was denied, e.g. `timeout`; same order as `results`. */
  readonly reasons: readonly (string | undefined)[];
  readonly elapsedMs: number;
}

export interface ProbeOptions {
  readonly includeNodes?: boolean;
  readonly includeHosts?: boolean;
  /** Only pairs for which this holds. */
  readonly only?: (from: string, to: string) => boolean;
}

interface Pair {
  readonly request: ProbeRequest;
  readonly result: Omit<ProbeResult, 'verdict'>;
}

/** What is to be probed, in a fixed order: by source, target, port, family. Exported for its test. */
export function probePlan(targets: readonly Target[], only: ProbeOptions['only'] = () => true): Pair[] {
  const out: Pair[] = [];
  const firstOf = (target: Target, family: IpFamily): string | undefined =>
    target.addresses.find((address) => familyOf(address as IpAddress) === family);
  for (const from of targets) {
    for (const to of targets) {
      if (!only(from.id, to.id)) continue;
      for (const { protocol, port } of to.ports) {
        for (const family of [4, 6] as const) {
          const address = firstOf(to, family);
          if (!address || !firstOf(from, family)) continue;
          out.push({
            request: { from: from.id, to: to.id, protocol, port, address },
            result: { from: from.id, to: to.id, protocol, port, family: family === 4 ? 'ipv4' : 'ipv6' },
          });
        }
      }
    }
  }
  return out;
}

/** Probes a running lab. @throws LabError NOT_READY when its prober does not answer. */
export async function probe(lab: Lab, options: ProbeOptions = {}): Promise<ProbeTable> {
  const targets = targetsOf(lab).filter(({ id }) => {
    if (id.startsWith('node:')) return options.includeNodes === true;
    if (id.startsWith('ext:')) return options.includeHosts === true;
    return true;
  });
  const plan = probePlan(targets, options.only);
  const client = await ProberClient.connect(lab.paths.proberSocket);
  try {
    const { outcomes, elapsedMs } = await client.call({ op: 'probe', probes: plan.map(({ request }) => request) });
    return {
      results: plan.map(({ result }, i) => ({ ...result, verdict: outcomes[i]!.verdict })),
      reasons: outcomes.map(({ reason }) => reason),
      elapsedMs,
    };
  } finally {
    client.close();
  }
}

/**
 * One character for all probes of an ordered pair: `+` all allowed, `.` none, `t` only TCP, `u` only UDP, `4` only IPv4, `6`
 * only IPv6, `~` some other part, blank when nothing was probed.
 */
export function cell(results: readonly ProbeResult[]): string {
  if (results.length === 0) return ' ';
  const allowed = results.filter(({ verdict }) => verdict === 'allow');
  if (allowed.length === results.length) return '+';
  if (allowed.length === 0) return '.';
  const exactly = (part: (result: ProbeResult) => boolean): boolean =>
    results.every((r) => (r.verdict === 'allow') === part(r));
  if (exactly(({ protocol }) => protocol === 'TCP')) return 't';
  if (exactly(({ protocol }) => protocol === 'UDP')) return 'u';
  if (exactly(({ family }) => family === 'ipv4')) return '4';
  if (exactly(({ family }) => family === 'ipv6')) return '6';
  return '~';
}

/** A table for people: a row a source, a column a target. */
export function formatTable(results: readonly ProbeResult[]): string {
  const names = [...new Set(results.flatMap(({ from, to }) => [from, to]))];
  const targets = names.filter((name) => results.some(({ to }) => to === name));
  const byPair = Map.groupBy(results, ({ from, to }) => `${from} ${to}`);
  const width = Math.max(...names.map((name) => name.length));
  const lines = [`${'from \\ to'.padEnd(width)}  ${targets.map((_, i) => String(i + 1).padStart(2)).join(' ')}`];
  for (const from of names) {
    const number = targets.indexOf(from) + 1;
    const cells = targets.map((to) => ` ${cell(byPair.get(`${from} ${to}`) ?? [])}`);
    lines.push(`${from.padEnd(width)}  ${cells.join(' ')}${number > 0 ? `   ${number}` : ''}`);
  }
  const seen = new Set(lines.slice(1).flatMap((line) => line.slice(width).split('')));
  const legend = {
    '+': 'allowed',
    '.': 'denied',
    t: 'TCP only',
    u: 'UDP only',
    '4': 'IPv4 only',
    '6': 'IPv6 only',
    '~': 'partly',
  };
  const shown = Object.entries(legend).filter(([sign]) => seen.has(sign) && !/\d/.test(sign));
  return `${lines.join('\n')}\n(${shown.map(([sign, word]) => `${sign} ${word}`).join(', ')}; columns are numbered as the rows)\n`;
}
