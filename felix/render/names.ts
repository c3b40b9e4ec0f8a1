/**
 * Kernel names. A chain name holds 28 characters and a set name 31 (both without the final NUL), a policy's or a set's own name
 * up to several hundred: whatever is not bounded is hashed. A hash is of the whole readable id, so that ids which join alike
 * (`x-y/z` and `x/y-z`) or differ only late do not meet.
 */
import { hash } from 'node:crypto';
import type { IpFamily } from '#kit';
import type { EndpointId, PolicyId, SetId, SetType } from '#model';

/** `net,iface` is the dataplane's own: members are `prefix,interface`. */
export type KernelSetType = SetType | 'net,iface';
export type Direction = 'ingress' | 'egress';

export interface Names {
  readonly chainPrefix: string;
  readonly setPrefix: string;
  /** Every pod interface begins with it, and no other interface does. */
  readonly interfacePrefix: string;
}
export const defaultNames: Names = { chainPrefix: 'poplin-', setPrefix: 'poplin', interfacePrefix: 'pop' };

const chainNameCharsMax = 28;
const setNameCharsMax = 31;
const hashChars = 16;

/** The first `chars` characters (6 bits each) of the SHA-256 of `text` in base64url. */
export function shortHash(text: string, chars = hashChars): string {
  return hash('sha256', text, 'base64url').slice(0, chars);
}

/** `poplin-pi-…` for ingress, `poplin-po-…` for egress. */
export function policyChain(names: Names, direction: Direction, id: PolicyId): string {
  return bounded(`${names.chainPrefix}p${direction === 'ingress' ? 'i' : 'o'}-${shortHash(id)}`, chainNameCharsMax);
}

/** `poplin-gi-…`, `poplin-go-…`: the policies of a tier, in order, for all endpoints that have just these. */
export function groupChain(names: Names, direction: Direction, policies: readonly PolicyId[]): string {
  const name = `${names.chainPrefix}g${direction === 'ingress' ? 'i' : 'o'}-${shortHash(policies.join('\n'))}`;
  return bounded(name, chainNameCharsMax);
}

/** `poplin-tw-IF` (to workload: ingress), `poplin-fw-IF` (from workload: egress). */
export function endpointChain(names: Names, direction: Direction, interfaceName: string): string {
  return bounded(`${names.chainPrefix}${direction === 'ingress' ? 'tw' : 'fw'}-${interfaceName}`, chainNameCharsMax);
}

/** The root of the dispatch tree (`suffix` empty) or the branch for interfaces that begin with prefix + `suffix`. */
export function dispatchChain(names: Names, direction: Direction, suffix = ''): string {
  const root = `${names.chainPrefix}${direction === 'ingress' ? 'to' : 'from'}`;
  return bounded(suffix ? `${root}-${suffix}` : root, chainNameCharsMax);
}

/** Traffic of host endpoints, each in chains of its own: what ends or begins at the node, what it forwards, what comes in untranslated, every packet. */
export const hostTraffics = ['local', 'forward', 'preDNAT', 'untracked'] as const;
export type HostTrafficKind = (typeof hostTraffics)[number];

const hostLetters = { local: 'h', forward: 'f', preDNAT: 'n', untracked: 'u' } as const;
const hostHashChars = 15;

/** `poplin-hhi-…`: of one host endpoint. */
export function hostChain(names: Names, kind: HostTrafficKind, direction: Direction, id: EndpointId): string {
  const letters = `h${hostLetters[kind]}${direction === 'ingress' ? 'i' : 'o'}`;
  return bounded(`${names.chainPrefix}${letters}-${shortHash(id, hostHashChars)}`, chainNameCharsMax);
}

/** From an interface to its host endpoint. */
export function hostDispatchChain(names: Names, kind: HostTrafficKind, direction: Direction): string {
  const letters = `${hostLetters[kind]}${direction === 'ingress' ? 'i' : 'o'}`;
  return bounded(`${names.chainPrefix}hosts-${letters}`, chainNameCharsMax);
}

/** Nothing jumps to it: its presence says that the kernel takes rules that log. */
export const flowLogChain = (names: Names): string => bounded(`${names.chainPrefix}nflog`, chainNameCharsMax);

/** Asks whether an answer is of a trusted DNS server. */
export const dnsChain = (names: Names): string => bounded(`${names.chainPrefix}dns`, chainNameCharsMax);
/** Accepts an answer by way of the agent's queue. */
export const dnsAnswerChain = (names: Names): string => bounded(`${names.chainPrefix}dns-answer`, chainNameCharsMax);

/** Drops for a reason, and tells of it. */
export function toldDropChain(names: Names, reason: string): string {
  return bounded(`${names.chainPrefix}x-${shortHash(reason)}`, chainNameCharsMax);
}

/** The type is part of the hash: a set that changes its type is another set, because the kernel swaps only equal types. */
export function kernelSetName(names: Names, family: IpFamily, type: KernelSetType, id: SetId): string {
  return bounded(`${names.setPrefix}${family}-${shortHash(`${type}|${id}`, 20)}`, setNameCharsMax);
}

/** Longest names that a prefix leads to; checked once so that a long prefix fails at the start and not on the first long name. */
export function checkNames(names: Names): void {
  endpointChain(names, 'ingress', 'x'.repeat(15));
  policyChain(names, 'ingress', 'x');
  hostChain(names, 'local', 'ingress', 'x');
  dispatchChain(names, 'egress', 'x'.repeat(15 - names.interfacePrefix.length));
  kernelSetName(names, 4, 'ip', 'x');
}

function bounded(name: string, max: number): string {
  if (name.length > max)
    throw new RangeError(`kernel name "${name}" has more than ${max} characters: use a shorter prefix`);
  return name;
}
