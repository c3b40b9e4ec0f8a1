/** This namespace's interfaces and their addresses, as far as a BGP session needs them. */
import os from 'node:os';
import type { LocalLink } from '#bgp';
import { cidrContains, isLinkLocal, splitZone, toCidr, toIpAddress } from '#kit';

/** Reading them costs some 0.1 ms, and a thousand sessions that come up at once all ask. */
const keptMs = 1000;

type Interfaces = ReturnType<typeof os.networkInterfaces>;

export class LocalLinks {
  readonly #read: () => Interfaces;
  readonly #nowMs: () => number;
  #interfaces: Interfaces = {};
  #readAtMs = Number.NEGATIVE_INFINITY;

  constructor(read: () => Interfaces = os.networkInterfaces, nowMs = () => performance.now()) {
    this.#read = read;
    this.#nowMs = nowMs;
  }

  /** Addresses changed. */
  forget(): void {
    this.#readAtMs = Number.NEGATIVE_INFINITY;
  }

  /** See `Transport.linkOf`: the interface with our address whose subnet holds the peer's; link-local peers name theirs. */
  linkOf(localAddress: string, remoteAddress: string): LocalLink | undefined {
    const { zone } = splitZone(remoteAddress);
    if (zone !== undefined) return linkOf(zone, this.#all()[zone] ?? []);
    const remote = toIpAddress(remoteAddress);
    for (const [name, addresses = []] of Object.entries(this.#all())) {
      const own = addresses.find(({ address, internal }) => address === localAddress && !internal);
      const subnet = toCidr(own?.cidr ?? '');
      if (remote && subnet && cidrContains(subnet, remote)) return linkOf(name, addresses);
    }
    return undefined;
  }

  #all(): Interfaces {
    const now = this.#nowMs();
    if (now - this.#readAtMs < keptMs) return this.#interfaces;
    this.#readAtMs = now;
    this.#interfaces = this.#read();
    return this.#interfaces;
  }
}

function linkOf(name: string, addresses: NonNullable<Interfaces[string]>): LocalLink {
  const six = addresses.filter(({ family, internal }) => family === 'IPv6' && !internal).map(({ address }) => address);
  const linkLocal = six.find(isLinkLocal);
  const global = six.filter((address) => !isLinkLocal(address));
  return { interface: name, global, ...(linkLocal === undefined ? {} : { linkLocal }) };
}
