import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createPrefixCursor,
  createUpdateView,
  decodeUpdate,
  describeAttributes,
  emptyAttributeValues,
  originatedAttributes,
  readCanonical,
} from '../wire/index.ts';
import { ibgp } from '../wire/test-messages.ts';
import { UpdateGroup, type UpdateGroupOptions } from './adj-out.ts';
import { IntStack } from './arrays.ts';
import { AttributePool } from './attribute-pool.ts';
import { NextHopPool, NextHopSetPool, noNextHop } from './next-hop-pool.ts';
import { localPeer, PeerTable } from './path-table.ts';
import { Rib } from './rib.ts';

const localAsn = 65000;

/** A RIB with one group, whose member is told of every change by itself. */
class Told {
  readonly pool = new AttributePool();
  readonly peers = new PeerTable();
  readonly nextHops = new NextHopPool();
  readonly rib = new Rib(4, {
    attributes: this.pool,
    nextHops: this.nextHops,
    hopSets: new NextHopSetPool(),
    peers: this.peers,
  });
  readonly #group: UpdateGroup;
  readonly #messages: Uint8Array[] = [];
  readonly #changed = new IntStack();

  constructor(options: Partial<UpdateGroupOptions>) {
    const member = this.peers.make();
    this.#group = new UpdateGroup(this.rib, {
      ebgp: true,
      asn4: true,
      localAsn,
      export: 'accept',
      nextHopSelf: Uint8Array.of(192, 0, 2, 1),
      ...options,
    });
    this.#group.join(
      member,
      { writable: true, write: (bytes, length) => void this.#messages.push(bytes.slice(0, length)) },
      false,
    );
  }

  peer(ebgp: boolean, routerId: number): number {
    const row = this.peers.make();
    this.peers.ebgp[row] = ebgp ? 1 : 0;
    this.peers.client[row] = 1;
    this.peers.routerId[row] = routerId;
    return row;
  }
  set(med: number): number {
    const octets = originatedAttributes({ med });
    const values = emptyAttributeValues();
    readCanonical(octets, 0, octets.length, 0, 0, values);
    return this.pool.intern(octets, values);
  }
  /** What the member hears of it: `prefix: MED, next hop, originator`. */
  announce(peer: number, n: number, set: number, hop = noNextHop): string[] {
    this.rib.announce(peer, Int32Array.of(n << 24), 8, set, hop, 0);
    return this.#heard();
  }
  withdraw(peer: number, n: number): string[] {
    this.rib.withdraw(peer, Int32Array.of(n << 24), 8, 0);
    return this.#heard();
  }

  #heard(): string[] {
    const changed = this.#changed;
    this.rib.decide(100, false, changed);
    this.#group.apply(changed, 0, changed.length);
    for (let i = 0; i < changed.length; i++) this.rib.settle(changed.items[i]!);
    changed.clear();
    return this.#messages.splice(0).flatMap(decoded);
  }
}

function decoded(message: Uint8Array): string[] {
  const view = createUpdateView();
  assert.equal(decodeUpdate(view, ibgp, message, 0, message.length), 'accept');
  const { med, originatorId } = describeAttributes(message, view.attributesStart, view.attributesEnd);
  const out: string[] = [];
  const cursor = createPrefixCursor();
  for (const [start, end, what] of [
    [view.withdrawnStart, view.withdrawnEnd, 'gone'],
    [
      view.nlriStart,
      view.nlriEnd,
      `${med}, ${[...message.subarray(view.nextHopStart, view.nextHopStart + 4)].join('.')}, ${originatorId}`,
    ],
  ] as const) {
    cursor.reset(4, message, start, end);
    while (cursor.next()) out.push(`${cursor.words[0]! >>> 24}: ${what}`);
  }
  return out;
}

test('a set with the number of one that is gone is told as what it is', () => {
  const told = new Told({ ebgp: false });
  const peer = told.peer(true, 9);
  const [first, second] = [5, 6].map((med) => {
    const set = told.set(med);
    const heard = [set, told.announce(peer, 10, set), told.withdraw(peer, 10)] as const;
    // The last one that was let go stays: now that is another.
    told.pool.drop(told.set(0));
    return heard;
  });
  assert.equal(first![0], second![0], 'the number is given again');
  assert.deepEqual([first![1], second![1]], [['10: 5, 192.0.2.1, undefined'], ['10: 6, 192.0.2.1, undefined']]);
});

test('RFC 4271 5.1.4: the MED of ours goes to another AS, one that was learned with the same attributes does not', () => {
  const told = new Told({});
  const peer = told.peer(true, 9);
  const set = told.set(5);
  assert.deepEqual(told.announce(localPeer, 10, set), ['10: 5, 192.0.2.1, undefined']);
  assert.deepEqual(told.announce(peer, 11, set), ['11: undefined, 192.0.2.1, undefined']);
  assert.deepEqual(told.announce(localPeer, 12, set), ['12: 5, 192.0.2.1, undefined']);
});

test('RFC 4456 8: the same attributes of two clients are reflected each with its originator, and its next hop', () => {
  const told = new Told({ ebgp: false, routeReflectorClient: true, clusterId: 77 });
  const set = told.set(5);
  const [one, other] = [told.peer(false, 0x0a000001), told.peer(false, 0x0a000002)];
  const [near, far] = [1, 2].map((n) => told.nextHops.intern(`hop ${n}`, Uint8Array.of(10, 9, 0, n), 0, 4));
  assert.deepEqual(told.announce(one, 10, set, near), ['10: 5, 10.9.0.1, 10.0.0.1']);
  assert.deepEqual(told.announce(other, 11, set, near), ['11: 5, 10.9.0.1, 10.0.0.2']);
  assert.deepEqual(told.announce(other, 12, set, far), ['12: 5, 10.9.0.2, 10.0.0.2']);
  assert.deepEqual(told.announce(one, 13, set, far), ['13: 5, 10.9.0.2, 10.0.0.1']);
});
