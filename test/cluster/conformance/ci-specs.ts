/** What CI runs of the suites: a fixed list, the hard ones among them. `npm run test:conformance -- --ci`. */
const policy = (text: string): string =>
  `[sig-network] Netpol NetworkPolicy between server and client ${text} [Feature:NetworkPolicy]`;
const udp = (text: string): string =>
  `[sig-network] Netpol [LinuxOnly] NetworkPolicy between server and client using UDP ${text} [Feature:NetworkPolicy]`;

export const ciSpecs: readonly string[] = [
  policy("should support a 'default-deny-all' policy"),
  policy('should enforce except clause while egress access to server in CIDR block'),
  policy('should ensure an IP overlapping both IPBlock.CIDR and IPBlock.Except is allowed'),
  policy('should allow egress access on one named port'),
  policy('should allow ingress access from namespace on one named port'),
  policy('should allow ingress access from updated namespace'),
  policy('should deny ingress access to updated pod'),
  policy('should enforce updated policy'),
  policy('should stop enforcing policies after they are deleted'),
  policy('should enforce multiple, stacked policies with overlapping podSelectors'),
  policy('should enforce policy based on Multiple PodSelectors and NamespaceSelectors'),
  policy(
    'should enforce policies to check ingress and egress policies can be controlled independently based on PodSelector',
  ),
  policy("should not mistakenly treat 'protocol: SCTP' as 'protocol: TCP', even if the plugin doesn't support SCTP"),
  policy(
    "should properly isolate pods that are selected by a policy allowing SCTP, even if the plugin doesn't support SCTP",
  ),
  policy('should not allow access by TCP when a policy specifies only UDP'),
  udp('should enforce policy based on Ports'),
  '[sig-network] DNS should provide DNS for services [Conformance]',
  '[sig-network] HostPort validates that there is no conflict between pods with same hostPort but different hostIP and protocol [LinuxOnly] [Conformance]',
  '[sig-network] Networking Granular Checks: Pods should function for intra-pod communication: udp [NodeConformance] [Conformance]',
  '[sig-network] Networking Granular Checks: Pods should function for node-pod communication: http [LinuxOnly] [NodeConformance] [Conformance]',
  '[sig-network] Proxy version v1 should proxy through a service and a pod [Conformance]',
  '[sig-network] Services should be able to create a functioning NodePort service [Conformance]',
  '[sig-network] Services should have session affinity work for NodePort service [LinuxOnly] [Conformance]',
  '[sig-network] Services should serve multiport endpoints from pods [Conformance]',
];
