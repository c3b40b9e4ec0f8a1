import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteStatus } from '#felix';
import { type Cidr, FakeClock, type IpAddress, silentLogger, toCidr, toIpAddress } from '#kit';
import type { BGPPeerObject, CalicoNodeStatusObject } from '#model';
import { createModelStore } from '../model-store.ts';
import { type CalicoReportInput, calicoReport } from './calico-node-status.ts';
import { createCalicoNodeStatusWriter } from './calico-node-status-writer.ts';
import { failure, fakeApi } from './fake-api.ts';
import { datastoreStatus, peerStatus, speakerStatus } from './fake-facts.ts';

const metadata = (name: string) => ({ name, namespace: '', uid: `uid-${name}`, labels: {}, annotations: {} });
const peer = (name: string, more: Partial<BGPPeerObject> = {}): BGPPeerObject => ({
  metadata: metadata(name),
  port: 179,
  ...more,
});
const attributes = { origin: 'IGP' as const, asPath: '', communities: [] } as never;
const path = (from: string | undefined, nextHop: string, best: boolean) => ({
  ...(from === undefined ? {} : { peer: from }),
  nextHop,
  best,
  multipath: false,
  stale: false,
  attributes,
});
const installed = (prefix: string, gateway: string, device: string): RouteStatus => ({
  prefix: prefix as Cidr,
  nextHops: [gateway as IpAddress],
  via: [{ gateway: gateway as IpAddress, device }],
  nexthopGroup: 1,
  state: 'installed',
});

const input: CalicoReportInput = {
  version: '0.1.0',
  startedAtMs: Date.parse('2026-01-01T00:00:00Z'),
  configuredAtMs: Date.parse('2026-01-01T00:01:02Z'),
  speaker: speakerStatus([
    peerStatus('mesh/n2', { address: '10.0.0.2' }),
    peerStatus('peer/tor', { address: '10.0.0.9', state: 'Active' }),
    peerStatus('peer/six', { address: 'fd00::9' }),
    peerStatus('peer/rack/n3', { address: '10.0.0.3' }),
  ]),
  sinceMs: () => Date.parse('2026-01-01T10:11:12Z'),
  peers: [peer('tor'), peer('six', { node: 'n1' }), peer('rack', { nodeSelector: 'all()' })],
  rib: [
    { prefix: '10.244.1.0/24', paths: [path(undefined, '', true)] },
    { prefix: '10.244.2.0/24', paths: [path('mesh/n2', '10.0.0.2', true), path('peer/tor', '10.0.0.9', false)] },
  ],
  programmed: new Map([['10.244.2.0/24', installed('10.244.2.0/24', '10.0.0.2', 'eth0')]]),
  localAddresses: [
    {
      family: 4,
      address: toIpAddress('10.0.0.1')!,
      prefixLength: 24,
      subnet: toCidr('10.0.0.0/24')!,
      ifIndex: 2,
      device: 'eth0',
      linkLocal: false,
    },
    {
      family: 6,
      address: toIpAddress('fe80::1')!,
      prefixLength: 64,
      subnet: toCidr('fe80::/64')!,
      ifIndex: 2,
      device: 'eth0',
      linkLocal: true,
    },
  ],
  endpoints: [
    { id: 'default/a', interfaceName: 'pop1', addresses: [toIpAddress('10.244.1.5')!, toIpAddress('fd00:1::5')!] },
  ],
};

test('sessions by family of the peer, with the type that the object gives them', () => {
  assert.deepEqual(calicoReport(['BGP'], input), {
    bgp: {
      numberEstablishedV4: 2,
      numberNotEstablishedV4: 1,
      numberEstablishedV6: 1,
      numberNotEstablishedV6: 0,
      peersV4: [
        { peerIP: '10.0.0.2', type: 'NodeMesh', state: 'Established', since: '2026-01-01 10:11:12' },
        { peerIP: '10.0.0.9', type: 'GlobalPeer', state: 'Active', since: '2026-01-01 10:11:12' },
        { peerIP: '10.0.0.3', type: 'NodePeer', state: 'Established', since: '2026-01-01 10:11:12' },
      ],
      peersV6: [{ peerIP: 'fd00::9', type: 'NodePeer', state: 'Established', since: '2026-01-01 10:11:12' }],
    },
  });
});

test('the agent, ready or not', () => {
  const daemon = {
    state: 'Ready',
    version: 'poplin v0.1.0',
    routerID: '10.0.0.1',
    lastBootTime: '2026-01-01 00:00:00',
    lastReconfigurationTime: '2026-01-01 00:01:02',
  };
  assert.deepEqual(calicoReport(['Agent'], input), { agent: { birdV4: daemon, birdV6: daemon } });
  const none = calicoReport(['Agent'], { ...input, speaker: undefined });
  assert.deepEqual(none, { agent: { birdV4: { state: 'NotReady' }, birdV6: { state: 'NotReady' } } });
});

