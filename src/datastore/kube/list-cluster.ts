/** What an API server holds now, for commands that look at it once: the kube datastore's own reading, without an agent. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type Clock, PoplinError, silentLogger, systemClock } from '#kit';
import type { Kind, ModelUpdate } from '#model';
import { formatFault } from '../datastore.ts';
import { sleep } from './backoff.ts';
import type { KubeConnection, KubeConnectionOptions } from './connection.ts';
import { createKubeDatastore } from './kube-datastore.ts';

export type ListClusterFailure =
  | { readonly code: 'FORBIDDEN'; readonly kind: Kind }
  | { readonly code: 'NOT_LISTED'; readonly kinds: readonly Kind[] };
export class ListClusterError extends PoplinError<ListClusterFailure> {}

export interface ListedCluster {
  readonly updates: readonly ModelUpdate[];
  /** Objects that cannot be read, one line each. */
  readonly faults: readonly string[];
}

/** The API server is given up on after this. */
const timeoutMs = 30_000;
/** Longer than the datastore holds a batch back, so that everything listed is handed on by the next look. */
const lookEveryMs = 25;

/**
 * Objects of `wanted` kinds; those that the API server does not serve count as empty, others need not be readable.
 *
 * @throws ListClusterError where one of them may not be listed, or is not within 30 s.
 * @throws KubeError when there are no credentials.
 */
export async function listCluster(
  wanted: readonly Kind[],
  options: KubeConnectionOptions,
  deps: { readonly clock?: Clock; readonly connection?: KubeConnection } = {},
): Promise<ListedCluster> {
  const clock = deps.clock ?? systemClock();
  // The last good model would be kept there: of no use to a command that ends.
  const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-list-'));
  const datastore = createKubeDatastore(
    { log: silentLogger, clock, ...(deps.connection && { connection: deps.connection }) },
    { ...options, namespace: 'default', stateDir },
  );
  const objects = new Map<string, ModelUpdate>();
  datastore.onUpdates((batch) => {
    for (const update of batch) objects.set(`${update.kind} ${update.key}`, update);
  });
  try {
    await datastore.start();
    const end = clock.nowMs() + timeoutMs;
    for (;;) {
      const { kinds = {} } = datastore.status();
      const missing = wanted.filter((kind) => kinds[kind]?.state !== 'synced' && kinds[kind]?.state !== 'absent');
      await sleep(clock, lookEveryMs, new AbortController().signal);
      if (missing.length === 0) break;
      const forbidden = missing.find((kind) => kinds[kind]?.state === 'forbidden');
      if (forbidden) throw forbiddenError(forbidden, kinds[forbidden]?.reason);
      if (clock.nowMs() >= end) throw notListed(missing, missing.map((kind) => kinds[kind]?.reason).find(Boolean));
    }
    const updates = [...objects.values()].filter(({ type, kind }) => type === 'upsert' && wanted.includes(kind));
    return { updates, faults: datastore.status().faults.map(formatFault) };
  } finally {
    await datastore.stop();
    fs.rmSync(stateDir, { recursive: true, force: true });
  }
}

function forbiddenError(kind: Kind, reason: string | undefined): ListClusterError {
  const message = `the API server does not let these credentials list ${kind}${reason ? `: ${reason}` : ''}; give others with --kubeconfig`;
  return new ListClusterError(message, { code: 'FORBIDDEN', kind });
}

function notListed(kinds: readonly Kind[], reason: string | undefined): ListClusterError {
  const message = `the API server has not listed ${kinds.join(', ')} within ${timeoutMs / 1000} s${reason ? `: ${reason}` : ''}`;
  return new ListClusterError(message, { code: 'NOT_LISTED', kinds });
}
