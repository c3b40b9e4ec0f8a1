import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, silentLogger } from '#kit';
import { defaultNames } from '../../render/names.ts';
import { Ipsets } from './ipset.ts';

/** Each look at it takes a microsecond; what is scheduled comes in the next turn of the loop. */
function busyClock(): Clock & { turns(): number } {
  let nowMs = 0;
  let turns = 0;
  let due: (() => void)[] = [];
  const turn = (): void => {
    turns++;
    for (const fn of due.splice(0)) fn();
  };
  return {
    nowMs() {
      nowMs += 0.001;
      return nowMs;
    },
    schedule(_delayMs, fn) {
      if (due.length === 0) setImmediate(turn);
      due.push(fn);
      return () => {
        due = due.filter((each) => each !== fn);
      };
    },
    turns: () => turns,
  };
}

test('reading back takes turns: for what was printed, for its members, and for those that are gone', async () => {
  const members = 40_000;
  const clock = busyClock();
  let saved = '';
  const run = async () => ({ code: 0, stdout: saved, stderr: '' });
  const sets = new Ipsets({ run, log: silentLogger, clock }, { names: defaultNames, families: [4] });
  sets.desire('s', 'ip', []);
  const name = sets.nameOf('s', 4)!;
  const lines = Array.from({ length: members }, (_, i) => `add ${name} 10.0.${i >> 8}.${i & 255}`);
  const dump = (...added: readonly string[]): string =>
    [`create ${name} hash:ip family inet hashsize 1024 maxelem 1048576`, ...added, ''].join('\n');
  const turnsOfRead = async (): Promise<number> => {
    const before = clock.turns();
    await sets.read();
    return clock.turns() - before;
  };
  saved = dump();
  assert.ok((await turnsOfRead()) <= 1);
  // 8 ms are 8,000 looks: five turns for the lines, and as many for the members.
  saved = dump(...lines);
  assert.ok((await turnsOfRead()) >= 8);
  saved = dump();
  assert.ok((await turnsOfRead()) >= 4);
});

test('a set of many members is wanted, changed and forgotten a member a step, and written in calls of a bounded size', async () => {
  const members = Array.from({ length: 45_000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const calls: string[][] = [];
  const run = async (argv: readonly string[], { stdin = '' }: { readonly stdin?: string } = {}) => {
    if (argv[1] === 'restore') calls.push(stdin.trimEnd().split('\n'));
    return { code: 0, stdout: '', stderr: '' };
  };
  const sets = new Ipsets({ run, log: silentLogger, clock: busyClock() }, { names: defaultNames, families: [4] });
  const steps = (work: Iterable<void>): number => [...work].length;
  await sets.read();
  assert.ok(steps(sets.desiring('s', 'ip', members)) >= members.length);
  await sets.grow(new Set());
  assert.deepEqual(
    calls.map(({ length }) => length),
    [20_000, 20_000, 5_001],
  );
  assert.match(calls[0]![0]!, /^create /);
  assert.equal(steps(sets.changing('s', ['10.9.0.1'], members.slice(0, 5_000))), 5_001);
  await sets.grow(new Set());
  assert.match(calls.at(-1)!.join(), /^add \S+ 10\.9\.0\.1 -exist$/);
  assert.ok(steps(sets.undesiring('s')) >= members.length - 5_000);
  await sets.sweep();
  assert.deepEqual(calls.at(-1), [`destroy ${calls[0]![0]!.split(' ')[1]}`]);
});
