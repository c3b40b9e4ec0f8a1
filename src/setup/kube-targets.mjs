/**
 * What is built of the Go modules below test/kubernetes/assets, and where it lies: in one folder a module, named by a hash of all that
 * the result depends on, so that checkouts with different pins do not take each other's programs, and a change of one module builds
 * no other again.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** Shown by `kubectl version` and wanted by e2e.test, which compares it with the server's. */
const kubernetes = { version: 'v1.36.3', major: 1, minor: 36 };
const versionPackage = 'k8s.io/component-base/version';
const kubernetesFlags = [
  '-ldflags',
  [
    '-s -w',
    `-X ${versionPackage}.gitVersion=${kubernetes.version}`,
    `-X ${versionPackage}.gitMajor=${kubernetes.major}`,
    `-X ${versionPackage}.gitMinor=${kubernetes.minor}`,
  ].join(' '),
];
const plainFlags = ['-ldflags', '-s -w'];
/** What it calls itself, and compares with a chart's wishes; a build of the module says no more than v4.3. */
const helmFlags = ['-ldflags', '-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1'];
const cniPlugins = 'github.com/containernetworking/plugins/plugins';
const containerdFlags = ['-tags', 'no_btrfs,no_zfs,no_devmapper', ...plainFlags];

/**
 * @typedef {object} Target
 * @property {string} module folder below test/kubernetes/assets
 * @property {string} goPackage
 * @property {readonly string[]} flags
 * @property {boolean} [static] runs in images that have no C library
 * @property {boolean} [test] a test binary (`go test -c`)
 */

/**
 * In the order in which they are built: first what the tests against an API server need.
 * @type {Readonly<Record<string, Target>>}
 */
export const kubeTargets = Object.freeze({
  etcd: { module: 'etcd', goPackage: 'go.etcd.io/etcd/server/v3', flags: plainFlags },
  'kube-apiserver': kubernetesCommand('kube-apiserver'),
  kubectl: kubernetesCommand('kubectl'),
  'kube-controller-manager': kubernetesCommand('kube-controller-manager'),
  'kube-scheduler': kubernetesCommand('kube-scheduler'),
  kubelet: kubernetesCommand('kubelet'),
  'kube-proxy': kubernetesCommand('kube-proxy'),
  etcdctl: { module: 'etcd', goPackage: 'go.etcd.io/etcd/etcdctl/v3', flags: plainFlags },
  containerd: containerdCommand('containerd'),
  'containerd-shim-runc-v2': containerdCommand('containerd-shim-runc-v2'),
  ctr: containerdCommand('ctr'),
  coredns: { module: 'coredns', goPackage: 'github.com/coredns/coredns', flags: plainFlags, static: true },
  portmap: cniPlugin('meta/portmap'),
  ptp: cniPlugin('main/ptp'),
  loopback: cniPlugin('main/loopback'),
  'host-local': cniPlugin('ipam/host-local'),
  gobgp: { module: 'gobgp', goPackage: 'github.com/osrg/gobgp/v4/cmd/gobgp', flags: plainFlags },
  gobgpd: { module: 'gobgp', goPackage: 'github.com/osrg/gobgp/v4/cmd/gobgpd', flags: plainFlags },
  helm: { module: 'helm', goPackage: 'helm.sh/helm/v4/cmd/helm', flags: helmFlags },
  agnhost: {
    module: 'kubernetes',
    goPackage: 'k8s.io/kubernetes/test/images/agnhost',
    flags: plainFlags,
    static: true,
  },
  'e2e.test': { module: 'kubernetes', goPackage: 'k8s.io/kubernetes/test/e2e', flags: kubernetesFlags, test: true },
});

function kubernetesCommand(name) {
  return { module: 'kubernetes', goPackage: `k8s.io/kubernetes/cmd/${name}`, flags: kubernetesFlags };
}

function containerdCommand(name) {
  const goPackage = `github.com/containerd/containerd/v2/cmd/${name}`;
  return { module: 'containerd', goPackage, flags: containerdFlags, static: true };
}

function cniPlugin(name) {
  return { module: 'cni', goPackage: `${cniPlugins}/${name}`, flags: plainFlags, static: true };
}

/** Folder of a Go module. @param {string} root the checkout @param {string} module */
export function moduleFolder(root, module) {
  return path.join(root, 'test', 'kubernetes', 'assets', module);
}

/** @type {Map<string, string>} */
const keys = new Map();

/** Hash of a module: its files, and how its targets are built. */
function moduleKey(root, module) {
  const folder = moduleFolder(root, module);
  let key = keys.get(folder);
  if (key === undefined) {
    const hash = crypto.createHash('sha256');
    for (const name of ['go.mod', 'go.sum', 'tools.go']) hash.update(fs.readFileSync(path.join(folder, name)));
    const own = Object.entries(kubeTargets).filter(([, target]) => target.module === module);
    key = hash.update(JSON.stringify(own)).digest('hex').slice(0, 12);
    keys.set(folder, key);
  }
  return key;
}

/** Where a target is built. @param {string} root the checkout @param {string} cache @param {string} name */
export function builtFile(root, cache, name) {
  const { module } = kubeTargets[name];
  return path.join(cache, 'kube', `${module}-${moduleKey(root, module)}`, name);
}

/** Where all targets of this checkout lie side by side, by hard links. @param {string} root @param {string} cache */
export function builtFolder(root, cache) {
  const modules = [...new Set(Object.values(kubeTargets).map((target) => target.module))];
  const hash = crypto.createHash('sha256').update(modules.map((module) => moduleKey(root, module)).join(' '));
  return path.join(cache, 'kube', `bin-${hash.digest('hex').slice(0, 12)}`);
}
