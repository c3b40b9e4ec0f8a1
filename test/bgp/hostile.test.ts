/** Every hostile input against the decoder alone, and against a speaker in memory that had routes of the peer before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wire } from '#bgp';
import { passivePeer, type VirtualClient, VirtualSpeaker, virtualConfig } from '../support/bgp-virtual.ts';
import {
  asn4,
  before,
  bothFamilies,
  bystander,
  capabilities,
  goodOpen,
  type HostileInput,
  type HostilePeer,
  localAsn,
  localRouterId,
  message,
  open,
  peerAsn,
  prefix4,
} from '../support/hostile/build.ts';
import {
  attributeInputs,
  hostileInputs,
  multiprotocolInputs,
  nlriInputs,
  openInputs,
  sessionInputs,
} from '../support/hostile/index.ts';

const addresses: Readonly<Record<HostilePeer, string>> = { ebgp: '10.0.0.2', ibgp: '10.0.0.3', old: '10.0.0.4' };
/** Sees what of the input is passed on. */
const observer = '10.0.0.9';
const observerAsn = 64999;

const newSpeaker = (): VirtualSpeaker =>
  new VirtualSpeaker(
    virtualConfig([
      passivePeer(addresses.ebgp, peerAsn),
      passivePeer(addresses.ibgp, localAsn),
      passivePeer(addresses.old, peerAsn),
      passivePeer(observer, observerAsn),
    ]),
  );

function establish(world: VirtualSpeaker, peer: HostilePeer): VirtualClient {
  const client = world.connect(addresses[peer]);
  client.send(goodOpen(peer));
  client.send(message(4, []));
  world.run();
  assert.deepEqual(
    client
      .messages()
      .map(({ type }) => type)
      .slice(0, 2),
    [1, 4],
    'OPEN and KEEPALIVE',
  );
  return client;
}

/** Prefixes of the peer that are in use, and the MED each came with. */
function routesOf(world: VirtualSpeaker, peer: HostilePeer): Map<string, number | undefined> {
  const { routes } = world.speaker.routes({ peer: addresses[peer], limit: 1000 });
  return new Map(routes.map(({ prefix, paths }) => [prefix, paths[0]!.attributes.med]));
}

const status = (world: VirtualSpeaker, peer: HostilePeer) =>
  world.speaker.peerStatuses().find(({ name }) => name === addresses[peer])!;

function checkRoutes(world: VirtualSpeaker, { peer, has, hasNot, about, outcome }: HostileInput): void {
  const routes = routesOf(world, peer);
  for (const prefix of has) assert.ok(routes.has(prefix), `${prefix} is there`);
  for (const prefix of hasNot) assert.ok(!routes.has(prefix), `${prefix} is gone`);
  assert.equal(routes.get(bystander), 7, 'what the input does not name stays');
  if (outcome === 'ignore') for (const prefix of has) assert.equal(routes.get(prefix), 7, `${prefix} as it was`);
  const told = has.filter((prefix) => about.includes(prefix));
  if (outcome === 'accept' || outcome === 'discard') {
    for (const prefix of told) assert.notEqual(routes.get(prefix), 7, `${prefix} as new`);
  }
}

