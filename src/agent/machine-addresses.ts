/** The kernel's links, addresses and routes as node-address.ts wants them; read again when something changed. */
import type { IpAddress } from '#kit';
import { dumpAddresses, dumpLinks, type KernelAddress, lookupRoute, Netlink } from '#sys';
import type { MachineAddress, MachineLink, MachineRoute } from './node-address.ts';

export interface MachineAddresses {
  links(): readonly MachineLink[];
  addresses(): readonly MachineAddress[];
  /** Which way the kernel would send to `destination` now. */
  route(destination: IpAddress): MachineRoute | undefined;
  /** Links or addresses changed. */
  forget(): void;
}

const SCOPE_LINK = 253;
const SCOPE_HOST = 254;
const loopback4 = /^127\./;
const linkLocal = /^(169\.254\.|fe[89ab][0-9a-f]:)/;

export function openMachineAddresses(): MachineAddresses {
  const netlink = new Netlink();
  let links: readonly MachineLink[] | undefined;
  let addresses: readonly MachineAddress[] | undefined;
  return {
    links: () => (links ??= dumpLinks(netlink)),
    addresses: () => (addresses ??= dumpAddresses(netlink).map(machineAddress)),
    route(destination) {
      const found = lookupRoute(netlink, destination);
      if (!found) return undefined;
      return { ifIndex: found.ifIndex, ...(found.prefsrc ? { source: found.prefsrc } : {}) };
    },
    forget() {
      links = undefined;
      addresses = undefined;
    },
  };
}

function machineAddress(kernel: KernelAddress): MachineAddress {
  const { family, address, prefixLength, ifIndex, secondary, deprecated, tentative, dynamic } = kernel;
  const temporary = family === 6 && secondary;
  const common = { family, address, prefixLength, ifIndex, temporary, deprecated, tentative, dynamic };
  return { ...common, scope: scopeOf(kernel), secondary: family === 4 && secondary };
}

function scopeOf({ address, scope }: KernelAddress): MachineAddress['scope'] {
  if (scope === SCOPE_HOST || loopback4.test(address)) return 'host';
  return scope === SCOPE_LINK || linkLocal.test(address) ? 'link' : 'global';
}
