/**
 * What each request and each new connection is made with, as it stands now.
 *
 * Files are looked at before use, at most once a minute (a kubelet renews a token in place long before it ends), and at
 * once after the server refused what we had. A change of anything but the token asks for a new connection. What was read
 * last stays in use while a file cannot be read: a volume that is being swapped must not cost a session.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import type { ExecAuth } from '@kubernetes/client-node/dist/exec_auth.js';
import { type Clock, errorText, type Logger } from '#kit';
import { credentialsError, type KubeAccess, type KubeConfigOptions, loadAccess } from './kubeconfig.ts';

const lookIntervalMs = 60_000;
/** After a refusal: against a server that refuses everything. */
const lookAgainIntervalMs = 500;
const execTimeoutMs = 30_000;

export interface TlsOptions {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  readonly servername?: string;
  readonly rejectUnauthorized: boolean;
}

export interface Credential {
  /** Without a slash at the end; may have a path. */
  readonly server: string;
  readonly tls: TlsOptions;
  /** authorization and impersonation. */
  readonly headers: Readonly<Record<string, string>>;
  /** Equal while the same connection can be used. */
  readonly connectionId: string;
}

export interface Credentials {
  /** As last known, for messages. */
  readonly server: string;
  /** @throws KubeError CREDENTIALS when there is nothing usable, and never was. */
  current(): Promise<Credential>;
  /** The server refused what it was given, or is not who it should be: the next `current` looks at everything again. */
  refused(): void;
}

export interface CredentialsDeps {
  readonly log: Logger;
  readonly clock: Clock;
}

export function createCredentials(deps: CredentialsDeps, options: KubeConfigOptions): Credentials {
  const { log, clock } = deps;
  let access: KubeAccess | undefined;
  let exec: ExecAuth | undefined;
  let credential: Credential | undefined;
  let lookedMs = Number.NEGATIVE_INFINITY;
  let distrusted = false;
  let distrustedLookMs = Number.NEGATIVE_INFINITY;
  let seen = '';
  let looking: Promise<Credential> | undefined;
  let failure: unknown;

  const due = (): boolean => {
    const nowMs = clock.nowMs();
    if (distrusted && nowMs - distrustedLookMs >= lookAgainIntervalMs) return true;
    return nowMs - lookedMs >= lookIntervalMs;
  };

  const look = async (): Promise<Credential> => {
    lookedMs = clock.nowMs();
    const again = distrusted;
    if (again) distrustedLookMs = lookedMs;
    distrusted = false;
    try {
      const now = access ? await fingerprint(access.files) : '';
      if (!access || now !== seen || again || exec) {
        if (!access || now !== seen || again) {
          access = await loadAccess(options);
          seen = await fingerprint(access.files);
          exec = undefined;
        }
        exec ??= await execAuth(access);
        const next = await read(access, exec);
        if (credential && next.connectionId !== credential.connectionId) {
          log.info({ server: next.server }, 'credentials of the connection to the API server changed');
        }
        credential = next;
      }
      failure = undefined;
    } catch (error) {
      if (!credential) throw error;
      if (!failure)
        log.warn({ error: errorText(error) }, 'cannot read the credentials again; the last ones stay in use');
      failure = error;
    }
    return credential!;
  };

  return {
    get server() {
      return access?.server ?? options.apiServer ?? '(not known yet)';
    },
    async current() {
      if (credential && !due()) return credential;
      looking ??= look().finally(() => {
        looking = undefined;
      });
      return looking;
    },
    refused() {
      distrusted = true;
    },
  };
}

/** Changes when a file is written or swapped; following links, as volumes of pods are swapped by a link. */
async function fingerprint(files: readonly string[]): Promise<string> {
  const parts = await Promise.all(
    files.map(async (file) => {
      const stat = await fs.stat(file).catch(() => undefined);
      return stat ? `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeMs}` : 'missing';
    }),
  );
  return parts.join(' ');
}

