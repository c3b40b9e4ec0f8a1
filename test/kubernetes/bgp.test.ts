/**
 * BGP from objects: what `kubectl` applies at a real API server, under the agent's own role, becomes sessions with BIRD, live. BIRD
 * plays the router outside (192.0.2.2) and, where nodes peer with nodes, the agent of Node n2 at that address.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { after, before, suite, type TestContext, test } from 'node:test';
import { type BgpPeerView, createApiClient } from '#api';
import { Bird } from '../support/bgp.ts';
import { definitions, untilServed } from '../support/kube/agent.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { relayInto } from '../support/kube/relay.ts';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const root = path.join(import.meta.dirname, '..', '..');
const namespace = 'poplin-system';
const outside = '192.0.2.2';

function object(kind: string, name: string, spec: object): KubeObject {
  return { apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec };
}
function nodeObject(name: string, n: number, more: Partial<KubeObject['metadata']> = {}): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, ...more },
    spec: { podCIDR: `10.42.${n}.0/24`, podCIDRs: [`10.42.${n}.0/24`, `fd00:42:${n}::/64`] },
    status: {
      addresses: [
        { type: 'InternalIP', address: `192.0.2.${n}` },
        { type: 'InternalIP', address: `2001:db8::${n}` },
      ],
    },
  };
}
/** A Secret of the agent's namespace. */
function secret(name: string, data: Record<string, string>): KubeObject {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace }, stringData: data };
}

interface BirdOptions {
  readonly asn?: number;
  /** Of the agent. */
  readonly peerAsn?: number;
  readonly password?: string;
  /** The agent's address. */
  readonly peer?: string;
  /** BFD every 100 ms, and a hold time that is no match for it. */
  readonly bfd?: boolean;
}
function birdText({
  asn = 65001,
  peerAsn = 64512,
  password,
  peer = '192.0.2.1',
  bfd = false,
}: BirdOptions = {}): string {
  return `router id ${outside};
log stderr all;
protocol device { scan time 1; }
${bfd ? 'protocol bfd { interface "up0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 10; }; }' : ''}
protocol static { ipv4; route 10.60.0.0/16 blackhole; route 10.61.0.0/16 blackhole; }
protocol bgp peer {
  local ${outside} as ${asn}; neighbor ${peer} as ${peerAsn}; direct;
  ${password === undefined ? '' : `password "${password}";`}
  ${bfd ? 'bfd on; hold time 90;' : 'hold time 9;'} error wait time 1, 2; connect delay time 1; connect retry time 1;
  ipv4 { import all; export all; }; ipv6 { import all; export none; };
}
`;
}

