/** OPEN without capabilities for a peer that refuses them, RFC 5492 3. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeOpen, encodeOpen, type OpenMessage } from '../wire/index.ts';
import { initialState, type SessionConfig, type SessionInput, type SessionOutput, stateName, step } from './index.ts';

const config: SessionConfig = {
  localAsn: 4_200_000_000,
  peerAsn: 64513,
  routerId: 10,
  families: ['ipv4-unicast', 'ipv6-unicast'],
  holdTimeSec: 90,
  connectRetrySec: 5,
  passive: false,
  extendedMessages: true,
};
function run(inputs: readonly SessionInput[], settings = config) {
  let state = initialState(settings);
  const outputs: SessionOutput[] = [];
  for (const input of [{ type: 'manualStart' } as const, ...inputs]) {
    const result = step(state, input, () => 1);
    state = result.state;
    outputs.push(...result.outputs);
  }
  const opens = outputs.flatMap((output) => (output.type === 'sendOpen' ? [output.open] : []));
  const up = outputs.flatMap((output) => (output.type === 'sessionUp' ? [output.negotiated] : []));
  return { state, opens, up };
}
const dialled = (connection: number): SessionInput[] => [
  { type: 'timer', timer: 'idleHold' },
  { type: 'tcpConnected', connection, direction: 'outgoing' },
];
const refused = (connection: number, subcode = 4): SessionInput => ({
  type: 'notification',
  connection,
  notification: { code: 2, subcode, data: new Uint8Array(0) },
});
const old: OpenMessage = {
  asn: 64513,
  holdTimeSec: 30,
  routerId: 20,
  families: ['ipv4-unicast'],
  asn4: false,
  routeRefresh: false,
};

test('after Unsupported Optional Parameter the next OPEN has no parameters, and its session is IPv4 with 2-octet ASes (RFC 5492 3)', () => {
  const { opens, up, state } = run([
    ...dialled(1),
    refused(1),
    ...dialled(2),
    {
      type: 'open',
      connection: 2,
      open: { ...old, routeRefresh: true, families: ['ipv4-unicast', 'ipv6-unicast'], asn4: true },
    },
    { type: 'timer', timer: 'keepalive', connection: 2 },
    { type: 'keepalive', connection: 2 },
  ]);
  assert.deepEqual(
    opens.map(({ plain }) => plain ?? false),
    [false, true],
  );
  const bytes = encodeOpen(opens[1]!);
  assert.equal(bytes.length, 29, 'no optional parameter');
  const read = decodeOpen(bytes, 0, bytes.length);
  assert.ok(read.ok);
  assert.equal(read.value.asn, 23456, 'AS_TRANS (RFC 6793 9)');
  assert.equal(stateName(state), 'Established');
  const { families, asn4, routeRefresh, extendedMessages, enhancedRouteRefresh } = up[0]!;
  assert.deepEqual(
    [families, asn4, routeRefresh, extendedMessages, enhancedRouteRefresh],
    [['ipv4-unicast'], false, false, false, false],
  );
});

test('it is tried once: a peer that refuses that as well gets the whole OPEN again', () => {
  const { opens } = run([
    ...dialled(1),
    refused(1),
    ...dialled(2),
    refused(2),
    ...dialled(3),
    refused(3),
    ...dialled(4),
  ]);
  assert.deepEqual(
    opens.map(({ plain }) => plain ?? false),
    [false, true, false, true],
  );
});

test('other refusals change nothing, nor does this one where we want no IPv4', () => {
  assert.deepEqual(
    run([...dialled(1), refused(1, 7), ...dialled(2)]).opens.map(({ plain }) => plain),
    [undefined, undefined],
  );
  const only6 = { ...config, families: ['ipv6-unicast'] as const };
  assert.deepEqual(
    run([...dialled(1), refused(1), ...dialled(2)], only6).opens.map(({ plain }) => plain),
    [undefined, undefined],
  );
});