async function read(access: KubeAccess, exec: ExecAuth | undefined): Promise<Credential> {
  const { cluster, user, source } = access;
  const readFile = async (file: string): Promise<Buffer> => {
    try {
      return await fs.readFile(file);
    } catch (error) {
      throw credentialsError(source, `${file} cannot be read: ${errorText(error)}`, error);
    }
  };
  const dataOrFile = async (data: string | undefined, file: string | undefined): Promise<Buffer | undefined> => {
    if (data) return Buffer.from(data, 'base64');
    return file ? readFile(file) : undefined;
  };
  const ca = await dataOrFile(cluster.caData, cluster.caFile);
  let cert: Buffer | string | undefined = await dataOrFile(user.certData, user.certFile);
  let key: Buffer | string | undefined = await dataOrFile(user.keyData, user.keyFile);
  const headers: Record<string, string> = {};
  if (user.impersonateUser) headers['impersonate-user'] = user.impersonateUser;
  const given: { headers: Record<string, string>; cert?: Buffer | string; key?: Buffer | string } = { headers: {} };
  try {
    if (exec) await exec.applyAuthentication(user, given);
    else if (user.authProvider) await applyAuthProvider(access, given);
  } catch (error) {
    throw credentialsError(source, `the plugin of user ${user.name} failed: ${errorText(error)}`, error);
  }
  cert = given.cert ?? cert;
  key = given.key ?? key;
  let authorization = given.headers['Authorization'];
  if (access.tokenFile) authorization = `Bearer ${(await readFile(access.tokenFile)).toString('utf8').trim()}`;
  else if (user.token) authorization = `Bearer ${user.token.trim()}`;
  else if (user.username) {
    authorization = `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}`;
  }
  if (authorization) headers['authorization'] = authorization;
  const tls: TlsOptions = {
    ...(ca ? { ca } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(cluster.tlsServerName ? { servername: cluster.tlsServerName } : {}),
    rejectUnauthorized: !cluster.skipTLSVerify,
  };
  return { server: access.server, tls, headers, connectionId: connectionIdOf(access.server, tls) };
}

function connectionIdOf(server: string, tls: TlsOptions): string {
  const hash = createHash('sha256');
  for (const part of [server, tls.ca, tls.cert, tls.key, tls.servername, String(tls.rejectUnauthorized)]) {
    hash.update(part ?? '').update('\0');
  }
  return hash.digest('hex');
}

type ExecFn = (command: string, args: readonly string[], options: object) => unknown;

/** client-node's exec protocol, with a time limit and what a plugin is told of the cluster (client.authentication.k8s.io). */
async function execAuth({ cluster, user, server }: KubeAccess): Promise<ExecAuth | undefined> {
  if (!user.exec) return undefined;
  const { ExecAuth } = await import('@kubernetes/client-node/dist/exec_auth.js');
  const auth = new ExecAuth();
  const inner = auth as unknown as { execFn: ExecFn };
  const spawn = inner.execFn;
  const { apiVersion, provideClusterInfo } = user.exec as { apiVersion?: string; provideClusterInfo?: boolean };
  const info = {
    kind: 'ExecCredential',
    apiVersion: apiVersion ?? 'client.authentication.k8s.io/v1',
    spec: {
      interactive: false,
      ...(provideClusterInfo
        ? { cluster: { server, ...(cluster.caData ? { 'certificate-authority-data': cluster.caData } : {}) } }
        : {}),
    },
  };
  inner.execFn = (command, args, options) => {
    const env = { ...process.env, ...(options as { env?: object }).env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
    return spawn(command, args ?? [], { ...options, env, timeout: execTimeoutMs, killSignal: 'SIGKILL' });
  };
  return auth;
}

/** Azure, Google Cloud and OpenID Connect as `auth-provider`: much of client-node is loaded for them. */
async function applyAuthProvider(access: KubeAccess, given: { headers: Record<string, string> }): Promise<void> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const config = new KubeConfig();
  config.loadFromClusterAndUser(access.cluster, access.user);
  const options: { headers?: Record<string, string> } = { headers: given.headers };
  await config.applyToHTTPSOptions(options as Parameters<typeof config.applyToHTTPSOptions>[0]);
}
