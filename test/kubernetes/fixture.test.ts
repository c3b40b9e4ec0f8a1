/** The fixture itself: a test that passes because the API server let everything through proves nothing. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { exec } from '#sys';
import { freePorts } from '../support/free-port.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { HttpsClient, HttpsError } from '../support/kube/https.ts';
import type { KubeObject } from '../support/kube/objects.ts';
import { relayBeside, relayInto } from '../support/kube/relay.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const rbac = 'rbac.authorization.k8s.io';

function configMap(namespace: string, name: string, data: Record<string, string> = {}): KubeObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data };
}

/** Lets a service account of the namespace read its ConfigMaps. */
function readerRole(namespace: string, serviceAccount: string): KubeObject[] {
  return [
    {
      apiVersion: `${rbac}/v1`,
      kind: 'Role',
      metadata: { name: 'reader', namespace },
      rules: [{ apiGroups: [''], resources: ['configmaps'], verbs: ['get'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name: 'reader', namespace },
      roleRef: { apiGroup: rbac, kind: 'Role', name: 'reader' },
      subjects: [{ kind: 'ServiceAccount', name: serviceAccount, namespace }],
    },
  ];
}

function refused(status: number): (error: unknown) => boolean {
  return (error) => error instanceof HttpsError && error.status === status;
}

suite('API server fixture', needs({ commands: ['setpriv'], kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    process.stdout.write(`kube-apiserver and etcd ready after ${server.startMs} ms\n`);
  });
  after(() => server.stop());

  test('RBAC refuses what no role allows, and allows exactly what one does', async () => {
    const namespace = await server.namespace();
    const token = await server.tokenFor('reader', namespace);
    await server.objects.create(configMap(namespace, 'x'));
    const read = () => server.objects.get(configMap(namespace, 'x'), { token });
    await assert.rejects(read, refused(403));
    await server.objects.apply(readerRole(namespace, 'reader'));
    assert.equal((await until(read, { what: 'the role to count' })).metadata.name, 'x');
    const write = () => server.objects.patch(configMap(namespace, 'x'), { data: { a: 'b' } }, { token });
    await assert.rejects(write, refused(403));
    await server.objects.delete({ apiVersion: `${rbac}/v1`, kind: 'Role', metadata: { name: 'reader', namespace } });
    await until(() => read().then(() => false, refused(403)), { what: 'the role to count no more' });
  });

  test('a token expires, and one without a server signature never counts', async () => {
    const namespace = await server.namespace();
    const status = async (token: string) => (await server.request({ path: '/api', token })).status;
    const token = await server.tokenFor('short', namespace, 10);
    assert.equal(await status(token), 200);
    await until(async () => (await status(token)) === 401, { what: 'the token to be refused', deadlineMs: 60_000 });
    assert.equal(await status(await server.tokenFor('short', namespace, -1)), 401);
    assert.equal(await status('made-up'), 401);
  });

  test('a token bound to a Pod names its node to admission, and a client certificate is its user', async () => {
    const namespace = await server.namespace();
    await server.objects.create({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'bound' } });
    await server.objects.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'agent', namespace },
      spec: { nodeName: 'bound', containers: [{ name: 'c', image: 'example/c' }] },
    });
    const token = await server.tokenFor('agent', namespace, 600, { pod: 'agent' });
    const whoAmI = { method: 'POST', path: '/apis/authentication.k8s.io/v1/selfsubjectreviews' };
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const { body: review } = await server.request({ ...whoAmI, body, token });
    const { userInfo } = (review as { status: { userInfo: { username: string; extra: Record<string, string[]> } } })
      .status;
    assert.equal(userInfo.username, `system:serviceaccount:${namespace}:agent`);
    assert.deepEqual(userInfo.extra['authentication.kubernetes.io/node-name'], ['bound']);
    assert.deepEqual(userInfo.extra['authentication.kubernetes.io/pod-name'], ['agent']);
    const kubeconfig = server.kubeconfig('bound', server.clientCertificate('system:node:bound', ['system:nodes']));
    assert.match(await server.kubectl(['auth', 'whoami'], { kubeconfig }), /system:node:bound/);
    assert.match(await server.kubectl(['get', 'node', 'bound', '-o', 'name'], { kubeconfig }), /^node\/bound$/m);
    await assert.rejects(server.kubectl(['get', 'secrets', '-A'], { kubeconfig }), /forbidden/);
  });

  test('kubectl applies; what kubectl applied is there and can be deleted', async () => {
    const namespace = await server.namespace();
    const stdin = JSON.stringify(configMap(namespace, 'x', { a: 'b' }));
    assert.match(await server.kubectl(['apply', '-f', '-'], { stdin }), /configmap\/x created/);
    assert.deepEqual((await server.objects.get(configMap(namespace, 'x')))?.['data'], { a: 'b' });
    assert.equal((await server.objects.list({ apiVersion: 'v1', kind: 'ConfigMap', namespace })).length, 1);
    await server.objects.delete(configMap(namespace, 'x'));
    assert.equal(await server.objects.get(configMap(namespace, 'x')), undefined);
    await server.objects.delete({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await until(
      async () => !(await server.objects.get({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
      { what: 'the Namespace to go' },
    );
  });

  test('a kind is found as soon as its definition is there', async () => {
    const widget: KubeObject = { apiVersion: 'poplin-test.dev/v1', kind: 'Widget', metadata: { name: 'w' } };
    await assert.rejects(server.objects.create(widget), refused(404));
    await server.objects.apply({
      apiVersion: 'apiextensions.k8s.io/v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: 'widgets.poplin-test.dev' },
      spec: {
        group: 'poplin-test.dev',
        names: { kind: 'Widget', plural: 'widgets' },
        scope: 'Cluster',
        versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
      },
    });
    await until(() => server.objects.create(widget), { what: 'the definition to be served', deadlineMs: 60_000 });
    assert.equal((await server.objects.list(widget)).length, 1);
  });

  test('ports of test processes side by side are different', async () => {
    const take =
      "import { freePorts } from './test/support/free-port.ts'; console.log(JSON.stringify(await freePorts(400)));";
    const child = spawn(process.execPath, ['--input-type=module', '-e', `${take} process.stdin.resume();`]);
    try {
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const theirs = new Set(JSON.parse(line.toString()) as number[]);
      // Without the claim 16 would be shared.
      assert.deepEqual(
        (await freePorts(400)).filter((port) => theirs.has(port)),
        [],
      );
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('etcdPut stores what validation refuses', async () => {
    const namespace = await server.namespace();
    const policy: KubeObject = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'odd', namespace },
      spec: { podSelector: {}, policyTypes: ['Sideways'] },
    };
    await assert.rejects(server.objects.create(policy), refused(422));
    await server.etcdPut(`networkpolicies/${namespace}/odd`, policy);
    const stored = await until(() => server.objects.get(policy), { what: 'the API server to serve it' });
    assert.deepEqual(stored['spec'], policy['spec']);
  });

  test('restart keeps objects, port and tokens; a paused server answers once it goes on', async (t) => {
    const namespace = await server.namespace();
    const made = await server.objects.create(configMap(namespace, 'x'));
    const token = await server.tokenFor('survivor', namespace);
    await server.down();
    await assert.rejects(server.request({ path: '/readyz' }), /ECONNREFUSED/);
    await server.up();
    process.stdout.write(`kube-apiserver ready again after ${server.startMs} ms\n`);
    assert.equal((await server.objects.get(configMap(namespace, 'x')))?.metadata.uid, made.metadata.uid);
    assert.equal((await server.request({ path: '/api', token })).status, 200);
    await server.pause();
    t.after(() => server.resume());
    const answer = server.request({ path: '/readyz' });
    // What never comes can only be given time: some hundred times that of an answer.
    assert.equal(await Promise.race([answer, sleep(500, 'nothing')]), 'nothing');
    server.resume();
    assert.equal((await answer).status, 200);
  });

  test('history is gone after a compaction and a restart', async () => {
    const namespace = await server.namespace();
    const made = await server.objects.create(configMap(namespace, 'x'));
    for (const value of ['1', '2', '3']) await server.objects.patch(made, { data: { value } });
    await server.etcd.compact();
    await server.restart();
    const version = made.metadata.resourceVersion ?? '';
    const path = `/api/v1/namespaces/${namespace}/configmaps?watch=true&timeoutSeconds=5&resourceVersion=${version}`;
    const { body } = await server.request({ path });
    assert.match(typeof body === 'string' ? body : JSON.stringify(body), /"code":410/);
  });

  test('a new certificate is served, and one of a new authority only to those who trust it', async () => {
    await server.rotateCertificate();
    assert.equal((await server.request({ path: '/readyz' })).status, 200);
    const old = fs.readFileSync(server.caFile, 'utf8');
    await server.rotateCertificate({ newAuthority: true, trust: false });
    await assert.rejects(server.request({ path: '/readyz' }), /certificate|signature/);
    server.trustAuthority();
    assert.equal((await server.request({ path: '/readyz' })).status, 200);
    const distrustful = new HttpsClient(server.url, () => old);
    await assert.rejects(distrustful.request({ path: '/readyz' }), /certificate|signature/);
  });

  test('a relay carries, holds, cuts in the middle of an answer, and refuses', async (t) => {
    const relay = await relayBeside(t, server.port);
    const client = new HttpsClient(`https://127.0.0.1:${relay.port}`, () => fs.readFileSync(server.caFile, 'utf8'));
    t.after(() => client.close());
    const read = () => client.must({ path: '/openapi/v2', token: server.adminToken });
    const whole = JSON.stringify(await read()).length;
    assert.ok(whole > 1_000_000);
    relay.cutAfter(300_000);
    await assert.rejects(read, /ECONNRESET|aborted/);
    relay.cutAfter(undefined);
    await read();
    relay.hold();
    let answered = false;
    const answer = client.request({ path: '/readyz' }).finally(() => {
      answered = true;
    });
    assert.equal((await server.request({ path: '/readyz' })).status, 200);
    assert.equal(answered, false);
    relay.release();
    assert.equal((await answer).status, 200);
    const watch = client.request({
      path: '/api/v1/namespaces?watch=true&timeoutSeconds=60',
      token: server.adminToken,
    });
    const cut = assert.rejects(watch, /ECONNRESET|aborted/);
    await until(() => client.request({ path: '/readyz' }), { what: 'the watch to be under way' });
    relay.cut();
    await cut;
    await relay.close();
    await assert.rejects(client.request({ path: '/readyz' }), /ECONNREFUSED/);
    relay.open();
    await read();
  });
});

suite(
  'API server in a namespace',
  needs({ root: true, commands: ['ip', 'nsenter', 'setpriv'], kube: apiServerAssets }),
  () => {
    test('the same kubeconfig holds inside', async (t) => {
      const server = await startApiServer(t);
      const netns = `pt-kube-${process.pid}`;
      for (const args of [
        ['netns', 'add', netns],
        ['-netns', netns, 'link', 'set', 'lo', 'up'],
      ])
        assert.equal((await exec('ip', args)).code, 0);
      t.after(() => exec('ip', ['netns', 'delete', netns]));
      relayInto(t, netns, server.port);
      const script = `
        const https = require('node:https'), fs = require('node:fs');
        https.get(${JSON.stringify(`${server.url}/version`)}, { ca: fs.readFileSync(${JSON.stringify(server.caFile)}) },
          (answer) => { console.log(answer.statusCode); answer.resume(); });`;
      const inside = ['nsenter', `--net=/run/netns/${netns}`, process.execPath, '--eval', script];
      const { stdout, stderr } = await exec(inside[0]!, inside.slice(1));
      assert.equal(stdout.trim(), '200', stderr);
    });
  },
);
