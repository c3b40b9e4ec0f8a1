/**
 * DNS answers to pods, held for the agent until it has put the addresses in them into the sets of names.
 *
 *   poplin-forward, poplin-output -- reply of a connection to port 53, towards a pod --> poplin-dns
 *   poplin-dns -- that was begun towards a trusted server --> poplin-answer: accepted, by way of the agent's queue
 *
 * The connection says whom the pod had asked: a service's address too, which answers do not carry here yet. A pod cannot forge one: an answer is
 * the other direction of its own question, from where that was sent to, and no pod speaks from an address that is not its own.
 * Nobody reads the queue: answers pass it by. A server on the node itself may be exempt from connection tracking (NodeLocal DNSCache is): what the
 * node sends is not forged, and its source address says who it is.
 */
import { familyOf, type IpAddress, type IpFamily } from '#kit';
import { type Marks, setMark } from './marks.ts';
import { dnsAnswerChain, dnsChain, type Names } from './names.ts';
import type { Rule } from './rule.ts';

/** Of one family: each is asked of every answer. */
export const dnsServersMax = 16;
const DNS_PORT = 53;
const protocols = [
  { name: 'udp', number: 17 },
  { name: 'tcp', number: 6 },
];

export interface DnsWatch {
  /** Of nfnetlink_queue, 0..65535. */
  readonly queue: number;
  /** Who is believed, as pods call them; at most `dnsServersMax` of a family count. */
  readonly servers: readonly IpAddress[];
}

interface DnsContext {
  readonly names: Names;
  readonly marks: Marks;
  readonly family: IpFamily;
}

/** Ahead of what accepts established connections, behind what drops whatever policy says. */
export function dnsJumps({ names }: DnsContext, isNode: boolean): Rule[] {
  const pods = `-o ${names.interfacePrefix}+`;
  const target = `-j ${dnsChain(names)}`;
  return [
    {
      match: `${pods} -m conntrack --ctdir REPLY --ctorigdstport ${DNS_PORT}`,
      target,
      comment: 'a DNS answer to a pod',
    },
    ...(isNode
      ? protocols.map(({ name }) => ({
          match: `${pods} -p ${name} -m ${name} --sport ${DNS_PORT} -m conntrack --ctstate UNTRACKED`,
          target,
          comment: 'a DNS answer of this node to a pod',
        }))
      : []),
  ];
}

export function dnsChains(context: DnsContext, { queue, servers }: DnsWatch): { name: string; rules: Rule[] }[] {
  const { names, marks, family } = context;
  const trusted = servers.filter((server) => familyOf(server) === family).slice(0, dnsServersMax);
  const target = `-g ${dnsAnswerChain(names)}`;
  return [
    {
      name: dnsAnswerChain(names),
      rules: [
        { match: '', target: setMark(marks.accept), comment: 'accepted, as established' },
        {
          match: '',
          target: `-j NFQUEUE --queue-num ${queue} --queue-bypass`,
          comment: 'waits until its addresses are in the sets of their names',
        },
      ],
    },
    {
      name: dnsChain(names),
      rules: trusted.flatMap((server) => [
        ...protocols.map(({ number }) => ({
          match: `-m conntrack --ctproto ${number} --ctorigdst ${server}`,
          target,
          comment: `asked of ${server}`,
        })),
        {
          match: `-s ${server} -m conntrack --ctstate UNTRACKED`,
          target,
          comment: `from ${server} on this node`,
        },
      ]),
    },
  ];
}
