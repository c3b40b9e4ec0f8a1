/** An established session as monitoring stations see it. */
import { type IpFamily, splitZone } from '#kit';
import type { BmpPeer } from '../bmp/index.ts';
import { ipFamilyOf, type Negotiated } from '../wire/index.ts';
import type { PeerConfig } from './config.ts';
import type { Membership } from './groups.ts';
import type { Opens } from './session.ts';
import type { ByteConnection } from './types.ts';
import type { UpdateCounters } from './update-reader.ts';

export function monitoredPeer(
  peer: { readonly row: number; readonly config: PeerConfig; readonly upAtUsec: number },
  negotiated: Negotiated,
  connection: ByteConnection,
  opens: Opens | undefined,
  counters: UpdateCounters,
  membership: (family: IpFamily) => Membership | undefined,
): BmpPeer {
  const nothing = new Uint8Array(0);
  return {
    row: peer.row,
    name: peer.config.name,
    address: splitZone(peer.config.address).address,
    asn: negotiated.peerAsn,
    routerId: negotiated.peerRouterId,
    localAddress: splitZone(connection.localAddress).address,
    localPort: connection.localPort ?? 0,
    remotePort: connection.remotePort,
    openSent: opens?.sent ?? nothing,
    openReceived: opens?.received ?? nothing,
    upAtUsec: peer.upAtUsec,
    families: negotiated.families.map(ipFamilyOf),
    pathIdFamilies: negotiated.addPath.filter(({ receive }) => receive).map(({ family }) => ipFamilyOf(family)),
    membership,
    counters: () => counters,
  };
}
