/** Addresses of domain names in egress rules, from the DNS answers that pods get. */
export { createDomains, type Domains, type DomainsDeps } from './domains.ts';
