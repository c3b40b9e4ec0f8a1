/**
 * Where the API server is and as whom we speak to it: the service account of a pod, or a kubeconfig file.
 *
 * The format and the exec protocol are @kubernetes/client-node's, imported by part: its KubeConfig class pulls in every
 * API model and costs 86 MB and a third of a CPU second at start, its parts 4 MB and 8 ms. The class itself is
 * loaded for what only it can do, the legacy `auth-provider` plugins.
 */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { Cluster, Context, User } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { errorText } from '#kit';
import { KubeError } from './client.ts';

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

export interface KubeConfigOptions {
  /** Default: $KUBECONFIG, the pod's service account, ~/.kube/config, whichever comes first. */
  readonly kubeconfig?: string | undefined;
  /** URL of the API server to talk to instead of the one that the configuration names. */
  readonly apiServer?: string | undefined;
  /** Of the service account; for tests. */
  readonly serviceAccountFolder?: string | undefined;
}

/** One cluster and one user, with the files that they were read from or point to. */
export interface KubeAccess {
  /** What it was read from, for messages. */
  readonly source: string;
  readonly server: string;
  readonly cluster: Cluster;
  readonly user: User;
  /** Read before each use: bound tokens live for an hour and are renewed in place. */
  readonly tokenFile?: string;
  /** Everything that may change on disk. */
  readonly files: readonly string[];
}

/** @throws KubeError CREDENTIALS when there is none or it cannot be read. */
export async function loadAccess(options: KubeConfigOptions): Promise<KubeAccess> {
  const source = findSource(options);
  if (source.type === 'serviceAccount') return serviceAccountAccess(source.folder, options.apiServer);
  try {
    return await kubeconfigAccess(source.files, options.apiServer);
  } catch (error) {
    if (error instanceof KubeError) throw error;
    throw credentialsError(source.files.join(':'), errorText(error), error);
  }
}

type Source =
  | { readonly type: 'serviceAccount'; readonly folder: string }
  | { readonly type: 'kubeconfig'; readonly files: readonly string[] };

function findSource(options: KubeConfigOptions): Source {
  if (options.kubeconfig) return { type: 'kubeconfig', files: [path.resolve(options.kubeconfig)] };
  const named = (process.env['KUBECONFIG'] ?? '').split(path.delimiter).filter((file) => file !== '');
  if (named.length > 0) return { type: 'kubeconfig', files: named.map((file) => path.resolve(file)) };
  const folder = options.serviceAccountFolder ?? serviceAccountFolder;
  if (options.serviceAccountFolder || process.env['KUBERNETES_SERVICE_HOST'] || exists(`${folder}/token`)) {
    return { type: 'serviceAccount', folder };
  }
  const home = path.join(os.homedir(), '.kube', 'config');
  if (exists(home)) return { type: 'kubeconfig', files: [home] };
  throw credentialsError(home, 'there is no kubeconfig and no service account; name one with --kubeconfig');
}

function exists(file: string): boolean {
  try {
    readFileSync(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
}

/** What KubeConfig.loadFromCluster makes of a pod's environment. */
function serviceAccountAccess(folder: string, apiServer: string | undefined): KubeAccess {
  const host = process.env['KUBERNETES_SERVICE_HOST'];
  const port = process.env['KUBERNETES_SERVICE_PORT'] || '443';
  const found = host && `https://${host.includes(':') ? `[${host}]` : host}:${port}`;
  const server = apiServer ?? found;
  if (!server) {
    throw credentialsError(folder, 'KUBERNETES_SERVICE_HOST is not set; name the server with --kube-api-server');
  }
  const caFile = `${folder}/ca.crt`;
  const tokenFile = `${folder}/token`;
  return {
    source: folder,
    server: withoutSlash(server),
    cluster: { name: 'inCluster', server, caFile, skipTLSVerify: false },
    user: { name: 'inClusterUser' },
    tokenFile,
    files: [caFile, tokenFile],
  };
}

interface KubeconfigFile {
  readonly clusters?: readonly { readonly name?: string; readonly cluster?: Readonly<Record<string, unknown>> }[];
  readonly users?: readonly { readonly name?: string; readonly user?: Readonly<Record<string, unknown>> }[];
  readonly contexts?: readonly { readonly name?: string }[];
  readonly 'current-context'?: string;
}

/** Of several files the first to name something wins, as for kubectl. Paths are relative to the file they stand in. */
async function kubeconfigAccess(files: readonly string[], apiServer: string | undefined): Promise<KubeAccess> {
  const { newClusters, newContexts, newUsers } = await import('@kubernetes/client-node/dist/config_types.js');
  const clusters: Cluster[] = [];
  const users: User[] = [];
  const tokenFiles = new Map<User, string>();
  const contexts: Context[] = [];
  let currentContext: string | undefined;
  for (const file of files) {
    const config = (parse(readFileSync(file, 'utf8')) ?? {}) as KubeconfigFile;
    const absolute = (name: string): string => path.resolve(path.dirname(file), name);
    for (const cluster of newClusters(config.clusters)) {
      clusters.push(cluster.caFile ? { ...cluster, caFile: absolute(cluster.caFile) } : cluster);
    }
    for (const found of newUsers(config.users)) {
      const user = {
        ...found,
        ...(found.certFile ? { certFile: absolute(found.certFile) } : {}),
        ...(found.keyFile ? { keyFile: absolute(found.keyFile) } : {}),
      };
      users.push(user);
      const tokenFile = config.users?.find(({ name }) => name === user.name)?.user?.['tokenFile'];
      if (typeof tokenFile === 'string' && tokenFile !== '') tokenFiles.set(user, absolute(tokenFile));
    }
    contexts.push(...newContexts(config.contexts));
    currentContext ??= config['current-context'];
  }
  const source = files.join(path.delimiter);
  const missing = (what: string): KubeError => credentialsError(source, `${what}; mend the file or name another`);
  const context = contexts.find(({ name }) => name === currentContext);
  if (!context) throw missing(`has no context ${JSON.stringify(currentContext ?? '')} (its current-context)`);
  const cluster = clusters.find(({ name }) => name === context.cluster);
  if (!cluster) throw missing(`has no cluster ${JSON.stringify(context.cluster)}, which its context names`);
  const user = users.find(({ name }) => name === context.user) ?? { name: '' };
  if (cluster.proxyUrl) throw missing('has a proxy-url, which is not supported');
  const tokenFile = tokenFiles.get(user);
  const mentioned = [cluster.caFile, user.certFile, user.keyFile, tokenFile].filter((file) => file !== undefined);
  return {
    source,
    server: withoutSlash(apiServer ?? cluster.server),
    cluster,
    user,
    ...(tokenFile ? { tokenFile } : {}),
    files: [...files, ...mentioned],
  };
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

export function credentialsError(source: string, text: string, cause?: unknown): KubeError {
  return new KubeError(`credentials ${source}: ${text}`, { code: 'CREDENTIALS', source }, { cause });
}
