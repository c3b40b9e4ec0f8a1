/** What agents write about their nodes: real agents, a real API server, the role and the admission policy that are installed. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { calico, installPoplin, kubeAgentNeeds, kubeNode, nodeName } from '../support/kube/agent.ts';
import { type ApiServer, startApiServer } from '../support/kube/api-server.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { type ConditionView, conditionIn, eventsOf, poplinNode } from './status-views.ts';

suite('what agents write about their nodes', needs(kubeAgentNeeds), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installPoplin(server);
  });
  after(() => server?.stop());

  const nodeCondition = async (name: string, type: string) =>
    conditionIn(await server.objects.get(nodeName(name)), type);
  /** A condition may have been written for another reason before. */
  const untilReason = async (name: string, type: string, reason: string): Promise<void> => {
    let seen: ConditionView | undefined;
    const isFalse = async (): Promise<boolean> => {
      seen = conditionIn(await poplinNode(server, name), type);
      return seen?.status === 'False' && seen.reason === reason;
    };
    const what = (): string => `${type} of PoplinNode ${name} to be False, ${reason}; it is ${JSON.stringify(seen)}`;
    await until(isFalse, { what, deadlineMs: 60_000 });
  };

  test('PoplinNode tells the state of the node and belongs to the Node, whose NetworkUnavailable is cleared', async (t) => {
    const { agent } = await kubeNode(t, server, { name: 'n1' });
    agent.start();
    await agent.untilReady();
    let seen: readonly string[] = [];
    const written = await until(
      async () => {
        const object = await poplinNode(server, 'n1');
        const { conditions = [] } = (object?.['status'] ?? {}) as { readonly conditions?: readonly ConditionView[] };
        seen = conditions.map(({ type, status }) => `${type}=${status}`);
        return seen.length > 0 && seen.every((text) => text.endsWith('=True')) && object;
      },
      { what: () => `PoplinNode n1 to be well; it says ${seen.join(', ')}`, deadlineMs: 60_000 },
    );
    const node = await server.objects.get(nodeName('n1'));
    const { ownerReferences } = written.metadata as never as { ownerReferences: readonly object[] };
    assert.deepEqual(ownerReferences, [{ apiVersion: 'v1', kind: 'Node', name: 'n1', uid: node!.metadata.uid }]);
    const status = written['status'] as Record<string, unknown>;
    const conditions = status['conditions'] as readonly { readonly type: string; readonly status: string }[];
    assert.deepEqual(
      conditions.map((each) => `${each.type}=${each.status}`),
      [
        'Ready=True',
        'DatastoreInSync=True',
        'PolicyInForce=True',
        'RoutesInForce=True',
        'BGPEstablished=True',
        'AddressDetected=True',
        'PodCIDRAssigned=True',
      ],
    );
    assert.deepEqual(status['podCIDRs'], ['10.42.1.0/24', 'fd00:42:1::/64']);
    assert.deepEqual(status['addresses'], { ipv4: '192.0.2.1', ipv6: '2001:db8::1', source: 'InternalIP' });
    const cleared = await until(
      async () => {
        const found = await nodeCondition('n1', 'NetworkUnavailable');
        return found?.status === 'False' && found;
      },
      { what: () => `NetworkUnavailable to be cleared: ${agent.log.slice(-500)}`, deadlineMs: 60_000 },
    );
    assert.equal(cleared.reason, 'PoplinIsUp');
    const table = await server.kubectl(['get', 'poplinnodes']);
    assert.match(table, /^NAME +READY +SESSIONS +PODS +ROUTES +POLICIES +VERSION +AGE\nn1 +True +0\/0 +0 +0 +0 +\d/);
  });

  test('a revision is in force soon after the object was made', async (t) => {
    const { agent } = await kubeNode(t, server, { name: 'n2' });
    agent.start();
    await agent.untilReady();
    const policy = await server.objects.create({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'deny', namespace: 'default' },
      spec: { podSelector: {} },
    });
    const wanted = policy.metadata.resourceVersion!;
    await until(
      async () => {
        const status = (await poplinNode(server, 'n2'))?.['status'] as never as {
          readonly kinds?: readonly { readonly kind: string; readonly resourceVersion?: string }[];
        };
        const { resourceVersion } = status?.kinds?.find(({ kind }) => kind === 'NetworkPolicy') ?? {};
        return resourceVersion !== undefined && Number(resourceVersion) >= Number(wanted);
      },
      { what: `NetworkPolicy ${wanted} to be in force`, deadlineMs: 25_000 },
    );
    await agent.kill('SIGTERM');
    const stopped = conditionIn(await poplinNode(server, 'n2'), 'Ready');
    assert.deepEqual([stopped?.status, stopped?.reason], ['False', 'AgentStopped']);
    assert.equal((await nodeCondition('n2', 'NetworkUnavailable'))?.status, 'False');
  });

  test('a node without pod CIDRs says so in its condition and in an Event', async (t) => {
    const { agent } = await kubeNode(t, server, { name: 'n3', podCIDRs: [] });
    agent.start();
    const [event] = await until(
      async () => {
        const found = await eventsOf(server, 'PodCIDRMissing');
        return found.length > 0 && found;
      },
      { what: 'the Event', deadlineMs: 60_000 },
    );
    assert.deepEqual([event!.regarding.kind, event!.regarding.name], ['Node', 'n3']);
    assert.match(event!.note, /spec\.podCIDRs is empty.*--allocate-node-cidrs/);
    await untilReason('n3', 'PodCIDRAssigned', 'NotAssigned');
    const described = await server.kubectl(['describe', 'node', 'n3']);
    assert.match(described, /Warning +PodCIDRMissing/);
    await server.kubectl([
      'patch',
      'node',
      'n3',
      '-p',
      '{"spec":{"podCIDR":"10.42.9.0/24","podCIDRs":["10.42.9.0/24"]}}',
    ]);
    await until(async () => conditionIn(await poplinNode(server, 'n3'), 'Ready')?.status === 'True', {
      what: 'the node to be ready with its pod CIDR',
      deadlineMs: 60_000,
    });
  });

  test('a CalicoNodeStatus about the node is answered as Calico would', async (t) => {
    await server.objects.create(calico('BGPPeer', 'away', { peerIP: '192.0.2.77', asNumber: 64999 }));
    const { agent } = await kubeNode(t, server, { name: 'n4' });
    agent.start();
    await agent.untilReady();
    await until(async () => (await agent.status()).bgp.peersConfigured > 0, { what: 'the peer to be configured' });
    const question: KubeObject = {
      apiVersion: 'projectcalico.org/v3',
      kind: 'CalicoNodeStatus',
      metadata: { name: 'n4' },
      spec: { node: 'n4', classes: ['Agent', 'BGP', 'Routes'], updatePeriodSeconds: 0 },
    };
    await server.objects.create(question);
    const { status } = (await until(
      async () => {
        const object = await server.objects.get(question);
        return (object?.['status'] as { readonly lastUpdated?: string } | undefined)?.lastUpdated && object;
      },
      { what: 'the answer', deadlineMs: 60_000 },
    )) as never as { readonly status: Record<string, never> };
    assert.equal(status['agent']!['birdV4']!['state'], 'Ready');
    const { peersV4 } = status['bgp'] as never as {
      readonly peersV4: readonly { readonly peerIP: string; readonly type: string }[];
    };
    const away = peersV4.find(({ peerIP }) => peerIP === '192.0.2.77');
    assert.equal(away?.type, 'GlobalPeer');
    const routes = status['routes']!['routesV4'] as readonly { readonly destination: string; readonly type: string }[];
    assert.ok(routes.some(({ destination, type }) => destination === '10.42.1.0/24' && type === 'FIB'));
    assert.match(await server.kubectl(['get', 'caliconodestatuses']), /^n4 +n4 .*Agent.*Routes/m);
  });

  test('a kind that may not be read is named, and read once it may be', async (t) => {
    const role: KubeObject = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'poplin' },
    };
    const whole = (await server.objects.get(role))!;
    const rules = whole['rules'] as readonly { readonly apiGroups: readonly string[] }[];
    const lesser = rules.filter(({ apiGroups }) => !apiGroups.includes('networking.k8s.io'));
    await server.objects.patch(role, { rules: lesser });
    const { agent } = await kubeNode(t, server, { name: 'n5' });
    agent.start();
    const [event] = await until(
      async () => {
        const found = await eventsOf(server, 'KindForbidden');
        return found.some(({ regarding }) => regarding.name === 'n5') && found;
      },
      { what: 'the Event', deadlineMs: 60_000 },
    );
    assert.match(event!.note, /^NetworkPolicy may not be read: give the agent's ServiceAccount get, list and watch/);
    await untilReason('n5', 'DatastoreInSync', 'Forbidden');
    await server.objects.patch(role, { rules });
    await until(async () => conditionIn(await poplinNode(server, 'n5'), 'Ready')?.status === 'True', {
      what: 'the node to be ready',
      deadlineMs: 60_000,
    });
  });

  test('probes and metrics over TCP', async (t) => {
    const config = { httpListen: '127.0.0.1:9179' };
    const { agent } = await kubeNode(t, server, { name: 'n6', config });
    agent.start();
    await agent.untilReady();
    const get = async (path: string): Promise<string> => {
      const program = `fetch('http://127.0.0.1:9179${path}').then((answer) => answer.text()).then((text) => process.stdout.write(text))`;
      const { code, stdout, stderr } = await agent.inside(process.execPath, '-e', program);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.equal(await get('/livez'), 'ok');
    assert.match(await get('/readyz?verbose'), /^\[\+\]cni ok\n\[\+\]datastore ok\n.*readyz check passed\n$/s);
    const metrics = await until(
      async () => {
        const text = await get('/metrics');
        return /^poplin_api_requests_total\{verb="patch",code="200"\}/m.test(text) && text;
      },
      { what: 'a status to be written and counted', deadlineMs: 60_000, intervalMs: 500 },
    );
    for (const series of [
      /^poplin_build_info\{version="\d/m,
      /^poplin_datastore_kind_state\{kind="Pod",state="synced"\} 1$/m,
      /^poplin_datastore_watch_silence_seconds\{kind="Node"\} \d/m,
      /^poplin_datastore_lists_total\{kind="Pod",reason="first"\} 1$/m,
      /^poplin_datastore_hand_on_seconds_count\{kind="Node"\} [1-9]/m,
      /^poplin_policy_apply_seconds_count\{outcome="ok"\} [1-9]/m,
      /^poplin_routes_change_seconds_count [1-9]/m,
      /^nodejs_eventloop_lag_seconds \d/m,
    ]) {
      assert.match(metrics, series);
    }
  });
});
