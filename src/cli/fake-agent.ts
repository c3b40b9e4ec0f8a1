/** An agent of the node n1 that has something to say to every command, not all of it good: for tests. */
import type { TestContext } from 'node:test';
import type { AgentStatus, AgentView, BgpPathView } from '#api';
import { FakeClock } from '#kit';
import { createHealthRegistry } from '#obs';
import { serve } from './cli-run.ts';

const time = '2026-01-01T00:58:00Z';

export const status: AgentStatus = {
  version: '9.9.9',
  node: 'n1',
  pid: 42,
  startedAt: time,
  uptimeSec: 120,
  ready: { ok: false, reasons: ['datastore: not in sync'] },
  datastore: {
    location: '/m',
    inSync: false,
    waitingFor: ['NetworkPolicy web/a: never valid, see /m/a.yaml:4'],
    faults: 1,
    objects: { Pod: 3, Node: 0 },
    lastUpdate: time,
  },
  bgp: {
    asn: 64512,
    routerId: '10.0.0.1',
    peersEstablished: 1,
    peersConfigured: 2,
    originated: ['10.1.1.0/24'],
    learned: { ipv4: 5, ipv6: 6 },
    waitingForEndOfRib: ['mesh/n2'],
  },
  routes: { pending: 0, programmed: { ipv4: 5, ipv6: 6 }, unresolved: 1, stale: 0, lastApply: time, lastApplyMs: 3 },
  policy: {
    pending: 2,
    endpoints: 3,
    policies: 1,
    sets: 1,
    backend: 'nft',
    error: { message: 'iptables-restore: line 3 failed', since: time },
  },
  cni: { pods: 3, addresses: [{ cidr: '10.1.1.0/24', used: 3, size: 253 }], notServing: 'datastore not in sync' },
  problems: ['BGPPeer tor: connection refused'],
};
const hop: BgpPathView = {
  peer: 'mesh/n2',
  best: true,
  nextHop: '10.0.0.2',
  resolved: [
    { gateway: '172.16.0.1', device: 'eth0' },
    { gateway: '172.16.1.1', device: 'eth1' },
  ],
  origin: 'IGP',
  asPath: '',
  stale: false,
};
export const routes = [
  { prefix: '10.1.1.0/24', source: 'originated', paths: [{ ...hop, peer: undefined, nextHop: '', resolved: [] }] },
  {
    prefix: '10.1.2.0/24',
    source: 'learned',
    paths: [hop, { ...hop, peer: 'tor', best: false, asPath: '65001 65002' }],
  },
  { prefix: '10.9.0.0/16', source: 'learned', paths: [{ ...hop, resolved: [] }] },
] as never;

const counts = {
  messages: { received: 12, sent: 13 },
  updates: { received: 7, sent: 3 },
  notifications: { received: 0, sent: 1 },
  updateErrors: 2,
  queuedBytes: 0,
};

function view(extra: Partial<AgentView>): AgentView {
  const health = createHealthRegistry(new FakeClock());
  return {
    status: () => status,
    bgpPeers: () => [
      {
        name: 'mesh/n2',
        address: '10.0.0.2',
        port: 179,
        asn: 64512,
        state: 'Established',
        since: time,
        families: [
          { family: 'ipv4-unicast', received: 5, receivedPrePolicy: 8, sent: 1, stale: 0, endOfRib: true },
          { family: 'ipv6-unicast', received: 6, receivedPrePolicy: 6, sent: 2, stale: 0, endOfRib: true },
        ],
        ...counts,
        gracefulRestart: true,
        restarting: false,
        timesEstablished: 1,
        bfd: 'Up',
      },
      {
        name: 'peer/tor',
        address: 'fd00::1',
        port: 1790,
        asn: 65001,
        state: 'Active',
        families: [],
        ...counts,
        gracefulRestart: false,
        restarting: false,
        lastError: 'connection refused',
        timesEstablished: 0,
      },
    ],
    bgpRoutes: () => ({ routes }),
    policyExplain: async ({ from }) => ({ problem: `there is no pod ${from}` }),
    policyEndpoint: ({ namespace, name }) =>
      `${namespace}/${name}` === 'web/a'
        ? {
            pod: 'web/a',
            interfaceName: 'pop123',
            addresses: ['10.1.1.2'],
            applied: true,
            ingress: {
              isolated: true,
              tiers: [
                {
                  tier: 'kube-admin',
                  endOfTier: 'pass',
                  policies: [{ id: 'ClusterNetworkPolicy:c', rules: ['deny TCP 22 from everyone'] }],
                },
                {
                  tier: 'default',
                  endOfTier: 'deny',
                  policies: [{ id: 'NetworkPolicy:web/p', rules: ['allow TCP 80 from everyone'] }],
                },
              ],
            },
            egress: {
              isolated: false,
              tiers: [{ tier: 'kube-baseline', endOfTier: 'pass', policies: [{ id: 'x', rules: [] }] }],
            },
          }
        : undefined,
    datastore: () => ({
      source: 'file',
      location: '/m',
      inSync: false,
      waitingFor: [],
      objects: {},
      faults: [
        {
          file: '/m/a.yaml',
          line: 4,
          object: 'NetworkPolicy web/a',
          field: 'spec.x',
          message: 'unknown field',
          effect: 'not in force',
          blocking: true,
          since: time,
        },
      ],
      faultsTotal: 3,
      notUsed: [],
      notUsedTotal: 0,
      ignored: [],
    }),
    config: () => [{ name: 'asn', value: 65001, source: 'flag --asn' }],
    flows: async () => ({ flows: [], next: 0, missed: 0, log: { verdicts: 'denied', ratePerSec: 10, lost: 0 } }),
    flowCounts: () => [],
    alive: () => health.alive(),
    ready: () => health.ready(),
    metrics: async () => ({ contentType: 'text/plain', body: '' }),
    ...extra,
  };
}

/** @returns the environment in which it is found. */
export const agent = (t: TestContext, extra: Partial<AgentView> = {}): Promise<Record<string, string>> =>
  serve(t, view(extra));
