/** Facts of a node that is well, for the tests of this folder. */
import type { PeerStatus, SpeakerStatus } from '#bgp';
import type { DatastoreStatus } from '#datastore';
import { toCidr, toIpAddress } from '#kit';
import { kinds } from '#model';
import type { NodeFacts } from './facts.ts';

export function peerStatus(name: string, extra: Partial<PeerStatus> = {}): PeerStatus {
  return {
    name,
    address: '10.0.0.9',
    port: 179,
    asn: 64512,
    state: 'Established',
    stateForMs: 60_000,
    lastError: '',
    establishedCount: 1,
    messagesIn: 1,
    messagesOut: 1,
    updatesIn: 1,
    updatesOut: 1,
    notificationsIn: 0,
    notificationsOut: 0,
    prefixesReceived: 2,
    updateErrors: 0,
    queuedBytes: 0,
    families: [
      { family: 'ipv4-unicast', accepted: 2, stale: 0, sent: 1, endOfRibReceived: true },
      { family: 'ipv6-unicast', accepted: 1, stale: 0, sent: 1, endOfRibReceived: true },
    ],
    ...extra,
  };
}

export function speakerStatus(peers: readonly PeerStatus[]): SpeakerStatus {
  return {
    asn: 64512,
    routerId: '10.0.0.1',
    deferring: false,
    waitingFor: [],
    routes: { ipv4: 2, ipv6: 1 },
    paths: { ipv4: 2, ipv6: 1 },
    attributeSets: 1,
    nextHops: 1,
    peers,
    ranges: [],
  };
}

export function datastoreStatus(extra: Partial<DatastoreStatus> = {}): DatastoreStatus {
  return {
    source: 'kube',
    location: 'https://10.0.0.1:6443',
    inSync: true,
    waitingFor: [],
    objects: Object.fromEntries(kinds.map((kind) => [kind, 0])) as DatastoreStatus['objects'],
    faults: [],
    faultsTotal: 0,
    notUsed: [],
    notUsedTotal: 0,
    ignored: [],
    lastUpdate: '2026-01-01T00:00:00.000Z',
    kinds: { Pod: { state: 'synced', apiVersions: ['v1'], resourceVersion: '10' } },
    ...extra,
  };
}

export function nodeFacts(extra: Partial<NodeFacts> = {}): NodeFacts {
  return {
    nodeName: 'n1',
    version: '0.1.0',
    nodeVersion: 'v24.0.0',
    ready: { ok: true, reasons: [] },
    datastore: datastoreStatus(),
    speaker: speakerStatus([
      peerStatus('mesh/n2', { address: '10.0.0.2' }),
      peerStatus('peer/tor', { address: '10.0.0.9' }),
    ]),
    bgp: { issues: [], heldDown: new Map() },
    routes: { installed: { ipv4: 2, ipv6: 1 }, pending: 0, unresolved: 0, refused: 0, stale: 0, repairs: 0 },
    policy: {
      backend: 'nft',
      inSync: true,
      applied: true,
      failures: 0,
      lastError: undefined,
      flowLogRefused: undefined,
      dnsRefused: undefined,
      hostEndpoints: { programmed: 0, refused: [] },
      endpoints: { known: 3, programmed: 3 },
      policies: { known: 2, broken: 0, refused: [] },
      sets: 4,
      repairs: 0,
      flows: { cut: 0, restored: 0, failures: 0 },
      counters: {
        iptables: { restoreCalls: 1, restoreLines: 1, saveCalls: 1 },
        ipset: { restoreCalls: 1, restoreLines: 1, saveCalls: 1 },
      },
    },
    pods: { wired: 3, ranges: [{ cidr: toCidr('10.244.1.0/24')!, used: 3, size: 254 }] },
    nodeKnown: true,
    podCIDRs: [toCidr('10.244.1.0/24')!],
    addresses: { ipv4: toIpAddress('10.0.0.1')!, source: 'InternalIP', rejected: [] },
    inForce: { Pod: '10' },
    changesInForce: 'noon',
    ...extra,
  };
}
