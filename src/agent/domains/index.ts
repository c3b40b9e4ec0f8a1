/** Addresses of domain names in egress rules, from the DNS answers that pods get. */

export { decodeDnsAnswer } from './dns-message.ts';
export type { DomainTimes } from './domain-sets.ts';
export { createDomains, type Domains } from './domains.ts';
export { nameServersOf } from './servers.ts';
export { createTrustedServers } from './trusted-servers.ts';
