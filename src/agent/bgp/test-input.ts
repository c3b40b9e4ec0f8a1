/** Objects and a whole input for tests of the mapping. */
import { type Cidr, type IpAddress, Secret } from '#kit';
import type { BGPConfigurationObject, BGPPeerObject, IPPoolObject, NodeObject, SecretObject } from '#model';
import { issueText } from './issue.ts';
import { annotation } from './nodes.ts';
import type { SpeakerConfigInput, SpeakerConfigResult } from './speaker-config.ts';

export const ip = (text: string): IpAddress => text as IpAddress;
export const meta = (name: string, labels: Record<string, string> = {}, annotations: Record<string, string> = {}) => ({
  name,
  namespace: '',
  uid: name,
  labels,
  annotations,
});
export const node = (
  name: string,
  ips: string[],
  cidrs: string[],
  extra: Partial<NodeObject['metadata']> = {},
): NodeObject => ({
  metadata: { ...meta(name), ...extra },
  internalIPs: ips.map(ip),
  podCIDRs: cidrs as Cidr[],
});
export const peer = (name: string, peerIP: string, extra: Partial<BGPPeerObject> = {}): BGPPeerObject => ({
  metadata: meta(name),
  peerIP: ip(peerIP),
  port: 179,
  asNumber: 65001,
  ...extra,
});
/** To nodes, by selector. */
export const nodePeer = (name: string, extra: Partial<BGPPeerObject>): BGPPeerObject => ({
  metadata: meta(name),
  port: 179,
  ...extra,
});
export const configuration = (name: string, extra: Partial<BGPConfigurationObject> = {}): BGPConfigurationObject => ({
  metadata: meta(name),
  ...extra,
});
export const pool = (name: string, cidr: string, extra: Partial<IPPoolObject> = {}): IPPoolObject => ({
  metadata: meta(name),
  cidr: cidr as Cidr,
  natOutgoing: false,
  disabled: false,
  disableBGPExport: false,
  ...extra,
});
export const secret = (name: string, data: Record<string, string>, namespace = 'poplin-system'): SecretObject => ({
  metadata: { ...meta(name), namespace },
  data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, new Secret(value)])),
});
export const ref = (name: string, key: string) => ({ type: 'secretKeyRef', name, key }) as const;
export const n1 = node('n1', ['10.0.0.1', 'fd00::1'], ['10.1.1.0/24', 'fd01:1::/64'], { labels: { rack: 'r1' } });
export const n2 = node('n2', ['10.0.0.2', 'fd00::2'], ['10.1.2.0/24']);

export function input(extra: Partial<SpeakerConfigInput> = {}): SpeakerConfigInput {
  const nodes = extra.nodes ?? [n1, n2];
  const self = nodes.find(({ metadata }) => metadata.name === (extra.nodeName ?? 'n1'));
  const ipv4 = self?.internalIPs.find((address) => !address.includes(':'));
  const ipv6 = self?.internalIPs.find((address) => address.includes(':'));
  return {
    nodeName: 'n1',
    namespace: 'poplin-system',
    nodes,
    configurations: [],
    peers: [],
    filters: [],
    pools: [],
    secrets: [],
    ownAddresses: { ...(ipv4 ? { ipv4 } : {}), ...(ipv6 ? { ipv6 } : {}) },
    defaults: { asn: 64512, port: 179, holdTimeSec: 90, connectRetrySec: 5, meshEnabled: true, routerId: '' },
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 120, deferralTimeSec: 30 },
    onLink: () => undefined,
    ways: () => [],
    tcpAoFault: () => undefined,
    selects: (selector, labels) => {
      const match = /^(\w+) == '(\w+)'$/.exec(selector);
      if (selector === 'all()') return true;
      return match ? labels[match[1]!] === match[2] : { error: 'expected )' };
    },
    ...extra,
  };
}

/** Nodes around a route reflector. */
export const r1 = node('r1', ['10.0.0.11'], [], {
  labels: { role: 'rr' },
  annotations: { [annotation.clusterId]: '1.0.0.1' },
});
export const w1 = node('w1', ['10.0.0.21'], [], { labels: { role: 'worker' } });
export const w2 = node('w2', ['10.0.0.22', 'fd00::22'], [], { labels: { role: 'worker' } });

export const texts = (result: SpeakerConfigResult): string[] => result.issues.map(issueText);
export const names = ({ config }: SpeakerConfigResult): string[] => config!.peers.map(({ name }) => name);
export const noMesh = { ...input().defaults, meshEnabled: false };
