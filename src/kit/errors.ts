/**
 * Expected failures: one class per area over a union of `{code, ...fields}`, so that callers switch on `code` and the
 * message names the object, the value and the remedy. Programmer errors are assertions and crash instead.
 *
 * @example
 * type IpamFailure = { code: 'POOL_EXHAUSTED'; pool: Cidr; size: number } | { code: 'STORE_BROKEN'; path: string };
 * class IpamError extends PoplinError<IpamFailure> {}
 */
export class PoplinError<F extends { readonly code: string }> extends Error {
  readonly failure: F;

  constructor(message: string, failure: F, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
    this.failure = failure;
  }
  get code(): F['code'] {
    return this.failure.code;
  }
}

/** Text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Marks the impossible branch of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new Error(`unreachable: ${JSON.stringify(value)}`);
}