for (const hostile of hostileInputs) {
  const { id, clause, peer, state, bytes, outcome } = hostile;
  test(`${clause}: ${id}: ${outcome}`, () => {
    const world = newSpeaker();
    let client: VirtualClient;
    if (state === 'established') {
      client = establish(world, peer);
      client.send(before(peer));
      world.run();
      assert.equal(routesOf(world, peer).size, 3);
    } else {
      client = world.connect(addresses[peer]);
      if (state === 'openConfirm') client.send(goodOpen(peer));
      client.messages();
    }
    client.send(bytes);
    world.run();
    if (outcome === 'up') {
      assert.deepEqual([client.closed, client.notification()], [false, undefined]);
      client.send(message(4, []));
      assert.equal(status(world, peer).state, 'Established', status(world, peer).lastError);
    } else if (outcome === 'closed' || outcome.includes('/')) {
      assert.equal(client.notification(), outcome === 'closed' ? undefined : outcome, status(world, peer).lastError);
      assert.ok(client.closed, 'closed');
      assert.equal(routesOf(world, peer).size, 0, 'no route is kept');
      assert.notEqual(status(world, peer).lastError, '');
    } else {
      assert.deepEqual([client.closed, client.notification()], [false, undefined], status(world, peer).lastError);
      assert.equal(status(world, peer).state, 'Established');
      const counted = outcome === 'discard' || outcome === 'withdraw';
      if (counted) assert.equal(status(world, peer).updateErrors, 1);
      checkRoutes(world, hostile);
    }
  });
}

const decoderContext = (peer: HostilePeer): wire.UpdateContext => ({
  asn4: peer !== 'old',
  ipv4: true,
  ipv6: true,
  ebgp: peer !== 'ibgp',
  localAsn,
  peerAsn: peer === 'ibgp' ? localAsn : peerAsn,
  localRouterId,
});

test('RFC 7606 2: every UPDATE of the list by the decoder alone', () => {
  const view = wire.createUpdateView();
  for (const { id, peer, bytes, outcome } of [...attributeInputs, ...nlriInputs, ...multiprotocolInputs]) {
    if (wire.checkHeader(bytes, 0) !== undefined) continue;
    const disposition = wire.decodeUpdate(view, decoderContext(peer), bytes, 0, bytes.length);
    const expected = outcome === 'withdraw' ? 'withdraw' : outcome.includes('/') ? 'reset' : 'accept';
    assert.equal(disposition, expected, id);
    if (outcome === 'discard') assert.equal(view.discardedCount, 1, id);
    if (expected === 'reset') assert.equal(`${view.error?.code}/${view.error?.subcode}`, outcome, id);
  }
});

test('RFC 7606 2: treat-as-withdraw reaches the others, and RFC 4271 5: what is not understood reaches them with Partial set', () => {
  const told: string[] = [];
  for (const { id, peer, bytes, outcome } of attributeInputs) {
    if (outcome !== 'withdraw' && !/^(?:unknown-transitive|prefix-sid)/.test(id)) continue;
    const world = newSpeaker();
    const client = establish(world, peer);
    client.send(before(peer));
    const other = world.connect(observer);
    other.send(
      open({ asn: observerAsn, id: [10, 0, 0, 9], parameters: capabilities(...bothFamilies, asn4(observerAsn)) }),
    );
    other.send(message(4, []));
    world.run();
    other.messages();
    client.send(bytes);
    world.run();
    const updates = other.messages().filter(({ type }) => type === 2);
    assert.equal(updates.length, 1, id);
    const octets = Buffer.from(updates[0]!.bytes);
    if (outcome === 'withdraw') assert.deepEqual([...octets.subarray(19)], [0, 4, ...prefix4, 0, 0], id);
    else {
      const type = /type-0/.test(id) ? 0 : /255/.test(id) ? 255 : /prefix-sid/.test(id) ? 40 : 99;
      const wanted = bytes.length > 500 ? [0xf0, type, 8, 0] : [0xe0, type];
      assert.ok(octets.includes(Buffer.from(wanted)), `${id}: ${octets.toString('hex')}`);
    }
    told.push(id);
  }
  assert.ok(told.length > 90);
});

test('the list is as long as the one that other speakers were measured with, and its names are unique', () => {
  const counts = [attributeInputs, nlriInputs, multiprotocolInputs, sessionInputs, openInputs].map(
    (list) => list.length,
  );
  for (const [index, least] of [112, 19, 32, 23, 38].entries()) assert.ok(counts[index]! >= least, `area ${index}`);
  assert.equal(new Set(hostileInputs.map(({ id }) => id)).size, hostileInputs.length);
});
