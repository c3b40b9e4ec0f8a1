import type { IpAddress } from '#kit';
import type { ServiceName } from './calico-policy.ts';
import type { Labels, ObjectKey, ObjectMeta, Protocol } from './objects.ts';

/** Names the service of a slice. */
export const serviceNameLabel = 'kubernetes.io/service-name';

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

/** Of the slice's service; a slice of none has an empty name in it, which no service has. */
export function serviceKeyOf({ metadata, serviceName }: EndpointSliceObject): ObjectKey {
  return `${metadata.namespace}/${serviceName}`;
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
