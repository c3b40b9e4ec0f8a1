/** A PacketWorld whose node has host endpoints: manifests in, through decoder, engine and dataplane, to real packets. */
import assert from 'node:assert/strict';
import { parseAllDocuments } from 'yaml';
import { decodeObject, identify } from '#datastore';
import type { Backend, PolicyDataplane } from '#felix';
import type { ModelUpdate } from '#model';
import { applyTo, podsOf, startEngine } from './engine-world.ts';
import { PacketWorld } from './packet-world.ts';

export interface HostWorld extends AsyncDisposable {
  readonly world: PacketWorld;
  readonly dataplane: PolicyDataplane;
  /** Applies manifests and waits until they are in force. */
  apply(manifests: string): Promise<void>;
  remove(kind: 'HostEndpoint' | 'GlobalNetworkPolicy', name: string): Promise<void>;
}

/** Pods `ns/a`, ... are known and wired; `up0` has the node's addresses, the host outside stands behind it. */
export async function makeHostWorld(backend: Backend, podNames: readonly string[] = ['a', 'b']): Promise<HostWorld> {
  const world = await PacketWorld.make(podNames);
  const dataplane = await world.startDataplane({ backend });
  dataplane.setInterfaces(new Map([['up0', Object.values(world.node.addresses)]]));
  const change = await startEngine(applyTo(dataplane), podsOf(world));
  return {
    world,
    dataplane,
    apply: (manifests) => change(...updatesOf(manifests)),
    remove: (kind, name) => change({ type: 'delete', kind, key: name }),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

function updatesOf(manifests: string): ModelUpdate[] {
  return parseAllDocuments(manifests).map((document) => {
    const value: unknown = document.toJS();
    const identity = identify(value);
    assert.equal(identity.type, 'object');
    const { kind, key } = identity as Extract<typeof identity, { type: 'object' }>;
    const { faults, typed } = decodeObject(kind, value);
    assert.deepEqual(faults, []);
    return { type: 'upsert', key, ...typed! } as ModelUpdate;
  });
}

const rulesText = (direction: string, rules: readonly string[]): string =>
  rules.length === 0 ? '' : `  ${direction}:\n${rules.map((rule) => `  - ${rule}\n`).join('')}`;

export function hostEndpoint(name: string, spec: string, labels = 'role: node'): string {
  return `apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: { name: ${name}, labels: { ${labels} } }\nspec: { node: n1, ${spec} }\n`;
}

/** For hosts with the label `role: node`. @param more fields of the spec, in flow style. */
export function hostPolicy(
  name: string,
  rules: { readonly ingress?: readonly string[]; readonly egress?: readonly string[]; readonly types?: string },
  more: readonly string[] = [],
): string {
  const { ingress = [], egress = [], types } = rules;
  return [
    `apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: { name: ${name} }\nspec:\n  selector: role == 'node'\n`,
    ...more.map((field) => `  ${field}\n`),
    types === undefined ? '' : `  types: ${types}\n`,
    rulesText('ingress', ingress),
    rulesText('egress', egress),
  ].join('');
}
