/**
 * Policies of every form against real packets: what each pair of pods, and the outside host, can do on the wire equals what a
 * naive evaluator reads out of the manifests, for each port, protocol and family.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { decodeObject, identify } from '#datastore';
import { type IpAddress, toIpAddress } from '#kit';
import { type Lab, type ProbeResult, probe, targetsOf } from '#lab';
import type { NamespaceObject, NetworkPolicyObject, PodObject } from '#model';
import { podDocument, smallTopology, withLab } from '../support/lab.ts';
import { type NaiveCluster, type NaiveEnd, naiveVerdict } from '../support/naive-policy.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['bird', 'cniShim'] });

const ports = ['web:80/TCP', 'alt:8081/TCP', 'dns:53/UDP'];
const pods = [
  ['red', 'a', 'n1', { app: 'web' }],
  ['red', 'b', 'n2', { app: 'db' }],
  ['red', 'c', 'n1', { app: 'job' }],
  ['blue', 'a', 'n2', { app: 'web' }],
  ['blue', 'b', 'n1', { app: 'db', tier: 'gold' }],
  ['green', 'a', 'n1', {}],
  ['green', 'b', 'n2', { app: 'web' }],
] as const;

const policies = `---
apiVersion: v1
kind: Namespace
metadata: { name: red, labels: { team: warm } }
---
apiVersion: v1
kind: Namespace
metadata: { name: blue, labels: { team: cold } }
---
# Ingress to one app by peer namespace and port name; everybody else is shut out of it.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: red, name: to-db }
spec:
  podSelector: { matchExpressions: [{ key: app, operator: In, values: [db, cache] }] }
  ingress:
    - from: [{ namespaceSelector: { matchLabels: { team: cold } } }]
      ports: [{ port: web }, { protocol: UDP, port: 53 }]
    - from: [{ podSelector: { matchLabels: { app: job } } }]
---
# Egress only, to a range of ports of everything but one namespace's prefix.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: red, name: job-out }
spec:
  podSelector: { matchLabels: { app: job } }
  policyTypes: [Egress]
  egress:
    - to: [{ ipBlock: { cidr: 10.42.0.0/16, except: [10.42.2.0/24] } }, { ipBlock: { cidr: "fd00:42::/32" } }]
      ports: [{ port: 8000, endPort: 8999 }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: blue, name: default-deny }
spec: { podSelector: {}, policyTypes: [Ingress, Egress] }
---
# Adds to the default-deny: both directions, from the outside and to one pod of another namespace.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: blue, name: gold }
spec:
  podSelector: { matchExpressions: [{ key: tier, operator: Exists }] }
  policyTypes: [Ingress, Egress]
  ingress: [{ from: [{ ipBlock: { cidr: 192.0.2.0/24 } }, { ipBlock: { cidr: "2001:db8::/32" } }] }]
  egress:
    - to: [{ namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: green } }, podSelector: { matchLabels: { app: web } } }]
---
# An empty list of peers is everybody; an empty list of rules nobody.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: green, name: udp-for-all }
spec:
  podSelector: { matchExpressions: [{ key: app, operator: DoesNotExist }] }
  ingress: [{ ports: [{ protocol: UDP }] }]
`;

/** The model as the manifests have it, with the addresses that the lab gave. */
function clusterOf(lab: Lab, documents: string): NaiveCluster {
  const addresses = new Map(targetsOf(lab).map(({ id, addresses: own }) => [id, own]));
  const objects = parseAllDocuments(documents).map((document) => {
    const value: unknown = document.toJS();
    const identity = identify(value);
    const decoded = identity.type === 'object' ? decodeObject(identity.kind, value) : undefined;
    assert.deepEqual(decoded?.faults ?? [], []);
    return decoded?.typed;
  });
  const found = {
    namespaces: new Map<string, NamespaceObject>(),
    pods: [] as PodObject[],
    policies: [] as NetworkPolicyObject[],
  };
  for (const typed of objects) {
    if (typed?.kind === 'Namespace') found.namespaces.set(typed.object.metadata.name, typed.object);
    if (typed?.kind === 'NetworkPolicy') found.policies.push(typed.object);
    if (typed?.kind !== 'Pod') continue;
    const { namespace, name } = typed.object.metadata;
    const podIPs = (addresses.get(`${namespace}/${name}`) ?? []).map((text) => toIpAddress(text) as IpAddress);
    found.pods.push({ ...typed.object, phase: 'Running', podIPs });
  }
  const names = new Set(found.pods.map(({ metadata }) => metadata.namespace));
  const namespaces = [...names].map((name): NamespaceObject => {
    const given = found.namespaces.get(name)?.metadata;
    const labels = { ...given?.labels, 'kubernetes.io/metadata.name': name };
    return { metadata: { name, namespace: '', uid: name, labels, annotations: {} } };
  });
  return { namespaces, pods: found.pods, policies: found.policies };
}

/** What is on the wire and not in the manifests, or the other way round. */
function disagreements(lab: Lab, cluster: NaiveCluster, results: readonly ProbeResult[]): string[] {
  const targets = new Map(targetsOf(lab).map((target) => [target.id, target]));
  const endOf = (id: string, family: ProbeResult['family']): NaiveEnd => {
    const pod = cluster.pods.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === id);
    if (pod) return { pod };
    return { external: targets.get(id)!.addresses.find((address) => address.includes(':') === (family === 'ipv6'))! };
  };
  return results.flatMap((result) => {
    const { from, to, protocol, port, family, verdict } = result;
    const expected = naiveVerdict(cluster, {
      from: endOf(from, family),
      to: endOf(to, family),
      protocol,
      port,
      family: family === 'ipv4' ? 'IPv4' : 'IPv6',
    });
    return expected === verdict
      ? []
      : [`${from} to ${to} ${protocol} ${port} ${family}: expected ${expected}, measured ${verdict}`];
  });
}

test('the truth table of real packets equals the one that the manifests say', mayRun, async () => {
  const podDocuments = pods
    .map(([namespace, name, node, labels]) => podDocument({ namespace, name, node, labels, ports }))
    .join('');
  const documents = `${smallTopology}${podDocuments}${policies}`;
  await withLab(documents, async (lab) => {
    const cluster = clusterOf(lab, documents);
    assert.equal(cluster.policies.length, 5);
    const table = await until(
      async () => {
        const { results } = await probe(lab, { includeHosts: true });
        const wrong = disagreements(lab, cluster, results);
        if (wrong.length > 0) throw new Error(wrong.slice(0, 10).join('\n'));
        return results;
      },
      { what: 'packets to pass exactly as the manifests say', deadlineMs: 60_000, intervalMs: 100 },
    );
    // Every ordered pair of the 7 pods and the host, 3 ports of a pod and 2 of the host, 2 families.
    assert.equal(table.length, 8 * (7 * 3 + 2) * 2);
    for (const verdict of ['allow', 'deny'])
      assert.ok(table.filter((one) => one.verdict === verdict).length > 40, verdict);
  });
});
