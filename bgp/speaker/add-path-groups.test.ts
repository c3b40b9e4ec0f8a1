/** Adj-RIB-Outs with several paths of a prefix: what members hold in the end, however slow they were and whatever happened in between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AttributePool,
  IntStack,
  isExported,
  type MemberSink,
  NextHopPool,
  NextHopSetPool,
  PeerTable,
  Rib,
  type UpdateGroupOptions,
} from '../rib/index.ts';
import { rankedRows } from '../rib/test-naive-decision.ts';
import { removePeer } from '../rib/test-remove-peer.ts';
import {
  canonicalAttributes,
  canonicalAttributesBytesMax,
  createFramer,
  createPrefixCursor,
  createUpdateView,
  decodeUpdate,
  describeAttributes,
  emptyAttributeValues,
  originatedAttributes,
  readCanonical,
} from '../wire/index.ts';
import { ebgp, ibgp } from '../wire/test-messages.ts';
import { Groups, type Membership } from './groups.ts';

const prefixTexts = {
  4: ['10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16'],
  6: ['fd01::/64', 'fd02::/64', 'fd03::/64'],
} as const;
/** Rows 1 and 2 are external, 3 and 4 internal. Rows 1, 3 and 5 are members, too; 5 sends nothing. */
const externalRows = [1, 2, 5];
const memberRows = [1, 3, 5];

/** What a member makes of the octets it gets: `prefix #id` to the one community of its attributes. */
class Receiver implements MemberSink {
  writable = true;
  readonly held = new Map<string, string>();
  readonly #family: 4 | 6;
  readonly #withPathIds: boolean;
  readonly #onTold: (prefix: number, id: number, community: string) => void;

  constructor(
    family: 4 | 6,
    withPathIds: boolean,
    onTold: (prefix: number, id: number, community: string) => void = () => undefined,
  ) {
    this.#family = family;
    this.#withPathIds = withPathIds;
    this.#onTold = onTold;
  }
  write(bytes: Uint8Array, length: number): void {
    const chunk = bytes.subarray(0, length);
    const ids = { addPath4: this.#withPathIds, addPath6: this.#withPathIds };
    const error = createFramer().push(chunk, (_type, bytes, start, end) => {
      const view = createUpdateView();
      assert.equal(decodeUpdate(view, { ...ibgp, ...ids }, bytes, start, end), 'accept', view.error?.reason);
      for (const [from, to] of [
        [view.withdrawnStart, view.withdrawnEnd],
        [view.mpUnreachStart, view.mpUnreachEnd],
      ] as const) {
        // Of what it was never told a slow member may hear that it is gone, which it ignores (RFC 7911 5).
        this.#each(view.bytes, from, to, (key) => void this.held.delete(key));
      }
      const out = new Uint8Array(canonicalAttributesBytesMax);
      const length = canonicalAttributes(view, out, 0);
      for (const [from, to] of [
        [view.nlriStart, view.nlriEnd],
        [view.mpReachNlriStart, view.mpReachNlriEnd],
      ] as const) {
        if (from === to) continue;
        const community = describeAttributes(out, 0, length).communities![0]!;
        this.#each(view.bytes, from, to, (key, prefix, id) => {
          this.held.set(key, community);
          this.#onTold(prefix, id, community);
        });
      }
      return true;
    });
    assert.equal(error, undefined);
  }
  #each(bytes: Uint8Array, from: number, to: number, use: (key: string, prefix: number, id: number) => void): void {
    const cursor = createPrefixCursor();
    cursor.reset(this.#family, bytes, from, to, this.#withPathIds);
    while (cursor.next()) {
      const word = (cursor.words[0]! >>> 16) & 255;
      use(`${word} #${cursor.pathId}`, word, cursor.pathId);
    }
  }
}

const callArbitrary = fc.record({
  op: fc.constantFrom('announce', 'announce', 'announce', 'withdraw', 'drop', 'stuck', 'free', 'count', 'flush'),
  peer: fc.integer({ min: 0, max: 4 }),
  pathId: fc.integer({ min: 0, max: 2 }),
  prefix: fc.nat(2),
  version: fc.nat(1),
  localPref: fc.constantFrom(100, 200),
  member: fc.nat(2),
  count: fc.integer({ min: 1, max: 4 }),
});

