/** The runner of policy suites itself: what it refuses, what it reports, and every operation of the format before the engine. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { exec } from '#sys';
import { EngineJudge } from '../policy-suite/engine.ts';
import { loadPolicySuite, readPolicySuite, SuiteFormatError } from '../policy-suite/format.ts';
import { checkKinds } from '../policy-suite/kinds.ts';
import { runCase } from '../policy-suite/run.ts';

const operationsFile = path.join(import.meta.dirname, '..', 'fixtures', 'policy', 'suite-operations.json');
const entry = path.join(import.meta.dirname, '..', 'policy-suite', 'main.ts');
type Json = Record<string, unknown>;

/** A small suite as plain data, to be spoilt. */
function plainSuite(): Json {
  return {
    format: 'policy-suite/1',
    suite: 's',
    description: '',
    source: { repository: 'r', licence: 'l' },
    clusters: {
      one: {
        nodes: [{ name: 'n1', ips: ['192.168.100.11'] }],
        namespaces: [{ name: 'a', labels: {} }],
        pods: ['x', 'y', 'z'].map((name, i) => ({
          ...{ namespace: 'a', name, node: 'n1', ips: [`10.244.1.${i + 1}`], labels: { app: name } },
          ...{ ports: [{ port: 80, protocol: 'TCP' }], serves: [{ port: 80, protocol: 'TCP' }] },
        })),
        services: [{ namespace: 'a', name: 's', selector: {}, clusterIPs: [], ports: [] }],
        externals: [{ name: 'e', ips: ['198.51.100.1'] }],
      },
    },
    cases: [
      {
        ...{ id: 's/1', title: 't', tags: [], cluster: 'one' },
        steps: [
          {
            do: [
              {
                op: 'apply',
                object: {
                  apiVersion: 'networking.k8s.io/v1',
                  kind: 'NetworkPolicy',
                  metadata: { namespace: 'a', name: 'deny' },
                  spec: { podSelector: { matchLabels: { app: 'x' } } },
                },
              },
            ],
            expect: [
              ['a/y', 'a/x', 'TCP', 80, 'deny'],
              {
                matrix: {
                  protocol: 'TCP',
                  port: 80,
                  ends: ['a/x', 'a/y', 'a/z'],
                  rows: { 'a/y': 'X-.', 'a/z': 'X..' },
                },
              },
            ],
          },
        ],
      },
    ],
  };
}

/** The value at `place` of a fresh suite. */
function at(suite: Json, place: readonly (string | number)[]): Json {
  let value: unknown = suite;
  for (const part of place) value = (value as Json)[part as string];
  return value as Json;
}

const step = ['cases', 0, 'steps', 0] as const;

test('a key that the format does not have stops the runner, wherever it stands', () => {
  readPolicySuite(plainSuite(), 'suite');
  const places: (string | number)[][] = [
    [],
    ['source'],
    ['clusters', 'one'],
    ...['nodes', 'namespaces', 'pods', 'services', 'externals'].map((list) => ['clusters', 'one', list, 0]),
    ['clusters', 'one', 'pods', 0, 'ports', 0],
    ['clusters', 'one', 'pods', 0, 'serves', 0],
    ['cases', 0],
    [...step],
    [...step, 'do', 0],
    [...step, 'expect', 1],
    [...step, 'expect', 1, 'matrix'],
  ];
  for (const place of places) {
    const suite = plainSuite();
    at(suite, place)['surprise'] = 1;
    assert.throws(
      () => readPolicySuite(suite, 'suite'),
      (error) => error instanceof SuiteFormatError && error.message.includes('unknown key surprise'),
      place.join('.'),
    );
  }
});

test('a value that the format does not have stops the runner', () => {
  const spoil: [(suite: Json) => void, RegExp][] = [
    [(suite) => (suite['format'] = 'policy-suite/2'), /format/],
    [(suite) => (at(suite, ['cases', 0])['cluster'] = 'two'), /no cluster two/],
    [(suite) => (at(suite, ['cases', 0])['deny'] = 'reject'), /deny/],
    [(suite) => (at(suite, [...step, 'do', 0])['op'] = 'reboot'), /op: "reboot"/],
    [(suite) => (at(suite, [...step])['expect'] = [['a/y', 'a/x', 'TCP', 80, 'maybe']]), /verdict/],
    [(suite) => (at(suite, [...step])['expect'] = [['a/y', 'a/x', 'ICMP', 80, 'deny']]), /protocol/],
    [(suite) => (at(suite, [...step])['expect'] = [['a/y', 'a/x', 'TCP', 0, 'deny']]), /port/],
    [(suite) => (at(suite, [...step])['expect'] = [['a/y', 'a/x', 'TCP', 80, 'deny', { famly: 'IPv6' }]]), /famly/],
    [(suite) => (at(suite, [...step])['expect'] = [{ flow: 'f', verdict: 'allow' }]), /verdict of flow f/],
    [(suite) => (at(suite, [...step, 'expect', 1, 'matrix', 'rows'])['a/y'] = 'X-'), /2 entries for 3 ends/],
    [(suite) => (at(suite, [...step, 'expect', 1, 'matrix', 'rows'])['a/y'] = 'X-o'), /holds o/],
  ];
  for (const [change, wanted] of spoil) {
    const suite = plainSuite();
    change(suite);
    assert.throws(() => readPolicySuite(suite, 'suite'), wanted);
  }
});

