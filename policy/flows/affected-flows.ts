/**
 * Which flows an update of the engine may judge anew: those of endpoints whose own program, or a policy in it, changed; and, where only the members
 * of a set did, those of the members that came or went. A flow has two ends, and one of them is named.
 */
import type { IpAddress } from '#kit';
import type { EndpointId, PolicyUpdate, SetId } from '#model';
import { policiesOf, setsOf } from '../explain/policy-state.ts';
import { hostOf } from '../explain/prefixes.ts';
import { Users } from './users.ts';

export interface Affected {
  /** All flows of these. */
  readonly endpoints: ReadonlySet<EndpointId>;
  /** All flows from and to these. */
  readonly addresses: ReadonlySet<IpAddress>;
}

export class AffectedFlows {
  readonly #policiesOfSet = new Users();
  readonly #endpointsOfPolicy = new Users();
  /** No flow's verdict hangs on these. */
  readonly #stagedSets = new Set<SetId>();

  /** Every update, in the order in which the engine emitted them. */
  note(updates: readonly PolicyUpdate[]): Affected {
    const endpoints = new Set<EndpointId>();
    const addresses = new Set<IpAddress>();
    const policyChanged = (id: string): void => {
      for (const endpoint of this.#endpointsOfPolicy.of(id)) endpoints.add(endpoint);
    };
    const setChanged = (id: SetId): void => {
      for (const policy of this.#policiesOfSet.of(id)) policyChanged(policy);
    };
    for (const update of updates) {
      switch (update.type) {
        case 'policy':
          policyChanged(update.id);
          this.#policiesOfSet.set(update.id, setsOf(update.program));
          break;
        case 'policyRemove':
          this.#policiesOfSet.remove(update.id);
          break;
        case 'endpoint':
          endpoints.add(update.id);
          this.#endpointsOfPolicy.set(update.id, policiesOf(update.program));
          break;
        case 'endpointRemove':
          endpoints.add(update.id);
          this.#endpointsOfPolicy.remove(update.id);
          break;
        case 'set':
          if (update.staged) this.#stagedSets.add(update.id);
          else this.#stagedSets.delete(update.id);
          setChanged(update.id);
          break;
        case 'setDelta':
          if (this.#stagedSets.has(update.id)) break;
          for (const member of [...update.added, ...update.removed]) {
            const address = addressOf(member);
            if (address) addresses.add(address);
            else setChanged(update.id);
          }
          break;
        case 'setRemove':
          this.#stagedSets.delete(update.id);
          break;
        default:
          update satisfies never;
      }
    }
    return { endpoints, addresses };
  }
}

/** Of `10.1.0.3`, `10.1.0.3/32` and `10.1.0.3,tcp:80`; a wider prefix is no address. They are canonical as the model is, and come by the thousand. */
function addressOf(member: string): IpAddress | undefined {
  const comma = member.indexOf(',');
  const host = comma < 0 ? hostOf(member) : member.slice(0, comma);
  return host.includes('/') ? undefined : (host as IpAddress);
}
