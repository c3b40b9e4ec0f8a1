/** What a suite of policies holds: clusters, policies and who may then talk to whom (`policy-suite/1`). */
export const suiteProtocols = ['TCP', 'UDP', 'SCTP'] as const;
export type SuiteProtocol = (typeof suiteProtocols)[number];
export const suiteFamilies = ['IPv4', 'IPv6'] as const;
export type SuiteFamily = (typeof suiteFamilies)[number];
type Labels = Readonly<Record<string, string>>;

export interface SuitePort {
  readonly protocol: SuiteProtocol;
  readonly port: number;
}

export interface SuitePod {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly labels: Labels;
  readonly ports: readonly (SuitePort & { readonly name?: string })[];
  readonly serves: readonly SuitePort[];
  readonly hostNetwork?: boolean;
  readonly phase?: string;
  readonly terminating?: boolean;
  readonly serviceAccount?: string;
}

export interface SuiteService {
  readonly namespace: string;
  readonly name: string;
  readonly selector: Labels;
  readonly clusterIPs: readonly string[];
  readonly ports: readonly (SuitePort & { readonly name?: string; readonly targetPort?: number | string })[];
}

export interface SuiteNode {
  readonly name: string;
  readonly ips: readonly string[];
  readonly labels?: Labels;
}

export interface SuiteExternal {
  readonly name: string;
  readonly ips: readonly string[];
  /** DNS names that resolve to it. */
  readonly names?: readonly string[];
}

export interface SuiteNamespace {
  readonly name: string;
  readonly labels?: Labels;
}

export interface SuiteCluster {
  /** Its name in the file. */
  readonly id: string;
  readonly nodes: readonly SuiteNode[];
  readonly namespaces: readonly SuiteNamespace[];
  readonly pods: readonly SuitePod[];
  readonly services: readonly SuiteService[];
  readonly externals: readonly SuiteExternal[];
}

/** A manifest as a user writes it. */
export interface SuiteManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: Readonly<Record<string, unknown>>;
}

export interface SuiteFlow {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly protocol: SuiteProtocol;
  readonly port: number;
  /** Reconnect for ever; alive then means that one attempt succeeded since the last look. */
  readonly retry?: boolean;
}

export type SuiteOperation =
  | { readonly op: 'apply'; readonly object: SuiteManifest }
  | {
      readonly op: 'delete';
      readonly kind: string;
      readonly apiGroup?: string;
      readonly namespace?: string;
      readonly name: string;
    }
  | {
      readonly op: 'setLabels';
      readonly kind: 'Namespace' | 'Pod' | 'Node';
      readonly namespace?: string;
      readonly name: string;
      readonly labels: Labels;
    }
  | { readonly op: 'addNamespace'; readonly namespace: SuiteNamespace }
  | { readonly op: 'deleteNamespace'; readonly name: string }
  | {
      readonly op: 'addPod';
      readonly pod: SuitePod;
      /** This client connects without pause from before the pod exists; flow `hammer:NAMESPACE/NAME`. */
      readonly hammer?: SuitePort & { readonly from: string };
    }
  | { readonly op: 'deletePod'; readonly namespace: string; readonly name: string }
  | {
      readonly op: 'setPod';
      readonly namespace: string;
      readonly name: string;
      readonly set: Partial<Pick<SuitePod, 'phase' | 'ips' | 'serves' | 'terminating'>>;
    }
  | ({ readonly op: 'openFlow' } & SuiteFlow)
  | { readonly op: 'closeFlow'; readonly id: string }
  | { readonly op: 'stopAgent' | 'startAgent' | 'restartAgent' };

export type SuiteVerdict = 'allow' | 'deny' | 'undefined';

/** One connection. A matrix is unfolded into these; its `-` entries are left out. */
export interface SuiteProbe extends SuitePort {
  readonly from: string;
  readonly to: string;
  readonly verdict: SuiteVerdict;
  readonly family: SuiteFamily;
}

export interface FlowExpectation {
  readonly flow: string;
  readonly verdict: 'alive' | 'dead' | 'either';
}

export interface SuiteStep {
  readonly title?: string;
  readonly do: readonly SuiteOperation[];
  readonly probes: readonly SuiteProbe[];
  readonly flows: readonly FlowExpectation[];
}

export interface SuiteCase {
  readonly id: string;
  readonly title: string;
  readonly cluster: SuiteCluster;
  /** A denied probe must time out: a refusal is a failure. */
  readonly denyByDrop: boolean;
  readonly steps: readonly SuiteStep[];
}

export interface Suite {
  readonly suite: string;
  readonly cases: readonly SuiteCase[];
}
