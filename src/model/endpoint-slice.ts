import type { IpAddress } from '#kit';
import type { ServiceName } from './calico-policy.ts';
import type { Labels, ObjectMeta, Protocol } from './objects.ts';

export interface EndpointPort {
  /** 1..65535. */
  readonly port: number;
  readonly protocol: Protocol;
}

/** discovery.k8s.io/v1: where a service is served. Every endpoint is served on every port. */
export interface EndpointSliceObject {
  readonly metadata: ObjectMeta;
  /** Of the service in its namespace, by the label kubernetes.io/service-name; empty: of none. */
  readonly serviceName: string;
  /** Of all endpoints, whatever their conditions; distinct. */
  readonly addresses: readonly IpAddress[];
  /** Those that have a number; distinct. */
  readonly ports: readonly EndpointPort[];
}

/** v1 Service, as far as its endpoints hang on it. */
export interface ServiceSelection extends ServiceName {
  /** Empty: somebody else says what its endpoints are. */
  readonly selector: Labels;
  readonly ports: readonly {
    readonly port: number;
    readonly protocol: Protocol;
    /** Number, or name of a port that the pod declares for the protocol; absent: `port`. */
    readonly targetPort?: number | string;
  }[];
}
