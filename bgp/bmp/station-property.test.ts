/** Whatever happens to sessions, policies and stations, and in whatever order: in the end a station has the tables as they are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { defaultMultipath, type MultipathOptions } from '../rib/index.ts';
import type { SpeakerConfig } from '../speaker/config.ts';
import { config, Network, peer } from '../speaker/test-network.ts';
import type { RouteAnswer } from '../speaker/types.ts';
import { TestStation } from './test-station.ts';
import { bmpTables } from './types.ts';

const prefixes = ['10.20.0.0/16', '10.21.0.0/16', '10.22.0.0/24', 'fd02::/64', 'fd03:1::/48'];
const peers = ['10.0.0.2', '10.0.0.3'] as const;

type Action =
  | { readonly type: 'originate'; readonly who: 0 | 1; readonly which: readonly number[] }
  | {
      readonly type: 'policy';
      readonly who: 0 | 1;
      readonly import: 'accept' | 'reject';
      readonly export: 'accept' | 'reject' | 'originated';
      readonly adjRibIn: boolean;
    }
  | { readonly type: 'filter'; readonly who: 0 | 1; readonly prefix: number | undefined }
  | { readonly type: 'kill' | 'start'; readonly who: 0 | 1 }
  | { readonly type: 'pathLost'; readonly who: 0 | 1 }
  | { readonly type: 'tag'; readonly who: 0 | 1; readonly tag: number }
  | { readonly type: 'multipath'; readonly max: number; readonly asPathRelax: boolean }
  | { readonly type: 'stick' | 'unstick' | 'hangUp' | 'step' }
  | { readonly type: 'advance'; readonly sec: number };

const who = fc.constantFrom(0 as const, 1 as const);
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ type: fc.constant('originate' as const), who, which: fc.uniqueArray(fc.nat({ max: 4 })) }),
  fc.record({
    type: fc.constant('policy' as const),
    who,
    import: fc.constantFrom('accept' as const, 'reject' as const),
    export: fc.constantFrom('accept' as const, 'reject' as const, 'originated' as const),
    adjRibIn: fc.boolean(),
  }),
  fc.record({ type: fc.constant('tag' as const), who, tag: fc.nat({ max: 3 }) }),
  fc.record({ type: fc.constant('filter' as const), who, prefix: fc.option(fc.nat({ max: 2 }), { nil: undefined }) }),
  fc.record({ type: fc.constantFrom('kill' as const, 'start' as const, 'pathLost' as const), who }),
  fc.record({
    type: fc.constant('multipath' as const),
    max: fc.integer({ min: 1, max: 2 }),
    asPathRelax: fc.boolean(),
  }),
  fc.record({ type: fc.constantFrom('stick' as const, 'unstick' as const, 'hangUp' as const, 'step' as const) }),
  fc.record({ type: fc.constant('advance' as const), sec: fc.integer({ min: 1, max: 50 }) }),
);

class World {
  readonly network = new Network();
  readonly station = new TestStation(this.network, '10.0.0.9');
  readonly alive = [true, true];
  readonly originated: string[][] = [['10.20.0.0/16'], ['fd03:1::/48']];
  /** A community of all routes of a peer. */
  readonly tags = [0, 0];
  readonly policies: object[] = [{}, {}];
  readonly filters: object[] = [{}, {}];
  multipath: MultipathOptions = defaultMultipath;

  constructor() {
    this.network.add('10.0.0.1', this.middle());
    for (const index of [0, 1] as const) this.start(index);
  }
  middle(): SpeakerConfig {
    const ours = peers.map((address, i) => peer(address, i + 2, { ...this.policies[i], ...this.filters[i] }));
    const bmp = [{ name: 'noc', address: '10.0.0.9', port: 1, monitor: bmpTables, connectRetrySec: 1 }];
    return config('10.0.0.1', 1, ours, ['10.1.0.0/16', 'fd01::/64'], { bmp, multipath: this.multipath });
  }
  outer(index: 0 | 1): SpeakerConfig {
    const changes = [{ type: 'addCommunity' as const, value: `1:${this.tags[index]}` }];
    const term = { action: 'accept' as const, changes };
    const exportFilter = { ipv4: [term], ipv6: [term] };
    return config(peers[index], index + 2, [peer('10.0.0.1', 1, { exportFilter })], this.originated[index]!);
  }
  start(index: 0 | 1): void {
    this.network.add(peers[index], this.outer(index));
    this.alive[index] = true;
  }
  get monitored() {
    return this.network.speakers.get('10.0.0.1')!;
  }
  get pipe() {
    return this.network.pipes.find((pipe) => pipe.other === this.station.pipes.at(-1));
  }

  do(act: Action): void {
    switch (act.type) {
      case 'originate':
        this.originated[act.who] = act.which.map((i) => prefixes[i]!);
        if (this.alive[act.who]) this.network.speakers.get(peers[act.who])!.configure(this.outer(act.who));
        return;
      case 'tag':
        this.tags[act.who] = act.tag;
        if (this.alive[act.who]) this.network.speakers.get(peers[act.who])!.configure(this.outer(act.who));
        return;
      case 'policy':
        this.policies[act.who] = { import: act.import, export: act.export, adjRibIn: act.adjRibIn };
        this.monitored.configure(this.middle());
        return;
      case 'filter': {
        const term = { action: 'reject', prefix: { operator: 'equal', cidr: prefixes[act.prefix ?? 0] } };
        const both = { ipv4: [term], ipv6: [] };
        this.filters[act.who] = act.prefix === undefined ? {} : { importFilter: both, exportFilter: both };
        this.monitored.configure(this.middle());
        return;
      }
      case 'multipath':
        this.multipath = { max: act.max, asPathRelax: act.asPathRelax };
        this.monitored.configure(this.middle());
        return;
      case 'kill':
        if (this.alive[act.who]) this.network.kill(peers[act.who]);
        this.alive[act.who] = false;
        return;
      case 'start':
        if (!this.alive[act.who]) this.start(act.who);
        return;
      case 'pathLost':
        this.monitored.pathLost({ peer: peers[act.who] });
        return;
      case 'stick':
        if (this.pipe) this.pipe.stuckBytes = 2 * 1024 * 1024;
        return;
      case 'unstick':
        this.unstick();
        return;
      case 'hangUp':
        this.station.pipes.at(-1)?.close();
        return;
      case 'step':
        this.network.run();
        return;
      case 'advance':
        this.network.advance(1000 * act.sec);
        return;
    }
  }
  unstick(): void {
    if (!this.pipe) return;
    this.pipe.stuckBytes = 0;
    this.pipe.handlers?.onDrained();
  }
}

