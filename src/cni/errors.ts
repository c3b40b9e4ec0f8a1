import { IpamError } from '#ipam';
import { errorText, PoplinError } from '#kit';

/** Numbers of the specification (below 100) and ours. */
const cniCodes = {
  INCOMPATIBLE_VERSION: 1,
  UNKNOWN_CONTAINER: 3,
  INVALID_ENVIRONMENT: 4,
  IO_FAILURE: 5,
  DECODE_FAILURE: 6,
  INVALID_CONFIG: 7,
  TRY_AGAIN: 11,
  NOT_AVAILABLE: 50,
  /** The kernel refused to wire the pod. */
  WIRING_FAILED: 100,
  /** CHECK found something else than ADD made. */
  CHECK_FAILED: 101,
  /** The caller may not use this socket. */
  FORBIDDEN: 102,
  /** A defect of the agent; its log has more. */
  INTERNAL: 199,
} as const;

export type CniErrorCode = keyof typeof cniCodes;

export interface CniFailure {
  readonly code: CniErrorCode;
  readonly details?: string;
}

/** An answer that says no. `message` becomes "msg": it names the object, the value and what to do. */
export class CniError extends PoplinError<CniFailure> {
  constructor(code: CniErrorCode, message: string, details?: string, options?: ErrorOptions) {
    super(message, details === undefined ? { code } : { code, details }, options);
  }
  get cniCode(): number {
    return cniCodes[this.failure.code];
  }
}

/** What to answer for anything thrown. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  if (error instanceof IpamError)
    return new CniError('TRY_AGAIN', `${error.message}; try again`, undefined, { cause: error });
  return new CniError('INTERNAL', 'poplin agent failed on this call; its log says more', errorText(error), {
    cause: error,
  });
}

export function errorBody(cniVersion: string, error: CniError): string {
  const { details } = error.failure;
  return `${JSON.stringify({ cniVersion, code: error.cniCode, msg: error.message, ...(details ? { details } : {}) })}\n`;
}
