import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { mrt } from '#bgp';
import { FakeClock, silentLogger } from '#kit';
import { UpdateFiles } from './mrt-files.ts';

function world(t: TestContext) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-mrt-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const clock = new FakeClock();
  const files = new UpdateFiles({ clock, log: silentLogger, wallMs: () => 1_700_000_000_000 + clock.nowMs() });
  const about = {
    peer: 'p',
    peerAddress: '10.0.0.2',
    peerAsn: 2,
    localAsn: 1,
    connection: undefined,
    asn4: true,
    addPathIn: false,
    addPathOut: false,
  };
  const record = (): void => files.recorder.stateChanged(about, 'Idle', 'Connect');
  const reach = async (what: string, state: () => boolean): Promise<void> => {
    for (let turns = 0; !state(); turns++) {
      assert.ok(turns < 100_000, what);
      await nextTurn();
    }
  };
  return { folder, clock, files, record, reach };
}
const recordsIn = (file: string): number => [...mrt.readMrt(fs.readFileSync(file))].length;

test('files are rotated by age, an empty one is not, and another path takes effect at once', async (t) => {
  const { folder, clock, files, record, reach } = world(t);
  const first = path.join(folder, 'a.mrt');
  const second = path.join(folder, 'b.mrt');
  files.configure({ updates: { file: first, rotateBytes: 1e9, rotateSec: 60 } });
  record();
  await reach('the record', () => files.status().recordsBytes > 0);
  clock.advance(50_000);
  await nextTurn();
  assert.deepEqual(fs.readdirSync(folder), ['a.mrt'], 'not old enough');
  clock.advance(11_000);
  await reach('the rotation', () => {
    clock.advance(1000);
    return files.status().rotations === 1;
  });
  const [rotated] = fs.readdirSync(folder);
  assert.match(rotated!, /^a\.mrt\.20231114T22\d{4}\.\d{3}Z$/);
  assert.equal(recordsIn(path.join(folder, rotated!)), 1);
  for (let i = 0; i < 100; i++) {
    clock.advance(1000);
    await nextTurn();
  }
  assert.equal(files.status().rotations, 1, 'nothing to rotate');
  record();
  record();
  await reach('two more', () => fs.existsSync(first) && recordsIn(first) === 2);
  files.configure({ updates: { file: second, rotateBytes: 1e9, rotateSec: 60 } });
  record();
  await files.close();
  assert.equal(recordsIn(second), 1);
  assert.equal(fs.readdirSync(folder).filter((name) => name.startsWith('a.mrt.')).length, 2);
});

test('nothing is recorded that was not asked for', async (t) => {
  const { folder, files, record } = world(t);
  assert.equal(files.recorder.active, false);
  files.configure({ updates: { file: path.join(folder, 'a.mrt'), rotateBytes: 1, rotateSec: 1 } });
  assert.equal(files.recorder.active, true);
  files.configure(undefined);
  assert.equal(files.recorder.active, false);
  await files.close();
  assert.deepEqual(fs.readdirSync(folder), []);
  record();
});
