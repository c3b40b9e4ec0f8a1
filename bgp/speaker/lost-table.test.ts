import assert from 'node:assert/strict';
import { test } from 'node:test';
import { config, fresh, Network, peer } from './test-network.ts';

const [me, other] = ['10.0.0.1', '10.0.0.2'] as const;

/** Several slices of what goes. */
const many = 120_000;
const table = Array.from({ length: many }, (_, n) => `10.${n >> 14}.${(n >> 6) & 255}.${(n & 63) << 2}/30`);

for (const [what, restartTimeSec] of [
  ['at once', 0],
  ['after the restart time', 30],
] as const) {
  test(`of a large table that is lost ${what} nothing is left, nor where stations are told of what was received`, () => {
    const network = new Network();
    const station = { name: 'station', address: '10.0.0.9', port: 1790, monitor: ['pre-policy'] };
    const speaker = network.add(me, config(me, 65001, [peer(other, 65002)], [], { bmp: [station] }));
    const before = speaker.status().attributeSets;
    const gracefulRestart = { ...fresh, restartTimeSec };
    network.add(other, config(other, 65002, [peer(me, 65001)], table, { gracefulRestart }));
    network.advance(3000);
    assert.equal(network.routesOf(me).size, many);
    network.kill(other);
    network.advance(restartTimeSec * 1000 + 1000);
    assert.deepEqual([network.routesOf(me).size, speaker.status().attributeSets], [0, before]);
  });
}
