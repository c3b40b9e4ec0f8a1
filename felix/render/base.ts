/**
 * The chains that are always there, and where they hang.
 *
 *   mangle FORWARD -> poplin-forward   verdicts on what pods send and get: a drop here is final, nobody's ACCEPT stands before it
 *   mangle INPUT   -> poplin-input     verdicts on what pods send to their own node
 *   mangle OUTPUT  -> poplin-output    what the node still says in flows of pods that were cut
 *   filter FORWARD -> poplin-accept    accepts what poplin-forward accepted, for hosts whose FORWARD policy is DROP
 *   nat POSTROUTING -> poplin-nat      masquerade of pods towards the outside (only with a natOutgoing pool)
 *
 * Host endpoints stand in more of them, see host.ts.
 *
 * Mangle stands at priority -150: after conntrack and destination NAT (so that a service is judged as the pod behind it), before filter.
 * But for these nothing judges OUTPUT or POSTROUTING: a node's own packets to its own pods always pass, unless they answer a flow that was cut.
 *
 * A flow that was allowed and is forbidden now carries a bit in its connection mark (../flow-cutter.ts) and is dropped both ways, ahead of ESTABLISHED.
 */
import type { IpFamily } from '#kit';
import type { SetId } from '#model';
import { dnsJumps } from './dns.ts';
import {
  type BaseChain,
  clearOnOutput,
  type HostShape,
  hostBaseChains,
  hostForwardChain,
  hostInChain,
} from './host.ts';
import { clearMarks, type Marks, matchAccept, matchCut, setMark } from './marks.ts';
import { dispatchChain, kernelSetName, type Names } from './names.ts';
import { acceptedChain, passedChain } from './policy.ts';
import type { Rule } from './rule.ts';

export type TableName = 'mangle' | 'filter' | 'nat' | 'raw';

export interface Jump {
  readonly table: TableName;
  /** The kernel's chain. */
  readonly from: string;
  readonly to: string;
  /** Our jump goes to the head, but behind rules at the head whose target begins with one of these. */
  readonly behind: readonly string[];
}

/** Sets of the dataplane itself: no policy names them. */
export const isOwnSet = (id: SetId): boolean => id.startsWith('dataplane:');
/** Members are `address,interface`: what each pod may send from. */
export const workloadSetId = 'dataplane:workload-addresses';
export const poolSetId = 'dataplane:pools';
export const masqueradeSetId = 'dataplane:pools-nat-outgoing';
/** Addresses whose new connections wait, for the time of a change, see managers/transition.ts. */
export const heldSetId = 'dataplane:held';
/** Addresses of all nodes. */
export const nodeSetId = 'dataplane:nodes';

const forwardChain = (names: Names): string => `${names.chainPrefix}forward`;
const inputChain = (names: Names): string => `${names.chainPrefix}input`;
const outputChain = (names: Names): string => `${names.chainPrefix}output`;
const acceptChain = (names: Names): string => `${names.chainPrefix}accept`;
/** Drops what pods may not reach on nodes. */
export const guardChain = (names: Names): string => `${names.chainPrefix}guard`;
export const natChain = (names: Names): string => `${names.chainPrefix}nat`;

/** Multicast listener and neighbour discovery, and router solicitation: without them a pod has no IPv6 at all. Not router advertisements. */
const icmpv6AlwaysToHost = [130, 131, 132, 133, 135, 136, 143];

export interface BaseContext {
  readonly names: Names;
  readonly marks: Marks;
  readonly family: IpFamily;
  /** DNS answers to pods go by way of the agent. */
  readonly dns?: boolean;
}

export function baseJumps(names: Names): Jump[] {
  return [
    { table: 'mangle', from: 'FORWARD', to: forwardChain(names), behind: [] },
    { table: 'mangle', from: 'INPUT', to: inputChain(names), behind: [] },
    { table: 'mangle', from: 'OUTPUT', to: outputChain(names), behind: [] },
    // kube-proxy rejects connections to services without endpoints there; ahead of it our ACCEPT would turn the refusal into silence.
    { table: 'filter', from: 'FORWARD', to: acceptChain(names), behind: ['KUBE-'] },
  ];
}

export const natJump = (names: Names): Jump => ({ table: 'nat', from: 'POSTROUTING', to: natChain(names), behind: [] });

/** @param host of the node's host endpoints, if it has some. */
export function baseChains(context: BaseContext, host?: HostShape): BaseChain[] {
  const { names, marks } = context;
  const pods = `${names.interfacePrefix}+`;
  return [
    { table: 'mangle', name: forwardChain(names), rules: forwardRules(context, host) },
    { table: 'mangle', name: inputChain(names), rules: inputRules(context, host) },
    {
      table: 'mangle',
      name: outputChain(names),
      rules: [
        cutRule(marks, `-o ${pods} `),
        ...(host ? clearOnOutput(context, host) : []),
        ...(context.dns ? dnsJumps(context, true) : []),
      ],
    },
    ...(host ? hostBaseChains(context, host) : []),
    {
      table: 'mangle',
      name: acceptedChain(names),
      rules: [{ match: '', target: setMark(marks.accept), comment: 'accepted' }],
    },
    {
      table: 'mangle',
      name: passedChain(names),
      rules: [{ match: '', target: setMark(marks.pass), comment: 'passed' }],
    },
    {
      table: 'filter',
      name: acceptChain(names),
      rules: [
        { match: `-i ${pods} ${matchAccept(marks)}`, target: '-j ACCEPT', comment: 'from a pod, accepted by policy' },
        { match: `-o ${pods} ${matchAccept(marks)}`, target: '-j ACCEPT', comment: 'to a pod, accepted by policy' },
      ],
    },
  ];
}