test('a kind that nothing here can decide is refused by its name', () => {
  const suite = plainSuite();
  Object.assign(at(suite, [...step, 'do', 0, 'object']), { apiVersion: 'policy.example.com/v1', kind: 'Moat' });
  assert.throws(
    () => checkKinds(readPolicySuite(suite, 'suite'), 'engine'),
    /the policy engine does not know Moat of policy\.example\.com\/v1 \(1 cases, first s\/1\)/,
  );
});

test('every operation of the format, before the matrix and the explainer', async () => {
  for (const suiteCase of loadPolicySuite(operationsFile).cases) {
    const { mismatches } = await runCase(suiteCase, [new EngineJudge('matrix'), new EngineJudge('explain')]);
    assert.deepEqual(mismatches, [], suiteCase.id);
  }
});

test('what is not as expected is told, wrongly allowed apart from wrongly denied', async () => {
  const suite = plainSuite();
  at(suite, [...step])['expect'] = [
    ['a/y', 'a/x', 'TCP', 80, 'allow'],
    ['a/x', 'a/y', 'TCP', 80, 'deny'],
    ['a/z', 'a/y', 'TCP', 80, 'deny'],
    ['a/z', 'a/x', 'TCP', 80, 'undefined'],
  ];
  const [suiteCase] = readPolicySuite(suite, 'suite').cases;
  const { mismatches, ...result } = await runCase(suiteCase!, [new EngineJudge('matrix')]);
  assert.deepEqual(result, { id: 's/1', passed: false, wronglyAllowed: 2, wronglyDenied: 1 });
  assert.deepEqual(mismatches[0], {
    ...{ by: 'matrix', step: 1, from: 'a/y', to: 'a/x', protocol: 'TCP', port: 80, family: 'IPv4' },
    ...{ expected: 'allow', actual: 'deny', reason: 'end of tier default' },
  });
});

test('a case that cannot go on has failed, and says why', async () => {
  const suite = plainSuite();
  at(suite, [...step])['do'] = [{ op: 'deletePod', namespace: 'a', name: 'nobody' }];
  const [suiteCase] = readPolicySuite(suite, 'suite').cases;
  const { passed, mismatches } = await runCase(suiteCase!, [new EngineJudge('matrix')]);
  assert.deepEqual([passed, mismatches], [false, [{ by: 'matrix', step: 1, error: 'no pod a/nobody' }]]);
});

test('a sample keeps every denied connection that has an allowed one beside it', async () => {
  const suite = plainSuite();
  const [suiteCase] = readPolicySuite(suite, 'suite').cases;
  const judge = new EngineJudge('matrix');
  const asked: string[] = [];
  const probe = judge.probe.bind(judge);
  judge.probe = (probes) => {
    asked.push(...probes.map(({ from, to, verdict }) => `${from} ${to} ${verdict}`));
    return probe(probes);
  };
  await runCase(suiteCase!, [judge], { sample: 1 });
  assert.deepEqual(asked, ['a/y a/x deny', 'a/y a/x deny', 'a/y a/z allow', 'a/z a/x deny']);
});

test('the command: a line a case, then the count; exit code 1 on a mismatch, 2 on what it does not know', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-suite-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const run = (suite: Json, ...args: string[]) => {
    const file = path.join(folder, 'suite.json');
    fs.writeFileSync(file, JSON.stringify(suite));
    return exec(process.execPath, [entry, ...args, file]);
  };
  const good = await run(plainSuite(), '--engine', '--explain');
  assert.equal(
    good.stdout,
    '{"id":"s/1","passed":true,"wronglyAllowed":0,"wronglyDenied":0,"mismatches":[]}\n1 passed, 0 failed\n',
  );
  assert.equal(good.code, 0);
  const wrong = plainSuite();
  at(wrong, [...step])['expect'] = [['a/y', 'a/x', 'TCP', 80, 'allow']];
  const failed = await run(wrong);
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /"wronglyDenied":1.*\n0 passed, 1 failed\n$/s);
  const unknown = await run({ ...plainSuite(), surprise: 1 });
  assert.deepEqual([unknown.code, unknown.stdout], [2, '']);
  assert.match(unknown.stderr, /unknown key surprise/);
  assert.equal((await run(plainSuite(), '--backend', 'ebpf')).code, 2);
  assert.equal((await run(plainSuite(), '--faster')).code, 2);
});
