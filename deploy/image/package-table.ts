/**
 * Which Debian packages the image is made of, and which of their files it takes. The Dockerfile beside this names the same ones; a
 * test compares the two.
 */
import { machine } from './names.ts';

export interface DebianPackage {
  readonly name: string;
  readonly why: string;
  /** Paths as they stand in the image (below usr/); `*` is any run of characters but a slash. */
  readonly take: readonly string[];
}

const libraries = `usr/lib/${machine.triplet}`;

export const debianPackages: readonly DebianPackage[] = [
  {
    name: 'base-files',
    why: 'os-release, by which scanners know the distribution; the licences that packages refer to',
    take: ['etc/os-release', 'usr/lib/os-release', 'usr/share/common-licenses/*'],
  },
  { name: 'gcc-12-base', why: 'the copyright of libgcc and libstdc++', take: [] },
  { name: 'ipset', why: 'address sets of network policies', take: ['usr/sbin/ipset'] },
  {
    name: 'iptables',
    why: 'network policy in the kernel, by either back end',
    take: [
      'usr/sbin/xtables-*-multi',
      'usr/sbin/ip*tables-nft*',
      'usr/sbin/ip*tables-legacy*',
      // Extensions of every match and target, as rules of others must be read too; not those of arptables and ebtables.
      `${libraries}/xtables/libxt_*`,
      `${libraries}/xtables/libipt_*`,
      `${libraries}/xtables/libip6t_*`,
    ],
  },
  {
    name: 'libc6',
    why: 'C library of Node and of the tools',
    take: [
      'usr/lib64/ld-linux*',
      'usr/lib/ld-linux*',
      ...['ld-linux*', 'libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0'].map((name) => `${libraries}/${name}`),
    ],
  },
  { name: 'libgcc-s1', why: 'Node', take: [`${libraries}/libgcc_s.so.1`] },
  { name: 'libip4tc2', why: 'iptables, legacy back end', take: [`${libraries}/libip4tc.so.*`] },
  { name: 'libip6tc2', why: 'ip6tables, legacy back end', take: [`${libraries}/libip6tc.so.*`] },
  { name: 'libipset13', why: 'ipset', take: [`${libraries}/libipset.so.*`] },
  { name: 'libmnl0', why: 'ipset and iptables, nft back end', take: [`${libraries}/libmnl.so.*`] },
  { name: 'libnetfilter-conntrack3', why: 'the connlabel match', take: [`${libraries}/libnetfilter_conntrack.so.*`] },
  { name: 'libnfnetlink0', why: 'libnetfilter-conntrack3', take: [`${libraries}/libnfnetlink.so.*`] },
  { name: 'libnftnl11', why: 'iptables, nft back end', take: [`${libraries}/libnftnl.so.*`] },
  { name: 'libstdc++6', why: 'Node', take: [`${libraries}/libstdc++.so.6*`] },
  { name: 'libxtables12', why: 'iptables', take: [`${libraries}/libxtables.so.*`] },
  { name: 'netbase', why: 'names of protocols in rules', take: ['etc/protocols'] },
];

/** Dependencies that the image does without; a new one that stands neither here nor above fails the build. */
export const leftOut: Readonly<Record<string, string>> = {
  awk: 'used by the installation scripts of base-files only',
};

/** The reference CNI plugins, where no Go toolchain is there to build newer ones. */
export const cniPluginsPackage: DebianPackage = {
  name: 'containernetworking-plugins',
  why: 'portmap, for hostPort, and loopback',
  take: ['usr/lib/cni/portmap', 'usr/lib/cni/loopback'],
};

/** @param pattern `*` is any run of characters but a slash. */
export function matches(pattern: string, path: string): boolean {
  const source = pattern.replaceAll(/[.+^$()[\]{}|\\]/g, '\\$&').replaceAll('*', '[^/]*');
  return new RegExp(`^${source}$`).test(path);
}
