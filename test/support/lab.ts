/** Labs for tests: names of their own, removed whatever happens. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type DemoOptions, down, LabError, type UpOptions, up } from '#lab';

let sequence = 0;

/** A lab name that no other test process uses. */
export function labName(): string {
  return `t${process.pid}-${++sequence}`;
}

/** Removes a lab that may or may not exist. */
export async function removeLab(name: string): Promise<void> {
  try {
    await down(name);
  } catch (error) {
    if (!(error instanceof LabError && error.code === 'NO_SUCH_LAB')) throw error;
  }
}

/** Builds a lab from documents given as text, runs `use`, and removes it. */
export async function withLab(
  documents: string,
  use: (lab: Awaited<ReturnType<typeof up>>) => Promise<void>,
  options: Partial<UpOptions> = {},
): Promise<void> {
  const name = labName();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-lab-'));
  fs.writeFileSync(path.join(directory, 'lab.yaml'), documents);
  try {
    await use(await up({ name, files: [directory], say: () => undefined, ...options }));
  } finally {
    fs.rmSync(directory, { recursive: true });
    await removeLab(name);
  }
}

/** Options of a demonstration whose lines are kept. */
export function demoOptions(sabotage?: DemoOptions['sabotage']): {
  readonly options: DemoOptions;
  readonly lines: string[];
} {
  const lines: string[] = [];
  const options = { name: labName(), keep: false, print: (line: string) => void lines.push(line) };
  return { options: sabotage ? { ...options, sabotage } : options, lines };
}

/** A rack of two nodes and an outside host behind one BIRD, as documents; add Namespaces, Pods and policies. */
export const smallTopology = `apiVersion: lab.poplin.dev/v1
kind: Topology
metadata: { name: small }
spec:
  nodes: [{ name: n1 }, { name: n2 }]
  routers: [{ name: tor, asn: 65001, loopbacks: [10.255.0.1] }]
  hosts: [{ name: outside, ports: [{ protocol: TCP, port: 80 }, { protocol: UDP, port: 53 }] }]
  links:
    - { ends: [tor, n1], subnets: [172.16.1.0/30, "fd00:16:1::/64"] }
    - { ends: [tor, n2], subnets: [172.16.2.0/30, "fd00:16:2::/64"] }
    - { ends: [tor, outside], subnets: [192.0.2.0/29, "2001:db8:2::/64"] }
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec: { asNumber: 64512, advertiseNodeAddresses: true, holdTime: 9s }
${[1, 2]
  .map(
    (n) => `---
apiVersion: v1
kind: Node
metadata: { name: n${n} }
spec: { podCIDRs: [10.42.${n}.0/24, "fd00:42:${n}::/64"] }
status: { addresses: [{ type: InternalIP, address: 10.0.0.${n} }, { type: InternalIP, address: "fd00:10::${n}" }] }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: n${n}-tor }
spec: { node: n${n}, peerIP: 172.16.${n}.1, asNumber: 65001 }
`,
  )
  .join('')}`;

/** A Pod document. `ports`: `name:number/PROTOCOL`. */
export function podDocument(pod: {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
}): string {
  const ports = (pod.ports ?? ['web:80/TCP']).map((text) => {
    const [, name, containerPort, protocol] = /^(.+):(\d+)\/(\w+)$/.exec(text)!;
    return { name, containerPort: Number(containerPort), protocol };
  });
  return `---\n${JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace: pod.namespace, name: pod.name, labels: pod.labels ?? {} },
    spec: { nodeName: pod.node, containers: [{ name: 'c', image: 'example/c', ports }] },
  })}\n`;
}
