/** The ToR router: BIRD on the nodes' segment, eBGP to both nodes, an outside host behind it. */
import fs from 'node:fs';
import path from 'node:path';
import { type BirdSession, birdSessions, must, netnsPath } from '#lab';
import { addressesOf, clusterFolder, netnsOf, nodeNames, torOutsideAddresses } from './layout.ts';
import { setupTool } from './tools.ts';

const folder = path.join(clusterFolder, 'tor');
export const torFiles = { config: path.join(folder, 'bird.conf'), control: path.join(folder, 'bird.ctl') } as const;

export interface TorOptions {
  readonly asn: number;
  readonly nodeAsn: number;
  /** `dynamic`: whoever calls from the segment; `fixed`: a session to each node, which the router opens as well. */
  readonly peers: 'dynamic' | 'fixed';
  readonly holdTimeSec: number;
  /** TCP-MD5 (RFC 2385). */
  readonly password?: string;
  /** Whether nodes hear the outside host's subnets or a default route. */
  readonly announce: 'default' | 'subnets';
  /** Address family that sessions run over; both families of routes are on each. */
  readonly over: 4 | 6;
}
export const defaultTor: TorOptions = {
  asn: 65001,
  nodeAsn: 64512,
  peers: 'dynamic',
  holdTimeSec: 9,
  announce: 'subnets',
  over: 4,
};

const dynamicName = 'nodes';

export function writeTorConfig(options: TorOptions): void {
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(torFiles.config, torConfig(options));
}

/** Exported for its test. */
export function torConfig({ asn, nodeAsn, peers, holdTimeSec, password, announce, over }: TorOptions): string {
  const [own4, own6] = addressesOf('tor');
  const outside = (address: string): string =>
    address.replace(/(::|\.)\d+$/, (_, sep: string) => (sep === '.' ? '.0' : '::'));
  const filter = announce === 'default' ? 'where source = RTS_STATIC' : 'where source = RTS_DEVICE';
  const common = `  local ${over === 4 ? own4 : own6} as ${asn};${password ? `\n  password "${password}";` : ''}
  hold time ${holdTimeSec};
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  graceful restart on;
  graceful restart time 60;
  ipv4 { import where net.len > 0; export ${filter}; next hop address ${own4}; next hop self; };
  ipv6 { import where net.len > 0; export ${filter}; next hop address ${own6}; next hop self; };`;
  const range = over === 4 ? `${own4.replace(/\d+$/, '0')}/24` : `${own6.replace(/::.*$/, '::')}/64`;
  const sessions =
    peers === 'dynamic'
      ? [
          `protocol bgp ${dynamicName} {\n  neighbor range ${range} as ${nodeAsn};\n  dynamic name "node_";\n${common}\n}`,
        ]
      : nodeNames.map(
          (node) =>
            `protocol bgp ${node} {\n  neighbor ${addressesOf(node)[over === 4 ? 0 : 1]} as ${nodeAsn};\n${common}\n}`,
        );
  return `router id ${own4};
log stderr all;
timeformat log iso long ms;
timeformat protocol iso long ms;
graceful restart wait 20;
protocol device { scan time 10; }
protocol direct { ipv4; ipv6; interface "eth1"; }
protocol static { ipv4; route 0.0.0.0/0 unreachable; }
protocol static { ipv6; route ::/0 unreachable; }
protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; merge paths on limit 16; scan time 20; graceful restart on; }
protocol kernel { ipv6 { import none; export where source = RTS_BGP; }; merge paths on limit 16; scan time 20; graceful restart on; }
# Behind this router: ${outside(torOutsideAddresses[0])}/24 and ${outside(torOutsideAddresses[1])}/64.

${sessions.join('\n\n')}
`;
}

/** Its BGP sessions; an empty list while it does not answer. The listener that dynamic ones come from is none. */
export async function torSessions(): Promise<readonly BirdSession[]> {
  const all = await birdSessions(setupTool('birdc'), torFiles.control);
  return all.filter(({ name }) => name !== dynamicName);
}

/** `birdc COMMAND`, e.g. `show route`. */
export function birdc(...command: readonly string[]): Promise<string> {
  return must(setupTool('birdc'), ['-s', torFiles.control, ...command]);
}

/** New configuration on the fly. */
export async function reconfigureTor(options: TorOptions): Promise<void> {
  writeTorConfig(options);
  await birdc('configure');
}

/** A command on the ToR router or the outside host. */
export function inNamespace(machine: 'tor' | 'outside' | 'wire', command: readonly string[]): Promise<string> {
  return must('nsenter', [`--net=${netnsPath(netnsOf(machine))}`, ...command]);
}
