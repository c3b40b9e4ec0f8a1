/** A cluster by numbers in a real API server: nodes, namespaces, pods as a kubelet leaves them, policies. */
import type { ApiServer } from './api-server.ts';
import type { KubeObject } from './objects.ts';

export interface ClusterSize {
  readonly pods: number;
  readonly policies: number;
  readonly nodes: number;
}

/** Requests under way at once while a cluster is filled. */
const writersMax = 24;
const podsPerNamespace = 25;
const apps = 10;

export interface ScaleCluster {
  readonly namespaces: number;
  /** The pod that is `index`-th of all; `node` instead of its own. */
  pod(index: number): { readonly namespace: string; readonly name: string; readonly address: string };
}

const labelOf = (index: number): string => `a${index % apps}`;

function nodeObject(index: number): KubeObject {
  const [high, low] = [index >> 8, index & 255];
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: `node-${index}`, labels: { 'kubernetes.io/os': 'linux', rack: `r${index % 20}` } },
    spec: {
      podCIDRs: [`10.${128 + high}.${low}.0/24`, `fd00:${index.toString(16)}::/64`],
      podCIDR: `10.${128 + high}.${low}.0/24`,
    },
    status: {
      addresses: [
        { type: 'InternalIP', address: `172.20.${high}.${low}` },
        { type: 'Hostname', address: `node-${index}` },
      ],
      nodeInfo: nodeInfo(index),
      conditions: ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure', 'NetworkUnavailable'].map((type) => ({
        type,
        status: type === 'Ready' ? 'True' : 'False',
        reason: 'KubeletHasSufficientMemory',
        message: 'kubelet has what it needs',
        lastHeartbeatTime: '2026-01-01T00:00:00Z',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
    },
  };
}

function nodeInfo(index: number): object {
  return {
    machineID: `machine-${index}`,
    systemUUID: `system-${index}`,
    bootID: `boot-${index}`,
    kernelVersion: '6.12.0',
    osImage: 'Debian GNU/Linux 12',
    containerRuntimeVersion: 'containerd://2.4.2',
    kubeletVersion: 'v1.36.3',
    kubeProxyVersion: '',
    operatingSystem: 'linux',
    architecture: 'amd64',
  };
}

/** Some 4 KB as JSON, as pods of a Deployment are. */
function podObject(index: number, size: ClusterSize): KubeObject {
  const { namespace, name, address } = podName(index);
  const node = index % size.nodes;
  const uid = index.toString(16).padStart(12, '0');
  const container = (which: number): object => ({
    name: `c${which}`,
    image: 'registry.example/team/application:1.2.3',
    command: ['/bin/application', '--listen=:8080', '--config=/etc/application/config.yaml', '--verbose'],
    ports: [{ name: which === 0 ? 'http' : `p${which}`, containerPort: 8080 + which, protocol: 'TCP' }],
    env: Array.from({ length: 8 }, (_, i) => ({ name: `VARIABLE_${i}`, value: `value of variable number ${i}` })),
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '256Mi' } },
    volumeMounts: [{ name: 'token', mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }],
    readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 5, timeoutSeconds: 1 },
    livenessProbe: { httpGet: { path: '/live', port: 8080 }, periodSeconds: 10, timeoutSeconds: 1 },
    terminationMessagePath: '/dev/termination-log',
    imagePullPolicy: 'IfNotPresent',
  });
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels: { app: labelOf(index), 'pod-template-hash': '6d4cf56db6', tier: index % 3 === 0 ? 'front' : 'back' },
      annotations: { 'example.org/checksum': uid.repeat(4) },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `rs-${index % 100}`,
          uid: `00000000-0000-0000-0000-${uid}`,
          controller: true,
        },
      ],
    } as KubeObject['metadata'],
    spec: {
      nodeName: `node-${node}`,
      serviceAccountName: 'default',
      containers: [container(0), container(1)],
      volumes: [{ name: 'token', emptyDir: {} }],
      tolerations: [
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 },
      ],
    },
    status: {
      phase: 'Running',
      podIP: address,
      podIPs: [{ ip: address }],
      hostIP: `172.20.${node >> 8}.${node & 255}`,
      startTime: '2026-01-01T00:00:00Z',
      conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map((type) => ({
        type,
        status: 'True',
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
      containerStatuses: [0, 1].map((which) => ({
        name: `c${which}`,
        ready: true,
        restartCount: 0,
        started: true,
        image: 'registry.example/team/application:1.2.3',
        imageID: `registry.example/team/application@sha256:${uid.repeat(5).slice(0, 60)}`,
        containerID: `containerd://${uid.repeat(5).slice(0, 60)}`,
        state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
      })),
    },
  };
}

function podName(index: number): { namespace: string; name: string; address: string } {
  return {
    namespace: `ns-${Math.floor(index / podsPerNamespace)}`,
    name: `app-${index}`,
    address: `10.${64 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
  };
}

function policyObject(index: number, namespaces: number): KubeObject {
  const namespace = `ns-${index % namespaces}`;
  const turn = Math.floor(index / namespaces);
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: `policy-${turn}`, namespace },
    spec: {
      podSelector: { matchLabels: { app: labelOf(index + turn) } },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [
        {
          from: [
            { podSelector: { matchLabels: { app: labelOf(index + 1) } } },
            {
              namespaceSelector: { matchLabels: { team: `t${index % 40}` } },
              podSelector: { matchLabels: { tier: 'front' } },
            },
          ],
          ports: [{ port: 8080 }, { port: 'http' }],
        },
      ],
      egress: [{ to: [{ namespaceSelector: {} }] }, { ports: [{ port: 53, protocol: 'UDP' }] }],
    },
  };
}

/** Fills the server; the pods' statuses as well. Takes some minutes for tens of thousands. */
export async function fillCluster(
  server: ApiServer,
  size: ClusterSize,
  say: (line: string) => void = () => undefined,
): Promise<ScaleCluster> {
  const namespaces = Math.ceil(size.pods / podsPerNamespace);
  // Straight into etcd: what counts is what the server hands out, not how fast it takes things in.
  const put = (key: string, object: KubeObject): Promise<void> => server.etcdPut(key, object);
  const stamp = (object: KubeObject, index: number): KubeObject => ({
    ...object,
    metadata: {
      ...object.metadata,
      uid: `00000000-${object.kind.length.toString(16).padStart(4, '0')}-4000-8000-${index.toString(16).padStart(12, '0')}`,
      ...{ creationTimestamp: '2026-01-01T00:00:00Z' },
    },
  });
  const started = performance.now();
  await inParallel(namespaces, (index) => {
    const name = `ns-${index}`;
    const labels = { team: `t${index % 40}`, 'kubernetes.io/metadata.name': name };
    const object = {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    };
    return put(`namespaces/${name}`, stamp(object, index));
  });
  await inParallel(size.nodes, (index) => put(`minions/node-${index}`, stamp(nodeObject(index), index)));
  await inParallel(size.policies, (index) => {
    const object = policyObject(index, namespaces);
    return put(`networkpolicies/${object.metadata.namespace}/${object.metadata.name}`, stamp(object, index));
  });
  await inParallel(size.pods, (index) => {
    const object = podObject(index, size);
    return put(`pods/${object.metadata.namespace}/${object.metadata.name}`, stamp(object, index));
  });
  say(
    `${size.pods} pods, ${size.policies} policies, ${size.nodes} nodes in ${Math.round((performance.now() - started) / 1000)} s`,
  );
  return { namespaces, pod: podName };
}

async function inParallel(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: writersMax }, worker));
}
