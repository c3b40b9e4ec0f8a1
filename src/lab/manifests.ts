/**
 * The lab's copy of the manifests: `manifests/` holds one file an object as the lab keeps it (with uid, and status where the
 * lab plays kubelet), and each node has a directory of its own with the same files, which its agent's file datastore watches.
 */
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { decodeObject, formatPath, identify } from '#datastore';
import { type Cidr, cidrContains, hostCidr, toCidr, toIpAddress } from '#kit';
import { type Manifest, manifestKey, readManifests } from './documents.ts';
import { type LabPaths, nodePaths } from './names.ts';
import type { LabPod } from './state.ts';

/** An object as it is handed to the agents. */
export type ObjectValue = Readonly<Record<string, unknown>>;

export interface StoredObject {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly value: ObjectValue;
}

/** File names and names of namespaces are made of them, with a prefix and a suffix; the file system takes 255 bytes. */
const nameLengthMax = 200;

function at(value: unknown, ...keys: readonly string[]): unknown {
  let current = value;
  for (const key of keys) {
    if (typeof current !== 'object' || current === null) return undefined;
    current = (current as Record<string, unknown>)[key];
  }
  return current;
}

function listAt(value: unknown, ...keys: readonly string[]): readonly unknown[] {
  const found = at(value, ...keys);
  return Array.isArray(found) ? found : [];
}

/** InternalIPs of a Node object. */
export function nodeAddresses(value: ObjectValue): string[] {
  return listAt(value, 'status', 'addresses').flatMap((entry) => {
    const address = toIpAddress(String(at(entry, 'address')));
    return at(entry, 'type') === 'InternalIP' && address ? [address] : [];
  });
}

/** AS number of a node: Calico's annotation, else the BGPConfiguration of the node, else `default`, else 64512. */
export function nodeAsn(objects: readonly StoredObject[], node: string): number {
  const find = (kind: string, name: string): StoredObject | undefined =>
    objects.find((object) => object.kind === kind && object.name === name);
  const annotated = at(find('Node', node)?.value, 'metadata', 'annotations', 'projectcalico.org/ASNumber');
  const configured = ['default', `node.${node}`].map((name) =>
    at(find('BGPConfiguration', name)?.value, 'spec', 'asNumber'),
  );
  return Number(annotated ?? configured[1] ?? configured[0] ?? 64512);
}

/**
 * Checks documents as the API server and the agents would (before anything is built, with the line in the given file), and
 * what the lab itself needs: Node objects of the topology's nodes, Pods with a node of the topology.
 */
export function checkManifests(manifests: readonly Manifest[], nodes: readonly string[]): string[] {
  const problems: string[] = [];
  const bad = (manifest: Manifest, where: readonly (string | number)[], what: string): void => {
    const name = manifest.namespace ? `${manifest.namespace}/${manifest.name}` : manifest.name;
    problems.push(`${manifest.file}:${manifest.lineOf(where)}: ${manifest.kind} ${name}: ${what}`);
  };
  for (const manifest of manifests) {
    if (manifest.kind !== 'Topology') {
      const identity = identify(manifest.value);
      const faults =
        identity.type === 'object'
          ? decodeObject(identity.kind, manifest.value).faults
          : identity.type === 'unidentified'
            ? identity.faults
            : [];
      for (const fault of faults) bad(manifest, fault.path, `${formatPath(fault.path)}: ${fault.message}`);
      if (identity.type === 'ignored')
        bad(manifest, ['kind'], `${manifest.kind} of ${identity.apiVersion} means nothing to Poplin; leave it out`);
    }
    if (manifest.kind === 'Node' && nodes.includes(manifest.name)) {
      if (nodeAddresses(manifest.value).length === 0)
        bad(manifest, ['status', 'addresses'], 'status.addresses holds no InternalIP');
      if (!listAt(manifest.value, 'spec', 'podCIDRs').some((cidr) => toCidr(String(cidr)))) {
        bad(manifest, ['spec', 'podCIDRs'], 'spec.podCIDRs holds no prefix');
      }
    }
    if (manifest.namespace.length + manifest.name.length > nameLengthMax)
      bad(manifest, ['metadata', 'name'], `namespace and name are longer than ${nameLengthMax} characters together`);
    if (manifest.kind !== 'Pod') continue;
    const node = at(manifest.value, 'spec', 'nodeName');
    if (typeof node !== 'string' || !nodes.includes(node)) {
      bad(
        manifest,
        ['spec', 'nodeName'],
        `spec.nodeName ${JSON.stringify(node)} is no node of the topology (${nodes.join(', ')})`,
      );
    }
  }
  checkNodesApart(manifests, nodes, bad);
  for (const node of nodes) {
    if (!manifests.some((manifest) => manifest.kind === 'Node' && manifest.name === node)) {
      problems.push(`topology: node ${node} has no Node manifest (kind: Node with spec.podCIDRs and status.addresses)`);
    }
  }
  return problems;
}

