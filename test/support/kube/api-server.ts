/**
 * A real kube-apiserver with its own etcd for the tests of one file, on 127.0.0.1, RBAC on. Nothing else of a control plane runs: no
 * controller fills a Namespace with a ServiceAccount, binds a Pod or empties what is deleted; the test plays them.
 *
 * Start-up takes some 5 s, so it is started once a file; each test takes a fresh `namespace()`.
 *
 * @example
 * const here = needs({ kube: apiServerAssets });
 * suite('...', here, () => {
 *   let server: ApiServer;
 *   before(async () => void (server = await startApiServer()));
 *   after(() => server.stop());
 *   test('...', async () => {
 *     const namespace = await server.namespace();
 *     await server.objects.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x', namespace }, data: { a: 'b' } });
 *   });
 * });
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import tls from 'node:tls';
import { errorText } from '#kit';
import { kubeAsset } from '#setup';
import { exec } from '#sys';
import { freePorts } from '../free-port.ts';
import { until } from '../wait.ts';
import { Daemon } from './daemon.ts';
import { Etcd } from './etcd.ts';
import { type HttpsAnswer, HttpsClient, type HttpsRequest } from './https.ts';
import { type KubeObject, Objects } from './objects.ts';
import { clockLeewaySec, signToken } from './tokens.ts';
import { CertificateAuthority, type KeyPair, newKey, pem } from './x509.ts';

export interface ApiServerOptions {
  /** Further names and addresses that its certificate is good for. */
  readonly names?: readonly string[];
  /** Further flags; they come last. */
  readonly args?: readonly string[];
}

/** Programs that the fixture runs, for `needs({ kube: apiServerAssets })`. */
export const apiServerAssets = ['etcd', 'kube-apiserver', 'kubectl'] as const;

const startAttempts = 3;
const readyDeadlineMs = 60_000;
const handshakeTimeoutMs = 5_000;
const issuer = 'https://kubernetes.default.svc';
const certificateNames = ['127.0.0.1', '::1', 'localhost', 'kubernetes.default.svc', '10.96.0.1', 'fd00:96::1'];

/** Starts one; with `t` it stops with that test. */
export async function startApiServer(
  t?: Pick<TestContext, 'after'>,
  options: ApiServerOptions = {},
): Promise<ApiServer> {
  for (let attempt = 1; ; attempt++) {
    const [port, ...etcdPorts] = await freePorts(3);
    const server = new ApiServer(options, port!, etcdPorts as [number, number]);
    try {
      await server.start();
      t?.after(() => server.stop());
      return server;
    } catch (error) {
      // Nothing of what is tested runs yet: it is the machine that had no time, or somebody else took a port.
      await server.stop();
      if (attempt === startAttempts) throw error;
      process.stderr.write(`API server, attempt ${attempt} of ${startAttempts}: ${errorText(error)}\n`);
    }
  }
}

export class ApiServer {
  readonly url: string;
  readonly port: number;
  /** Temporary; removed by `stop`. */
  readonly directory: string;
  /** Group system:masters: RBAC does not apply. */
  readonly adminToken = crypto.randomBytes(16).toString('hex');
  readonly adminKubeconfig: string;
  readonly etcd: Etcd;
  readonly https: HttpsClient;
  /** As the administrator. */
  readonly objects: Objects;
  /** How long the last start took. */
  startMs = 0;
  readonly #daemon: Daemon;
  readonly #names: readonly string[];
  readonly #serviceAccountKey = newKey();
  readonly #clientAuthority = new CertificateAuthority('poplin-test-clients');
  #authority = new CertificateAuthority('poplin-test-1');
  #authorities = 1;
  #namespaces = 0;

  constructor(options: ApiServerOptions, port: number, etcdPorts: readonly [number, number]) {
    this.port = port;
    this.url = `https://127.0.0.1:${port}`;
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-'));
    this.#names = [...certificateNames, ...(options.names ?? [])];
    this.etcd = new Etcd({ directory: this.directory, ports: etcdPorts });
    this.https = new HttpsClient(this.url, () => fs.readFileSync(this.caFile, 'utf8'));
    this.objects = new Objects(this.https, this.adminToken);
    this.#write('client-ca.crt', this.#clientAuthority.certificate);
    this.#write('sa.key', pem(this.#serviceAccountKey.privateKey));
    this.#write('sa.pub', pem(this.#serviceAccountKey.publicKey));
    this.#write('tokens.csv', `${this.adminToken},admin,admin,"system:masters"\n`);
    this.#writeServingCertificate();
    this.#write('ca.crt', this.#authority.certificate);
    this.adminKubeconfig = this.kubeconfig('admin', { token: this.adminToken });
    this.#daemon = this.#apiServer(options.args ?? []);
  }

