/**
 * Attachments on disk, one file each, so that an agent that was killed at any point knows what it had made or begun.
 *
 *   popXXXXXXXXXXX@AAAAAAAAAAA@10.1.0.5@fd00::5.intent   written before anything is made          -> undone at the next start
 *   popXXXXXXXXXXX@AAAAAAAAAAA@10.1.0.5@fd00::5.json     everything stands; renamed from .intent  -> an endpoint at the next start
 *   popXXXXXXXXXXX@AAAAAAAAAAA@10.1.0.5@fd00::5.rest     freed; rests until 30 s after its ctime  -> removed then
 *   popXXXXXXXXXXX@AAAAAAAAAAA@10.1.0.5@fd00::5.broken   does not read any more                   -> addresses stay taken until DEL
 *
 * The name holds what must survive whatever happens to the content: a file that is torn or edited still keeps its addresses from being given
 * twice, and DEL (which computes the interface's name) still finds it.
 *
 * What has to survive what: a killed agent leaves the page cache, so written and renamed is enough before anything is made; the fsyncs run while
 * policy and interface are made, and are waited for before the answer, because an address that was answered must survive a power
 * cut. After one no interface is left, so an intent that is torn by it was never answered: it is undone like any other. The step to .json
 * needs no fsync for the same reason.
 */
import fs from 'node:fs';
import path from 'node:path';
import { errorText, type IpAddress, type Logger, toIpAddress } from '#kit';
import type { PodReference } from './request.ts';

const FORMAT = 1;

export interface AttachmentRecord {
  readonly interfaceName: string;
  /** Hash of containerId and ifName. */
  readonly attachment: string;
  readonly addresses: readonly IpAddress[];
  readonly containerId: string;
  readonly ifName: string;
  /** Name of the network configuration. */
  readonly network: string;
  readonly netns: string;
  readonly podMac: string;
  readonly mtu?: number;
  readonly pod: PodReference;
}

export interface StoredAttachments {
  readonly intents: readonly AttachmentRecord[];
  readonly complete: readonly AttachmentRecord[];
  readonly tornIntents: readonly Named[];
  readonly broken: readonly Named[];
  readonly resting: readonly (Named & { readonly sinceMs: number })[];
}

type State = 'intent' | 'json' | 'rest' | 'broken';
export type Named = Pick<AttachmentRecord, 'interfaceName' | 'attachment' | 'addresses'>;

export interface AttachmentStore {
  /** Reads the directory, quarantines what does not read, and drops temporary files. Once, before anything else. */
  load(): Promise<StoredAttachments>;
  /** An agent that is killed from now on finds it. */
  begin(record: AttachmentRecord): Promise<void>;
  /** Everything of `record` stands. Durable when it resolves. */
  complete(record: AttachmentRecord): Promise<void>;
  /** Begins the rest of the addresses of an attachment, in whatever state it is. Durable when it resolves. */
  free(record: Named): Promise<void>;
  /** Ends the rest of freed addresses; one that the same attachment has again stays. */
  endRest(record: Named): Promise<void>;
  close(): Promise<void>;
}

function fileName(record: Named, state: State): string {
  return `${[record.interfaceName, record.attachment, ...record.addresses].join('@')}.${state}`;
}

function parseFileName(name: string): (Named & { readonly state: State }) | undefined {
  const match = /^(pop[0-9a-f]{11})@([0-9a-f]{11})((?:@[0-9a-f.:]+)+)\.(intent|json|rest|broken)$/.exec(name);
  if (!match) return undefined;
  const addresses = match[3]!.slice(1).split('@').map(toIpAddress);
  if (addresses.some((address) => address === undefined)) return undefined;
  return {
    interfaceName: match[1]!,
    attachment: match[2]!,
    addresses: addresses as IpAddress[],
    state: match[4] as State,
  };
}

/** @throws Error that says what is wrong with the content. */
function parseRecord(text: string, named: Named): AttachmentRecord {
  const value = JSON.parse(text) as Partial<Record<keyof AttachmentRecord | 'format', unknown>> | null;
  if (typeof value !== 'object' || value === null) throw new Error('holds no object');
  if (value.format !== FORMAT)
    throw new Error(`has format ${JSON.stringify(value.format)}, this agent reads ${FORMAT}`);
  const string = (key: keyof AttachmentRecord): string => {
    const found = value[key];
    if (typeof found === 'string' && found !== '') return found;
    throw new Error(`lacks ${key}`);
  };
  const pod = value.pod as Partial<Record<keyof PodReference, unknown>> | undefined;
  if (typeof pod?.key !== 'string' || typeof pod.namespace !== 'string' || typeof pod.name !== 'string')
    throw new Error('lacks pod');
  return {
    interfaceName: named.interfaceName,
    attachment: named.attachment,
    addresses: named.addresses,
    containerId: string('containerId'),
    ifName: string('ifName'),
    network: string('network'),
    netns: string('netns'),
    podMac: string('podMac'),
    ...(typeof value.mtu === 'number' ? { mtu: value.mtu } : {}),
    pod: {
      key: pod.key,
      namespace: pod.namespace,
      name: pod.name,
      ...(typeof pod.uid === 'string' ? { uid: pod.uid } : {}),
    },
  };
}