type Bad = (manifest: Manifest, where: readonly (string | number)[], what: string) => void;

/** Two nodes with one address, or with pods out of one range, would come up and then lose packets without a word. */
function checkNodesApart(manifests: readonly Manifest[], nodes: readonly string[], bad: Bad): void {
  const seen: { readonly prefix: Cidr; readonly what: string; readonly node: string }[] = [];
  for (const manifest of manifests) {
    if (manifest.kind !== 'Node' || !nodes.includes(manifest.name)) continue;
    const podCidrs = listAt(manifest.value, 'spec', 'podCIDRs').flatMap((text) => toCidr(String(text)) ?? []);
    const claims = [
      ...podCidrs.map((prefix) => ({ prefix, what: 'podCIDRs', where: ['spec', 'podCIDRs'] })),
      ...nodeAddresses(manifest.value).map((address) => ({
        prefix: hostCidr(toIpAddress(address)!),
        what: 'InternalIP',
        where: ['status', 'addresses'],
      })),
    ];
    for (const { prefix, what, where } of claims) {
      const met = seen.find(
        (one) => one.node !== manifest.name && (cidrContains(one.prefix, prefix) || cidrContains(prefix, one.prefix)),
      );
      if (met)
        bad(
          manifest,
          where,
          `${what} ${prefix} overlaps ${met.what} ${met.prefix} of Node ${met.node}; give each its own`,
        );
      seen.push({ prefix, what, node: manifest.name });
    }
  }
}

/** What the API server would add: uid, the namespace's name as a label, a Namespace for each one that is only named. */
export function complete(manifests: readonly Manifest[], known: readonly StoredObject[]): StoredObject[] {
  const knownByKey = new Map(known.map((object) => [manifestKey(object), object]));
  const objects = manifests
    .filter(({ kind }) => kind !== 'Topology')
    .map((manifest): StoredObject => {
      const old = knownByKey.get(manifestKey(manifest))?.value;
      const given = (at(manifest.value, 'metadata') ?? {}) as Record<string, unknown>;
      const uid = given['uid'] ?? at(old, 'metadata', 'uid') ?? crypto.randomUUID();
      const metadata: Record<string, unknown> = { ...given, uid };
      if (manifest.namespace) metadata['namespace'] = manifest.namespace;
      if (manifest.kind === 'Namespace') {
        metadata['labels'] = {
          ...(given['labels'] as object | undefined),
          'kubernetes.io/metadata.name': manifest.name,
        };
      }
      // A Pod's status is the kubelet's: what the lab wrote stays, whatever the manifest says.
      const value =
        manifest.kind === 'Pod'
          ? { ...manifest.value, metadata, status: at(old, 'status') ?? { phase: 'Pending' } }
          : { ...manifest.value, metadata };
      return { kind: manifest.kind, namespace: manifest.namespace, name: manifest.name, value };
    });
  const namespaces = new Set([...objects, ...known].filter(({ kind }) => kind === 'Namespace').map(({ name }) => name));
  for (const { namespace } of [...objects]) {
    if (!namespace || namespaces.has(namespace)) continue;
    namespaces.add(namespace);
    objects.push(plainNamespace(namespace));
  }
  return objects;
}

