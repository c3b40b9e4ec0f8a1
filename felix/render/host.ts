/**
 * Host endpoints: interfaces of the node whose traffic policies decide. There is nothing of this while the node has none.
 *
 *   raw PREROUTING     -> poplin-raw-in        only with doNotTrack: of every packet; what is allowed is not tracked
 *   raw OUTPUT         -> poplin-raw-out       the same of what the node sends
 *   mangle PREROUTING  -> poplin-before-nat    only with preDNAT: of what begins, before destinations are translated
 *   mangle FORWARD     -> poplin-forward -> poplin-host-forward   of what begins; ahead of what pods' policies say
 *   mangle INPUT       -> poplin-input   -> poplin-host-in        from any interface that is no pod's
 *   mangle OUTPUT      -> poplin-output        clears the accept mark
 *   mangle POSTROUTING -> poplin-host-out      the node's own packets as they leave: services are translated, sources are not yet
 *
 * The accept mark says on the way through these hooks that a packet needs no further verdict of a host endpoint. The first chain of ours
 * that a packet meets clears it. In POSTROUTING it is on all that was forwarded (poplin-host-forward leaves it on whatever it lets
 * through, and so do pods' policies): what is without it began on this node, whatever its source address.
 *
 * Never asked: loopback; what goes between the node and its own pods (kubelet's probes); neighbour discovery; established connections
 * (but by doNotTrack, which knows of none). Ahead of every policy pass the failsafe ports, also where a policy cannot be rendered.
 */
import type { TierProgram } from '#model';
import { type BaseContext, heldRules, type Jump, type TableName } from './base.ts';
import { tierRules } from './endpoint.ts';
import { type FlowLogOptions, flowLogRules } from './flow-log.ts';
import { clearMarks, matchAccept, matchNotAccepted, setMark } from './marks.ts';
import { type Direction, type HostTrafficKind, hostDispatchChain, type Names } from './names.ts';
import { acceptedChain, passedChain } from './policy.ts';
import type { Rule } from './rule.ts';

/** What some host endpoint of the node has policies for, besides what ends or begins at the node. */
export interface HostShape {
  readonly preDNAT: boolean;
  readonly untracked: boolean;
}
export interface BaseChain {
  readonly table: TableName;
  readonly name: string;
  readonly rules: Rule[];
}

/** Router and neighbour discovery, router advertisements too, and multicast listeners: without them a node has no IPv6. */
const icmpv6Always = [130, 131, 132, 133, 134, 135, 136, 137, 143];
const established = '-m conntrack --ctstate RELATED,ESTABLISHED';
const noTrack = '-j CT --notrack';

const named = (names: Names, name: string): string => `${names.chainPrefix}${name}`;
export const hostForwardChain = (names: Names): string => named(names, 'host-forward');
export const hostInChain = (names: Names): string => named(names, 'host-in');
/** Nothing jumps to it: its presence says that the kernel takes rules of doNotTrack. */
export const noTrackChain = (names: Names): string => named(names, 'notrack');
export const noTrackProbe: readonly Rule[] = [
  { match: '', target: noTrack, comment: 'nothing, no rule jumps here: the kernel takes such rules' },
];

export const tableOf = (kind: HostTrafficKind): TableName => (kind === 'untracked' ? 'raw' : 'mangle');

export function hostJumps(names: Names, { preDNAT, untracked }: HostShape): Jump[] {
  const jump = (table: TableName, from: string, to: string): Jump => ({
    table,
    from,
    to: named(names, to),
    behind: [],
  });
  return [
    jump('mangle', 'POSTROUTING', 'host-out'),
    ...(preDNAT ? [jump('mangle', 'PREROUTING', 'before-nat')] : []),
    ...(untracked ? [jump('raw', 'PREROUTING', 'raw-in'), jump('raw', 'OUTPUT', 'raw-out')] : []),
  ];
}

