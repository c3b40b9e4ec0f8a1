/** The connection to an API server against servers that misbehave: real TLS, HTTP/2 and HTTP/1.1, no Kubernetes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { connectKube, type KubeConnection, type KubeConnectionOptions, KubeError } from '#datastore';
import { silentLogger } from '#kit';
import { hurriedClock } from '../support/kube/datastore-world.ts';
import { relayBeside } from '../support/kube/relay.ts';
import { CertificateAuthority } from '../support/kube/x509.ts';
import { until } from '../support/wait.ts';

type Handler = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

const authority = new CertificateAuthority('connection-test');

function temporary(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-connection-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

async function listen(t: TestContext, server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

interface H2 {
  readonly port: number;
  readonly sessions: http2.ServerHttp2Session[];
  readonly requests: http2.Http2ServerRequest[];
}

async function h2Server(t: TestContext, handler: Handler, options: http2.SecureServerOptions = {}): Promise<H2> {
  const pair = authority.issue({ commonName: 'server', names: ['127.0.0.1', 'localhost'] });
  const server = http2.createSecureServer({ key: pair.key, cert: pair.certificate, ...options });
  const sessions: http2.ServerHttp2Session[] = [];
  const requests: http2.Http2ServerRequest[] = [];
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => undefined);
  });
  server.on('request', (request, response) => {
    requests.push(request);
    response.stream?.on('error', () => undefined);
    handler(request, response);
  });
  const port = await listen(t, server);
  t.after(() => {
    for (const session of sessions) session.destroy();
  });
  return { port, sessions, requests };
}

function answer(
  response: http2.Http2ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function kubeconfig(folder: string, server: string, user: object, cluster: object = {}): string {
  const file = path.join(folder, 'kubeconfig');
  fs.writeFileSync(path.join(folder, 'ca.crt'), authority.certificate);
  const config = {
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority': 'ca.crt', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  fs.writeFileSync(file, JSON.stringify(config));
  return file;
}

function open(t: TestContext, options: KubeConnectionOptions): KubeConnection {
  const connection = connectKube({ log: silentLogger, clock: hurriedClock(10) }, options);
  t.after(() => connection.close());
  return connection;
}

const get = (path: string) => ({ method: 'GET', path }) as const;
const failed =
  (pattern: RegExp, code = 'UNREACHABLE') =>
  (error: unknown) => {
    assert.ok(error instanceof KubeError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  };

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

test('401: the token file is read again at once and the request repeated; later tokens are found by the clock', async (t) => {
  const folder = temporary(t);
  const tokenFile = path.join(folder, 'token');
  fs.writeFileSync(tokenFile, 'old\n');
  let wanted = 'Bearer old';
  const server = await h2Server(t, (request, response) => {
    answer(response, request.headers.authorization === wanted ? 200 : 401, {});
  });
  const connection = open(t, { kubeconfig: kubeconfig(folder, `https://127.0.0.1:${server.port}`, { tokenFile }) });
  assert.equal((await connection.request(get('/a'))).status, 200);
  fs.writeFileSync(tokenFile, 'new\n');
  assert.equal((await connection.request(get('/a'))).status, 200, 'not looked at within the minute');
  wanted = 'Bearer new';
  assert.equal(
    (await connection.request({ method: 'POST', path: '/a', body: {} })).status,
    200,
    'not acted on: repeated',
  );
  wanted = 'Bearer third';
  assert.equal((await connection.request(get('/a'))).status, 401);
  fs.writeFileSync(tokenFile, 'third');
  await until(async () => (await connection.request(get('/a'))).status === 200, { what: 'the third token' });
  fs.writeFileSync(tokenFile, 'fourth');
  await until(
    async () => {
      await connection.request(get('/a'));
      return server.requests.at(-1)?.headers.authorization === 'Bearer fourth';
    },
    { what: 'the renewed token, unasked' },
  );
  fs.rmSync(tokenFile);
  await until(async () => (await connection.request(get('/a'))).status === 401, {
    what: 'the last token to stay in use',
  });
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

test('certificates: the name is checked, also of an override; a client certificate is shown, and a new one connects anew', async (t) => {
  const folder = temporary(t);
  const users: unknown[] = [];
  const server = await h2Server(
    t,
    (request, response) => {
      const socket = request.stream.session?.socket as import('node:tls').TLSSocket;
      users.push(socket.getPeerCertificate().subject?.CN);
      answer(response, 200, {});
    },
    { requestCert: true, rejectUnauthorized: false, ca: authority.certificate },
  );
  const write = (commonName: string): void => {
    const pair = authority.issue({ commonName });
    fs.writeFileSync(path.join(folder, 'client.crt'), pair.certificate);
    fs.writeFileSync(path.join(folder, 'client.key'), pair.key);
  };
  write('first');
  const user = { 'client-certificate': 'client.crt', 'client-key': 'client.key' };
  const url = `https://127.0.0.1:${server.port}`;
  const connection = open(t, { kubeconfig: kubeconfig(folder, url, user) });
  await connection.request(get('/a'));
  write('second');
  await until(
    async () => {
      await connection.request(get('/a'));
      return users.includes('second');
    },
    { what: 'the new certificate' },
  );
  assert.equal(server.sessions.length, 2);
  const localhost = open(t, {
    kubeconfig: path.join(folder, 'kubeconfig'),
    apiServer: `https://localhost:${server.port}`,
  });
  assert.equal((await localhost.request(get('/a'))).status, 200);
  assert.equal(localhost.server, `https://localhost:${server.port}`);
  const other = authority.issue({ commonName: 'other', names: ['192.0.2.1'] });
  const wrong = await h2Server(t, (_, response) => answer(response, 200, {}), {
    key: other.key,
    cert: other.certificate,
  });
  const mistaken = open(t, {
    kubeconfig: path.join(folder, 'kubeconfig'),
    apiServer: `https://127.0.0.1:${wrong.port}`,
  });
  await assert.rejects(mistaken.request(get('/a')), failed(/does not match certificate/));
});

test('an exec plugin is run, its credential kept until it is refused, and its failure named', async (t) => {
  const folder = temporary(t);
  const counter = path.join(folder, 'counter');
  const plugin = path.join(folder, 'plugin.sh');
  fs.writeFileSync(counter, '');
  fs.writeFileSync(
    plugin,
    `#!/bin/sh
[ -e ${folder}/broken ] && { echo "no way in" >&2; exit 1; }
echo x >> ${counter}
case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 2;; esac
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s-%s"}}' "$1" "$(wc -l < ${counter})"
`,
    { mode: 0o755 },
  );
  let wanted = 'Bearer me-1';
  const server = await h2Server(t, (request, response) => {
    answer(response, request.headers.authorization === wanted ? 200 : 401, {});
  });
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: plugin,
    args: ['me'],
    interactiveMode: 'Never',
  };
  const file = kubeconfig(folder, `https://127.0.0.1:${server.port}`, { exec });
  const connection = open(t, { kubeconfig: file });
  for (let i = 0; i < 3; i++) assert.equal((await connection.request(get('/a'))).status, 200);
  wanted = 'Bearer me-2';
  assert.equal((await connection.request(get('/a'))).status, 200);
  // A clock that is far ahead, or a plugin's that is behind: it is not run for each request.
  fs.writeFileSync(
    plugin,
    fs.readFileSync(plugin, 'utf8').replace('"token"', '"expirationTimestamp":"2001-01-01T00:00:00Z","token"'),
  );
  wanted = 'Bearer me-3';
  await until(async () => (await connection.request(get('/a'))).status === 200, { what: 'the third credential' });
  for (let i = 0; i < 20; i++) assert.equal((await connection.request(get('/a'))).status, 200);
  assert.ok(fs.readFileSync(counter, 'utf8').length <= 2 * 6, 'run when refused, and once a minute');
  fs.writeFileSync(path.join(folder, 'broken'), '');
  const fresh = open(t, { kubeconfig: file });
  await assert.rejects(fresh.request(get('/a')), failed(/plugin of user u failed: no way in/, 'CREDENTIALS'));
});

test('a service account is found in its folder, with the server from the environment or as told', async (t) => {
  const folder = temporary(t);
  fs.writeFileSync(path.join(folder, 'ca.crt'), authority.certificate);
  fs.writeFileSync(path.join(folder, 'token'), 'sa-token');
  const server = await h2Server(t, (request, response) => answer(response, 200, request.headers.authorization));
  const told = open(t, { serviceAccountFolder: folder, apiServer: `https://127.0.0.1:${server.port}/` });
  assert.equal((await told.request(get('/a'))).body, 'Bearer sa-token');
  process.env['KUBERNETES_SERVICE_HOST'] = '127.0.0.1';
  process.env['KUBERNETES_SERVICE_PORT'] = String(server.port);
  t.after(() => {
    delete process.env['KUBERNETES_SERVICE_HOST'];
    delete process.env['KUBERNETES_SERVICE_PORT'];
  });
  const found = open(t, { serviceAccountFolder: folder });
  assert.equal((await found.request(get('/a'))).body, 'Bearer sa-token');
});

test('what is wrong with credentials is said with file and remedy, and mended without a restart', async (t) => {
  const folder = temporary(t);
  const server = await h2Server(t, (_, response) => answer(response, 200, {}));
  const file = path.join(folder, 'kubeconfig');
  const connection = open(t, { kubeconfig: file });
  await assert.rejects(connection.request(get('/a')), failed(/kubeconfig: ENOENT/, 'CREDENTIALS'));
  fs.writeFileSync(file, 'clusters: [');
  await assert.rejects(connection.request(get('/a')), failed(/kubeconfig: /, 'CREDENTIALS'));
  fs.writeFileSync(file, 'current-context: x');
  await assert.rejects(connection.request(get('/a')), failed(/has no context "x".*mend the file/, 'CREDENTIALS'));
  const url = `https://127.0.0.1:${server.port}`;
  kubeconfig(folder, url, { tokenFile: 'missing' });
  await assert.rejects(connection.request(get('/a')), failed(/missing cannot be read/, 'CREDENTIALS'));
  kubeconfig(folder, url, {}, { 'proxy-url': 'http://proxy' });
  await assert.rejects(connection.request(get('/a')), failed(/proxy-url, which is not supported/, 'CREDENTIALS'));
  kubeconfig(folder, url, {});
  assert.equal((await connection.request(get('/a'))).status, 200);
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
