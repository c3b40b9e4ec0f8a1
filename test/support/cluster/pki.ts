/** Certificates, tokens and kubeconfigs of the control plane: made anew for every cluster. */
import fs from 'node:fs';
import path from 'node:path';
import { CertificateAuthority, newKey, pem } from '../kube/x509.ts';
import { addressesOf, apiServerUrl, type IpVersion, nodeNames, paths, serviceHosts } from './layout.ts';

export const pkiFiles = {
  ca: path.join(paths.pki, 'ca.crt'),
  server: path.join(paths.pki, 'server.crt'),
  serverKey: path.join(paths.pki, 'server.key'),
  serviceAccountKey: path.join(paths.pki, 'service-account.key'),
  serviceAccountPublicKey: path.join(paths.pki, 'service-account.pub'),
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

export function makePki(): void {
  fs.mkdirSync(paths.pki, { recursive: true, mode: 0o700 });
  const write = (file: string, text: string): void => fs.writeFileSync(file, text, { mode: 0o600 });
  const authority = new CertificateAuthority('test-ca');
  const service = ['', '.default', '.default.svc', '.default.svc.cluster.local'].map((end) => `kubernetes${end}`);
  const names = ['127.0.0.1', ...addressesOf('wire'), ...serviceHosts, ...service];
  const server = authority.issue({ commonName: 'kube-apiserver', names });
  write(pkiFiles.ca, authority.certificate);
  write(pkiFiles.server, server.certificate);
  write(pkiFiles.serverKey, server.key);
  const { privateKey, publicKey } = newKey();
  write(pkiFiles.serviceAccountKey, pem(privateKey));
  write(pkiFiles.serviceAccountPublicKey, pem(publicKey));
  const lines = users.map(({ name, user, groups }) => `${tokenOf(name)},${user},${name},"${groups}"`);
  write(pkiFiles.tokens, `${lines.join('\n')}\n`);
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
