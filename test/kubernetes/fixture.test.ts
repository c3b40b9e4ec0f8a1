/** The fixture itself: a test that passes because the API server let everything through proves nothing. */
import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { HttpsError } from '../support/kube/https.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

function configMap(namespace: string, name: string, data: Record<string, string> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

suite('API server fixture', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    process.stdout.write(`kube-apiserver ready after ${server.startMs} ms\n`);
  });
  after(() => server.stop());

  test('RBAC refuses what no role allows, and allows exactly what one does', async () => {
    const namespace = await server.namespace();
    const token = await server.tokenFor('reader', namespace);
    await server.objects.create(configMap(namespace, 'x'));
    const read = () => server.objects.get(configMap(namespace, 'x'), { token });
    await assert.rejects(read, (error) => error instanceof HttpsError && error.status === 403);
    await server.objects.apply([
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'Role',
        metadata: { name: 'reader', namespace },
        rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: 'reader', namespace },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
        subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace }],
      },
    ]);
    assert.equal((await until(read, { what: 'the role to count' })).metadata.name, 'x');
    await assert.rejects(() => server.objects.patch(configMap(namespace, 'x'), { data: { a: 'b' } }, { token }), /403/);
  });

  test('a token expires', async () => {
    const namespace = await server.namespace();
    const status = async (token: string) => (await server.request({ path: '/api', token })).status;
    const token = await server.tokenFor('short', namespace, 3);
    assert.equal(await status(token), 200);
    await until(async () => (await status(token)) === 401, { what: 'the token to be refused', deadlineMs: 30_000 });
    assert.equal(await status(await server.tokenFor('short', namespace, -1)), 401);
  });
});