/** A pod may only send from its own addresses. Ahead of ESTABLISHED: it must not speak in another pod's connection either. */
function spoofRule({ names, family }: BaseContext): Rule {
  const set = kernelSetName(names, family, 'net,iface', workloadSetId);
  return {
    match: `-i ${names.interfacePrefix}+ -m set ! --match-set ${set} src,src`,
    target: '-j DROP',
    comment: 'not an address of this pod, or unknown interface',
  };
}

/** Behind ESTABLISHED: what runs goes on. An empty set of prefixes costs no lookup. */
export function heldRules({ names, family }: BaseContext): Rule[] {
  const set = kernelSetName(names, family, 'net', heldSetId);
  return ['src', 'dst'].map((side) => ({
    match: `-m set --match-set ${set} ${side}`,
    target: '-j DROP',
    comment: 'its sets are changing',
  }));
}

/** Ahead of ESTABLISHED, which every packet of such a flow is. */
function cutRule(marks: Marks, match = ''): Rule {
  return {
    match: `${match}${matchCut(marks)}`,
    target: '-j DROP',
    comment: 'flow that policy does not allow any more',
  };
}

function forwardRules(context: BaseContext, host: HostShape | undefined): Rule[] {
  const { names, marks, family } = context;
  const pods = `${names.interfacePrefix}+`;
  return [
    ...(host
      ? [{ match: '', target: `-j ${hostForwardChain(names)}`, comment: 'by which interfaces of the node' }]
      : []),
    { match: `! -i ${pods} ! -o ${pods}`, target: '-j RETURN', comment: 'no pod of this node' },
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    spoofRule(context),
    cutRule(marks),
    ...(context.dns ? dnsJumps(context, false) : []),
    {
      match: '-m conntrack --ctstate RELATED,ESTABLISHED',
      target: `-g ${acceptedChain(names)}`,
      comment: 'established',
    },
    { match: '-m conntrack --ctstate INVALID', target: '-j DROP', comment: 'invalid' },
    ...heldRules(context),
    {
      match: `-i ${pods} -m set --match-set ${kernelSetName(names, family, 'ip', nodeSetId)} dst`,
      target: `-j ${guardChain(names)}`,
      comment: 'to another node',
    },
    { match: `-i ${pods}`, target: `-j ${dispatchChain(names, 'egress')}`, comment: 'egress of the source' },
    { match: `-o ${pods}`, target: clearMarks(marks), comment: 'both sides must accept' },
    { match: `-o ${pods}`, target: `-j ${dispatchChain(names, 'ingress')}`, comment: 'ingress of the destination' },
  ];
}

function inputRules(context: BaseContext, host: HostShape | undefined): Rule[] {
  const { names, marks, family } = context;
  const pods = `${names.interfacePrefix}+`;
  const discovery = icmpv6AlwaysToHost.map((type) => ({
    match: `-p ipv6-icmp -m icmp6 --icmpv6-type ${type}`,
    target: '-j RETURN',
    comment: 'neighbour discovery and multicast listeners',
  }));
  return [
    { match: `! -i ${pods}`, target: host ? `-g ${hostInChain(names)}` : '-j RETURN', comment: 'not from a pod' },
    { match: '', target: clearMarks(marks), comment: 'a mark set before is not ours' },
    ...(family === 6 ? discovery : []),
    spoofRule(context),
    cutRule(marks),
    { match: '-m conntrack --ctstate RELATED,ESTABLISHED', target: '-j RETURN', comment: 'established' },
    { match: '-m conntrack --ctstate INVALID', target: '-j DROP', comment: 'invalid' },
    ...heldRules(context),
    { match: '', target: `-j ${guardChain(names)}`, comment: 'to this node' },
    {
      match: '',
      target: `-j ${dispatchChain(names, 'egress')}`,
      comment: 'egress of the source; the host decides after us',
    },
  ];
}

/** Ports of nodes that pods must not reach, whatever policy allows. */
export interface GuardedPorts {
  readonly tcp: readonly number[];
  readonly udp: readonly number[];
}

export function guardRules({ tcp, udp }: GuardedPorts): Rule[] {
  const rule = (protocol: string, ports: readonly number[]): Rule[] =>
    ports.length === 0
      ? []
      : [
          {
            match: `-p ${protocol} -m multiport --dports ${[...new Set(ports)].sort((a, b) => a - b).join(',')}`,
            target: '-j DROP',
            comment: 'routing protocols of nodes are not for pods',
          },
        ];
  return [...rule('tcp', tcp), ...rule('udp', udp)];
}

export function natRules({ names, family }: BaseContext): Rule[] {
  const from = kernelSetName(names, family, 'net', masqueradeSetId);
  const inside = kernelSetName(names, family, 'net', poolSetId);
  return [
    {
      match: `-m set --match-set ${from} src -m set ! --match-set ${inside} dst -m addrtype ! --dst-type LOCAL`,
      target: '-j MASQUERADE --random-fully',
      comment: 'natOutgoing pool to outside all pools',
    },
  ];
}
