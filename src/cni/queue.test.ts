import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { FakeClock, silentLogger } from '#kit';
import type { Attachments } from './attachments.ts';
import { answerCall } from './commands.ts';
import { DelQueue } from './queue.ts';

function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-queue-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

function queueDel(directory: string, id: string): void {
  fs.writeFileSync(path.join(directory, `${id}@eth0`), `CNI_COMMAND=DEL\0CNI_CONTAINERID=${id}\0CNI_IFNAME=eth0\0\0{}`);
}

test('what is queued is done once, what fails is tried again, what does not read is set aside', async (t) => {
  const directory = scratch(t);
  const clock = new FakeClock();
  const done: string[] = [];
  let failing = true;
  const del = async ({ environment }: { environment: Readonly<Record<string, string>> }): Promise<void> => {
    const id = environment['CNI_CONTAINERID'] ?? '';
    if (id === 'b' && failing) throw new Error('disk full');
    done.push(id);
  };
  queueDel(directory, 'a');
  queueDel(directory, 'b');
  fs.writeFileSync(path.join(directory, 'c@eth0'), 'CNI_COMMAND=ADD\0\0{}');
  fs.writeFileSync(path.join(directory, '.d@eth0.1.tmp'), 'half');
  const queue = new DelQueue({ clock, log: silentLogger, del }, directory);
  await queue.open();
  assert.deepEqual([done, fs.readdirSync(directory).sort()], [['a'], ['.c@eth0.invalid', '.d@eth0.1.tmp', 'b@eth0']]);
  failing = false;
  clock.advance(10_000);
  await queue.stop();
  assert.ok(done.length <= 2);
  const after = new DelQueue({ clock, log: silentLogger, del }, directory);
  await after.open();
  await after.stop();
  assert.deepEqual(
    [done, fs.readdirSync(directory).sort()],
    [
      ['a', 'b'],
      ['.c@eth0.invalid', '.d@eth0.1.tmp'],
    ],
  );
});

test('an ADD does the queued DEL of the same container first', async (t) => {
  const directory = scratch(t);
  const events: string[] = [];
  const del = async (): Promise<void> => void events.push('del');
  const queue = new DelQueue({ clock: new FakeClock(), log: silentLogger, del }, directory);
  queueDel(directory, 'a');
  queueDel(directory, 'other');
  const attachments = {
    add: async () => {
      events.push('add');
      return { result: {}, undo: async () => undefined };
    },
  } as unknown as Attachments;
  const fd = { number: 1, closed: false, take: () => 1, close: () => undefined };
  const environment = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'a',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/x',
    CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=b',
  };
  const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'poplin', type: 'poplin' });
  const call = { environment, stdin, descriptors: [fd, fd], caller: new AbortController().signal };
  const answer = await answerCall(
    { attachments, queue, notReady: () => undefined, log: silentLogger, onAnswered: () => undefined },
    call,
  );
  assert.deepEqual([answer.exitCode, events, fs.readdirSync(directory)], [0, ['del', 'add'], ['other@eth0']]);
});
