/** The connection to an API server against servers that misbehave: real TLS, HTTP/2 and HTTP/1.1, no Kubernetes. */
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import { test } from 'node:test';
import {
  answer,
  authority,
  failed,
  get,
  h2Server,
  kubeconfig,
  listen,
  open,
  temporary,
} from '../support/kube/connection-server.ts';
import { relayBeside } from '../support/kube/relay.ts';
import { until } from '../support/wait.ts';

test('requests and streams share one connection, with query, prefix, body and headers as they should be', async (t) => {
  const folder = temporary(t);
  const seen: string[] = [];
  const server = await h2Server(t, (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { authorization, 'content-type': type, 'user-agent': agent } = request.headers;
      seen.push([request.method, request.url, authorization, type, agent, Buffer.concat(parts)].join(' '));
      if (request.url.includes('watch')) response.write('{"type":"ADDED"}\n');
      else answer(response, 429, { message: 'slow down' }, { 'retry-after': '3' });
    });
  });
  const file = kubeconfig(folder, `https://127.0.0.1:${server.port}/k8s/x`, { token: 'T' });
  const connection = open(t, { kubeconfig: file, userAgent: 'test/1' });
  const stream = await connection.open({ path: '/watch', query: { watch: true } });
  const response = await connection.request({
    method: 'PATCH',
    path: '/a',
    query: { fieldManager: 'a b' },
    body: { x: 1 },
    contentType: 'application/merge-patch+json',
  });
  assert.deepEqual(response, { status: 429, body: { message: 'slow down' }, retryAfterSec: 3 });
  for await (const chunk of stream.body) {
    assert.equal(String(chunk), '{"type":"ADDED"}\n');
    break;
  }
  assert.deepEqual(seen, [
    'GET /k8s/x/watch?watch=true Bearer T  test/1 ',
    'PATCH /k8s/x/a?fieldManager=a%20b Bearer T application/merge-patch+json test/1 {"x":1}',
  ]);
  assert.equal(server.sessions.length, 1);
});

test('GOAWAY: what is under way goes on there, what is new goes elsewhere', async (t) => {
  const folder = temporary(t);
  const watches: http2.Http2ServerResponse[] = [];
  const server = await h2Server(t, (request, response) => {
    if (request.url === '/watch') {
      watches.push(response);
      response.write('1');
    } else answer(response, 200, {});
  });
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${server.port}`, {}) });
  const { body } = await connection.open({ path: '/watch' });
  const read: string[] = [];
  body.on('data', (chunk: Buffer) => read.push(String(chunk)));
  server.sessions[0]!.goaway(http2.constants.NGHTTP2_NO_ERROR);
  await until(async () => (await connection.request(get('/a'))).status === 200 && server.sessions.length === 2, {
    what: 'a second connection',
  });
  watches[0]!.write('2');
  await until(() => read.join('') === '12', { what: 'the old stream to go on' });
  watches[0]!.end();
  await until(() => body.readableEnded, { what: 'its end' });
});

test('a connection that dies: a GET is sent again, a POST only if nobody acted on it', async (t) => {
  const folder = temporary(t);
  const posts: string[] = [];
  let deaths = 0;
  const server = await h2Server(t, (request, response) => {
    if (request.method === 'POST') posts.push(request.url);
    if (request.url === '/refused' && posts.length === 1) response.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
    else if (deaths > 0) {
      deaths--;
      response.stream.session?.destroy();
    } else answer(response, 200, { ok: true });
  });
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${server.port}`, {}) });
  deaths = 1;
  assert.deepEqual((await connection.request(get('/a'))).body, { ok: true });
  assert.deepEqual((await connection.request({ method: 'POST', path: '/refused', body: {} })).body, { ok: true });
  assert.deepEqual(posts, ['/refused', '/refused']);
  deaths = 1;
  await assert.rejects(connection.request({ method: 'POST', path: '/b', body: {} }), failed(/API server https:/));
  assert.deepEqual(posts, ['/refused', '/refused', '/b']);
  assert.deepEqual((await connection.request(get('/a'))).body, { ok: true });
});