for (const family of [4, 6] as const) {
  for (const toExternal of [true, false]) {
    test(`members hold the best so many paths of a prefix that may go to them, each under one identifier for its life (RFC 7911 2, 5), IPv${family}, ${toExternal ? 'external' : 'internal'}`, () => {
      fc.assert(
        fc.property(fc.array(callArbitrary, { maxLength: 80 }), (calls) => {
          const attributes = new AttributePool();
          const nextHops = new NextHopPool();
          const peers = new PeerTable();
          for (let row = 1; row <= 5; row++) {
            peers.make();
            peers.ebgp[row] = externalRows.includes(row) ? 1 : 0;
            peers.routerId[row] = row;
            peers.addressOrder[row] = row;
          }
          nextHops.intern(
            'a',
            family === 4 ? Uint8Array.of(10, 0, 0, 1) : Uint8Array.of(0xfd, ...new Array(15).fill(1)),
            0,
            family === 4 ? 4 : 16,
          );
          const rib = new Rib(family, { attributes, nextHops, hopSets: new NextHopSetPool(), peers });
          const groups = new Groups();
          let count = 2;
          const options = (): UpdateGroupOptions => ({
            ebgp: toExternal,
            export: 'accept',
            asn4: true,
            localAsn: toExternal ? ebgp.peerAsn : ibgp.peerAsn,
            addPath: count,
            nextHopSelf: family === 4 ? Uint8Array.of(10, 0, 0, 9) : Uint8Array.of(0xfd, ...new Array(15).fill(9)),
          });
          /** Of the paths that live: under which identifier they were told, by `row pathId prefix`. */
          const told = new Map<string, number>();
          const onTold = (prefix: number, id: number, community: string): void => {
            const key = `${Math.trunc(Number(community.split(':')[1]) / 2)} ${prefix}`;
            if (!live.has(key)) return;
            assert.equal(told.get(key) ?? id, id, `${key} has one identifier`);
            told.set(key, id);
          };
          const live = new Set<string>();
          const receivers = memberRows.map(() => new Receiver(family, true, onTold));
          const plain = new Receiver(family, false);
          const { addPath: _, ...bestOnly } = options();
          groups.join(rib, bestOnly, 5, plain, true);
          let members: Membership[] = memberRows.map((row, i) => groups.join(rib, options(), row, receivers[i]!, true));
          const changed = new IntStack();
          const flush = (): void => {
            changed.clear();
            while (rib.dirtyCount > 0) rib.decide(2, false, changed);
            groups.apply(rib, changed);
            for (let i = 0; i < changed.length; i++) rib.settle(changed.items[i]!);
            while (groups.pump(1));
          };
          const pathName = (peer: number, pathId: number, prefix: number): string =>
            `${peer * 3 + pathId} ${prefix + 1}`;
          for (const call of calls) {
            const { peer, prefix } = call;
            const pathId = peer === 0 ? 0 : call.pathId;
            const id = rib.internText(prefixTexts[family][prefix]!)!;
            if (call.op === 'announce') {
              const community = (65_000 << 16) + (peer * 3 + pathId) * 2 + call.version;
              const bytes = originatedAttributes({ communities: [community >>> 0], localPref: call.localPref });
              const values = emptyAttributeValues();
              readCanonical(bytes, 0, bytes.length, 0, 0, values);
              rib.announceId(peer, id, attributes.intern(bytes, values), peer === 0 ? 0 : 1, pathId);
              live.add(pathName(peer, pathId, prefix));
            } else if (call.op === 'withdraw') {
              rib.withdrawId(peer, id, pathId);
              live.delete(pathName(peer, pathId, prefix));
              told.delete(pathName(peer, pathId, prefix));
            } else if (call.op === 'drop') {
              removePeer(rib, peer);
              for (let i = 0; i < 3; i++) {
                for (let p = 0; p < 3; p++) {
                  live.delete(pathName(peer, i, p));
                  told.delete(pathName(peer, i, p));
                }
              }
            } else if (call.op === 'count') {
              count = call.count;
              members = members.map((membership) => groups.move(membership, options()));
            } else if (call.op === 'flush') {
              flush();
            } else {
              receivers[call.member]!.writable = call.op === 'free';
            }
            rib.settle(id);
          }
          const check = (): void => {
            for (const receiver of receivers) receiver.writable = true;
            flush();
            for (const [i, row] of memberRows.entries()) {
              const expected: string[] = [];
              for (const [index, text] of prefixTexts[family].entries()) {
                const id = rib.prefixes.byText(text, false)!;
                if (id < 0) continue;
                const { paths } = rib;
                const mayGo = (path: number): boolean =>
                  isExported(options(), paths.peer[path]!, peers, attributes.communityFlags[paths.attributes[path]!]!);
                const best = rankedRows(rib, id).filter(mayGo).slice(0, count);
                for (const path of best) {
                  if (paths.peer[path] === row) continue;
                  const bytes = attributes.copy(paths.attributes[path]!);
                  const { communities } = describeAttributes(bytes, 0, bytes.length);
                  expected.push(`${index + 1} #${rib.sentId(id, path)} ${communities![0]}`);
                }
              }
              const held = [...receivers[i]!.held].map(([key, community]) => `${key} ${community}`);
              assert.deepEqual(held.sort(), expected.sort(), `member ${row}`);
              assert.equal(members[i]!.group.announcedTo(row), expected.length);
            }
          };
          check();
          for (let row = 0; row <= 4; row++) removePeer(rib, row);
          live.clear();
          check();
          for (const receiver of [...receivers, plain]) assert.equal(receiver.held.size, 0);
          for (const membership of members) groups.leave(membership);
          assert.deepEqual([attributes.size, rib.prefixes.size, groups.size, rib.pathWatchers], [0, 0, 1, 0]);
        }),
        { numRuns: 200 },
      );
    });
  }
}
