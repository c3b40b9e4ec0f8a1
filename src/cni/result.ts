import { familyOf, hostCidr, type IpAddress, type IpFamily } from '#kit';
import type { CniVersion, NetworkConfig } from './request.ts';

/** What the pod sees as its gateway; the host answers for both from every pod's veth. */
export const GATEWAYS: Readonly<Record<IpFamily, IpAddress>> = {
  4: '169.254.1.1' as IpAddress,
  6: 'fe80::ecee:eeff:feee:eeee' as IpAddress,
};
export const DEFAULT_ROUTES: Readonly<Record<IpFamily, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

export interface WiredPod {
  readonly interfaceName: string;
  readonly hostMac: string;
  readonly ifName: string;
  readonly podMac: string;
  readonly netns: string;
  readonly addresses: readonly IpAddress[];
  readonly mtu?: number;
}

interface ResultLists {
  readonly interfaces: readonly unknown[];
  readonly ips: readonly unknown[];
  readonly routes: readonly unknown[];
}

/** Absent ones are empty; that they are lists was seen to when the configuration was read. */
function listsOf(prevResult: NetworkConfig['prevResult']): ResultLists {
  const list = (key: string): readonly unknown[] => {
    const value = prevResult?.[key];
    return Array.isArray(value) ? value : [];
  };
  return { interfaces: list('interfaces'), ips: list('ips'), routes: list('routes') };
}

/**
 * The answer to ADD in the caller's version. What came before us in the chain is passed on unchanged and first, so that its
 * indexes stay right; ours are counted from its end.
 *
 * 0.3.1 and 0.4.0 want the family of every address ("version"); 1.1.0 brought "mtu".
 */
export function addResult(version: CniVersion, pod: WiredPod, config: NetworkConfig): object {
  const before = listsOf(config.prevResult);
  const mtu = version === '1.1.0' && pod.mtu !== undefined ? { mtu: pod.mtu } : {};
  const old = version === '0.3.1' || version === '0.4.0';
  const podIndex = before.interfaces.length + 1;
  const families = pod.addresses.map((address) => familyOf(address));
  return {
    ...config.prevResult,
    cniVersion: version,
    interfaces: [
      ...before.interfaces,
      { name: pod.interfaceName, mac: pod.hostMac, ...mtu },
      { name: pod.ifName, mac: pod.podMac, ...mtu, sandbox: pod.netns },
    ],
    ips: [
      ...before.ips,
      ...pod.addresses.map((address) => ({
        ...(old ? { version: String(familyOf(address)) } : {}),
        interface: podIndex,
        address: hostCidr(address),
        gateway: GATEWAYS[familyOf(address)],
      })),
    ],
    routes: [...before.routes, ...families.map((family) => ({ dst: DEFAULT_ROUTES[family], gw: GATEWAYS[family] }))],
    dns: config.prevResult?.['dns'] ?? config.dns ?? {},
  };
}

/** What prevResult (of CHECK) lacks of the pod as ADD made it. Later plugins of the chain may have added to it. */
export function missingInResult(prevResult: NonNullable<NetworkConfig['prevResult']>, pod: WiredPod): string[] {
  const { interfaces, ips } = listsOf(prevResult);
  const field = (entry: unknown, key: string): unknown =>
    typeof entry === 'object' && entry !== null ? (entry as Readonly<Record<string, unknown>>)[key] : undefined;
  const problems: string[] = [];
  const own = interfaces.findIndex(
    (entry) => field(entry, 'name') === pod.ifName && field(entry, 'sandbox') !== undefined,
  );
  if (own < 0) problems.push(`prevResult has no interface ${pod.ifName}`);
  for (const address of pod.addresses) {
    if (!ips.some((entry) => field(entry, 'address') === hostCidr(address)))
      problems.push(`prevResult lacks ${hostCidr(address)}`);
  }
  return problems;
}
