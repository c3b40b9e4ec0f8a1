/** BGP sessions as text. */
import type { BgpCountView, BgpPeerFamilyView, BgpPeerView } from '#api';
import { formatAge, formatDuration, formatTable } from './output.ts';

const bgpPort = 179;

/** One line for each peer; counts by family, in the order of FAMILIES. */
export function formatPeers(peers: readonly BgpPeerView[], nowMs: number): string {
  const byFamily = (peer: BgpPeerView, count: (family: BgpPeerFamilyView) => number | undefined): string => {
    if (peer.state !== 'Established') return '-';
    const counts = peer.families.map(count);
    return counts.every((each) => each === undefined) ? '-' : counts.map((each) => each ?? '-').join('/');
  };
  const rows = peers.map((peer) => [
    peer.name,
    addressText(peer),
    asnText(peer),
    stateText(peer),
    formatAge(peer.since, nowMs),
    peer.families.map(({ family }) => (family === 'ipv4-unicast' ? '4' : '6')).join('/') || '-',
    byFamily(peer, ({ received }) => received),
    byFamily(peer, rejectedOf),
    byFamily(peer, ({ sent }) => sent),
    peer.state === 'Established' ? '' : errorText(peer),
  ]);
  const head = ['NAME', 'ADDRESS', 'AS', 'STATE', 'FOR', 'FAMILIES', 'ACCEPTED', 'REJECTED', 'SENT', 'LAST ERROR'];
  return formatTable(head, rows);
}

/** Everything about one. */
export function formatPeer(peer: BgpPeerView, nowMs: number): string {
  const lines: (readonly [string, string])[] = [
    ['name', peer.name],
    ['address', `${addressText(peer)}${peer.localAddress ? `, ours ${peer.localAddress}` : ''}`],
    ...(peer.interface === undefined ? [] : [['interface', peer.interface] as const]),
    ...(peer.range === undefined ? [] : [['range', peer.range] as const]),
    ['AS', `${asnText(peer)}${peer.peerRouterId ? `, router id ${peer.peerRouterId}` : ''}`],
    ['state', `${stateText(peer)} for ${formatAge(peer.since, nowMs)}`],
    ['sessions', `${peer.timesEstablished} since it was configured`],
    ['last error', errorText(peer) || '-'],
    ...agreed(peer),
    ['messages', countText(peer.messages)],
    ['  updates', `${countText(peer.updates)}, ${peer.updateErrors} with errors`],
    ['  notifications', countText(peer.notifications)],
    ['waits for TCP', `${peer.queuedBytes} bytes`],
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  const families = peer.families.map((family) => [
    family.family,
    String(family.receivedPrePolicy ?? '-'),
    String(rejectedOf(family) ?? '-'),
    String(family.received),
    String(family.stale),
    String(family.sent),
    family.endOfRib ? 'yes' : 'no',
  ]);
  const head = ['FAMILY', 'RECEIVED', 'REJECTED', 'ACCEPTED', 'STALE', 'SENT', 'END-OF-RIB'];
  return `${lines.map(([name, text]) => `${name.padEnd(width)}   ${text}\n`).join('')}\n${formatTable(head, families)}`;
}

/** Of the session that is there. */
function agreed({ holdTimeSec, gracefulRestart }: BgpPeerView): (readonly [string, string])[] {
  if (holdTimeSec === undefined) return [];
  return [
    ['hold time', holdTimeSec === 0 ? 'none: nothing is noticed without BFD' : `${holdTimeSec}s`],
    ['graceful restart', gracefulRestart ? 'agreed upon' : 'no'],
  ];
}

function rejectedOf({ received, receivedPrePolicy }: BgpPeerFamilyView): number | undefined {
  return receivedPrePolicy === undefined ? undefined : receivedPrePolicy - received;
}

function addressText({ address, port }: BgpPeerView): string {
  if (address === '') return 'not found yet';
  if (port === bgpPort) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function asnText({ asn }: BgpPeerView): string {
  return asn === 0 ? '-' : String(asn);
}

function stateText({ state, restarting, bfd }: BgpPeerView): string {
  const notes = [...(restarting ? ['restarting'] : []), ...(bfd === undefined ? [] : [`BFD ${bfd}`])];
  return notes.length === 0 ? state : `${state} (${notes.join(', ')})`;
}

function errorText({ lastError, restartInSec }: BgpPeerView): string {
  const again = restartInSec === undefined ? undefined : `tried again in ${formatDuration(restartInSec)}`;
  return [lastError, again].filter((part) => part !== undefined).join('; ');
}

function countText({ received, sent }: BgpCountView): string {
  return `${received} received, ${sent} sent`;
}
