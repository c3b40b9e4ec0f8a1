/** Certificates, tokens and kubeconfigs of the control plane: made anew for every cluster. */
import fs from 'node:fs';
import path from 'node:path';
import { must } from '#lab';
import { addressesOf, apiServerUrl, type IpVersion, nodeNames, paths, serviceHosts } from './layout.ts';

export const pkiFiles = {
  ca: path.join(paths.pki, 'ca.crt'),
  caKey: path.join(paths.pki, 'ca.key'),
  server: path.join(paths.pki, 'server.crt'),
  serverKey: path.join(paths.pki, 'server.key'),
  serviceAccountKey: path.join(paths.pki, 'service-account.key'),
  tokens: path.join(paths.pki, 'tokens.csv'),
} as const;

/** Who may speak to the API server by a static token, and in which groups. */
const users: readonly { readonly name: string; readonly user: string; readonly groups: string }[] = [
  { name: 'admin', user: 'admin', groups: 'system:masters' },
  { name: 'kcm', user: 'system:kube-controller-manager', groups: '' },
  { name: 'scheduler', user: 'system:kube-scheduler', groups: '' },
  { name: 'kube-proxy', user: 'system:kube-proxy', groups: '' },
  ...nodeNames.map((name) => ({ name, user: `system:node:${name}`, groups: 'system:nodes' })),
];

export async function makePki(): Promise<void> {
  fs.mkdirSync(paths.pki, { recursive: true, mode: 0o700 });
  const key = (file: string): Promise<string> =>
    must('openssl', ['ecparam', '-genkey', '-name', 'prime256v1', '-noout', '-out', file]);
  await Promise.all([pkiFiles.caKey, pkiFiles.serverKey, pkiFiles.serviceAccountKey].map(key));
  const days = ['-days', '365'];
  await must('openssl', [
    'req',
    '-x509',
    '-new',
    '-key',
    pkiFiles.caKey,
    '-subj',
    '/CN=test-ca',
    ...days,
    '-out',
    pkiFiles.ca,
  ]);
  const service = ['', '.default', '.default.svc', '.default.svc.cluster.local'].map((end) => `DNS:kubernetes${end}`);
  const addresses = ['127.0.0.1', ...addressesOf('wire'), ...serviceHosts].map((address) => `IP:${address}`);
  await must('openssl', [
    ...['req', '-x509', '-new', '-key', pkiFiles.serverKey, '-subj', '/CN=kube-apiserver', ...days],
    ...['-CA', pkiFiles.ca, '-CAkey', pkiFiles.caKey, '-out', pkiFiles.server],
    ...[
      '-addext',
      `subjectAltName=${[...addresses, ...service].join(',')}`,
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    ],
  ]);
  const lines = users.map(({ name, user, groups }) => `${tokenOf(name)},${user},${name},"${groups}"`);
  fs.writeFileSync(pkiFiles.tokens, `${lines.join('\n')}\n`, { mode: 0o600 });
}

/** Static: the cluster is reachable from its own namespaces only. */
export function tokenOf(name: string): string {
  return `${name}-token`;
}

/** A kubeconfig with everything inline, so that it can be read in any mount namespace. */
export function kubeconfig(name: string, token: string, family: IpVersion): string {
  const certificate = fs.readFileSync(pkiFiles.ca).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server: apiServerUrl(family), 'certificate-authority-data': certificate } }],
    users: [{ name, user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
    'current-context': 'test',
  });
}

export function kubeconfigFile(name: string): string {
  return path.join(paths.config, `${name}.kubeconfig`);
}

export function writeKubeconfigs(family: IpVersion): void {
  fs.mkdirSync(paths.config, { recursive: true, mode: 0o700 });
  for (const { name } of users)
    fs.writeFileSync(kubeconfigFile(name), kubeconfig(name, tokenOf(name), family), { mode: 0o600 });
}
