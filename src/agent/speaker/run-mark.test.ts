import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '#kit';
import { openSpeakerRun } from './run-mark.ts';

const first = { restarting: false, forwardingPreserved: [] };
const restart = { restarting: true, forwardingPreserved: ['ipv4-unicast', 'ipv6-unicast'] };

test('RFC 4724 4.1: a run that marked itself is known to the next one of its router id, until peers were told that it is over', (t) => {
  const folder = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-run-')), 'state');
  t.after(() => fs.rmSync(path.dirname(folder), { recursive: true }));
  const open = (routerId = '10.0.0.1') => openSpeakerRun(folder, routerId, silentLogger);
  const run = open();
  assert.deepEqual(run.earlier, first);
  assert.deepEqual(open().earlier, first, 'it has not marked itself yet');
  run.mark();
  assert.deepEqual(open().earlier, restart);
  assert.deepEqual(open('10.0.0.2').earlier, first);
  const file = path.join(folder, 'speaker-run-10.0.0.1');
  const [boot, namespace] = fs.readFileSync(file, 'utf8').trim().split(' ');
  assert.match(boot!, /^[0-9a-f-]{36}$/);
  for (const other of [`${boot} 1\n`, `${boot!.replace(/^./, 'x')} ${namespace}\n`, '']) {
    fs.writeFileSync(file, other);
    assert.deepEqual(open().earlier, first, other);
  }
  run.mark();
  run.unmark();
  assert.deepEqual(open().earlier, first);
});

test('a folder that cannot be written is said, and nothing else', (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-run-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const said: string[] = [];
  const log = { ...silentLogger, warn: (_: object, text: string) => void said.push(text) };
  const run = openSpeakerRun(path.join(folder, 'state'), '10.0.0.1', log);
  assert.deepEqual(run.earlier, first);
  fs.writeFileSync(path.join(folder, 'state'), 'a file');
  run.mark();
  assert.match(said.join(), /cannot tell whether it is a restart/);
});
