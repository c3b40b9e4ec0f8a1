import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { type IpAddress, silentLogger } from '#kit';
import { removeConflist, writeConflist } from './conflist.ts';
import { type AttachmentRecord, openAttachmentStore } from './store.ts';

function scratch(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-store-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

const record: AttachmentRecord = {
  interfaceName: 'pop0123456789a',
  attachment: 'abcdef01234',
  addresses: ['10.1.0.1', 'fd00::1'] as IpAddress[],
  containerId: 'abc',
  ifName: 'eth0',
  network: 'poplin',
  netns: '/run/netns/x',
  podMac: '02:00:00:00:00:01',
  mtu: 1400,
  pod: { key: 'ns/web', namespace: 'ns', name: 'web', uid: 'u' },
};
const stem = 'pop0123456789a@abcdef01234@10.1.0.1@fd00::1';

async function load(directory: string) {
  const store = await openAttachmentStore(directory, silentLogger);
  try {
    return await store.load();
  } finally {
    await store.close();
  }
}

test('an attachment goes from intent to complete to rest, and reads back as it was', async (t) => {
  const directory = path.join(scratch(t), 'made/if/absent');
  const store = await openAttachmentStore(directory, silentLogger);
  await store.begin(record);
  assert.deepEqual(fs.readdirSync(directory), [`${stem}.intent`]);
  assert.equal(fs.statSync(directory).mode & 0o777, 0o700);
  assert.deepEqual((await load(directory)).intents, [record]);
  await store.complete(record);
  assert.deepEqual((await load(directory)).complete, [record]);
  await store.free(record);
  const { resting, complete } = await load(directory);
  assert.deepEqual(
    [complete, resting[0]?.interfaceName, resting[0]?.addresses],
    [[], record.interfaceName, record.addresses],
  );
  assert.ok(Math.abs((resting[0]?.sinceMs ?? 0) - Date.now()) < 60_000);
  // The same attachment has its addresses again: the end of the old rest must not touch it.
  await store.begin(record);
  await store.endRest(record);
  await store.complete(record);
  assert.deepEqual((await load(directory)).complete, [record]);
  await store.close();
});

test('what does not read keeps its addresses; what was never answered does not', async (t) => {
  const directory = scratch(t);
  for (const [i, text] of [
    '',
    '{',
    'null',
    '{"format":2}',
    JSON.stringify({ format: 1, ...record, pod: undefined }),
  ].entries()) {
    fs.writeFileSync(path.join(directory, `pop0000000000${i}@0000000000${i}@10.1.0.${i + 1}.json`), text);
  }
  fs.writeFileSync(path.join(directory, `${stem}.intent`), '{"form');
  fs.writeFileSync(path.join(directory, `${stem}.intent.tmp`), 'x');
  fs.writeFileSync(path.join(directory, 'notes.txt'), 'of the operator');
  for (let again = 0; again < 2; again++) {
    const { broken, tornIntents, complete } = await load(directory);
    assert.deepEqual(
      broken.map(({ addresses }) => addresses[0]),
      ['10.1.0.1', '10.1.0.2', '10.1.0.3', '10.1.0.4', '10.1.0.5'],
    );
    assert.deepEqual(
      tornIntents.map(({ interfaceName, addresses }) => ({ interfaceName, addresses })),
      [{ interfaceName: record.interfaceName, addresses: record.addresses }],
    );
    assert.deepEqual(complete, []);
  }
  assert.ok(fs.existsSync(path.join(directory, 'notes.txt')));
  assert.ok(!fs.existsSync(path.join(directory, `${stem}.intent.tmp`)));
});

test('the conflist is written whole, privately, once, and removed', (t) => {
  const directory = path.join(scratch(t), 'net.d');
  const file = writeConflist(directory, {
    mtu: 1450,
    chained: [{ type: 'portmap', capabilities: { portMappings: true } }],
  });
  assert.equal(path.basename(file), '10-poplin.conflist');
  assert.deepEqual(JSON.parse(fs.readFileSync(file, 'utf8')), {
    cniVersion: '1.1.0',
    name: 'poplin',
    plugins: [
      { type: 'poplin', mtu: 1450 },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  });
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  const before = fs.statSync(file).ino;
  writeConflist(directory, { mtu: 1450, chained: [{ type: 'portmap', capabilities: { portMappings: true } }] });
  assert.equal(fs.statSync(file).ino, before, 'an equal file is left alone');
  writeConflist(directory, { cniVersion: '1.0.0' });
  assert.deepEqual(fs.readdirSync(directory), ['10-poplin.conflist']);
  assert.throws(() => writeConflist(directory, { cniVersion: '2.0.0' }), /not supported/);
  removeConflist(directory);
  removeConflist(directory);
  assert.deepEqual(fs.readdirSync(directory), []);
});