test('routes: which forward, where to, and from whom', () => {
  const { routes } = calicoReport(['Routes'], input) as { routes: { routesV4: object[]; routesV6: object[] } };
  assert.deepEqual(routes.routesV4, [
    {
      type: 'FIB',
      destination: '10.244.1.0/24',
      gateway: 'N/A',
      interface: 'blackhole',
      learnedFrom: { sourceType: 'Static' },
    },
    {
      type: 'FIB',
      destination: '10.244.2.0/24',
      gateway: '10.0.0.2',
      interface: 'eth0',
      learnedFrom: { sourceType: 'NodeMesh', peerIP: '10.0.0.2' },
    },
    {
      type: 'RIB',
      destination: '10.244.2.0/24',
      gateway: '10.0.0.9',
      interface: 'N/A',
      learnedFrom: { sourceType: 'BGPPeer', peerIP: '10.0.0.9' },
    },
    {
      type: 'FIB',
      destination: '10.0.0.0/24',
      gateway: 'N/A',
      interface: 'eth0',
      learnedFrom: { sourceType: 'Direct' },
    },
    {
      type: 'FIB',
      destination: '10.244.1.5/32',
      gateway: 'N/A',
      interface: 'pop1',
      learnedFrom: { sourceType: 'Kernel' },
    },
  ]);
  assert.deepEqual(routes.routesV6, [
    {
      type: 'FIB',
      destination: 'fd00:1::5/128',
      gateway: 'N/A',
      interface: 'pop1',
      learnedFrom: { sourceType: 'Kernel' },
    },
  ]);
});

const v3 = '/apis/projectcalico.org/v3/caliconodestatuses';
const v1 = '/apis/crd.projectcalico.org/v1/caliconodestatuses';

function world(collections: readonly string[], options: Parameters<typeof fakeApi>[1] = {}) {
  const api = fakeApi(collections, options);
  const clock = new FakeClock();
  const model = createModelStore();
  const state = { input };
  const versions = collections.map((each) => (each === v3 ? 'projectcalico.org/v3' : 'crd.projectcalico.org/v1'));
  const writer = createCalicoNodeStatusWriter(
    {
      client: api,
      clock,
      wallMs: () => 1_800_000_000_000 + clock.nowMs(),
      random: () => 0.5,
      log: silentLogger,
      model,
      datastore: {
        status: () => datastoreStatus({ kinds: { CalicoNodeStatus: { state: 'synced', apiVersions: versions } } }),
      },
      report: async () => state.input,
    },
    { nodeName: 'n1' },
  );
  const ask = (name: string, extra: Partial<CalicoNodeStatusObject> = {}): void => {
    const object: CalicoNodeStatusObject = {
      metadata: metadata(name),
      node: 'n1',
      classes: ['BGP'],
      updatePeriodSec: 10,
      ...extra,
    };
    model.apply({ type: 'upsert', kind: 'CalicoNodeStatus', key: name, object });
    if (!api.objects.has(`${collections[0]}/${name}`))
      api.objects.set(`${collections[0]}/${name}`, { metadata: { name }, spec: {} });
    writer.look();
  };
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 500) {
      clock.advance(500);
      for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    }
  };
  const status = (name: string) =>
    api.objects.get(`${collections[0]}/${name}`)?.['status'] as Record<string, unknown> | undefined;
  return { api, model, state, writer, ask, pass, status };
}

test('answered at once, then each period when something changed; objects about other nodes are not ours', async () => {
  const { api, state, ask, pass, status } = world([v3]);
  ask('a');
  ask('other', { node: 'n2' });
  await pass(1_000);
  assert.ok(status('a')!['bgp']);
  assert.match(String(status('a')!['lastUpdated']), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(status('other'), undefined);
  await pass(30_000);
  assert.equal(api.writes().length, 1, 'nothing changed');
  state.input = { ...input, speaker: speakerStatus([]) };
  await pass(11_000);
  assert.equal(api.writes().length, 2);
});

test('a period of 0 is one answer, and another after each change of the object', async () => {
  const { api, state, ask, pass, status } = world([v3]);
  ask('a', { updatePeriodSec: 0 });
  await pass(1_000);
  state.input = { ...input, speaker: speakerStatus([]) };
  await pass(60_000);
  assert.equal(api.writes().length, 1);
  ask('a', { updatePeriodSec: 0, classes: ['Agent'] });
  await pass(1_000);
  assert.deepEqual(Object.keys(status('a')!).sort(), ['agent', 'lastUpdated']);
});

test("Calico's own definition has no status of its own: the object is written", async () => {
  const { api, ask, pass, status } = world([v1], { withoutStatus: [v1] });
  ask('a');
  await pass(1_000);
  assert.ok(status('a')!['bgp']);
  assert.deepEqual(api.writes(), [`PATCH ${v1}/a/status`, `PATCH ${v1}/a`]);
});

test('tried again, ever more rarely, and no more once the object is gone', async () => {
  const { api, model, writer, ask, pass } = world([v3]);
  api.intercept = () => failure(500, 'InternalError', 'a');
  ask('a');
  await pass(60_000);
  assert.ok(api.requests.length >= 3 && api.requests.length < 12, `${api.requests.length} requests`);
  model.apply({ type: 'delete', kind: 'CalicoNodeStatus', key: 'a' });
  writer.look();
  const asked = api.requests.length;
  await pass(120_000);
  assert.equal(api.requests.length, asked);
  await writer.stop();
});
