/** Addresses of domain names in egress rules, from the DNS answers that pods get. */

export { decodeDnsAnswer } from './dns-message.ts';
export type { DomainTimes } from './domain-sets.ts';
export { createDomains, type Domains } from './domains.ts';
export { dnsServerAddresses, nameServersOf } from './servers.ts';
