/**
 * Answers the CalicoNodeStatus objects that ask about this node: at once when an object is new or changed, then at the period that it names
 * (0: once). An answer that would say the same as the last is not written.
 *
 * Where the kind has no status of its own (definitions of older versions of Calico), the answer goes into the whole object, as Calico's did.
 */
import type { Datastore, KubeClient } from '#datastore';
import type { Clock, Logger } from '#kit';
import type { CalicoNodeStatusObject } from '#model';
import type { ModelStore } from '../model-store.ts';
import { type ApiOutcome, apiPath, callApi, replaceStatus } from './api-call.ts';
import { type CalicoReportInput, calicoReport } from './calico-node-status.ts';
import { timestamp } from './conditions.ts';
import { retryDelayMs } from './pace.ts';

/** Objects about one node that are answered; Calico has no bound. */
const OBJECTS_MAX = 16;
/** Shorter periods than a second are not to be had. */
const PERIOD_MIN_MS = 1_000;
const groups = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'];
/** Its definition may be an old one. */
const stored = 'crd.projectcalico.org/v1';

export interface CalicoNodeStatusWriterDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly random: () => number;
  readonly log: Logger;
  readonly model: ModelStore;
  readonly datastore: Pick<Datastore, 'status'>;
  readonly report: (wantsRoutes: boolean) => Promise<CalicoReportInput>;
}

export interface CalicoNodeStatusWriter {
  /** The model may have other objects: look. */
  look(): void;
  stop(): Promise<void>;
}

interface Answered {
  spec: string;
  text: string;
  dueMs: number;
  failures: number;
}

export function createCalicoNodeStatusWriter(
  deps: CalicoNodeStatusWriterDeps,
  options: { readonly nodeName: string },
): CalicoNodeStatusWriter {
  return new Writer(deps, options.nodeName);
}

class Writer implements CalicoNodeStatusWriter {
  readonly #deps: CalicoNodeStatusWriterDeps;
  readonly #nodeName: string;
  readonly #answered = new Map<string, Answered>();
  #cancel: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: CalicoNodeStatusWriterDeps, nodeName: string) {
    this.#deps = deps;
    this.#nodeName = nodeName;
  }

  look(): void {
    if (this.#stopped || this.#running) return;
    const asked = this.#asked();
    const names = new Set(asked.map(({ metadata }) => metadata.name));
    for (const name of this.#answered.keys()) if (!names.has(name)) this.#answered.delete(name);
    for (const object of asked) this.#note(object);
    const next = Math.min(...[...this.#answered.values()].map(({ dueMs }) => dueMs));
    this.#cancel?.();
    if (!Number.isFinite(next)) return;
    this.#cancel = this.#deps.clock.schedule(Math.max(0, next - this.#deps.clock.nowMs()), () => {
      this.#running = this.#round().finally(() => {
        this.#running = undefined;
        this.look();
      });
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    await this.#running;
  }

  #asked(): readonly CalicoNodeStatusObject[] {
    const all = this.#deps.model.list('CalicoNodeStatus').filter(({ node }) => node === this.#nodeName);
    return all.slice(0, OBJECTS_MAX);
  }

  /** New, or with another spec: now. */
  #note({ metadata, classes, updatePeriodSec }: CalicoNodeStatusObject): void {
    const spec = JSON.stringify([metadata.uid, classes, updatePeriodSec]);
    const known = this.#answered.get(metadata.name);
    if (known?.spec === spec) return;
    this.#answered.set(metadata.name, { spec, text: known?.text ?? '', dueMs: this.#deps.clock.nowMs(), failures: 0 });
  }

  async #round(): Promise<void> {
    const { clock } = this.#deps;
    const due = this.#asked().filter(({ metadata }) => {
      const answered = this.#answered.get(metadata.name);
      return answered !== undefined && answered.dueMs <= clock.nowMs();
    });
    if (due.length === 0) return;
    const input = await this.#deps.report(due.some(({ classes }) => classes.includes('Routes')));
    for (const object of due) if (!this.#stopped) await this.#answer(object, input);
  }

  async #answer(object: CalicoNodeStatusObject, input: CalicoReportInput): Promise<void> {
    const { clock, random, log, wallMs } = this.#deps;
    const answered = this.#answered.get(object.metadata.name);
    if (!answered) return;
    const report = calicoReport(object.classes, input);
    const text = JSON.stringify(report);
    const outcome: ApiOutcome =
      text === answered.text
        ? { ok: true, body: undefined }
        : await this.#write(object.metadata.name, { lastUpdated: timestamp(wallMs()), ...report });
    const nowMs = clock.nowMs();
    if (outcome.ok) {
      const periodMs = Math.max(PERIOD_MIN_MS, object.updatePeriodSec * 1_000);
      answered.text = text;
      answered.failures = 0;
      answered.dueMs = object.updatePeriodSec === 0 ? Number.POSITIVE_INFINITY : nowMs + periodMs;
      return;
    }
    if (answered.failures++ === 0) {
      log.warn(
        { object: `CalicoNodeStatus ${object.metadata.name}`, reason: outcome.message },
        'a report cannot be written; it is tried again',
      );
    }
    answered.dueMs = nowMs + Math.max(retryDelayMs(answered.failures, random()), outcome.waitMs ?? 0);
  }

  /** Under the name at which the object is served; both may be. */
  async #write(name: string, status: object): Promise<ApiOutcome> {
    const { client, datastore } = this.#deps;
    const versions = datastore.status().kinds?.CalicoNodeStatus?.apiVersions ?? groups;
    let last: ApiOutcome = { ok: false, kind: 'kindAbsent', message: 'the kind CalicoNodeStatus is not served' };
    for (const version of groups.filter((group) => versions.includes(group))) {
      const path = apiPath(`/apis/${version}/caliconodestatuses`, name);
      last = await callApi(client, replaceStatus(path, status));
      if (last.ok || (last.kind !== 'notFound' && last.kind !== 'kindAbsent')) return last;
      if (version !== stored) continue;
      // Without a status of its own it is a field like any other; an object that is not there is not there either way.
      last = await callApi(client, {
        method: 'PATCH',
        path,
        contentType: 'application/merge-patch+json',
        body: { status },
      });
      if (last.ok || last.kind !== 'notFound') return last;
    }
    return last;
  }
}
