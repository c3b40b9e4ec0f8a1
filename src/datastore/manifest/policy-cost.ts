/**
 * What one policy may make of the kernel. An object may have 1.5 MB, and the lists of a rule multiply: 5,000 ports for each of 30,000 peers would be ten
 * million rules on every node where the policy selects a pod.
 */
import type { NetworkPolicyRule } from '#model';
import type { Reader } from './reader.ts';

/** Some seconds of writing. */
export const policyKernelRulesMax = 65_536;
/** Of 65,535 that a kernel holds, both families together. */
const policySetsMax = 8_192;
/** More prefixes than these, or any number of pods, are one set. */
const prefixMatchesMax = 4;
/** One match takes fifteen ports, a range counts twice. */
export const rangesPerMatch = 7;

/** Adds up over the rules of a policy. */
export interface PolicyCost {
  kernelRules: number;
  sets: number;
}

/** Counts a rule of a NetworkPolicy in, and faults `reader` where that is more than there may be. */
export function spendRule(cost: PolicyCost, { peers, ports }: NetworkPolicyRule, reader: Reader): void {
  const whole = peers.filter(({ ipBlock }) => ipBlock && ipBlock.except.length === 0).length;
  const others = peers.length - whole;
  const names = ports.filter(({ port }) => typeof port === 'string').length;
  // Of each protocol: numbers in batches, and all its names as one.
  const ways =
    Math.ceil((ports.length - names) / rangesPerMatch) + 2 * new Set(ports.map((port) => port.protocol)).size;
  const ends = Math.min(whole, prefixMatchesMax) + others;
  cost.kernelRules += Math.max(1, ways) * Math.max(1, ends);
  cost.sets += others * (names > 0 ? 4 : 1) + (whole > prefixMatchesMax ? 1 : 0) + Math.min(3, names);
  check(cost, reader);
}

function check({ kernelRules, sets }: PolicyCost, reader: Reader): void {
  const remedy = 'write ranges of ports or wider selectors, or several policies';
  if (kernelRules > policyKernelRulesMax) {
    reader.fault(
      `with the rules before it its peers and ports make some ${kernelRules} rules of the kernel, more than ${policyKernelRulesMax}; ${remedy}`,
    );
  } else if (sets > policySetsMax) {
    reader.fault(`with the rules before it its peers make some ${sets} sets, more than ${policySetsMax}; ${remedy}`);
  }
}
