/** Servers for a KubeConnection that do what a test says, and how it finds them. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { connectKube, type KubeConnection, type KubeConnectionOptions, KubeError } from '#datastore';
import { silentLogger } from '#kit';
import { hurriedClock } from './datastore-world.ts';
import { CertificateAuthority } from './x509.ts';

type Handler = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) => void;

export const authority = new CertificateAuthority('connection-test');

export function temporary(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-connection-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export async function listen(t: TestContext, server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

interface H2 {
  readonly port: number;
  readonly sessions: http2.ServerHttp2Session[];
  readonly requests: http2.Http2ServerRequest[];
}

export async function h2Server(t: TestContext, handler: Handler, options: http2.SecureServerOptions = {}): Promise<H2> {
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

export function answer(
  response: http2.Http2ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

export function kubeconfig(folder: string, server: string, user: object, cluster: object = {}): string {
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

export function open(t: TestContext, options: KubeConnectionOptions): KubeConnection {
  const connection = connectKube({ log: silentLogger, clock: hurriedClock(10) }, options);
  t.after(() => connection.close());
  return connection;
}

export const get = (path: string) => ({ method: 'GET', path }) as const;
export const failed =
  (pattern: RegExp, code = 'UNREACHABLE') =>
  (error: unknown) => {
    assert.ok(error instanceof KubeError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  };