export function hostBaseChains(context: BaseContext, shape: HostShape): BaseChain[] {
  const { names, marks } = context;
  const chain = (table: TableName, name: string, rules: Rule[]): BaseChain => ({
    table,
    name: named(names, name),
    rules,
  });
  const verdict = (name: string, bit: number, comment: string): BaseChain => ({
    table: 'raw',
    name,
    rules: [{ match: '', target: setMark(bit), comment }],
  });
  return [
    chain('mangle', 'host-in', inRules(context, shape)),
    chain('mangle', 'host-out', outRules(context)),
    chain('mangle', 'host-forward', forwardRules(context, shape)),
    ...(shape.preDNAT ? [chain('mangle', 'before-nat', beforeNatRules(context, shape))] : []),
    ...(shape.untracked
      ? [
          chain('raw', 'raw-in', rawRules(context, 'ingress')),
          chain('raw', 'raw-out', rawRules(context, 'egress')),
          verdict(acceptedChain(names), marks.accept, 'accepted'),
          verdict(passedChain(names), marks.pass, 'passed'),
        ]
      : []),
  ];
}

/** What the node sends is judged by nobody before this. */
export function clearOnOutput({ marks }: BaseContext, { untracked }: HostShape): Rule[] {
  return untracked ? [] : [{ match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' }];
}

function inRules(context: BaseContext, shape: HostShape): Rule[] {
  const { names, marks } = context;
  return [
    { match: '-i lo', target: '-j RETURN', comment: 'from the node itself' },
    { match: established, target: '-j RETURN', comment: 'established' },
    ...discoveryRules(context),
    ...acceptedAhead(context, shape),
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    { match: '', target: `-g ${hostDispatchChain(names, 'local', 'ingress')}`, comment: 'to this node' },
  ];
}

function outRules(context: BaseContext): Rule[] {
  const { names, marks } = context;
  return [
    { match: matchAccept(marks), target: '-j RETURN', comment: 'forwarded, or accepted without conntrack' },
    { match: '-o lo', target: '-j RETURN', comment: 'to the node itself' },
    { match: `-o ${names.interfacePrefix}+`, target: '-j RETURN', comment: 'to a pod of this node' },
    { match: established, target: '-j RETURN', comment: 'established' },
    ...discoveryRules(context),
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    { match: '', target: `-g ${hostDispatchChain(names, 'local', 'egress')}`, comment: 'from this node' },
  ];
}

function forwardRules(context: BaseContext, shape: HostShape): Rule[] {
  const { names, marks } = context;
  const pods = `${names.interfacePrefix}+`;
  const to = (direction: Direction): string => `-j ${hostDispatchChain(names, 'forward', direction)}`;
  const clear = { match: '', target: clearMarks(marks) };
  return [
    ...acceptedAhead(context, shape),
    { match: established, target: `-g ${acceptedChain(names)}`, comment: 'established' },
    { ...clear, comment: 'a mark set before is not ours' },
    { match: `! -i ${pods}`, target: to('ingress'), comment: 'forwarded, by the interface that it came in by' },
    { ...clear, comment: 'both sides must accept' },
    { match: `! -o ${pods}`, target: to('egress'), comment: 'forwarded, by the interface that it leaves by' },
    { match: '', target: `-g ${acceptedChain(names)}`, comment: 'forwarded: no packet of the node itself' },
  ];
}

function beforeNatRules(context: BaseContext, { untracked }: HostShape): Rule[] {
  const { names, marks } = context;
  return [
    ...(untracked ? [{ match: matchAccept(marks), target: '-j RETURN', comment: 'accepted without conntrack' }] : []),
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    { match: '-i lo', target: '-j RETURN', comment: 'from the node itself' },
    { match: `-i ${names.interfacePrefix}+`, target: '-j RETURN', comment: 'from a pod of this node' },
    { match: established, target: '-j RETURN', comment: 'established' },
    ...discoveryRules(context),
    { match: '', target: `-g ${hostDispatchChain(names, 'preDNAT', 'ingress')}`, comment: 'before translation' },
  ];
}

function rawRules(context: BaseContext, direction: Direction): Rule[] {
  const { names, marks } = context;
  const option = direction === 'ingress' ? '-i' : '-o';
  return [
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    { match: `${option} lo`, target: '-j RETURN', comment: 'of the node with itself' },
    { match: `${option} ${names.interfacePrefix}+`, target: '-j RETURN', comment: 'of a pod of this node' },
    ...discoveryRules(context),
    { match: '', target: `-j ${hostDispatchChain(names, 'untracked', direction)}`, comment: 'every packet' },
    { match: matchAccept(marks), target: noTrack, comment: 'accepted without conntrack' },
  ];
}

function acceptedAhead({ marks }: BaseContext, { preDNAT, untracked }: HostShape): Rule[] {
  if (!preDNAT && !untracked) return [];
  return [{ match: matchAccept(marks), target: '-j RETURN', comment: 'accepted before translation or conntrack' }];
}

function discoveryRules({ family }: BaseContext): Rule[] {
  if (family === 4) return [];
  return icmpv6Always.map((type) => ({
    match: `-p ipv6-icmp -m icmp6 --icmpv6-type ${type}`,
    target: '-j RETURN',
    comment: 'neighbour discovery and multicast listeners',
  }));
}

/** From the interface to its endpoint's chain, in as many rules as there are host endpoints. Without a chain: nothing is asked of the interface. */
export interface HostDispatch {
  readonly byInterface: ReadonlyMap<string, string | undefined>;
  /** Of every other interface that is no pod's. */
  readonly any: string | undefined;
}

export function renderHostDispatch({ byInterface, any }: HostDispatch, direction: Direction): Rule[] {
  const option = direction === 'ingress' ? '-i' : '-o';
  const rules: Rule[] = [];
  for (const [name, chain] of [...byInterface].sort()) {
    if (chain !== undefined) rules.push({ match: `${option} ${name}`, target: `-g ${chain}`, comment: '' });
    else if (any !== undefined) rules.push({ match: `${option} ${name}`, target: '-j RETURN', comment: 'not asked' });
  }
  if (any !== undefined) rules.push({ match: '', target: `-g ${any}`, comment: 'every other interface' });
  return rules;
}

export interface HostEndpointContext extends BaseContext {
  readonly flowLog?: FlowLogOptions | undefined;
  /** Rules that let the failsafe ports return, see failsafe.ts. */
  readonly failsafe: readonly Rule[];
}

/**
 * The chain of one endpoint for one kind of traffic in one direction. It drops, or returns; with the accept mark where a policy (of `local` and
 * `forward`: or nobody) accepted.
 *
 * @param otherwise what becomes of what leaves all tiers of `local`.
 */
export function renderHostEndpoint(
  { tiers, otherwise }: { readonly tiers: readonly TierProgram[]; readonly otherwise: 'allow' | 'deny' },
  kind: HostTrafficKind,
  direction: Direction,
  label: string,
  context: HostEndpointContext,
): Rule[] {
  const { names, marks, flowLog, failsafe } = context;
  const rules = [...(kind === 'forward' ? [] : failsafe)];
  if (kind === 'local' || kind === 'forward') {
    rules.push({ match: '-m conntrack --ctstate INVALID', target: '-j DROP', comment: 'invalid' });
    rules.push(...heldRules(context));
  }
  rules.push(...tierRules(tiers, direction, label, { names, marks, flowLog, isHost: true }));
  if (kind !== 'local' && kind !== 'forward') return rules;
  const undecided = { direction, host: true, by: { type: 'none' } } as const;
  if (kind === 'local' && otherwise === 'deny') {
    const comment = `${label} ${direction}: no policy and no profile allows it`;
    const match = matchNotAccepted(marks);
    rules.push(...flowLogRules(match, { verdict: 'denied', ...undecided }, comment, flowLog));
    rules.push({ match, target: '-j DROP', comment });
    return rules;
  }
  const comment = `${label} ${direction}: accepted`;
  rules.push(...flowLogRules(matchNotAccepted(marks), { verdict: 'allowed', ...undecided }, comment, flowLog));
  rules.push({ match: '', target: `-g ${acceptedChain(names)}`, comment });
  return rules;
}
