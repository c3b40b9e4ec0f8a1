import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '#kit';
import { type CommandOptions, type CommandResult, inputText } from '../command.ts';
import { CommittingPrograms } from './commits.ts';

interface Program {
  readonly pid: number;
  readonly end: (result: Partial<CommandResult>) => void;
  /** The end of its input has come. */
  isLetGo: boolean;
}

/** Programs that commit and end when the test says so. */
function harness() {
  const clock = new FakeClock();
  const started: Program[] = [];
  const watching = new Set<(port: number) => void>();
  const run = (_argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> => {
    const { promise, resolve } = Promise.withResolvers<CommandResult>();
    const end = (result: Partial<CommandResult>): void => resolve({ code: 0, stdout: '', stderr: '', ...result });
    const program = { pid: 100 + started.length, end, isLetGo: false };
    started.push(program);
    options.onStart?.(program.pid);
    void inputText(options.stdin).then(() => {
      program.isLetGo = true;
    });
    return promise;
  };
  const watch = (onCommit: (port: number) => void) => {
    watching.add(onCommit);
    return { close: () => void watching.delete(onCommit) };
  };
  const programs = new CommittingPrograms({ run, watch, clock });
  const late: string[] = [];
  const done: (CommandResult | 'failed')[] = [];
  const start = (): void => {
    void programs
      .run(['p'], { stdin: '' }, (reason) => late.push(reason))
      .then(
        (result) => done.push(result),
        () => done.push('failed'),
      );
  };
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const commit = async (port: number): Promise<void> => {
    for (const onCommit of watching) onCommit(port);
    await turn();
  };
  return { clock, programs, start, started, commit, turn, late, done, watching };
}

test('a program is done a turn after its commit, and has not ended yet', async () => {
  const { clock, programs, start, started, commit, turn, late, done, watching } = harness();
  start();
  await commit(99);
  clock.advance(0);
  await turn();
  assert.deepEqual(done, [], 'somebody else’s');
  await commit(100);
  assert.deepEqual(done, []);
  clock.advance(0);
  await turn();
  assert.deepEqual(done, [{ code: 0, stdout: '', stderr: '' }]);
  assert.equal(watching.size, 0);
  let hasEnded = false;
  void programs.ended().then(() => {
    hasEnded = true;
  });
  await turn();
  assert.equal(hasEnded, false);
  started[0]!.end({});
  await turn();
  assert.deepEqual([hasEnded, late], [true, []]);
});

test('programs under way together get the end of their input when the last of them has committed', async () => {
  const { start, started, commit } = harness();
  start();
  start();
  const letGo = () => started.map(({ isLetGo }) => isLetGo);
  await commit(101);
  assert.deepEqual(letGo(), [false, false]);
  await commit(100);
  assert.deepEqual(letGo(), [true, true]);
});

test('one that fails, or changes nothing, keeps nobody', async () => {
  const { clock, start, started, commit, turn, done } = harness();
  start();
  start();
  await commit(100);
  started[1]!.end({ code: 2, stderr: 'no' });
  await turn();
  assert.deepEqual(
    done.map((each) => typeof each === 'object' && each.code),
    [2],
  );
  assert.equal(started[0]!.isLetGo, true);
  start();
  clock.advance(100);
  await turn();
  assert.equal(started[2]!.isLetGo, true, 'no commit is told: it ends, and is done then');
  started[2]!.end({});
  await turn();
  assert.equal(done.length, 3);
});

test('what a program makes of its end after its commit is told', async () => {
  const { clock, programs, start, started, commit, turn, late } = harness();
  start();
  await commit(100);
  clock.advance(0);
  await turn();
  started[0]!.end({ code: 1, stderr: 'killed\n' });
  await programs.ended();
  assert.deepEqual(late, ['killed']);
});
