/**
 * What a BGP role makes of routes with and without ONLY_TO_CUSTOMER (RFC 9234 5). By our own role, whether or not the peer
 * said its: unicast of both families, external peers.
 *
 *   we are             routes in                                   routes out
 *   provider           with OTC: a leak                            OTC added
 *   routeServer        with OTC: a leak                            OTC added
 *   peer               OTC other than the peer's: a leak; added    with OTC: none; OTC added
 *   customer           OTC added                                   with OTC: none
 *   routeServerClient  OTC added                                   with OTC: none
 *
 * What is added on the way in is the peer's AS, on the way out ours; an OTC that is there stays as it is.
 */
import type { BgpRole } from './config.ts';

export interface LeakRule {
  /** In: unusable with OTC, whatever its value; or with another value than the peer's AS. */
  readonly leak: 'any' | 'foreign' | 'never';
  /** In: OTC of the peer's AS is added where there is none. */
  readonly addIn: boolean;
  /** Out: OTC of our AS is added where there is none. */
  readonly addOut: boolean;
  /** Out: a route with OTC is not announced. */
  readonly withhold: boolean;
}

export const leakRules: Readonly<Record<BgpRole, LeakRule>> = {
  provider: { leak: 'any', addIn: false, addOut: true, withhold: false },
  routeServer: { leak: 'any', addIn: false, addOut: true, withhold: false },
  peer: { leak: 'foreign', addIn: true, addOut: true, withhold: true },
  customer: { leak: 'never', addIn: true, addOut: false, withhold: true },
  routeServerClient: { leak: 'never', addIn: true, addOut: false, withhold: true },
};

/** @param asn in OTC; -1: there is none. */
export function isLeak({ leak }: LeakRule, asn: number, peerAsn: number): boolean {
  return asn >= 0 && (leak === 'any' || (leak === 'foreign' && asn !== peerAsn));
}
