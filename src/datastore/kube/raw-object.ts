import type { Resource } from './resources.ts';

/** An object as the API gives it, parsed. */
export interface RawObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** Items of a list do not say what they are. */
export function completed(object: RawObject, { kind, apiVersion }: Resource): RawObject {
  return object.apiVersion && object.kind ? object : { ...object, apiVersion, kind };
}
