/**
 * What an agent finds at its start, after a SIGKILL too: an intent is undone, whatever its interface looks like; an interface that no file
 * knows is removed; addresses rest on.
 */
import type { AttachmentTable, AttachmentTableDeps } from './attachment-table.ts';
import { isPodInterface } from './names.ts';
import type { Named, StoredAttachments } from './store.ts';

/** Once, before any command: makes disk and kernel consistent. */
export async function recoverAttachments(deps: AttachmentTableDeps, table: AttachmentTable): Promise<void> {
  const stored = await deps.store.load();
  const links = new Set(deps.wiring.list());
  for (const record of stored.complete) {
    adopt(deps, record);
    table.hold(record);
    if (!links.has(record.interfaceName)) {
      deps.log.warn(
        { interfaceName: record.interfaceName, pod: record.pod.key },
        'the interface of a pod is gone; its address stays taken until DEL or GC',
      );
    }
  }
  for (const named of stored.broken) {
    adopt(deps, named);
    table.holdBroken(named);
  }
  await restOn(deps, table, stored.resting);
  for (const record of stored.intents) {
    deps.log.info({ interfaceName: record.interfaceName, pod: record.pod.key }, 'an ADD that was cut off is undone');
    adopt(deps, record);
    await table.unmake(record);
    links.delete(record.interfaceName);
  }
  for (const named of stored.tornIntents) {
    adopt(deps, named);
    await table.unmakeBroken(named);
    links.delete(named.interfaceName);
  }
  const strays = [...links].filter((name) => isPodInterface(name) && !table.knowsInterface(name));
  for (const name of strays)
    deps.log.warn({ interfaceName: name }, 'a pod interface that no attachment knows is removed');
  await Promise.all(strays.map((name) => deps.wiring.remove(name)));
}

function adopt({ ipam, log }: AttachmentTableDeps, { interfaceName: owner, addresses }: Named): void {
  const conflicts = ipam.adopt(owner, addresses);
  if (conflicts.length > 0)
    log.error({ owner, conflicts }, 'two attachments on disk have the same address; DEL one of the pods');
}

async function restOn(
  { ipam, store }: AttachmentTableDeps,
  table: AttachmentTable,
  resting: StoredAttachments['resting'],
): Promise<void> {
  for (const { sinceMs, ...named } of resting) {
    // The wall clock may have been set meanwhile: a rest is never longer than a whole one.
    const leftMs = Math.min(table.restMs, sinceMs + table.restMs - Date.now());
    if (leftMs <= 0) await store.endRest(named);
    else {
      ipam.rest(named.addresses, leftMs);
      table.restThenForget(named, leftMs);
    }
  }
}
