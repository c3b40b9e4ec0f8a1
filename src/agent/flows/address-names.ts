/** Whose an address is: the pods that Pod objects and CNI speak of, and the nodes. One change costs as many steps as it has addresses. */
import type { IpAddress } from '#kit';
import type { EndpointId, ModelUpdate, WorkloadEndpoint } from '#model';

export interface AddressOwner {
  /** `namespace/name` */
  readonly pod?: EndpointId;
  readonly node?: string;
}

export interface AddressNames {
  note(update: ModelUpdate): void;
  /** All pods of this node as CNI wired them: known before any status says so. */
  setEndpoints(endpoints: readonly WorkloadEndpoint[]): void;
  of(address: IpAddress): AddressOwner;
  /** The pod of this node that has the interface. */
  onInterface(name: string): EndpointId | undefined;
}

export function createAddressNames(): AddressNames {
  const pods = ownersByAddress();
  const nodes = ownersByAddress();
  let local = new Map<IpAddress, EndpointId>();
  let interfaces = new Map<string, EndpointId>();
  return {
    note(update) {
      if (update.kind === 'Pod') {
        const pod = update.type === 'upsert' ? update.object : undefined;
        const isOwner = pod && !pod.hostNetwork && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';
        pods.set(update.key, isOwner ? pod.podIPs : []);
      } else if (update.kind === 'Node') {
        const node = update.type === 'upsert' ? update.object : undefined;
        nodes.set(update.key, node ? [...node.internalIPs, ...(node.otherIPs ?? [])] : []);
      }
    },
    setEndpoints(endpoints) {
      interfaces = new Map(endpoints.map(({ id, interfaceName }) => [interfaceName, id]));
      local = new Map(endpoints.flatMap(({ id, addresses }) => addresses.map((address) => [address, id] as const)));
    },
    onInterface: (name) => interfaces.get(name),
    of(address) {
      const pod = local.get(address) ?? pods.get(address);
      if (pod !== undefined) return { pod };
      const node = nodes.get(address);
      return node === undefined ? {} : { node };
    },
  };
}

/** While two own an address (an old pod's object stays a while), the one that said so last. */
function ownersByAddress() {
  const addressesOf = new Map<string, readonly IpAddress[]>();
  const owners = new Map<IpAddress, string | readonly string[]>();
  const list = (address: IpAddress): readonly string[] => {
    const found = owners.get(address) ?? [];
    return typeof found === 'string' ? [found] : found;
  };
  const put = (address: IpAddress, names: readonly string[]): void => {
    if (names.length === 0) owners.delete(address);
    else owners.set(address, names.length === 1 ? names[0]! : names);
  };
  return {
    set(owner: string, addresses: readonly IpAddress[]): void {
      const before = addressesOf.get(owner) ?? [];
      if (before.length === addresses.length && before.every((address, i) => address === addresses[i])) return;
      for (const address of before)
        put(
          address,
          list(address).filter((name) => name !== owner),
        );
      if (addresses.length > 0) addressesOf.set(owner, addresses);
      else addressesOf.delete(owner);
      for (const address of addresses) put(address, [...list(address).filter((name) => name !== owner), owner]);
    },
    get: (address: IpAddress): string | undefined => list(address).at(-1),
  };
}
