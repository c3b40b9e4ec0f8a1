import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '#kit';
import { type ApiClientError, createApiClient } from './client.ts';
import { createApiServer, createApp } from './server.ts';
import type { AgentStatus, AgentView, BgpRoutesQuery } from './view.ts';

const status = { version: '0.1.0', node: 'n1' } as AgentStatus;

function fakeView(extra: Partial<AgentView> = {}): AgentView {
  return {
    status: () => status,
    bgpPeers: () => [],
    bgpRoutes: () => ({ routes: [] }),
    policyEndpoint: () => undefined,
    policyExplain: async ({ from }) => ({ problem: `there is no pod ${from}` }),
    datastore: () => ({
      source: 'file',
      location: '/d',
      inSync: true,
      waitingFor: [],
      objects: {},
      faults: [],
      faultsTotal: 0,
      notUsed: [],
      notUsedTotal: 0,
      ignored: [],
    }),
    config: () => [{ name: 'asn', value: 64512, source: 'default' }],
    flows: async () => ({ flows: [], next: 0, missed: 0, log: { verdicts: 'denied', ratePerSec: 10, lost: 0 } }),
    flowCounts: () => [],
    alive: () => ({ ok: true, reasons: [] }),
    ready: () => ({ ok: true, reasons: [] }),
    metrics: async () => ({ contentType: 'text/plain', body: 'poplin_up 1\n' }),
    ...extra,
  };
}
const app = (extra: Partial<AgentView> = {}) => createApp({ view: fakeView(extra), log: silentLogger });

function temporaryFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-api-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function served(t: TestContext, extra: Partial<AgentView> = {}): Promise<string> {
  const socketPath = path.join(temporaryFolder(t), 'run', 'api.sock');
  const server = createApiServer({ view: fakeView(extra), log: silentLogger }, { socketPath });
  await server.start();
  t.after(() => server.stop());
  return socketPath;
}

test('the socket is for its owner alone, replaces a stale one, and goes with the server', async (t) => {
  const folder = temporaryFolder(t);
  const socketPath = path.join(folder, 'api.sock');
  fs.writeFileSync(socketPath, 'left over');
  const server = createApiServer({ view: fakeView(), log: silentLogger }, { socketPath });
  await server.start();
  assert.equal(fs.statSync(socketPath).mode & 0o777, 0o600);
  assert.deepEqual(fs.readdirSync(folder), ['api.sock']);
  assert.deepEqual(await createApiClient({ socketPath }).status(), status);
  await server.stop();
  assert.deepEqual(fs.readdirSync(folder), []);
});

test('nothing outside of the folder of the socket is written to: in a container that folder is a mount', async (t) => {
  const parent = temporaryFolder(t);
  const folder = path.join(parent, 'run');
  fs.mkdirSync(folder);
  const changed = (): bigint => fs.statSync(parent, { bigint: true }).mtimeNs;
  const before = changed();
  const server = createApiServer(
    { view: fakeView(), log: silentLogger },
    { socketPath: path.join(folder, 'api.sock') },
  );
  await server.start();
  t.after(() => server.stop());
  assert.equal(changed(), before);
});

test('stop without or after a failed start is safe', async (t) => {
  const folder = temporaryFolder(t);
  await createApiServer({ view: fakeView(), log: silentLogger }, { socketPath: path.join(folder, 's') }).stop();
  fs.writeFileSync(path.join(folder, 'file'), '');
  const server = createApiServer(
    { view: fakeView(), log: silentLogger },
    { socketPath: path.join(folder, 'file', 's') },
  );
  await assert.rejects(server.start());
  await server.stop();
});

