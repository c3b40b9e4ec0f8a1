/** Pure parts of the cluster's support: archives, settings in a manifest, verdicts of probes. No cluster. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { exec } from '#sys';
import { withSettings } from '../support/cluster/hooks.ts';
import { firstOf, median } from '../support/cluster/latency.ts';
import { tar } from '../support/cluster/tar.ts';
import { defaultTor, torConfig } from '../support/cluster/tor.ts';

test('tar reads our archives: files, links, folders, long names', async (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-tar-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const long = `${'d'.repeat(90)}/${'e'.repeat(60)}/file`;
  const archive = tar([
    { type: 'folder', name: 'bin', mode: 0o755 },
    { type: 'file', name: 'bin/a', mode: 0o755, data: Buffer.from('x'.repeat(513)) },
    { type: 'link', name: 'bin/b', target: 'a' },
    { type: 'file', name: long, mode: 0o600, data: Buffer.alloc(0) },
  ]);
  assert.equal(archive.length % 512, 0);
  fs.writeFileSync(path.join(folder, 'x.tar'), archive);
  const { code, stderr } = await exec('tar', ['-xf', path.join(folder, 'x.tar'), '-C', folder]);
  assert.equal(code, 0, stderr);
  assert.equal(fs.readFileSync(path.join(folder, 'bin', 'b'), 'utf8'), 'x'.repeat(513));
  assert.equal(fs.statSync(path.join(folder, 'bin', 'a')).mode & 0o777, 0o755);
  assert.equal(fs.statSync(path.join(folder, long)).size, 0);
  assert.throws(() => tar([{ type: 'folder', name: 'x'.repeat(300), mode: 0o755 }]), /too long/);
});

test('settings go into the ConfigMap of the manifest as a user would edit it', () => {
  const manifest = 'data:\n  agent.yaml: |\n    datastore: kube\n    # why\n    kubeApiServer: ""\nkind: DaemonSet\n';
  assert.equal(
    withSettings(manifest, { kubeApiServer: 'https://[::1]:6443', logLevel: 'debug' }),
    'data:\n  agent.yaml: |\n    logLevel: "debug"\n    datastore: kube\n    # why\n    kubeApiServer: "https://[::1]:6443"\nkind: DaemonSet\n',
  );
});

test('the first of a run of equal verdicts, and none past one that is still open', () => {
  const probes = (text: string) =>
    [...text].map((sign, startedMs) => ({ startedMs, open: sign === '?' ? undefined : sign === '+' }));
  assert.equal(firstOf(probes('++.+...'), false, 0, 3), 4);
  assert.equal(firstOf(probes('....'), false, 1, 3), 1);
  assert.equal(firstOf(probes('.?..'), false, 0, 3), undefined);
  assert.equal(firstOf(probes('..+'), true, 0, 1), 2);
  assert.equal(median([3, 1, 2]), 2);
});

test('the ToR router listens for the segment, or opens a session to each node', () => {
  assert.match(torConfig(defaultTor), /neighbor range 10\.255\.0\.0\/24 as 64512;/);
  const fixed = torConfig({ ...defaultTor, peers: 'fixed', over: 6, password: 'secret' });
  assert.match(fixed, /neighbor fd00:255::1 as 64512;[\s\S]*password "secret";[\s\S]*neighbor fd00:255::2 as 64512;/);
});
