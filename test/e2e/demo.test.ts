/** The demonstration's facts as assertions: whole, and with each thing sabotaged that it must notice. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { type DemoResult, demonstrate } from '#lab';
import { demoOptions, removeLab } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['bird', 'birdc', 'cniShim'] });

/** In order. A demonstration that says less has lost a promise. */
const facts = [
  'BGP sessions are Established',
  'the kernel of node1 has the routes over both racks',
  'before policies every pod reaches every pod',
  'both links of node1 carried it',
  'with the policies exactly the allowed pairs pass',
  'the outside host reaches front/web-2 by its own address',
  'the outside host does not reach data/db-1',
  'the link of node1 to tor1 goes down: at most 200 ms of a stream is lost',
  'the link of node1 to tor1 is down: every allowed pair is still reachable',
  'the link of node1 to tor1 comes back: its sessions are Established again',
  'all of tor2 goes down: at most 200 ms of a stream is lost',
  'all of tor2 is down: every allowed pair is still reachable',
  'all of tor2 comes back: its sessions are Established again',
  'the agent of node1 is killed (SIGKILL) and comes back: nothing is lost',
  'with both racks cut no packet passes between nodes',
  'the lab is gone and the machine as before',
];

describe('the demonstration', mayRun, () => {
  const { options, lines } = demoOptions();
  let result: DemoResult;
  before(async () => {
    result = await demonstrate(options);
  });
  after(() => removeLab(options.name));

  test('states every fact, in order', () => {
    assert.deepEqual(
      result.facts.map(({ name }) => name),
      facts,
      lines.join('\n'),
    );
  });
  for (const name of facts) {
    test(name, () => {
      const fact = result.facts.find((one) => one.name === name);
      assert.ok(fact, 'was stated');
      assert.ok(fact.held, `expected ${fact.expected}; measured ${fact.measured}`);
    });
  }
  test('ends with exit code 0', () => {
    assert.equal(result.exitCode, 0);
  });
});

for (const [sabotage, caught] of [
  ['route', 'the outside host reaches front/web-2 by its own address'],
  ['policy', 'with the policies exactly the allowed pairs pass'],
  ['session', 'BGP sessions are Established'],
] as const) {
  test(`--sabotage ${sabotage} fails one fact alone, with what was expected and measured`, mayRun, async (t) => {
    const { options, lines } = demoOptions(sabotage);
    t.after(() => removeLab(options.name));
    const { facts: stated, exitCode } = await demonstrate(options);
    assert.deepEqual(
      stated.filter(({ held }) => !held).map(({ name }) => name),
      [caught],
      lines.join('\n'),
    );
    assert.deepEqual(
      stated.map(({ name }) => name),
      facts,
    );
    assert.equal(exitCode, 1);
    const at = lines.findIndex((line) => line.includes(`FAILED  ${caught}`));
    assert.match(lines[at + 1]!, /expected: ./);
    assert.match(lines[at + 2]!, /measured: ./);
  });
}