function plainNamespace(name: string): StoredObject {
  const metadata = { name, uid: crypto.randomUUID(), labels: { 'kubernetes.io/metadata.name': name } };
  return { kind: 'Namespace', namespace: '', name, value: { apiVersion: 'v1', kind: 'Namespace', metadata } };
}

/** A Pod object as the kubelet sees it. */
export function podOf(object: StoredObject): LabPod {
  const { value } = object;
  const uid = String(at(value, 'metadata', 'uid'));
  const sidecars = listAt(value, 'spec', 'initContainers').filter((one) => at(one, 'restartPolicy') === 'Always');
  const ports = [...sidecars, ...listAt(value, 'spec', 'containers')].flatMap((container) =>
    listAt(container, 'ports').flatMap((port): LabPod['ports'] => {
      const protocol = at(port, 'protocol') ?? 'TCP';
      const number = Number(at(port, 'containerPort'));
      return protocol === 'TCP' || protocol === 'UDP' ? [{ protocol, port: number }] : []; // SCTP is not served
    }),
  );
  return {
    namespace: object.namespace,
    name: object.name,
    uid,
    nodeName: String(at(value, 'spec', 'nodeName')),
    hostNetwork: at(value, 'spec', 'hostNetwork') === true,
    containerId: crypto.createHash('sha256').update(uid).digest('hex'),
    addresses: listAt(value, 'status', 'podIPs').map((entry) => String(at(entry, 'ip'))),
    ports,
  };
}

/** The Pod with the status that a kubelet would write. */
export function withStatus(
  object: StoredObject,
  addresses: readonly string[],
  hostIPs: readonly string[],
): StoredObject {
  const status = {
    phase: 'Running',
    podIP: addresses[0],
    podIPs: addresses.map((ip) => ({ ip })),
    hostIP: hostIPs[0],
    hostIPs: hostIPs.map((ip) => ({ ip })),
  };
  return { ...object, value: { ...object.value, status } };
}

function fileName(object: Pick<StoredObject, 'kind' | 'namespace' | 'name'>): string {
  return `${object.kind}.${object.namespace ? `${object.namespace}.` : ''}${object.name}.yaml`;
}

/** The directories of a lab's manifests: the lab's own, and one a node. */
export class ManifestStore {
  readonly #lab: LabPaths;
  readonly #nodes: readonly string[];
  readonly #withheld: Readonly<Record<string, readonly string[]>>;
  constructor(lab: LabPaths, nodes: readonly string[], withheld: Readonly<Record<string, readonly string[]>>) {
    this.#lab = lab;
    this.#nodes = nodes;
    this.#withheld = withheld;
    for (const directory of this.#directories()) fs.mkdirSync(directory.path, { recursive: true });
  }

  read(): StoredObject[] {
    if (fs.readdirSync(this.#own).length === 0) return [];
    return readManifests([this.#own]).map(({ kind, namespace, name, value }) => ({ kind, namespace, name, value }));
  }

  /** Writes an object everywhere it belongs. @returns whether anything changed. */
  write(object: StoredObject): boolean {
    const text = stringify(object.value);
    let changed = false;
    for (const { path: directory, node } of this.#directories()) {
      if (node && this.#withheld[node]?.includes(manifestKey(object))) continue;
      const file = path.join(directory, fileName(object));
      if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) continue;
      // A name that no datastore reads, then a rename: an agent never sees half a file.
      const temporary = path.join(directory, `.${fileName(object)}.new`);
      fs.writeFileSync(temporary, text);
      fs.renameSync(temporary, file);
      changed = true;
    }
    return changed;
  }

  remove(object: Pick<StoredObject, 'kind' | 'namespace' | 'name'>): void {
    for (const directory of this.#directories())
      fs.rmSync(path.join(directory.path, fileName(object)), { force: true });
  }

  get #own(): string {
    return path.join(this.#lab.directory, 'manifests');
  }
  #directories(): { readonly path: string; readonly node?: string }[] {
    return [{ path: this.#own }, ...this.#nodes.map((node) => ({ path: nodePaths(this.#lab, node).datastore, node }))];
  }
}
