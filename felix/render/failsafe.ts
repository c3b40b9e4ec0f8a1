/** Rules that let the failsafe ports of host endpoints pass. */
import { familyOf, type IpFamily } from '#kit';
import type { Failsafe, FailsafePort } from '#model';
import type { Direction, HostTrafficKind } from './names.ts';
import type { Rule } from './rule.ts';

/** xt_multiport holds 15. */
const multiportMax = 15;

/** Rules that return. Without conntrack the answers of the other direction's ports pass as well. */
export function failsafeRules(
  { inbound, outbound }: Failsafe,
  kind: HostTrafficKind,
  direction: Direction,
  family: IpFamily,
): Rule[] {
  const [own, other] = direction === 'ingress' ? [inbound, outbound] : [outbound, inbound];
  return [
    ...rulesOf(own, '--dports', direction, family, 'failsafe port'),
    ...(kind === 'untracked' ? rulesOf(other, '--sports', direction, family, 'answer of a failsafe port') : []),
  ];
}

function rulesOf(
  ports: readonly FailsafePort[],
  option: '--dports' | '--sports',
  direction: Direction,
  family: IpFamily,
  comment: string,
): Rule[] {
  const ofFamily = ports.filter(({ net }) => net === undefined || familyOf(net) === family);
  const peer = direction === 'ingress' ? '-s' : '-d';
  const rules: Rule[] = [];
  for (const [head, group] of Map.groupBy(ofFamily, ({ protocol, net }) =>
    net === undefined || net.endsWith('/0') ? `-p ${protocol}` : `-p ${protocol} ${peer} ${net}`,
  )) {
    const numbers = [...new Set(group.map(({ port }) => port))].sort((a, b) => a - b);
    for (let at = 0; at < numbers.length; at += multiportMax) {
      const match = `${head} -m multiport ${option} ${numbers.slice(at, at + multiportMax).join(',')}`;
      rules.push({ match, target: '-j RETURN', comment });
    }
  }
  return rules;
}
