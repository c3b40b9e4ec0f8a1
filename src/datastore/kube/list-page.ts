/** Reads one page of a list, item by item. */
import { errorText } from '#kit';
import { pauseIfDue } from '../time-slice.ts';
import { type KubeStream, mustBeWhole } from './connection.ts';
import { ListItems } from './list-items.ts';
import type { Outcome } from './outcome.ts';
import { completed, type RawObject } from './raw-object.ts';
import type { Resource } from './resources.ts';

export interface ListPage {
  readonly resourceVersion: string;
  /** Where the next page begins; absent or empty on the last one. */
  readonly continue?: string;
}

export interface ItemSink {
  put(object: RawObject): void;
  /** An object too large to be read; `head` is how it begins. */
  oversized(head: string, bytes: number): void;
}

export async function readPage(stream: KubeStream, resource: Resource, sink: ItemSink): Promise<ListPage | Outcome> {
  const items = new ListItems();
  try {
    for await (const chunk of stream.body) {
      items.push(chunk as Buffer);
      for (let item = items.next(); item; item = items.next()) {
        if (item.type === 'oversized') sink.oversized(item.head, item.bytes);
        else sink.put(completed(JSON.parse(item.text) as RawObject, resource));
        const pause = pauseIfDue();
        if (pause) await pause;
      }
      const pause = pauseIfDue();
      if (pause) await pause;
    }
    mustBeWhole(stream);
    const { metadata } = JSON.parse(items.envelope()) as { metadata: ListPage };
    return metadata;
  } catch (error) {
    const cut = !(error instanceof SyntaxError);
    return { type: 'broken', reason: `the list broke: ${errorText(error)}`, unreachable: cut };
  }
}
