/** The pure parts of the runner: lists, shards, JUnit, verdicts. No cluster. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { needs } from '../../support/needs.ts';
import { ciSpecs } from './ci-specs.ts';
import { collect, parseJunit } from './junit.ts';
import { leftOut } from './left-out.ts';
import { complaints, type SuiteReport, table } from './report.ts';
import { focusOf, listSpecs, parseSpecList, select, shard } from './specs.ts';

const junit = `<?xml version="1.0"?><testsuites><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" classname="x" status="passed" time="0.5"></testcase>
<testcase name="[It] [sig-network] a &#39;b&#39; &lt;c&gt; [Conformance]" classname="x" status="passed" time="2.25"><system-err>noise</system-err></testcase>
<testcase name="[It] [sig-network] bad" classname="x" status="failed" time="3">
 <failure message="" type="failed">[FAILED] Had 1 wrong results&#xA;In [It]</failure><system-err>&lt;failure message=&#34;no&#34;&gt;</system-err></testcase>
<testcase name="[It] [sig-network] other" classname="x" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-network] itself" classname="x" status="skipped" time="0"><skipped message="skipped - needs a cloud"></skipped></testcase>
</testsuite></testsuites>`;

test('JUnit as ginkgo writes it is read with verdicts, times and reasons', () => {
  assert.deepEqual(parseJunit(junit), [
    { name: '[SynchronizedBeforeSuite]', verdict: 'passed', seconds: 0.5, reason: '' },
    { name: "[sig-network] a 'b' <c> [Conformance]", verdict: 'passed', seconds: 2.25, reason: '' },
    { name: '[sig-network] bad', verdict: 'failed', seconds: 3, reason: '[FAILED] Had 1 wrong results In [It]' },
    { name: '[sig-network] other', verdict: 'skipped', seconds: 0, reason: '' },
    { name: '[sig-network] itself', verdict: 'skipped', seconds: 0, reason: 'skipped - needs a cloud' },
  ]);
});

test('a wanted spec without a verdict has failed, and so has broken set-up', () => {
  const spec = (name: string, verdict: 'passed' | 'failed' | 'skipped', reason = '') => ({
    ...{ name, verdict, seconds: 1, reason },
  });
  const results = collect(
    ['a', 'b', 'c', 'd'],
    [
      [spec('a', 'passed'), spec('b', 'skipped'), spec('c', 'skipped', 'no cloud')],
      [spec('a', 'skipped'), spec('b', 'skipped'), spec('[SynchronizedBeforeSuite]', 'failed', 'no nodes')],
    ],
  );
  assert.deepEqual(
    results.map(({ name, verdict }) => `${name} ${verdict}`),
    ['a passed', 'b failed', 'c skipped', 'd failed', '[SynchronizedBeforeSuite] failed'],
  );
});

test('shards hold everything once, none is empty', () => {
  assert.deepEqual(shard([1, 2, 3, 4, 5], 2), [
    [1, 3, 5],
    [2, 4],
  ]);
  assert.deepEqual(shard([1], 4), [[1]]);
});

test('names become expressions that match them alone', () => {
  const names = ['[sig-network] a (b) c.d*', '[sig-network] a (b) c.d* too'];
  const matches = (expression: string, name: string) => new RegExp(expression).test(`Kubernetes e2e suite ${name}`);
  assert.deepEqual(
    names.map((name) => matches(focusOf([names[0]!]), name)),
    [true, false],
  );
  assert.deepEqual(parseSpecList('head:\n    k8s.io/x.go:12: [sig-network] b \n    k8s.io/x.go:9: [sig-apps] a\n'), [
    '[sig-apps] a',
    '[sig-network] b',
  ]);
});

const report: SuiteReport = {
  agent: 'x',
  suite: 'netpol',
  family: 4,
  shards: 2,
  wallSec: 10,
  results: [{ name: '[sig-network] Netpol one', verdict: 'passed', seconds: 3, reason: '' }],
  leftOut: [{ spec: '[sig-network] Netpol two', why: 'because' }],
  usage: [{ node: 'node1', pod: 'p', uid: 'u', cpuSec: 2, rssBytes: 1, peakRssBytes: 2 ** 20, peakBytes: 1 }],
};

test('a run is no success when a spec failed or skipped itself, none passed, or the agent cost nothing', () => {
  assert.deepEqual(complaints(report), []);
  assert.match(
    table(report),
    /1 passed, 0 failed, 0 skipped, 1 left out; 10 s with 2 shards\nagent on node1: 2\.0 CPU-s/,
  );
  const [result] = report.results;
  const [usage] = report.usage;
  for (const [change, expected] of [
    [{ results: [result!, { ...result!, verdict: 'failed' }] }, /1 specs failed/],
    [{ results: [result!, { ...result!, verdict: 'skipped' }] }, /1 specs skipped/],
    [{ results: [] }, /no spec passed/],
    [{ usage: [{ ...usage!, cpuSec: 0 }] }, /used no CPU/],
    [{ usage: [{ ...usage!, cpuSec: Number.NaN }] }, /used no CPU/],
  ] as const) {
    assert.match(complaints({ ...report, ...change }).join(), expected);
  }
});

test(
  'the pinned suite holds 47 Netpol and 47 Conformance specs besides those left out, and all that the lists name',
  needs({ kube: ['e2e.test'] }),
  async () => {
    const all = await listSpecs();
    const netpol = select(all, 'netpol', { ci: false });
    const conformance = select(all, 'conformance', { ci: false });
    assert.equal(netpol.run.length, 47);
    assert.equal(netpol.leftOut.length, 3);
    assert.equal(conformance.run.length, 47);
    assert.equal(netpol.leftOut.length + conformance.leftOut.length, leftOut.length);
    assert.ok(ciSpecs.length >= 20);
    const chosen = (['netpol', 'conformance'] as const).flatMap((suite) => select(all, suite, { ci: true }).run);
    assert.deepEqual(chosen.toSorted(), ciSpecs.toSorted());
    assert.throws(() => select(all.slice(1000, 1001), 'netpol', { ci: false }), /has no such spec/);
  },
);
