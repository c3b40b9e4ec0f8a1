import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Cidr } from '#kit';
import type { BGPFilterObject } from '#model';
import { speakerConfig } from './speaker-config.ts';
import { configuration, input, meta, peer } from './test-input.ts';

const advertisement = (cidr: string, ...communities: string[]) => ({ cidr: cidr as Cidr, communities });

test('RFC 1997, RFC 8092: own prefixes inside go out with the communities of prefixAdvertisements, on every session', () => {
  const prefixAdvertisements = [
    advertisement('10.1.0.0/16', '64512:1', '64512:2:3'),
    advertisement('fd01::/16', '64512:6'),
  ];
  const filters: BGPFilterObject[] = [
    { metadata: meta('f'), exportV4: [{ action: 'Reject' }], importV4: [], exportV6: [], importV6: [] },
  ];
  const peers = [
    peer('tor', '172.16.0.1', { filters: ['f'] }),
    { metadata: meta('rack'), port: 179, range: { prefix: '10.9.0.0/16' as Cidr, limit: 1 }, asNumber: 65001 },
  ];
  const { config } = speakerConfig(
    input({ peers, filters, configurations: [configuration('default', { prefixAdvertisements })] }),
  );
  const own4 = {
    action: 'next',
    source: ['own'],
    prefix: { operator: 'in', cidr: '10.1.0.0/16' },
    changes: [
      { type: 'addCommunity', value: '64512:1' },
      { type: 'addCommunity', value: '64512:2:3' },
    ],
  };
  const own6 = {
    action: 'next',
    source: ['own'],
    prefix: { operator: 'in', cidr: 'fd01::/16' },
    changes: [{ type: 'addCommunity', value: '64512:6' }],
  };
  const [mesh, tor] = config!.peers;
  assert.deepEqual(mesh!.exportFilter, { ipv4: [own4], ipv6: [own6] });
  assert.deepEqual(config!.ranges![0]!.exportFilter, { ipv4: [own4], ipv6: [own6] });
  assert.deepEqual(
    tor!.exportFilter!.ipv4.map(({ action }) => action),
    ['next', 'reject'],
    'before the rules of BGPFilters, which see them',
  );
  assert.equal(mesh!.export, 'originated');
});

test('prefixAdvertisements: those of the node in place of those of all', () => {
  const configurations = [
    configuration('default', { prefixAdvertisements: [advertisement('10.1.0.0/16', '1:1')] }),
    configuration('node.n1', { prefixAdvertisements: [advertisement('fd01::/16', '2:2')] }),
  ];
  const of = (nodeName: string) => speakerConfig(input({ nodeName, configurations })).config!.peers[0]!.exportFilter;
  assert.deepEqual([of('n1')!.ipv4.length, of('n1')!.ipv6.length], [0, 1]);
  assert.equal(of('n2')!.ipv4.length, 1);
});
