import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import { ApiError } from './errors.ts';
import { createSpeakerApp } from './speaker-server.ts';
import type { ChangePlanView, SpeakerView } from './view.ts';

const plan: ChangePlanView = {
  peers: [{ peer: '10.0.0.2', change: 'reset', because: ['holdTimeSec: 90 -> 30'] }],
  unchangedPeers: 3,
  originate: { added: [], removed: [] },
  settings: [],
  listen: { added: [], removed: [] },
};

async function app(extra: Partial<SpeakerView> = {}) {
  const orders: string[] = [];
  const view: SpeakerView = {
    bgpStatus: () => ({ asn: 64512 }),
    bgpPeers: () => [],
    bgpRoutes: () => ({ routes: [] }),
    plan: () => plan,
    reload: () => {
      orders.push('reload');
      return plan;
    },
    resetPeer: (name, text) => {
      if (name !== '10.0.0.2') throw new RangeError(`no peer is called ${name}`);
      orders.push(`reset ${name} ${text}`);
    },
    dumpTable: async (file) => {
      orders.push(`dump ${file}`);
      return { prefixes: 2, paths: 3 };
    },
    alive: () => ({ ok: true, reasons: [] }),
    ready: () => ({ ok: true, reasons: [] }),
    metrics: async () => ({ contentType: 'text/plain', body: 'poplin_x 1\n' }),
    ...extra,
  };
  return { app: await createSpeakerApp({ view, log: silentLogger }), orders };
}

test('questions are GET, orders are POST, and a plan orders nothing', async () => {
  const { app: server, orders } = await app();
  assert.deepEqual((await server.inject('/v1/bgp/status')).json(), { asn: 64512 });
  assert.deepEqual((await server.inject({ method: 'POST', url: '/v1/bgp/plan' })).json(), plan);
  assert.deepEqual(orders, []);
  assert.deepEqual((await server.inject({ method: 'POST', url: '/v1/bgp/reload' })).json(), plan);
  const reset = await server.inject({ method: 'POST', url: '/v1/bgp/peers/10.0.0.2/reset?text=new%20optics' });
  assert.equal(reset.statusCode, 200);
  const dump = await server.inject({ method: 'POST', url: '/v1/bgp/dump?file=/tmp/table.mrt' });
  assert.deepEqual(dump.json(), { prefixes: 2, paths: 3 });
  assert.deepEqual(orders, ['reload', 'reset 10.0.0.2 new optics', 'dump /tmp/table.mrt']);
  for (const url of ['/v1/bgp/plan', '/v1/bgp/reload', '/v1/bgp/peers/10.0.0.2/reset']) {
    assert.equal((await server.inject(url)).statusCode, 404, `GET ${url}`);
  }
});

test("what is wrong is the caller's to read: a peer that is not there, a file that is none, a text that is too long", async () => {
  const { app: server } = await app({
    reload: () => {
      throw new ApiError('speaker.yaml:3:1: unknown key colour', { code: 'BAD_REQUEST' });
    },
  });
  const post = async (url: string) => {
    const { statusCode, body } = await server.inject({ method: 'POST', url });
    return [statusCode, JSON.parse(body).error.message];
  };
  assert.deepEqual(await post('/v1/bgp/peers/nobody/reset'), [400, 'no peer is called nobody']);
  assert.deepEqual(await post('/v1/bgp/reload'), [400, 'speaker.yaml:3:1: unknown key colour']);
  assert.equal((await post('/v1/bgp/dump?file=relative.mrt'))[0], 400);
  const [status, message] = await post(`/v1/bgp/peers/10.0.0.2/reset?text=${'x'.repeat(256)}`);
  assert.equal(status, 400);
  assert.match(message, /text/);
});
