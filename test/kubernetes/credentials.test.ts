/** With whose word the connection to an API server is made, and how that changes while it stands: real TLS, no Kubernetes. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import {
  answer,
  authority,
  failed,
  get,
  h2Server,
  kubeconfig,
  open,
  temporary,
} from '../support/kube/connection-server.ts';
import { until } from '../support/wait.ts';

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
