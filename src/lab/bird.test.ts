import assert from 'node:assert/strict';
import { test } from 'node:test';
import { birdConfig, parseBirdProtocols } from './bird.ts';
import { manifestsBefore } from './demo/phases.ts';
import { readManifests } from './documents.ts';
import { parseTopology } from './topology.ts';

test('a rack router has a session a link, sends nodes the default route alone, and the spine everything else', () => {
  const manifest = readManifests([manifestsBefore]).find(({ kind }) => kind === 'Topology')!;
  const topology = parseTopology(manifest).topology!;
  const router = topology.routers.find(({ name }) => name === 'tor1')!;
  const text = birdConfig({ topology, router, nodeAsn: () => 64512, holdTimeSec: 9 });
  assert.match(text, /^router id 10\.255\.0\.1;/);
  const session = (name: string): string => text.slice(text.indexOf(`protocol bgp ${name} `)).split('\n}')[0]!;
  assert.match(session('to_node1'), /local 172\.16\.11\.1 as 65001;\n {2}neighbor 172\.16\.11\.2 as 64512;/);
  assert.match(session('to_node1'), /ipv6 \{.*export where source = RTS_STATIC; next hop address fd00:16:11::1;/);
  assert.match(session('to_spine'), /neighbor 172\.16\.1\.1 as 65000;/);
  assert.match(session('to_spine'), /ipv4 \{ import all; export where source != RTS_STATIC;/);
  assert.equal(text.match(/^protocol bgp /gm)!.length, 4);
  assert.match(text, /graceful restart on;/);
});

test('what birdc prints of sessions', () => {
  const text = `BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-24 15:10:51.660
to_node1   BGP        ---        up     2026-11-24 15:10:52.418  Established
to_node2   BGP        ---        start  2026-11-24 15:10:51.660  Active        Socket: Connection refused
to_node3   BGP        ---        down   2026-11-24 15:10:51.660
`;
  assert.deepEqual(parseBirdProtocols(text), [
    { name: 'to_node1', state: 'Established', since: '2026-11-24 15:10:52.418' },
    { name: 'to_node2', state: 'Active', since: '2026-11-24 15:10:51.660' },
    { name: 'to_node3', state: 'down', since: '2026-11-24 15:10:51.660' },
  ]);
});

test('the sessions of a BIRD with the time format that it has by itself', () => {
  const text = `node_1     BGP        ---        up     20:35:14.224  Established
node_2     BGP        ---        start  2026-11-24    Idle          BGP Error: Bad peer AS
`;
  assert.deepEqual(parseBirdProtocols(text), [
    { name: 'node_1', state: 'Established', since: '20:35:14.224' },
    { name: 'node_2', state: 'Idle', since: '2026-11-24' },
  ]);
});
