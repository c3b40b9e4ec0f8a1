/** The truth table of classes against the explainer, the evaluator and the naive oracle, pair by pair, over random worlds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc, { type Arbitrary } from 'fast-check';
import type { IpAddress } from '#kit';
import type { ProbeResult } from '#lab';
import type { ModelUpdate, PodObject } from '#model';
import {
  addressOfEnd,
  classMatrix,
  connectionVerdict,
  countResults,
  diffClusters,
  diffFlows,
  explainConnection,
  isFromOwnNode,
  type MatrixResult,
  type MatrixSelection,
  matrixResults,
  matrixTotals,
  type SimulatedEnd,
  simulateCluster,
  VerdictTable,
} from '#policy';
import { type NaiveCluster, type NaiveEnd, naiveVerdict } from '../support/naive-policy.ts';
import { calicoArbitrary, calicoIds } from '../support/random-calico.ts';
import { clusterPolicyArbitrary, clusterPolicyIds } from '../support/random-cluster-policy.ts';
import { calicoUpdate, casesOr, clusterPolicyUpdate } from '../support/random-history.ts';
import {
  externals,
  namespaceArbitrary,
  namespaceNames,
  nodeArbitrary,
  podArbitrary,
  policyArbitrary,
  probedPorts,
  probedProtocols,
} from '../support/random-policy.ts';

const podsOfNamespace = 3;

type World = NaiveCluster & Required<Pick<NaiveCluster, 'nodes' | 'clusterPolicies' | 'calico'>>;

const keyOf = ({ metadata }: PodObject): string => `${metadata.namespace}/${metadata.name}`;

/** No two pods share an address. */
const worldArbitrary: Arbitrary<World> = fc.record({
  nodes: fc.tuple(nodeArbitrary('n1'), nodeArbitrary('n2')),
  clusterPolicies: fc.subarray([...clusterPolicyIds]).chain((ids) => fc.tuple(...ids.map(clusterPolicyArbitrary))),
  calico: fc.subarray([...calicoIds]).chain((ids) => fc.tuple(...ids.map(calicoArbitrary))),
  namespaces: fc.tuple(...namespaceNames.map(namespaceArbitrary)),
  pods: fc.tuple(
    ...namespaceNames.flatMap((namespace, n) =>
      Array.from({ length: podsOfNamespace }, (_, i) =>
        podArbitrary(namespace, `p${i}`, fc.constant(n * podsOfNamespace + i + 1)),
      ),
    ),
  ),
  policies: fc
    .subarray(namespaceNames.flatMap((namespace) => ['a', 'b'].map((name) => [namespace, name] as const)))
    .chain((names) => fc.tuple(...names.map(([namespace, name]) => policyArbitrary(namespace, name)))),
});

function updatesOf(world: World): ModelUpdate[] {
  const named = <T extends { metadata: { namespace: string; name: string } }>(object: T) => ({
    type: 'upsert' as const,
    key: object.metadata.namespace ? `${object.metadata.namespace}/${object.metadata.name}` : object.metadata.name,
    object,
  });
  return [
    ...world.nodes.map((object): ModelUpdate => ({ kind: 'Node', ...named(object) })),
    ...world.namespaces.map((object): ModelUpdate => ({ kind: 'Namespace', ...named(object) })),
    ...world.pods.map((object): ModelUpdate => ({ kind: 'Pod', ...named(object) })),
    ...world.policies.map((object): ModelUpdate => ({ kind: 'NetworkPolicy', ...named(object) })),
    ...world.clusterPolicies.map(clusterPolicyUpdate),
    ...world.calico.map(calicoUpdate),
  ];
}

const everyPort = probedProtocols.flatMap((protocol) => probedPorts.map((port) => ({ protocol, port })));
const outside = externals.map(
  (address): SimulatedEnd => ({ id: `ext:${address}`, addresses: [address], ports: everyPort.slice(0, 2) }),
);

function naiveEnd(world: World, end: SimulatedEnd, address: IpAddress): NaiveEnd {
  const pod = world.pods.find((one) => keyOf(one) === end.endpoint);
  return pod ? { pod } : { external: address };
}

test('every line of the matrix is what explainer, evaluator and oracle say of its pair', () => {
  fc.assert(
    fc.property(worldArbitrary, fc.boolean(), fc.boolean(), (world, withNodes, chosenPorts) => {
      const cluster = simulateCluster(updatesOf(world));
      const ends = [...cluster.pods, ...outside, ...(withNodes ? cluster.nodes : [])];
      const byId = new Map(ends.map((end) => [end.id, end]));
      const table = new VerdictTable(cluster.state, ends);
      const selection: MatrixSelection = { from: ends, to: ends, ...(chosenPorts && { ports: everyPort }) };
      const results = [...matrixResults(table, selection)];
      assert.equal(results.length, countResults(selection));
      for (const { from, to, protocol, port, family: familyName, verdict } of results) {
        const family = familyName === 'ipv4' ? 4 : 6;
        const [source, target] = [byId.get(from)!, byId.get(to)!];
        const [fromAddress, toAddress] = [addressOfEnd(source, family)!, addressOfEnd(target, family)!];
        const what = JSON.stringify({ from, to, protocol, port, familyName });
        const packet = { fromAddress, toAddress, protocol, port };
        assert.equal(verdict, connectionVerdict(cluster.state, source, target, packet).verdict, what);
        if (isFromOwnNode(source, target)) {
          assert.equal(verdict, 'allow', what);
          continue;
        }
        const explained = explainConnection(cluster.state, {
          from: { address: fromAddress, ...(source.endpoint && { endpoint: source.endpoint }) },
          to: { address: toAddress, ...(target.endpoint && { endpoint: target.endpoint }) },
          protocol,
          port,
        });
        assert.equal(verdict, explained.verdict, what);
        const naive = naiveVerdict(world, {
          from: naiveEnd(world, source, fromAddress),
          to: naiveEnd(world, target, toAddress),
          protocol,
          port,
          family: family === 4 ? 'IPv4' : 'IPv6',
        });
        assert.equal(verdict, naive, what);
      }
    }),
    { numRuns: casesOr(100) },
  );
});

