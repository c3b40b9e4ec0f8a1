/**
 * BIRD as the routers of a lab: a configuration from the topology, and its state read back through birdc.
 *
 * - One eBGP session a link, over IPv4 where the link has it, both families on it (`next hop address` names the IPv6 one).
 * - Nodes hear a default route only, and are heard with everything they announce.
 * - Connected subnets and loopbacks are announced between routers; equal paths are merged into multipath routes.
 * - Graceful restart in both roles: the routes of an agent that was killed stay until its End-of-RIB.
 */
import { exec } from '#sys';
import { linksOf, type Topology, type TopologyRouter } from './topology.ts';

export interface BirdInput {
  readonly topology: Topology;
  readonly router: TopologyRouter;
  /** AS number of each node. */
  readonly nodeAsn: (node: string) => number;
  readonly holdTimeSec: number;
}

/** Protocol name of the session with `peer`; BIRD's names are symbols. */
export function birdSessionName(peer: string): string {
  return `to_${peer.replaceAll('-', '_')}`;
}

export function birdConfig(input: BirdInput): string {
  const { topology, router } = input;
  const routerId = router.loopbacks.find((address) => !address.includes(':'));
  const sessions = linksOf(topology, router.name).flatMap(({ own, peer }) => {
    const otherRouter = topology.routers.find(({ name }) => name === peer.owner);
    const isNode = topology.nodes.some(({ name }) => name === peer.owner);
    if (!otherRouter && !isNode) return [];
    const over4 = own.addresses.some(({ family }) => family === 4);
    const local = own.addresses.find(({ family }) => family === (over4 ? 4 : 6))!;
    const remote = peer.addresses.find(({ family }) => family === (over4 ? 4 : 6))!;
    const onlyDefault = isNode && router.nodeRoutes === 'default';
    const channel = (family: 4 | 6): string => {
      const mine = own.addresses.find((address) => address.family === family);
      if (!mine) return '';
      const filter = onlyDefault ? 'export where source = RTS_STATIC' : 'export where source != RTS_STATIC';
      const extra = isNode ? 'import where net.len > 0' : 'import all';
      return `  ipv${family} { ${extra}; ${filter}; next hop address ${mine.address}; next hop self; };`;
    };
    return [
      [
        `protocol bgp ${birdSessionName(peer.owner)} from session {`,
        `  local ${local.address} as ${router.asn};`,
        `  neighbor ${remote.address} as ${otherRouter?.asn ?? input.nodeAsn(peer.owner)};`,
        channel(4),
        channel(6),
        '}',
      ].join('\n'),
    ];
  });
  return `${header(routerId!, input.holdTimeSec)}\n${sessions.join('\n\n')}\n`;
}

function header(routerId: string, holdTimeSec: number): string {
  // Static routes exist to be announced to the nodes: the router itself has no default route.
  return `router id ${routerId};
log stderr all;
timeformat log iso long ms;
timeformat protocol iso long ms;
graceful restart wait 10;

protocol device { scan time 10; }
protocol direct { ipv4; ipv6; }
protocol static { ipv4; route 0.0.0.0/0 unreachable; }
protocol static { ipv6; route ::/0 unreachable; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on limit 16; scan time 20; graceful restart on; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on limit 16; scan time 20; graceful restart on; }

template bgp session {
  hold time ${holdTimeSec};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  check link on;
  graceful restart on;
  graceful restart time 30;
}
`;
}

export interface BirdSession {
  readonly name: string;
  /** `Established`, `Active`, `Connect` ... */
  readonly state: string;
  /** When it entered that state, as BIRD prints it. */
  readonly since: string;
}

/** BGP sessions of a running BIRD; an empty list while it does not answer. */
export async function birdSessions(birdc: string, controlSocket: string): Promise<BirdSession[]> {
  const { code, stdout } = await exec(birdc, ['-s', controlSocket, 'show', 'protocols']);
  return code === 0 ? parseBirdProtocols(stdout) : [];
}

/** Reads `show protocols`: name, type, table, state, since (a time, before it a date where `timeformat` asks for one), info. */
export function parseBirdProtocols(text: string): BirdSession[] {
  return text.split('\n').flatMap((line) => {
    const match = /^(\S+)\s+BGP\s+\S+\s+\S+\s+((?:\S+-\S+ )?\S+)\s*(\S*)/.exec(line);
    return match ? [{ name: match[1]!, since: match[2]!, state: match[3] || 'down' }] : [];
  });
}