test('routes: parameters reach the view canonical, wrong ones are named', async () => {
  const asked: BgpRoutesQuery[] = [];
  const api = await app({
    bgpRoutes: (query) => {
      asked.push(query);
      return { routes: [] };
    },
  });
  const get = async (query: string) =>
    (await api.inject(`/v1/bgp/routes${query}`)).json() as { error?: { code: string; message: string } };
  await get('?prefix=2001:DB8::1/32&family=6&limit=5');
  await get('?prefix=10.0.0.1&cursor=1.2');
  await get('');
  assert.deepEqual(asked, [
    { within: '2001:db8::/32', family: 6, limit: 5 },
    { covers: '10.0.0.1', cursor: '1.2', limit: 1_000 },
    { limit: 1_000 },
  ]);
  assert.deepEqual((await get('?prefix=10.0.0.0/33')).error, {
    code: 'BAD_REQUEST',
    message: 'prefix "10.0.0.0/33" is neither a prefix nor an address',
  });
  assert.match((await get('?famly=4')).error!.message, /no parameter famly/);
  assert.match((await get('?family=5')).error!.message, /family/);
  assert.match((await get('?limit=0')).error!.message, /limit/);
  assert.match((await get('?limit=999999')).error!.message, /over 10000/);
  assert.equal(asked.length, 3);
});

test('a pod that is not here is 404 with its own code, another path with another', async () => {
  const pod = await (await app()).inject('/v1/policy/endpoints/web/a');
  assert.equal(pod.statusCode, 404);
  assert.equal(pod.json().error.code, 'ENDPOINT_NOT_FOUND');
  assert.match(pod.json().error.message, /web\/a/);
  const nothing = await (await app()).inject('/v2');
  assert.equal(nothing.statusCode, 404);
  assert.equal(nothing.json().error.code, 'NOT_FOUND');
  assert.equal((await (await app()).inject({ method: 'POST', url: '/v1/status' })).statusCode, 404);
});

test('probes answer 503 with reasons; metrics keep their content type', async () => {
  const api = await app({ ready: () => ({ ok: false, reasons: ['datastore: not in sync'] }) });
  const ready = await api.inject('/readyz');
  assert.equal(ready.statusCode, 503);
  assert.deepEqual(ready.json(), { ok: false, reasons: ['datastore: not in sync'] });
  assert.equal((await api.inject('/healthz')).statusCode, 200);
  assert.equal((await api.inject('/livez')).statusCode, 200);
  const metrics = await api.inject('/metrics');
  assert.match(String(metrics.headers['content-type']), /^text\/plain/);
  assert.equal(metrics.body, 'poplin_up 1\n');
});

test('a fault of the view is 500 and logged, not a crash', async () => {
  const logged: string[] = [];
  const log = { ...silentLogger, error: (_fields: object, message: string) => void logged.push(message) };
  const view = fakeView({
    status: () => {
      throw new Error('boom');
    },
  });
  const answer = await (await createApp({ view, log })).inject('/v1/status');
  assert.equal(answer.statusCode, 500);
  assert.deepEqual(answer.json(), { error: { code: 'INTERNAL', message: 'boom' } });
  assert.equal(logged.length, 1);
});

test('the client tells an absent agent from one that answers with an error', async (t) => {
  const socketPath = await served(t);
  const client = createApiClient({ socketPath });
  assert.deepEqual(await client.config(), [{ name: 'asn', value: 64512, source: 'default' }]);
  await assert.rejects(client.policyEndpoint({ namespace: 'a/b', name: 'c' }), (error: ApiClientError) => {
    assert.deepEqual(error.failure, { code: 'API_ERROR', status: 404, error: 'ENDPOINT_NOT_FOUND' });
    assert.match(error.message, /pod a\/b\/c is not on this node/);
    return true;
  });
  for (const order of [client.bgpPlan(), client.bgpReset('peer/tor'), client.bgpDump('/tmp/x')]) {
    await assert.rejects(order, /an agent takes no orders: .*--socket/);
  }
  const absent = createApiClient({ socketPath: `${socketPath}.none` });
  await assert.rejects(absent.status(), (error: ApiClientError) => {
    assert.equal(error.code, 'AGENT_UNREACHABLE');
    assert.match(error.message, /there is no socket .*--socket or POPLIN_API_SOCKET/);
    return true;
  });
});

test('a socket that talks something else is an unreachable agent', async (t) => {
  const socketPath = path.join(temporaryFolder(t), 's');
  const server = net.createServer((socket) => socket.end('hello\n'));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  t.after(() => server.close());
  await assert.rejects(
    createApiClient({ socketPath }).status(),
    (error: ApiClientError) => error.code === 'AGENT_UNREACHABLE',
  );
});
