/** Service account tokens with any lifetime: the TokenRequest API refuses less than 10 minutes, so they are signed here. */
import crypto from 'node:crypto';

export interface ObjectReference {
  readonly name: string;
  readonly uid: string;
}

export interface TokenClaims {
  readonly issuer: string;
  readonly namespace: string;
  readonly serviceAccount: ObjectReference;
  /** The token dies with this Pod. */
  readonly pod?: ObjectReference;
  /** The Node that the Pod is on. */
  readonly node?: ObjectReference;
  /** Claim `exp`, in seconds from now; may be negative. */
  readonly expiresInSec: number;
  /** Claim `nbf`, in seconds from now; default: good already. */
  readonly validInSec?: number;
}

/** kube-apiserver grants every time claim so much tolerance (go-jose's DefaultLeeway). */
export const clockLeewaySec = 60;

export function signToken(claims: TokenClaims, key: crypto.KeyObject): string {
  const now = Math.floor(Date.now() / 1000);
  const { namespace, serviceAccount, pod, node } = claims;
  const payload = {
    aud: [claims.issuer],
    iss: claims.issuer,
    iat: now,
    nbf: now + (claims.validInSec ?? -clockLeewaySec),
    exp: now + claims.expiresInSec,
    jti: crypto.randomUUID(),
    sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
    'kubernetes.io': { namespace, serviceaccount: serviceAccount, ...(pod && { pod }), ...(node && { node }) },
  };
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(payload)}`;
  const signature = crypto.sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}
