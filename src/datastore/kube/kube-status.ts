/** How the datastore stands, for people and probes, and what the in-sync mark waits for. Pure. */
import { isStagedKind, type Kind, kinds } from '#model';
import {
  type DatastoreFault,
  type DatastoreNote,
  type DatastoreStatus,
  faultsReportedMax,
  type KindStatus,
} from '../datastore.ts';
import { objectRef, writtenKind } from '../manifest/decode.ts';
import { formatPath } from '../manifest/reader.ts';
import type { KubeModel } from './kube-model.ts';
import type { ReflectorState } from './reflector.ts';
import { compareResourceVersions } from './resource-version.ts';
import type { Resource } from './resources.ts';

/** One resource of the API server as its reflector last reported it. */
export interface ResourceHealth {
  readonly resource: Resource;
  state: ReflectorState | undefined;
  /** Something was told of it in this run. */
  heard: boolean;
  /** Up to which it was told to the model. */
  position: string;
  /** Up to which it was handed on to the handler. */
  handedOn: string;
}

export interface SecretsHealth {
  readonly settled: boolean;
  readonly forbidden: boolean;
  readonly trouble: readonly string[];
}

export interface KubeStatusParts {
  readonly server: string;
  readonly announced: boolean;
  readonly model: KubeModel;
  readonly health: readonly ResourceHealth[];
  readonly secrets: SecretsHealth;
  readonly lastUpdate: string | undefined;
  readonly stale: DatastoreStatus['stale'];
}

export function kubeStatus(parts: KubeStatusParts): DatastoreStatus {
  const { model, health, secrets, lastUpdate, stale } = parts;
  const faults = faultsOf(model);
  const notes = notesOf(model);
  const waiting = waitingFor(model, health, secrets);
  return {
    source: 'kube',
    location: parts.server,
    inSync: parts.announced && waiting.length === 0,
    waitingFor: waiting,
    objects: Object.fromEntries(kinds.map((kind) => [kind, model.stores[kind].size])) as Record<Kind, number>,
    faults: faults.slice(0, faultsReportedMax),
    faultsTotal: faults.length,
    notUsed: notes.slice(0, faultsReportedMax),
    notUsedTotal: notes.length,
    ignored: [],
    kinds: Object.fromEntries(kinds.map((kind) => [kind, kindStatus(kind, model, health, secrets)])),
    ...(lastUpdate ? { lastUpdate } : {}),
    ...(stale ? { stale } : {}),
  };
}

function faultsOf(model: KubeModel): DatastoreFault[] {
  const out: DatastoreFault[] = [];
  for (const kind of kinds) {
    const store = model.stores[kind];
    for (const [key, { faults, since }] of store.faults()) {
      const blocking = kind === 'NetworkPolicy' && store.lacks(key);
      const effect = store.standsIn(key)
        ? `it was never valid: ${kind === 'NetworkPolicy' ? 'what it selects is denied until it can be read' : 'until it can be read, what it denies or passes is denied to all whom the readable part of its subject names'}`
        : store.get(key)
          ? 'the last good version stays in force'
          : `it was never valid: ${blocking ? 'nothing is put in force' : isStagedKind(kind) ? 'nothing is reported of it' : 'not in force'}`;
      for (const { path, message } of faults) {
        const field = formatPath(path);
        out.push({ object: objectRef(kind, key), ...(field ? { field } : {}), message, effect, blocking, since });
      }
    }
  }
  return out.sort((a, b) => (a.object! < b.object! ? -1 : 1));
}

function notesOf(model: KubeModel): DatastoreNote[] {
  return [...model.notes].flatMap(([object, notes]) =>
    notes.map(({ path, message }) => ({ object, field: formatPath(path), message })),
  );
}

/** In plain words; empty when nothing is missing. */
export function waitingFor(
  model: KubeModel,
  health: readonly ResourceHealth[],
  secrets: SecretsHealth,
): readonly string[] {
  const out: string[] = [];
  for (const { resource, state } of health) {
    const { kind, apiVersion } = resource;
    if (state?.state === 'forbidden') {
      // A role of an older version, say: what never is in force keeps nothing else from it.
      const forStagedAlone = isStagedKind(kind) || (kind === 'EndpointSlice' && !model.needsSlices);
      if (!forStagedAlone) out.push(`${writtenKind(kind)} (${apiVersion}): ${state.reason}`);
    } else if (
      !model.stores[kind].listed &&
      !model.stores[kind].stale &&
      state?.state !== 'absent' &&
      state?.state !== 'synced'
    ) {
      out.push(`${writtenKind(kind)} (${apiVersion}): ${state?.state === 'failing' ? state.reason : 'not listed yet'}`);
    }
  }
  if (!secrets.settled && !model.stores.Secret.stale) {
    out.push(...(secrets.trouble.length > 0 ? secrets.trouble : ['the Secrets that are named: not read yet']));
  }
  const { NetworkPolicy } = model.stores;
  for (const [key] of NetworkPolicy.faults()) {
    if (NetworkPolicy.lacks(key)) out.push(`NetworkPolicy ${key}: never valid, see its fault`);
  }
  return out.slice(0, faultsReportedMax);
}

function kindStatus(
  kind: Kind,
  model: KubeModel,
  health: readonly ResourceHealth[],
  secrets: SecretsHealth,
): KindStatus {
  if (kind === 'Secret') return secretStatus(secrets);
  const all = health.filter(({ resource }) => resource.kind === kind);
  const present = all.filter(({ state }) => state?.state !== 'absent');
  const apiVersions = present.map(({ resource }) => resource.apiVersion);
  if (present.length === 0) return { state: 'absent', apiVersions: [] };
  const versions = present.map(({ handedOn }) => handedOn).sort(compareResourceVersions);
  const resourceVersion = versions[0] ? { resourceVersion: versions[0] } : {};
  const troubled = present.find(({ state }) => state?.state === 'forbidden' || state?.state === 'failing');
  const listed = model.stores[kind].listed;
  if (troubled?.state && 'reason' in troubled.state) {
    const { reason } = troubled.state;
    const state = troubled.state.state === 'forbidden' ? 'forbidden' : listed ? 'failing' : 'waiting';
    return { state, apiVersions, ...resourceVersion, reason };
  }
  return { state: listed ? 'synced' : 'waiting', apiVersions, ...resourceVersion };
}

function secretStatus({ settled, forbidden, trouble }: SecretsHealth): KindStatus {
  const state = forbidden ? 'forbidden' : settled ? (trouble.length > 0 ? 'failing' : 'synced') : 'waiting';
  return { state, apiVersions: ['v1'], ...(trouble.length > 0 ? { reason: trouble.join('; ') } : {}) };
}
