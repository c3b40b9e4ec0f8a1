import assert from 'node:assert/strict';
import net from 'node:net';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '#kit';
import type { ComponentReport } from '#obs';
import { createProbeApp, createProbeServer, type ProbeServerError, type ProbeView } from './probe-server.ts';

const view = (components: readonly ComponentReport[] = []): ProbeView => ({
  components: () => components,
  metrics: async () => ({ contentType: 'text/plain; version=0.0.4', body: 'poplin_up 1\n' }),
});
const app = (components?: readonly ComponentReport[]) => createProbeApp({ view: view(components), log: silentLogger });

const mixed: readonly ComponentReport[] = [
  { name: 'cni', notReady: 'waits for\nthe model' },
  { name: 'datastore' },
  { name: 'speaker', notAlive: 'no heartbeat for 40 s' },
];

test('ok in one word, every component when asked or when one is not', async () => {
  const well = await app([{ name: 'cni' }, { name: 'datastore' }]);
  assert.equal((await well.inject('/readyz')).body, 'ok');
  assert.equal((await well.inject('/livez?verbose')).body, '[+]cni ok\n[+]datastore ok\nlivez check passed\n');
  assert.equal((await well.inject('/readyz?verbose=true')).statusCode, 200);
  const unwell = await app(mixed);
  const ready = await unwell.inject('/readyz');
  assert.equal(ready.statusCode, 503);
  assert.equal(ready.body, '[-]cni: waits for the model\n[+]datastore ok\n[+]speaker ok\nreadyz check failed\n');
  const alive = await unwell.inject('/livez');
  assert.equal(alive.statusCode, 503);
  assert.match(alive.body, /\[-\]speaker: no heartbeat/);
});

test('nothing but probes and metrics is served', async () => {
  const api = await app();
  const metrics = await api.inject('/metrics');
  assert.equal(metrics.body, 'poplin_up 1\n');
  assert.match(String(metrics.headers['content-type']), /0\.0\.4/);
  for (const url of ['/', '/v1/status', '/healthz', '/v1/config']) {
    assert.equal((await api.inject(url)).statusCode, 404, url);
  }
  assert.equal((await api.inject({ method: 'POST', url: '/metrics' })).statusCode, 404);
});

async function freePort(host: string): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function served(t: TestContext, listen: string): Promise<void> {
  const server = createProbeServer({ view: view(), log: silentLogger }, { listen });
  t.after(() => server.stop());
  await server.start();
}

test('over IPv4 and IPv6', async (t) => {
  const port = await freePort('127.0.0.1');
  await served(t, `127.0.0.1:${port}`);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/livez`)).text(), 'ok');
  const port6 = await freePort('::1');
  await served(t, `[::1]:${port6}`);
  assert.equal(await (await fetch(`http://[::1]:${port6}/readyz`)).text(), 'ok');
});

test('an address that is taken, or is not ours, is named with the option to change it', async (t) => {
  const port = await freePort('127.0.0.1');
  await served(t, `127.0.0.1:${port}`);
  await assert.rejects(served(t, `127.0.0.1:${port}`), (error: ProbeServerError) => {
    assert.deepEqual(error.failure, { code: 'ADDRESS_IN_USE', listen: `127.0.0.1:${port}` });
    assert.match(error.message, /taken by another process.*--http-listen/);
    return true;
  });
  await assert.rejects(served(t, `192.0.2.1:${port}`), (error: ProbeServerError) => {
    assert.equal(error.code, 'CANNOT_LISTEN');
    assert.match(error.message, /no address of this machine/);
    return true;
  });
});

test('stop without a start is safe', async () => {
  await createProbeServer({ view: view(), log: silentLogger }, { listen: '127.0.0.1:1' }).stop();
});

test('so many connections at once and no more; the rest is dropped and told', async (t) => {
  const port = await freePort('127.0.0.1');
  const all = Promise.withResolvers<void>();
  let dropped = 0;
  const onDropped = (): void => {
    if (++dropped === 8) all.resolve();
  };
  const server = createProbeServer({ view: view(), log: silentLogger, onDropped }, { listen: `127.0.0.1:${port}` });
  t.after(() => server.stop());
  await server.start();
  const sockets = Array.from({ length: 40 }, () => net.connect(port, '127.0.0.1').on('error', () => undefined));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  await all.promise;
});