suite(
  'BGP from objects',
  needs({ root: true, commands: ['ip', 'nft'], provided: ['bird', 'birdc'], kube: apiServerAssets }),
  () => {
    let server: ApiServer;
    let kubeconfig: string;
    before(async () => {
      server = await startApiServer();
      // As people install it; nothing here runs its DaemonSet.
      const manifest = path.join(root, 'deploy', 'manifests', 'poplin.yaml');
      await until(() => server.kubectl(['apply', '--server-side', '-f', manifest]), {
        what: 'the manifest to be taken',
        deadlineMs: 90_000,
      });
      await untilServed(server, definitions());
      kubeconfig = server.kubeconfig('agent', { token: await server.tokenFor('poplin', namespace) });
    });
    after(() => server.stop());

    const apply = async (...objects: readonly KubeObject[]): Promise<void> => {
      const stdin = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
      await server.kubectl(['apply', '-f', '-'], { stdin });
    };
    const remove = (kind: string, name: string) => server.kubectl(['delete', kind, name, '--ignore-not-found']);

    /** Nodes n1, where an agent runs, and n2; the mesh is off unless a test wants it. */
    async function world(t: TestContext, options: { readonly mesh?: boolean; readonly bird?: BirdOptions } = {}) {
      const config = { datastore: 'kube', kubeconfig, namespace, connectRetrySec: 1 };
      const node = await LoneAgent.node(t, { config });
      relayInto(t, node.netns, server.port);
      t.after(async () => {
        const kinds = ['bgpconfigurations', 'bgppeers', 'bgpfilters', 'ippools'];
        for (const kind of kinds) await server.kubectl(['delete', `${kind}.projectcalico.org`, '--all']);
        await server.kubectl(['delete', 'node', 'n1', 'n2']);
      });
      for (const each of [nodeObject('n1', 1), nodeObject('n2', 2)]) await server.objects.create(each);
      await apply(
        object('BGPConfiguration', 'default', { nodeToNodeMeshEnabled: options.mesh ?? false, holdTime: '9s' }),
      );
      const bird = new Bird(
        {
          folder: node.directory,
          spawn: (netns, command, args) => {
            const child = spawn('ip', ['netns', 'exec', netns, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
            t.after(() => child.kill('SIGKILL'));
            return child;
          },
        },
        node.outside,
        birdText(options.bird),
      );
      await bird.ready();
      node.start();
      await node.untilReady(60_000);
      return { node, bird, ...watch(node, bird) };
    }

    function watch(node: LoneAgent, bird: Bird) {
      const client = createApiClient({ socketPath: node.socket });
      const peers = (): Promise<readonly BgpPeerView[]> => client.bgpPeers();
      const names = async (): Promise<string[]> => (await peers()).map(({ name }) => name).sort();
      const is = (wanted: readonly string[], what: string) =>
        until(async () => (await names()).join() === wanted.join(), {
          what: `${what}: ${wanted.join(', ') || 'none'}; the log ends ${node.log.slice(-400)}`,
          deadlineMs: 20_000,
        });
      const established = (name: string, times?: number) =>
        until(
          async () => {
            const peer = (await peers()).find((each) => each.name === name);
            const often = times === undefined || peer?.timesEstablished === times;
            return peer?.state === 'Established' && often && peer;
          },
          { what: () => `${name} to be Established; BIRD says ${bird.output.slice(-400)}`, deadlineMs: 60_000 },
        );
      const problem = (pattern: RegExp) =>
        until(async () => (await node.status()).problems.find((text) => pattern.test(text)), {
          what: `a problem like ${pattern}`,
          deadlineMs: 45_000,
        });
      const atBird = (text: string, there: boolean) =>
        until(() => bird.birdc('show route protocol peer').includes(text) === there, {
          what: () => `${text} ${there ? 'at' : 'gone from'} BIRD: ${bird.birdc('show route protocol peer')}`,
          deadlineMs: 20_000,
        });
      return { peers, names, is, established, problem, atBird };
    }

    test('a BGPPeer for all, for one node and by labels; each change touches its own session', async (t) => {
      const { is, established, atBird } = await world(t);
      await apply(object('BGPPeer', 'tor', { peerIP: outside, asNumber: 65001 }));
      await established('peer/tor', 1);
      await atBird('10.42.1.0/24', true);
      await atBird('fd00:42:1::/64', true);
      await apply(
        object('BGPPeer', 'away', { node: 'n2', peerIP: '192.0.2.77', asNumber: 65001 }),
        object('BGPPeer', 'here', { node: 'n1', peerIP: '192.0.2.78', asNumber: 65001 }),
        object('BGPPeer', 'rack', { nodeSelector: "rack == 'r1'", peerIP: '192.0.2.79', asNumber: 65001 }),
      );
      await is(['peer/here', 'peer/tor'], 'peers of n1');
      await server.kubectl(['label', 'node', 'n1', 'rack=r1']);
      await is(['peer/here', 'peer/rack', 'peer/tor'], 'peers after the label');
      await server.kubectl(['label', 'node', 'n1', 'rack-']);
      await remove('bgppeer', 'here');
      await is(['peer/tor'], 'peers after all');
      await established('peer/tor', 1);
      await remove('bgppeer', 'tor');
      await is([], 'peers');
      await atBird('10.42.1.0/24', false);
    });

    test('a password from a Secret: kept down without it, up with it, changed under the session, down again', async (t) => {
      const { bird, node, established, peers, problem } = await world(t, { bird: { password: 'first' } });
      t.after(() => server.kubectl(['-n', namespace, 'delete', 'secret', 'bgp', '--ignore-not-found']));
      // A Secret is read at once when it is newly named, and every 30 s.
      const peer = (name: string) =>
        object('BGPPeer', 'tor', {
          peerIP: outside,
          asNumber: 65001,
          password: { secretKeyRef: { name, key: 'tor' } },
        });
      await apply(peer('none'));
      await problem(/BGPPeer tor: spec\.password: Secret poplin-system\/none is not there .*kept down/);
      const [down] = await peers();
      assert.deepEqual([down?.state, down?.timesEstablished], ['Idle', 0]);
      await apply(secret('bgp', { other: 'x', tor: 'first' }), peer('bgp'));
      await established('peer/tor', 1);
      await apply(secret('bgp', { tor: 'second' }));
      const refused = async (): Promise<boolean> => {
        const { stdout } = await node.inside('cat', '/proc/net/netstat');
        const [names, values] = stdout.split('\n').filter((line) => line.startsWith('TcpExt:'));
        return Number(values!.split(' ')[names!.split(' ').indexOf('TCPMD5Failure')]) > 0;
      };
      await until(refused, { what: 'the new key at this end alone', deadlineMs: 60_000, intervalMs: 50 });
      bird.configure(birdText({ password: 'second' }));
      await established('peer/tor');
      await apply(peer('gone'));
      await problem(/BGPPeer tor: spec\.password: Secret poplin-system\/gone is not there/);
      await until(() => !bird.established('peer'), { what: 'BIRD to see the session go' });
      assert.ok(!node.log.includes('first') && !node.log.includes('second'), 'no password in the log');
    });

    test('nodes by selector: n1 gets its end as the one that asks and as the one that is asked', async (t) => {
      const { is, established } = await world(t, { bird: { asn: 64512, peerAsn: 64512 } });
      await server.kubectl(['label', 'node', 'n2', 'role=rr']);
      await apply(object('BGPPeer', 'to-rr', { nodeSelector: "role != 'rr'", peerSelector: "role == 'rr'" }));
      const session = await established('peer/to-rr/n2');
      assert.equal(session.address, outside);
      assert.equal(session.localAddress, '192.0.2.1');
      await remove('bgppeer', 'to-rr');
      await is([], 'peers');
      await apply(object('BGPPeer', 'from-rr', { nodeSelector: "role == 'rr'", peerSelector: "role != 'rr'" }));
      await established('peer/from-rr/n2');
      await apply(
        object('BGPPeer', 'from-rr', {
          nodeSelector: "role == 'rr'",
          peerSelector: "role != 'rr'",
          reversePeering: 'Manual',
        }),
      );
      await is([], 'no end is made for us');
    });

    test('the mesh, AS numbers from configuration and annotation, and a reflector that leaves it', async (t) => {
      const { bird, node, is, established } = await world(t, { mesh: true, bird: { asn: 64512, peerAsn: 64512 } });
      await established('mesh/n2', 1);
      await apply(object('BGPConfiguration', 'node.n1', { asNumber: 64601 }));
      await until(
        () => /Bad peer AS|as 64601|Received: .*AS/i.test(bird.output + bird.birdc('show protocols all peer')),
        {
          what: 'BIRD to meet the new AS number',
          deadlineMs: 30_000,
        },
      );
      bird.configure(birdText({ asn: 64512, peerAsn: 64601 }));
      await established('mesh/n2');
      await server.kubectl(['annotate', 'node', 'n1', 'projectcalico.org/ASNumber=64700']);
      bird.configure(birdText({ asn: 64512, peerAsn: 64700 }));
      await established('mesh/n2');
      await server.kubectl(['annotate', 'node', 'n1', 'projectcalico.org/RouteReflectorClusterID=1.0.0.1']);
      await is([], 'a reflector is in no mesh');
      const { problems } = await node.status();
      assert.ok(!problems.some((text) => text.includes('ClusterID')), 'it reflects: there is nothing to say');
    });

    test('filters and pools, on one session', async (t) => {
      const { node, established, atBird, problem } = await world(t);
      const peer = (filters: string[]) => object('BGPPeer', 'tor', { peerIP: outside, asNumber: 65001, filters });
      const learned = async (prefix: string, there: boolean) =>
        until(async () => (await node.inside('ip', 'route')).stdout.includes(prefix) === there, {
          what: `${prefix} ${there ? 'in' : 'gone from'} the kernel`,
          deadlineMs: 20_000,
        });
      await apply(peer([]));
      await established('peer/tor', 1);
      for (const prefix of ['10.60.0.0/16', '10.61.0.0/16']) await learned(prefix, true);
      await atBird('10.42.1.0/24', true);
      await apply(
        object('BGPFilter', 'some', {
          importV4: [{ action: 'Reject', matchOperator: 'In', cidr: '10.61.0.0/16' }],
          exportV6: [{ action: 'Reject' }],
        }),
        peer(['some']),
      );
      await learned('10.61.0.0/16', false);
      await learned('10.60.0.0/16', true);
      await atBird('fd00:42:1::/64', false);
      await apply(object('BGPFilter', 'some', { exportV4: [{ action: 'Reject', peerType: 'eBGP' }] }));
      await learned('10.61.0.0/16', true);
      await atBird('10.42.1.0/24', false);
      await atBird('fd00:42:1::/64', true);
      await remove('bgpfilter', 'some');
      await problem(/BGPPeer tor: spec\.filters: BGPFilter some is not there/);
      await learned('10.60.0.0/16', false);
      await apply(peer([]));
      await atBird('10.42.1.0/24', true);

      await apply(object('IPPool', 'pods', { cidr: '10.42.0.0/16', disableBGPExport: true }));
      await atBird('10.42.1.0/24', false);
      await apply(
        object('IPPool', 'pods', { cidr: '10.42.0.0/16', disableBGPExport: true, nodeSelector: "rack == 'no'" }),
      );
      await atBird('10.42.1.0/24', true);
      await established('peer/tor', 1);
    });

    test('RFC 5880, RFC 5882 4.2: a BGPPeer with bfd: {} has BFD with BIRD, which ends the session over a dead path long before the hold time', async (t) => {
      const { node, bird, established, peers } = await world(t, { bird: { bfd: true } });
      const tor = { peerIP: outside, asNumber: 65001, holdTime: '90s' };
      await apply(object('BGPPeer', 'tor', tor));
      assert.equal((await established('peer/tor', 1)).holdTimeSec, 90);
      assert.equal((await peers())[0]!.bfd, undefined);
      // Live, on the session that is up.
      await apply(object('BGPPeer', 'tor', { ...tor, bfd: {} }));
      const up = (what: string) =>
        until(async () => (await peers())[0]?.bfd === 'Up' && /\bUp\b/.test(bird.birdc('show bfd sessions')), {
          what: () => `BFD to be up ${what}: ${bird.birdc('show bfd sessions')}`,
          deadlineMs: 30_000,
        });
      await up('beside the session');
      await established('peer/tor', 1);
      const netns = [node.netns, node.outside];
      const cut = 'table inet cut { chain in { type filter hook input priority 0; iifname "up0" drop; }; }';
      for (const each of netns) await node.must('ip', 'netns', 'exec', each, 'nft', cut);
      const ended = await until(async () => (await peers()).find(({ state }) => state !== 'Established'), {
        what: 'the session to end',
        deadlineMs: 30_000,
      });
      assert.match(ended.lastError!, /BFD/);
      await until(async () => !(await node.inside('ip', 'route')).stdout.includes('10.60.0.0/16'), {
        what: 'the routes to go',
        deadlineMs: 20_000,
      });
      for (const each of netns) await node.must('ip', 'netns', 'exec', each, 'nft', 'delete table inet cut');
      await established('peer/tor');
      await up('again');
      await apply(object('BGPPeer', 'tor', tor));
      await until(() => !bird.birdc('show bfd sessions').includes('Up'), { what: 'BFD to end at BIRD, too' });
      assert.equal((await peers())[0]!.bfd, undefined);
      await established('peer/tor');
    });

    test('the InternalIP changes while the agent runs: sessions of the node move, others do not', async (t) => {
      const { node, bird, established, problem } = await world(t, { mesh: true, bird: { asn: 64512, peerAsn: 64512 } });
      const before = await established('mesh/n2', 1);
      assert.equal(before.localAddress, '192.0.2.1');
      await node.must('ip', '-n', node.netns, 'addr', 'add', '192.0.2.11/24', 'dev', 'up0');
      const status = (address: string) => ({ status: { addresses: [{ type: 'InternalIP', address }] } });
      const n1 = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } };
      await server.objects.patch(n1, status('192.0.2.11'), { subresource: 'status' });
      bird.configure(birdText({ asn: 64512, peerAsn: 64512, peer: '192.0.2.11' }));
      await until(async () => (await established('mesh/n2')).localAddress === '192.0.2.11', {
        what: 'the session from the new address',
        deadlineMs: 60_000,
      });
      // One that this machine does not have is named, and not taken.
      await server.objects.patch(n1, status('192.0.2.99'), { subresource: 'status' });
      await problem(/Node n1: status\.addresses: .*other nodes know it by 192\.0\.2\.99/);
    });

    test('nonsense that the schema lets through is named, and everything else goes on', async (t) => {
      const { established, problem, names } = await world(t);
      await apply(object('BGPPeer', 'tor', { peerIP: outside, asNumber: 65001 }));
      await established('peer/tor', 1);
      await apply(object('BGPPeer', 'twin', { node: 'n1', peerIP: outside, asNumber: 65002, filters: ['none'] }));
      await server.kubectl(['annotate', 'node', 'n1', 'projectcalico.org/ASNumber=many']);
      await problem(/BGPPeer twin: spec\.peerIP: BGPPeer tor has the session to 192\.0\.2\.2 already/);
      await problem(/Node n1: metadata\.annotations\[.*ASNumber\]: "many" is not an AS number/);
      assert.deepEqual(await names(), ['peer/tor']);
      await established('peer/tor', 1);
    });
  },
);