test('classes say of their members what the pairs say, and totals count the pairs', () => {
  fc.assert(
    fc.property(worldArbitrary, fc.boolean(), (world, chosenPorts) => {
      const cluster = simulateCluster(updatesOf(world));
      const ends = [...cluster.pods, ...outside];
      const table = new VerdictTable(cluster.state, ends);
      const selection: MatrixSelection = { from: ends, to: ends, ...(chosenPorts && { ports: everyPort }) };
      const pairs = [...matrixResults(table, selection)];
      const { classes, results, resultsCount } = classMatrix(table, selection);
      const classOf = new Map(classes.flatMap(({ name, members }) => members.map((id) => [id, { name, members }])));
      assert.equal(classOf.size, ends.length);
      const lines = new Map([...results].map((line) => [lineKey(line), line.verdict]));
      assert.equal(lines.size, resultsCount);
      for (const pair of pairs) {
        const [from, to] = [classOf.get(pair.from)!, classOf.get(pair.to)!];
        if (pair.from === pair.to && from.members.length > 1) continue;
        assert.equal(lines.get(lineKey({ ...pair, from: from.name, to: to.name })), pair.verdict, JSON.stringify(pair));
      }
      const allowed = pairs.filter(({ verdict }) => verdict === 'allow').length;
      assert.deepEqual(matrixTotals(table, selection), { allowed, denied: pairs.length - allowed });
    }),
    { numRuns: casesOr(100) },
  );
});

test('a comparison counts and names the pairs whose lines differ', () => {
  fc.assert(
    fc.property(worldArbitrary, worldArbitrary, (world, other) => {
      // The pods stay, with their addresses and ports; everything else may be another.
      const before = simulateCluster(updatesOf(world));
      const after = simulateCluster(updatesOf({ ...other, pods: world.pods }));
      const lines = ({ state, pods }: typeof before) => {
        const ends = [...pods, ...outside];
        const table = new VerdictTable(state, ends);
        return new Map([...matrixResults(table, { from: ends, to: ends })].map((line) => [lineKey(line), line]));
      };
      const [old, now] = [lines(before), lines(after)];
      const differ = [...now].filter(([key, line]) => old.get(key)!.verdict !== line.verdict);
      const opened = differ.filter(([, { verdict }]) => verdict === 'allow').length;
      const diff = diffClusters(before, after, { others: outside, changesMax: 1e6 });
      assert.equal(diff.pairs.opened, opened);
      assert.equal(diff.pairs.closed, differ.length - opened);
      assert.deepEqual([diff.added, diff.removed], [[], []]);
      const named = new Set(differ.map(([key]) => key));
      for (const change of diff.changes) {
        assert.notEqual(change.before, change.after);
        // Of two that are alike, the one that is named stands for pairs of different ones.
        if (change.from !== change.to) assert.ok(named.has(lineKey({ ...change, verdict: change.after })));
      }
      assert.equal(
        diff.changes.reduce((sum, { pairs }) => sum + pairs, 0),
        differ.length,
      );
    }),
    { numRuns: casesOr(60) },
  );
});

test('recorded flows change as their connections do', () => {
  fc.assert(
    fc.property(worldArbitrary, worldArbitrary, (world, other) => {
      const before = simulateCluster(updatesOf(world));
      const after = simulateCluster(updatesOf({ ...other, pods: world.pods, nodes: world.nodes }));
      const flows = before.pods.flatMap((from) =>
        before.pods.flatMap((to) => {
          const family = addressOfEnd(from, 4) && addressOfEnd(to, 4) ? 4 : 6;
          const [fromAddress, toAddress] = [addressOfEnd(from, family), addressOfEnd(to, family)];
          // The host's network has the address of its node.
          if (!fromAddress || !toAddress || !from.endpoint || !to.endpoint) return [];
          return [{ from, to, fromAddress, toAddress, protocol: 'TCP' as const, port: 80 }];
        }),
      );
      const changed = flows.filter(
        ({ from, to, ...packet }) =>
          connectionVerdict(before.state, from, to, packet).verdict !==
          connectionVerdict(after.state, from, to, packet).verdict,
      );
      // By addresses alone: each is found to be its pod's.
      const recorded = flows.map(({ fromAddress, toAddress, protocol, port }) => ({
        fromAddress,
        toAddress,
        protocol,
        port,
      }));
      const diff = diffFlows(before, after, recorded);
      assert.deepEqual(
        diff.changes.map(({ from, to }) => `${from} ${to}`).sort(),
        changed.map(({ from, to }) => `${from.id} ${to.id}`).sort(),
      );
      assert.deepEqual(diff.flows, { changed: changed.length, unchanged: flows.length - changed.length, unknown: 0 });
    }),
    { numRuns: casesOr(60) },
  );
});

function lineKey({ from, to, protocol, port, family }: MatrixResult): string {
  return [from, to, protocol, port, family].join(' ');
}

test('lines are those of a probe of a lab', () => {
  const line: MatrixResult = { from: 'a/b', to: 'a/c', protocol: 'TCP', port: 80, family: 'ipv4', verdict: 'allow' };
  const probed: ProbeResult = line;
  assert.deepEqual(Object.keys(probed), ['from', 'to', 'protocol', 'port', 'family', 'verdict']);
});