test('an answer cut off in the middle is an error of its stream, and a GET of a whole answer is repeated', async (t) => {
  const folder = temporary(t);
  let cuts = 2;
  const server = await h2Server(t, (_, response) => {
    response.writeHead(200);
    response.write('{"a":');
    if (cuts-- > 0) setTimeout(() => response.stream.session?.destroy(), 20);
    else response.end('1}');
  });
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${server.port}`, {}) });
  await assert.rejects(connection.collect(await connection.open({ path: '/list' })), failed(/cut off/));
  assert.deepEqual((await connection.request(get('/a'))).body, { a: 1 });
});

test('a peer that vanished without a word is noticed by ping', async (t) => {
  const folder = temporary(t);
  const server = await h2Server(t, (request, response) => {
    if (request.url === '/watch') response.write('1');
    else answer(response, 200, {});
  });
  const relay = await relayBeside(t, server.port);
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${relay.port}`, {}) });
  const { body } = await connection.open({ path: '/watch' });
  const ended = new Promise<unknown>((resolve) => body.on('error', resolve).on('close', () => resolve('closed')));
  body.resume();
  relay.hold();
  assert.match(String(await ended), /ping/);
  await assert.rejects(connection.request({ ...get('/a'), timeoutMs: 3_000 }), failed(/no answer within 3 s/));
  relay.release();
  await until(async () => (await connection.request(get('/a'))).status === 200, { what: 'a new connection' });
});

test('HTTP/1.1 where nothing else is spoken, and HTTP/2 as soon as it is', async (t) => {
  const folder = temporary(t);
  const pair = authority.issue({ commonName: 'proxy', names: ['127.0.0.1'] });
  let connections = 0;
  const proxy = https.createServer({ key: pair.key, cert: pair.certificate }, (request, response) => {
    if (request.url === '/watch') response.write('{"type":"ADDED"}\n');
    else if (request.url === '/cut') {
      response.write('{');
      setTimeout(() => request.socket.destroy(), 20);
    } else response.end(JSON.stringify({ version: request.httpVersion, url: request.url }));
  });
  proxy.on('secureConnection', () => connections++);
  const port = await listen(t, proxy);
  const relay = await relayBeside(t, port);
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${relay.port}`, { token: 'T' }) });
  assert.deepEqual((await connection.request(get('/a'))).body, { version: '1.1', url: '/a' });
  const stream = await connection.open({ path: '/watch' });
  for (let i = 0; i < 5; i++) await connection.request(get('/b'));
  assert.ok(connections <= 4, `kept alive, not ${connections} connections`);
  for await (const chunk of stream.body) {
    assert.equal(String(chunk), '{"type":"ADDED"}\n');
    break;
  }
  const cut = await connection.open({ path: '/cut' });
  await assert.rejects(async () => {
    for await (const chunk of cut.body) assert.equal(String(chunk), '{');
  });
  assert.equal((await connection.request(get('/a'))).status, 200);
});

test('plain HTTP, as kubectl proxy serves it', async (t) => {
  const server = http.createServer((request, response) => response.end(JSON.stringify({ url: request.url })));
  const port = await listen(t, server);
  const folder = temporary(t);
  const connection = open(t, { kubeconfig: kubeconfig(folder, `http://127.0.0.1:${port}`, {}) });
  assert.deepEqual((await connection.request(get('/a'))).body, { url: '/a' });
  server.closeAllConnections();
});

test('nothing answers: said with the server, attempts are shared and paced, and the return is found', async (t) => {
  const folder = temporary(t);
  const server = await h2Server(t, (_, response) => answer(response, 200, {}));
  const relay = await relayBeside(t, server.port);
  await relay.close();
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${relay.port}`, {}) });
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => connection.request(get('/a'))));
  assert.ok(all.every(({ status }) => status === 'rejected'));
  assert.equal(connection.failedAttempts, 1);
  await assert.rejects(
    connection.request(get('/a')),
    failed(/API server https:\/\/127\.0\.0\.1:\d+: connect ECONNREFUSED/),
  );
  const patient = connection.open({ path: '/a' });
  relay.open();
  const stream = await patient.catch(() => connection.open({ path: '/a' }));
  assert.equal(stream.status, 200);
  stream.body.resume();
  assert.equal(connection.failedAttempts, 0);
});

test('a request that is given up, times out or finds the connection closed says so', async (t) => {
  const folder = temporary(t);
  const server = await h2Server(t, () => undefined);
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${server.port}`, {}) });
  await assert.rejects(connection.request({ ...get('/a'), timeoutMs: 1_000 }), failed(/no answer within 1 s/));
  const arrived = server.requests.length;
  const giveUp = new AbortController();
  const given = connection.request({ ...get('/a'), signal: giveUp.signal });
  await until(() => server.requests.length > arrived, { what: 'the request to arrive' });
  giveUp.abort(new Error('not wanted any more'));
  await assert.rejects(given, failed(/not wanted any more/));
  const closed = connection.request(get('/a'));
  await until(() => server.requests.length > arrived + 1, { what: 'the request to arrive' });
  await connection.close();
  await assert.rejects(closed, failed(/was closed/, 'CLOSED'));
  await assert.rejects(connection.request(get('/a')), failed(/was closed/, 'CLOSED'));
});
