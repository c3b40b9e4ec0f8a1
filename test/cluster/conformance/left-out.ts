/**
 * Every spec of the chosen suites that is not run, and why. A name that the pinned e2e.test does not know (any more) fails the
 * run, so that this list cannot outlive its reasons unseen.
 */
export interface LeftOut {
  readonly spec: string;
  readonly why: string;
}

const sctp = 'the kernel of the test machines has no SCTP sockets, which server and client of this spec open';
const between =
  '[sig-network] Netpol [Feature:SCTPConnectivity] [LinuxOnly] NetworkPolicy between server and client using SCTP';

export const leftOut: readonly LeftOut[] = [
  { spec: `${between} should enforce policy based on Ports [Feature:NetworkPolicy]`, why: sctp },
  {
    spec: `${between} should enforce policy to allow traffic only from a pod in a different namespace based on PodSelector and NamespaceSelector [Feature:NetworkPolicy]`,
    why: sctp,
  },
  { spec: `${between} should support a 'default-deny-ingress' policy [Feature:NetworkPolicy]`, why: sctp },
];
