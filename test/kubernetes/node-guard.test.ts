/** The admission policy that binds each agent to its own node, with the tokens that kubelets give their pods. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { installPoplin, nodeName } from '../support/kube/agent.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { HttpsError } from '../support/kube/https.ts';
import type { JsonObject, KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const poplinNode = (name: string): KubeObject => ({
  apiVersion: 'poplin.dev/v1alpha1',
  kind: 'PoplinNode',
  metadata: { name },
});
const networkUnavailable = (status: string): JsonObject => ({
  status: {
    conditions: [
      {
        type: 'NetworkUnavailable',
        status,
        reason: 'PoplinIsUp',
        message: 'm',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      },
    ],
  },
});

suite('node guard', needs({ kube: apiServerAssets }), () => {
  let server: ApiServer;
  /** Of the agent's Pod on each node. */
  const tokens: Record<string, string> = {};

  /** As a strategic merge patch, which is how the agent writes conditions. */
  const patchNode = (name: string, patch: JsonObject, token: string, subresource = '/status') =>
    server.request({
      method: 'PATCH',
      path: `/api/v1/nodes/${name}${subresource}`,
      body: patch,
      contentType: 'application/strategic-merge-patch+json',
      token,
    });
  const patchPoplinNode = (name: string, token: string) =>
    server.objects.patch(
      poplinNode(name),
      { status: { podCIDRs: ['10.244.1.0/24'] } },
      { token, subresource: 'status' },
    );

  before(async () => {
    server = await startApiServer();
    const { objects } = server;
    await installPoplin(server);
    for (const name of ['n1', 'n2']) {
      await objects.create(nodeName(name));
      const pod = `poplin-${name}`;
      await objects.create({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: pod, namespace: 'poplin-system' },
        spec: { nodeName: name, serviceAccountName: 'poplin', containers: [{ name: 'agent', image: 'x' }] },
      });
      const { status, body } = await server.request({
        method: 'POST',
        path: '/api/v1/namespaces/poplin-system/serviceaccounts/poplin/token',
        body: {
          apiVersion: 'authentication.k8s.io/v1',
          kind: 'TokenRequest',
          spec: {
            expirationSeconds: 3600,
            boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: pod },
          },
        },
      });
      assert.equal(status, 201);
      tokens[name] = (body as unknown as { status: { token: string } }).status.token;
    }
    // A policy is in force a moment after it was made; a role that does not count yet refuses as well.
    let said: unknown;
    const inForce = async (): Promise<boolean> => {
      const { status, body } = await patchNode('n2', networkUnavailable('False'), tokens['n1']!);
      said = (body as { readonly message?: string }).message;
      return status === 403 && /may not write about node n2/.test(String(said));
    };
    const what = (): string => `the policy to be in force; the API server said ${said}`;
    await until(inForce, { what, deadlineMs: 60_000, intervalMs: 100 });
  });
  after(() => server?.stop());

  const refused = (error: unknown, pattern: RegExp): boolean => {
    assert.ok(error instanceof HttpsError, String(error));
    assert.equal(error.status, 403);
    assert.match(error.message, pattern);
    return true;
  };

  test('the own PoplinNode is made and written, that of another node is not', async () => {
    const token = tokens['n1']!;
    await server.objects.create(poplinNode('n1'), { token });
    await patchPoplinNode('n1', token);
    await server.objects.create(poplinNode('n2'));
    const other = /agent of node n1 may not write about node n2/;
    await assert.rejects(patchPoplinNode('n2', token), (error) => refused(error, other));
    await server.objects.delete(poplinNode('n2'));
    await assert.rejects(server.objects.create(poplinNode('n2'), { token }), (error) => refused(error, other));
    await server.objects.create(poplinNode('n2'), { token: tokens['n2']! });
  });

  test('of its Node it may set NetworkUnavailable to False', async () => {
    const { status } = await patchNode('n1', networkUnavailable('False'), tokens['n1']!);
    assert.equal(status, 200);
    const node = (await server.objects.get(nodeName('n1')))!;
    const { conditions } = node['status'] as { readonly conditions: readonly { readonly status: string }[] };
    assert.deepEqual(
      conditions.map(({ status: now }) => now),
      ['False'],
    );
  });

  test('and nothing else: not True, no other condition, no address, no label, not of another node', async () => {
    const cases: readonly (readonly [string, JsonObject, RegExp])[] = [
      ['n1', networkUnavailable('True'), /only set the condition NetworkUnavailable to False/],
      [
        'n1',
        { status: { conditions: [{ type: 'Ready', status: 'True' }] } },
        /NetworkUnavailable of a Node and nothing else/,
      ],
      ['n1', { status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }] } }, /nothing else of its status/],
      ['n1', { status: { capacity: { cpu: '64' } } }, /nothing else of its status/],
      ['n1', { metadata: { labels: { rack: 'x' } } }, /labels, annotations/],
      ['n1', { metadata: { annotations: { a: 'b' } } }, /labels, annotations/],
      ['n2', networkUnavailable('False'), /agent of node n1 may not write about node n2/],
    ];
    for (const [name, patch, pattern] of cases) {
      const { status, body } = await patchNode(name, patch, tokens['n1']!);
      assert.equal(status, 403, JSON.stringify(patch));
      assert.match((body as { message: string }).message, pattern);
    }
  });

  test('a token that is bound to no Pod writes nothing; others are not concerned', async () => {
    const token = await server.tokenFor('poplin', 'poplin-system');
    const answer = await patchNode('n1', networkUnavailable('False'), token);
    assert.equal(answer.status, 403);
    assert.match((answer.body as { message: string }).message, /names no node/);
    assert.equal((await patchNode('n2', networkUnavailable('True'), server.adminToken)).status, 200);
  });
});
