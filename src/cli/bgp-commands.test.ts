import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'yaml';
import { cells, run } from './cli-run.ts';
import { agent, routes } from './fake-agent.ts';

test('bgp peers: counts by family, address with port only where it is another, why a session is down', async (t) => {
  const { code, out } = await run(['bgp', 'peers'], await agent(t));
  assert.equal(code, 0);
  assert.deepEqual(cells(out), [
    ['NAME', 'ADDRESS', 'AS', 'STATE', 'FOR', 'FAMILIES', 'ACCEPTED', 'REJECTED', 'SENT', 'LAST ERROR'],
    ['mesh/n2', '10.0.0.2', '64512', 'Established (BFD Up)', '2m0s', '4/6', '5/6', '3/0', '1/2'],
    ['peer/tor', '[fd00::1]:1790', '65001', 'Active', '-', '-', '-', '-', '-', 'connection refused'],
  ]);
});

test('bgp peers NAME: all of one session; a name that none has is an error that says where names are', async (t) => {
  const env = await agent(t);
  const { code, out } = await run(['bgp', 'peers', 'mesh/n2'], env);
  assert.equal(code, 0);
  for (const line of [
    /^state +Established \(BFD Up\) for 2m0s$/m,
    /^messages +12 received, 13 sent$/m,
    /^ {2}updates +7 received, 3 sent, 2 with errors$/m,
    /^ {2}notifications +0 received, 1 sent$/m,
    /^FAMILY +RECEIVED +REJECTED +ACCEPTED +STALE +SENT +END-OF-RIB$/m,
    /^ipv4-unicast +8 +3 +5 +0 +1 +yes$/m,
  ]) {
    assert.match(out, line);
  }
  assert.equal(JSON.parse((await run(['bgp', 'peers', 'mesh/n2', '-o', 'json'], env)).out).name, 'mesh/n2');
  assert.match((await run(['bgp', 'peers', 'peer/tor'], env)).out, /^last error +connection refused$/m);
  const none = await run(['bgp', 'peers', 'n2'], env);
  assert.deepEqual([none.code, none.err], [2, 'poplin: no peer is called n2; `poplin bgp peers` names them\n']);
});

test('bgp routes: next hop resolved to every gateway and device; other paths only on request', async (t) => {
  const env = await agent(t);
  assert.deepEqual(cells((await run(['bgp', 'routes'], env)).out), [
    ['', 'PREFIX', 'NEXT HOP', 'VIA', 'ORIGIN', 'AS PATH', 'FROM'],
    ['* 10.1.1.0/24', '-', '-', 'IGP', '-', 'this node'],
    ['* 10.1.2.0/24', '10.0.0.2', '172.16.0.1 dev eth0', 'IGP', '-', 'mesh/n2'],
    ['', '10.0.0.2', '172.16.1.1 dev eth1', 'IGP', '-', 'mesh/n2'],
    ['* 10.9.0.0/16', '10.0.0.2', 'UNRESOLVED', 'IGP', '-', 'mesh/n2'],
  ]);
  assert.match((await run(['bgp', 'routes', '--all'], env)).out, /65001 65002 +tor$/m);
});

test('bgp routes: what was received, what a peer is told, and why', async (t) => {
  const asked: unknown[] = [];
  const path = { best: false, nextHop: '10.0.0.2', origin: 'IGP', asPath: '65001', stale: false, peer: 'tor' } as const;
  const paths = [
    { ...path, rejected: { by: 'filter', filter: 'from-tor', term: 1 } },
    { ...path, rejected: { by: 'loop' } },
    { ...path, reason: 'med' },
    { ...path, best: true, reason: 'only-path' },
  ];
  const env = await agent(t, {
    bgpRoutes: (query) => {
      asked.push(query);
      const told = query.sent ? paths.map((each) => ({ ...each, sentTo: 'spine' })) : paths;
      return { routes: [{ prefix: '10.7.0.0/16', source: 'learned', paths: told }] };
    },
  });
  const { out } = await run(['bgp', 'routes', '--received', '--peer', 'tor'], env);
  const why = cells(out).map((line) => line.at(-1));
  assert.deepEqual(why, ['WHY', 'rejected by filter from-tor, rule 2', 'rejected by loop', 'lost by med', 'only path']);
  assert.equal((await run(['bgp', 'routes', '--sent-to', 'tor'], env)).code, 0);
  assert.match(
    (await run(['bgp', 'routes', '10.7.0.0/16', '--sent'], env)).out,
    /SENT TO.*\n.*10\.7\.0\.0\/16 +spine /,
  );
  for (const words of [['--sent-to', 'tor', '--received'], ['--sent'], ['10.7.0.0/16', '--sent', '--sent-to', 'tor']]) {
    assert.equal((await run(['bgp', 'routes', ...words], env)).code, 2, words.join(' '));
  }
  assert.deepEqual(asked, [
    { peer: 'tor', received: true, limit: 1000 },
    { sentTo: 'tor', limit: 1000 },
    { within: '10.7.0.0/16', sent: true, limit: 1000 },
  ]);
});

test('bgp routes asks page by page and passes its filter on; none is exit code 1', async (t) => {
  const asked: unknown[] = [];
  const env = await agent(t, {
    bgpRoutes: (query) => {
      asked.push(query);
      return query.cursor === undefined ? { routes, next: 'n' } : { routes };
    },
  });
  const { out } = await run(['bgp', 'routes', '10.1.2.3', '-4', '-o', 'yaml'], env);
  assert.equal((parse(out) as unknown[]).length, 6);
  assert.deepEqual(asked, [
    { covers: '10.1.2.3', family: 4, limit: 1000 },
    { covers: '10.1.2.3', family: 4, limit: 1000, cursor: 'n' },
  ]);
  const empty = await run(['bgp', 'routes', '10.0.0.0/8'], await agent(t, { bgpRoutes: () => ({ routes: [] }) }));
  assert.deepEqual(
    [empty.code, empty.out, empty.err],
    [1, '', 'poplin: no route for 10.0.0.0/8; --received shows also what is rejected\n'],
  );
  assert.equal((await run(['bgp', 'routes', '10.0.0.0/99'], env)).code, 2);
  assert.equal((await run(['bgp', 'routes', '-4', '-6'], env)).code, 2);
});
