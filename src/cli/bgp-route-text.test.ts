import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BgpPathView, BgpRouteView } from '#api';
import { routesTable, sortedByPrefix } from './bgp-route-text.ts';

const path = (more: Partial<BgpPathView> = {}): BgpPathView => ({
  peer: 'tor',
  best: true,
  nextHop: '10.0.0.2',
  origin: 'IGP',
  asPath: '65001',
  stale: false,
  ...more,
});
const route = (prefix: string, ...paths: readonly BgpPathView[]): BgpRouteView => ({
  prefix,
  source: 'learned',
  paths,
});
const cells = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.trim().split(/ {3,}/));

test('with attributes: preference, MED and communities of every kind; who shares the load is told from who is first', () => {
  const table = routesTable({ attributes: true, decision: true });
  const text = table([
    route(
      '10.7.0.0/16',
      path({ reason: 'router-id', localPref: 200, med: 30, communities: ['65001:7'], largeCommunities: ['1:2:3'] }),
      path({ peer: 'spine', reason: 'router-id', multipath: true, pathId: 4, stale: true }),
      path({ peer: 'slow', reason: 'med', best: false }),
    ),
  ]);
  assert.deepEqual(cells(text), [
    ['PREFIX', 'NEXT HOP', 'PREF', 'MED', 'ORIGIN', 'AS PATH', 'COMMUNITIES', 'FROM', 'WHY'],
    ['* 10.7.0.0/16', '10.0.0.2', '200', '30', 'IGP', '65001', '65001:7 1:2:3', 'tor', 'best by router-id'],
    [
      ...['* 10.7.0.0/16', '10.0.0.2', '-', '-', 'IGP', '65001', '-'],
      ...['spine path 4 (stale)', 'shares the load; lost by router-id'],
    ],
    ['10.7.0.0/16', '10.0.0.2', '-', '-', 'IGP', '65001', '-', 'slow', 'lost by med'],
  ]);
});

test('pages: one header; a speaker that installs nothing has no column for ways', () => {
  const table = routesTable({ attributes: false, decision: true });
  assert.deepEqual(cells(table([route('10.7.0.0/16', path())]))[0], [
    'PREFIX',
    'NEXT HOP',
    'ORIGIN',
    'AS PATH',
    'FROM',
  ]);
  assert.equal(cells(table([route('10.8.0.0/16', path())])).length, 1);
  const installed = routesTable({ attributes: false, decision: true })([route('10.7.0.0/16', path({ resolved: [] }))]);
  assert.match(installed, /VIA.*\n.*UNRESOLVED/);
});

test('by family, address and length, not by text', () => {
  const wanted = ['9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/16', '10.2.0.0/16', '10.10.0.0/16', '2001:db8::/32', 'fd00::/8'];
  assert.deepEqual(
    sortedByPrefix(wanted.toReversed().map((prefix) => route(prefix))).map(({ prefix }) => prefix),
    wanted,
  );
});