/** What an agent has left in `directory`, for somebody who only reads: nothing is moved, and what does not read still counts by its name. */
export function readAttachments(
  directory: string,
): readonly (Pick<Named, 'addresses'> & { readonly containerId?: string })[] {
  if (!fs.existsSync(directory)) return [];
  return fs.readdirSync(directory).flatMap((name) => {
    const named = parseFileName(name);
    if (!named) return [];
    const { addresses } = named;
    if (named.state !== 'json' && named.state !== 'intent') return [{ addresses }];
    try {
      const { containerId } = parseRecord(fs.readFileSync(path.join(directory, name), 'utf8'), named);
      return [{ addresses, containerId }];
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return [{ addresses }];
    }
  });
}

/** Opens (and makes) `directory`. */
export async function openAttachmentStore(directory: string, log: Logger): Promise<AttachmentStore> {
  await fs.promises.mkdir(directory, { recursive: true, mode: 0o700 });
  const handle = await fs.promises.open(directory, 'r');
  const at = (name: string): string => path.join(directory, name);
  const state = new Map<string, State>();
  const stem = (record: Named): string => fileName(record, 'json');

  /** Fsyncs under way; they resolve with what went wrong, if anything did. */
  const syncing = new Map<string, Promise<unknown>>();

  const move = async (record: Named, to: State): Promise<void> => {
    const from = state.get(stem(record));
    // A begin that failed left nothing to move.
    if (from === undefined) return;
    await fs.promises.rename(at(fileName(record, from)), at(fileName(record, to)));
    state.set(stem(record), to);
  };

  return {
    async load() {
      const intents: AttachmentRecord[] = [];
      const complete: AttachmentRecord[] = [];
      const broken: Named[] = [];
      const tornIntents: Named[] = [];
      const resting: (Named & { sinceMs: number })[] = [];
      for (const name of (await fs.promises.readdir(directory)).sort()) {
        if (name.endsWith('.tmp')) {
          await fs.promises.rm(at(name));
          continue;
        }
        const named = parseFileName(name);
        if (!named) {
          log.warn({ file: at(name) }, 'a file in the directory of attachments is not one of ours; it is ignored');
          continue;
        }
        if (named.state === 'rest' && state.has(stem(named))) {
          await fs.promises.rm(at(name));
          continue;
        }
        state.set(stem(named), named.state);
        if (named.state === 'rest') {
          // Renaming sets ctime: that is when the rest began.
          resting.push({ ...named, sinceMs: (await fs.promises.stat(at(name))).ctimeMs });
        } else if (named.state === 'broken') {
          broken.push(named);
        } else {
          try {
            const record = parseRecord(await fs.promises.readFile(at(name), 'utf8'), named);
            (named.state === 'json' ? complete : intents).push(record);
          } catch (error) {
            if (named.state === 'intent') {
              tornIntents.push(named);
              continue;
            }
            log.error(
              { file: at(name), reason: errorText(error), addresses: named.addresses },
              'an attachment does not read; its addresses stay taken and its pod has no network until it is deleted',
            );
            await move(named, 'broken');
            broken.push(named);
          }
        }
      }
      resting.sort((a, b) => a.sinceMs - b.sinceMs);
      return { intents, complete, tornIntents, broken, resting };
    },
    async begin(record) {
      const name = fileName(record, 'intent');
      const temporary = at(`${name}.tmp`);
      const file = await fs.promises.open(temporary, 'w', 0o600);
      try {
        await file.writeFile(JSON.stringify({ format: FORMAT, ...record }));
        await fs.promises.rename(temporary, at(name));
      } catch (error) {
        await file.close();
        throw error;
      }
      state.set(stem(record), 'intent');
      const synced = Promise.all([file.sync(), handle.sync()]).finally(() => file.close());
      syncing.set(
        stem(record),
        synced.then(
          () => undefined,
          (error: unknown) => error,
        ),
      );
    },
    async complete(record) {
      const failure = await syncing.get(stem(record));
      syncing.delete(stem(record));
      if (failure) throw failure;
      await move(record, 'json');
    },
    async free(record) {
      await syncing.get(stem(record));
      syncing.delete(stem(record));
      await move(record, 'rest');
      await handle.sync();
    },
    async endRest(record) {
      if (state.get(stem(record)) === 'rest') state.delete(stem(record));
      await fs.promises.rm(at(fileName(record, 'rest')), { force: true });
    },
    async close() {
      await Promise.all(syncing.values());
      await handle.close();
    },
  };
}
