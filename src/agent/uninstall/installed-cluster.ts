/** What the tests of the uninstall find. */
import deliveredPod from './daemonset-pod.json' with { type: 'json' };
import { cleans, FakeCluster, type FakeObject } from './fake-cluster.ts';
import { daemonSetPlace, definitions, namespacePlace, smallPlaces } from './installation.ts';
import type { UninstallOptions } from './uninstall.ts';

export const options: UninstallOptions = { namespace: 'poplin-system', yes: true, crds: false, nodeTimeoutSec: 30 };
const ours = { 'app.kubernetes.io/part-of': 'poplin' };

export function node(name: string, ready: string, index: number): FakeObject {
  return {
    metadata: { name, labels: { 'kubernetes.io/os': 'linux' } },
    spec: { podCIDRs: [`10.42.${index}.0/24`, `fd00:42:${index}::/64`] },
    status: {
      conditions: [
        { type: 'Ready', status: ready, reason: ready === 'True' ? 'KubeletReady' : 'NodeStatusUnknown' },
        { type: 'NetworkUnavailable', status: 'False', reason: index === 1 ? 'PoplinIsUp' : 'RouteCreated' },
      ],
    },
  };
}

export const netpol = '/apis/projectcalico.org/v3/namespaces/shop/networkpolicies/web';
export const cnp = '/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies/admin';

/** An installation on three nodes with pods, a peer with a status, and a Secret in its namespace. */
export function installed(): FakeCluster {
  const cluster = new FakeCluster();
  const put = (place: { readonly path: string; readonly name: string }, extra: object = {}): void =>
    cluster.put(place.path, { metadata: { name: place.name, labels: ours }, ...extra });
  put(namespacePlace('poplin-system'));
  for (const place of smallPlaces('poplin-system')) put(place, { data: { 'agent.yaml': 'datastore: kube\n' } });
  for (const place of definitions) put(place);
  put(daemonSetPlace('poplin-system'), { spec: { template: { spec: deliveredPod } } });
  cluster.put('/apis/poplin.dev/v1alpha1/poplinnodes/n1', { metadata: { name: 'n1' }, status: { a: 1 } });
  cluster.put('/apis/projectcalico.org/v3/bgppeers/tor', {
    metadata: { name: 'tor' },
    spec: { peerIP: '192.0.2.1' },
    status: { conditions: [] },
  });
  cluster.put(netpol, { metadata: { name: 'web' }, status: { conditions: [] }, spec: {} });
  const conditions = ['Accepted', 'InForce', 'Theirs'].map((type) => ({ type }));
  cluster.put(cnp, { metadata: { name: 'admin' }, status: { conditions } });
  cluster.put(`${cnp}-of-theirs`, {
    metadata: { name: 'admin-of-theirs' },
    status: { conditions: [{ type: 'Accepted' }] },
  });
  cluster.put('/api/v1/namespaces/poplin-system/secrets/password', { metadata: { name: 'password' } });
  for (const [index, name] of ['n1', 'n2', 'n3'].entries()) {
    cluster.put(`/api/v1/nodes/${name}`, node(name, 'True', index + 1));
    cluster.nodes.set(name, { name, traces: index + 1, behaviour: cleans });
    cluster.put(`/api/v1/namespaces/poplin-system/pods/poplin-${name}`, {
      metadata: { name: `poplin-${name}`, labels: { ...ours, 'app.kubernetes.io/name': 'poplin' } },
      spec: { nodeName: name, hostNetwork: true },
      status: { phase: 'Running', podIPs: [{ ip: `192.0.2.${index}` }] },
    });
    cluster.put(`/api/v1/namespaces/web/pods/app-${name}`, {
      metadata: { name: `app-${name}` },
      spec: { nodeName: name },
      status: { phase: 'Running', podIPs: [{ ip: `10.42.${index + 1}.7` }, { ip: `fd00:42:${index + 1}::7` }] },
    });
  }
  const pod = (name: string, spec: object, status: object): void =>
    cluster.put(`/api/v1/namespaces/web/pods/${name}`, {
      metadata: { name },
      spec: { nodeName: 'n1', ...spec },
      status,
    });
  pod('ended', {}, { phase: 'Succeeded', podIPs: [{ ip: '10.42.1.8' }] });
  pod('other-network', {}, { phase: 'Running', podIPs: [{ ip: '10.99.0.8' }] });
  pod('pending', {}, { phase: 'Pending' });
  return cluster;
}