  #apiServer(args: readonly string[]): Daemon {
    const file = (name: string): string => path.join(this.directory, name);
    return new Daemon({
      name: 'kube-apiserver',
      command: kubeAsset('kube-apiserver') ?? 'kube-apiserver',
      args: [
        `--etcd-servers=${this.etcd.url}`,
        '--bind-address=127.0.0.1',
        `--secure-port=${this.port}`,
        // The machine's own network has no address that a test may rely on; nobody reaches it by the Service "kubernetes" either.
        '--advertise-address=192.0.2.254',
        '--endpoint-reconciler-type=none',
        `--tls-cert-file=${file('server.crt')}`,
        `--tls-private-key-file=${file('server.key')}`,
        `--client-ca-file=${file('client-ca.crt')}`,
        `--token-auth-file=${file('tokens.csv')}`,
        '--authorization-mode=Node,RBAC',
        // No controller makes the ServiceAccount "default" that a Pod would have to have.
        '--disable-admission-plugins=ServiceAccount',
        `--service-account-issuer=${issuer}`,
        `--service-account-key-file=${file('sa.pub')}`,
        `--service-account-signing-key-file=${file('sa.key')}`,
        '--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112',
        '--allow-privileged=true',
        ...args,
      ],
      logFile: file('kube-apiserver.log'),
    });
  }

  #write(name: string, text: string): string {
    const file = path.join(this.directory, name);
    fs.writeFileSync(`${file}.new`, text, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
    return file;
  }

  #writeServingCertificate(options: { readonly notAfter?: Date } = {}): KeyPair {
    const pair = this.#authority.issue({ commonName: 'kube-apiserver', names: this.#names, ...options });
    this.#write('server.key', pair.key);
    this.#write('server.crt', pair.certificate);
    return pair;
  }

  /** Of the authority that clients are to trust. */
  get caFile(): string {
    return path.join(this.directory, 'ca.crt');
  }

  async start(): Promise<void> {
    const started = performance.now();
    if (!this.etcd.daemon.running) await this.etcd.start();
    this.#daemon.start();
    await this.#daemon.untilReady(() => this.#ready(), readyDeadlineMs);
    this.startMs = Math.round(performance.now() - started);
  }

  async #ready(): Promise<boolean> {
    try {
      return (await this.request({ path: '/readyz' })).status === 200;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return false;
      if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return false;
      throw error;
    }
  }

  /** Ends everything and removes the folder. */
  async stop(): Promise<void> {
    this.https.close();
    // Both by SIGKILL: nobody needs what they would still write, and an orderly end takes seconds.
    await this.#daemon.stop();
    await this.etcd.daemon.stop();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }

  /** Ends the API server alone; etcd keeps everything. Default SIGKILL; with SIGTERM it says goodbye to its clients. */
  async down(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.#daemon.stop(signal);
    this.https.close();
  }

  /** After `down`: the same objects, port, keys and certificates. */
  async up(): Promise<void> {
    try {
      await this.start();
    } catch (error) {
      // As at the first start, the machine may have had no time.
      process.stderr.write(`API server, once more: ${errorText(error)}\n`);
      await this.down();
      await this.start();
    }
  }

  async restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.down(signal);
    await this.up();
  }

  /** The server answers nothing any more and keeps its connections, until `resume`. */
  async pause(): Promise<void> {
    this.#daemon.signal('SIGSTOP');
    // The signal is only the order: its threads run on until each has met it.
    const tasks = `/proc/${this.pid}/task`;
    const stands = (task: string): boolean => / T /.test(fs.readFileSync(`${tasks}/${task}/stat`, 'utf8'));
    await until(() => fs.readdirSync(tasks).every(stands), { what: 'the API server to stand still', intervalMs: 1 });
  }

  resume(): void {
    this.#daemon.signal('SIGCONT');
  }

  /** Of the API server, for measurements. */
  get pid(): number | undefined {
    return this.#daemon.pid;
  }

  logTail(): string {
    return this.#daemon.logTail();
  }

  /** As the administrator where `token` is not given. Resolves with every HTTP status. */
  request(request: HttpsRequest): Promise<HttpsAnswer> {
    return this.https.request({ token: this.adminToken, ...request });
  }

  /** Runs kubectl and returns its stdout. @throws Error with its stderr. */
  async kubectl(args: readonly string[], options: { stdin?: string; kubeconfig?: string } = {}): Promise<string> {
    const { code, stdout, stderr } = await exec(
      kubeAsset('kubectl') ?? 'kubectl',
      [
        `--kubeconfig=${options.kubeconfig ?? this.adminKubeconfig}`,
        `--cache-dir=${path.join(this.directory, 'kubectl')}`,
        ...args,
      ],
      { stdin: options.stdin ?? '', env: { HOME: this.directory, PATH: process.env['PATH'] ?? '' } },
    );
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: exit ${code}: ${stderr.trim()}`);
    return stdout;
  }

  /** Makes a Namespace of its own name for one test. */
  async namespace(prefix = 'test'): Promise<string> {
    const name = `${prefix}-${++this.#namespaces}`;
    await this.objects.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
    return name;
  }

  /** Writes a kubeconfig with a token, a token file or a client certificate; its path. */
  kubeconfig(
    name: string,
    user: { readonly token: string } | { readonly tokenFile: string } | KeyPair,
    server = this.url,
  ): string {
    const base64 = (text: string): string => Buffer.from(text).toString('base64');
    const credentials =
      'certificate' in user
        ? { 'client-certificate-data': base64(user.certificate), 'client-key-data': base64(user.key) }
        : user;
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority': this.caFile } }],
      users: [{ name, user: credentials }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: name } }],
      'current-context': 'test',
    };
    return this.#write(`${name.replaceAll(/[^\w.-]/g, '-')}.kubeconfig`, JSON.stringify(config, null, 2));
  }

  /** A client certificate for any user, e.g. `system:node:n1` of group `system:nodes`. */
  clientCertificate(user: string, groups: readonly string[] = []): KeyPair {
    return this.#clientAuthority.issue({ commonName: user, organizations: groups });
  }

  /**
   * A token for a service account, which is made where it is missing. The server refuses it `seconds` after now, and takes it up to 10 s
   * longer from who used it before (its cache of tokens). Bound to a Pod it carries that Pod's node, as a DaemonSet's do. With
   * `validInSec` it refuses it before, too: a signer whose clock is ahead.
   */
  async tokenFor(
    serviceAccount: string,
    namespace: string,
    seconds = 3600,
    bound: { readonly pod?: string; readonly validInSec?: number } = {},
  ): Promise<string> {
    const name = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: serviceAccount, namespace } };
    const account = (await this.objects.get(name)) ?? (await this.objects.create(name));
    const pod =
      bound.pod === undefined
        ? undefined
        : await this.#existing({ apiVersion: 'v1', kind: 'Pod', metadata: { name: bound.pod, namespace } });
    const nodeName = (pod?.['spec'] as { nodeName?: string } | undefined)?.nodeName;
    const node = nodeName
      ? await this.#existing({ apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName } })
      : undefined;
    return signToken(
      {
        issuer,
        namespace,
        serviceAccount: reference(account),
        ...(pod && { pod: reference(pod) }),
        ...(node && { node: reference(node) }),
        expiresInSec: seconds - clockLeewaySec,
        ...(bound.validInSec === undefined ? {} : { validInSec: bound.validInSec + clockLeewaySec }),
      },
      this.#serviceAccountKey.privateKey,
    );
  }

  async #existing(name: KubeObject): Promise<KubeObject> {
    const found = await this.objects.get(name);
    if (!found) throw new Error(`there is no ${name.kind} ${name.metadata.name}`);
    return found;
  }

  /** Writes past admission and validation. `key` without the prefix, e.g. `projectcalico.org/bgppeers/x` or `pods/ns/name`. */
  etcdPut(key: string, value: unknown): Promise<void> {
    return this.etcd.put(`/registry/${key}`, value);
  }

  /**
   * A new certificate for the server, taken up while it runs. `newAuthority`: of a new authority; clients that trust the old one alone
   * are refused until `trust` has written the new one to `caFile` (default: at once).
   */
  async rotateCertificate(
    options: { readonly newAuthority?: boolean; readonly trust?: boolean; readonly notAfter?: Date } = {},
  ): Promise<void> {
    if (options.newAuthority) this.#authority = new CertificateAuthority(`poplin-test-${++this.#authorities}`);
    const { certificate } = this.#writeServingCertificate(options.notAfter ? { notAfter: options.notAfter } : {});
    if (options.trust ?? true) this.trustAuthority();
    const wanted = new crypto.X509Certificate(certificate).fingerprint256;
    await until(async () => (await this.#servedFingerprint()) === wanted, {
      what: 'the API server to serve its new certificate',
      deadlineMs: 90_000, // it looks once a minute where a change of the file went unnoticed
      intervalMs: 100,
    });
    this.https.close();
  }

  /** Writes the authority of the server's certificate to `caFile`. */
  trustAuthority(): void {
    this.#write('ca.crt', this.#authority.certificate);
  }

  #servedFingerprint(): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ host: '127.0.0.1', port: this.port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
      socket.setTimeout(handshakeTimeoutMs, () => socket.destroy(new Error('no TLS handshake')));
      socket.on('error', reject);
    });
  }
}

function reference({ metadata }: KubeObject): { readonly name: string; readonly uid: string } {
  return { name: metadata.name, uid: metadata.uid ?? '' };
}