/** The Loc-RIB with all that share the load: of two peers that is one beside the best. */
function locRibOf(routes: RouteAnswer['routes']): Record<string, string> {
  const out: [string, string][] = [];
  for (const { prefix, paths } of routes) {
    for (const path of paths.filter(({ multipath }) => multipath)) {
      const { asPath, communities } = path.attributes;
      const tags = communities ? ` [${communities}]` : '';
      const nextHop = path.nextHop ?? (prefix.includes(':') ? '::' : '0.0.0.0');
      out.push([path.best ? prefix : `${prefix} id 2`, `${asPath} via ${nextHop}${tags}`]);
    }
  }
  return Object.fromEntries(out.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const keys = (table: Record<string, string>): string[] => Object.keys(table).sort();

test('RFC 7854, 8671, 9069: after any course of events the tables of a station are those of the speaker', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
      const world = new World();
      world.network.advance(5000);
      for (const act of actions) world.do(act);
      // Everything settles: graceful restarts are over, the station is back and reads.
      world.unstick();
      world.network.advance(150_000);
      world.unstick();
      world.network.advance(1000);
      const { station, monitored } = world;
      assert.equal(monitored.status().stations![0]!.state, 'connected');
      const routes = monitored.routes({ limit: 1000 }).routes;
      assert.deepEqual(station.table('loc-rib'), locRibOf(routes), 'Loc-RIB');
      peers.forEach((address, index) => {
        assert.equal(station.up.has(address), world.alive[index], `${address} is up`);
        const accepted = routes.filter(({ paths }) =>
          paths.some((path) => path.peer === address && !path.stale && !path.rejected),
        );
        const post = station.table(`${address} post-policy`);
        assert.deepEqual(keys(post), accepted.map(({ prefix }) => prefix).sort(), `${address} post-policy`);
        for (const { prefix, paths } of accepted) {
          const path = paths.find((one) => one.peer === address)!;
          const { asPath, communities } = path.attributes;
          assert.equal(post[prefix], `${asPath} via ${path.nextHop} [${communities}]`);
        }
        if (!world.alive[index]) return;
        // What we did not get from it, or got of its own, is not told apart here: it says what it has of us.
        const outer = world.network.speakers.get(address)!;
        const heard = outer.routes({ limit: 1000, peer: '10.0.0.1' }).routes.map(({ prefix }) => prefix);
        const told = keys(station.table(`${address} adj-rib-out`)).filter((prefix) => {
          // Loops: the peer does not use what has its own AS number in its path.
          const path = station.table(`${address} adj-rib-out`)[prefix]!;
          return !path
            .split(' via ')[0]!
            .split(' ')
            .includes(String(index + 2));
        });
        assert.deepEqual(told, heard.sort(), `${address} adj-rib-out`);
        const pre = station.table(`${address} pre-policy`);
        assert.deepEqual(keys(pre), [...world.originated[index]!].sort(), `${address} pre-policy`);
        for (const route of Object.values(pre)) assert.ok(route.endsWith(`[1:${world.tags[index]}]`), route);
      });
    }),
    { numRuns: 150 },
  );
});
