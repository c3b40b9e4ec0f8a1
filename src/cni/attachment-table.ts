/**
 * The attachments of this node, and how one is taken back: interface, policy, record, address. Every step may find its work done already.
 * Who changes an attachment holds its lock (attachments.ts), or works before any command (attachment-recovery.ts).
 */
import { ADDRESS_REST_MS, type Ipam } from '#ipam';
import { type Clock, errorText, type Logger } from '#kit';
import type { WorkloadEndpoint } from '#model';
import { endpointOf } from './attachment-views.ts';
import { type AttachmentKey, hostInterfaceName, namesOf } from './names.ts';
import type { EndpointDataplane } from './ports.ts';
import type { AttachmentRecord, AttachmentStore, Named } from './store.ts';
import type { PodWiring } from './wiring.ts';

export interface AttachmentTableDeps {
  readonly dataplane: EndpointDataplane;
  readonly ipam: Ipam;
  readonly store: AttachmentStore;
  readonly wiring: PodWiring;
  readonly clock: Clock;
  readonly log: Logger;
}

export class AttachmentTable {
  /** How long freed addresses rest. */
  readonly restMs: number;
  readonly #deps: AttachmentTableDeps;
  /** By interface name. Complete, or being made or unmade by the holder of the lock. */
  readonly #records = new Map<string, AttachmentRecord>();
  /** Interfaces of failed ADDs whose undoing failed as well. */
  readonly #halfMade = new Set<string>();
  /** By interface name. */
  readonly #broken = new Map<string, Named>();
  readonly #cancelRests = new Set<() => void>();

  constructor(deps: AttachmentTableDeps, restMs = ADDRESS_REST_MS) {
    this.#deps = deps;
    this.restMs = restMs;
  }

  find(key: AttachmentKey): AttachmentRecord | undefined {
    const { attachment } = namesOf(key);
    return this.#records.values().find((record) => record.attachment === attachment);
  }
  findBroken(key: AttachmentKey): Named | undefined {
    const { attachment } = namesOf(key);
    return this.#broken.values().find((named) => named.attachment === attachment);
  }
  records(): readonly AttachmentRecord[] {
    return [...this.#records.values()];
  }
  /** Those whose files do not read. */
  broken(): readonly Named[] {
    return [...this.#broken.values()];
  }
  /** This one, not a later one of the same name. */
  holds(record: AttachmentRecord): boolean {
    return this.#records.get(record.interfaceName) === record;
  }
  knowsInterface(name: string): boolean {
    return this.#records.has(name) || this.#broken.has(name);
  }
  /** Nothing of it has to be undone, and its interface is there. */
  isWhole({ interfaceName }: AttachmentRecord): boolean {
    return !this.#halfMade.has(interfaceName) && this.#deps.wiring.exists(interfaceName);
  }
  /** Whose interface stands. */
  endpoints(): readonly WorkloadEndpoint[] {
    const links = new Set(this.#deps.wiring.list());
    return this.records()
      .filter((record) => links.has(record.interfaceName))
      .sort((a, b) => (a.interfaceName < b.interfaceName ? -1 : 1))
      .map(endpointOf);
  }
  /** A name that no attachment has, nor one that is being made: those hold addresses. */
  freeInterfaceName(podKey: string, ifName: string): string {
    for (let turn = 0; ; turn++) {
      const name = hostInterfaceName(podKey, ifName, turn);
      const taken = this.#records.has(name) || this.#deps.ipam.addressesOf(name).length > 0;
      if (!taken && !this.#deps.wiring.exists(name)) return name;
    }
  }

  hold(record: AttachmentRecord): void {
    this.#records.set(record.interfaceName, record);
  }
  /** Until it is unmade it is no answer to anybody. */
  holdHalfMade(record: AttachmentRecord): void {
    this.hold(record);
    this.#halfMade.add(record.interfaceName);
  }
  holdBroken(named: Named): void {
    this.#broken.set(named.interfaceName, named);
  }

  async unmake(record: AttachmentRecord): Promise<void> {
    await this.#deps.wiring.remove(record.interfaceName);
    await this.#deps.dataplane.detach(endpointOf(record));
    await this.#deps.store.free(record);
    this.#deps.ipam.release(record.interfaceName, this.restMs);
    this.#records.delete(record.interfaceName);
    this.#halfMade.delete(record.interfaceName);
    this.restThenForget(record, this.restMs);
  }

  async unmakeBroken(named: Named): Promise<void> {
    await this.#deps.wiring.remove(named.interfaceName);
    await this.#deps.store.free(named);
    this.#broken.delete(named.interfaceName);
    this.#deps.ipam.release(named.interfaceName, this.restMs);
    this.restThenForget(named, this.restMs);
  }

  restThenForget(record: Named, forMs: number): void {
    const cancel = this.#deps.clock.schedule(forMs, () => {
      this.#cancelRests.delete(cancel);
      this.#deps.store.endRest(record).catch((error: unknown) => {
        this.#deps.log.warn(
          { interfaceName: record.interfaceName, reason: errorText(error) },
          'the file of a freed address stays behind',
        );
      });
    });
    this.#cancelRests.add(cancel);
  }

  /** Cancels timers. */
  stop(): void {
    for (const cancel of this.#cancelRests) cancel();
    this.#cancelRests.clear();
  }
}
