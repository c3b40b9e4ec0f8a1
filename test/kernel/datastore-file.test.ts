/** The file datastore on a real file system with real notifications. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { stringify } from 'yaml';
import { createFileDatastore, type Datastore, formatFault } from '#datastore';
import { silentLogger } from '#kit';
import {
  type DatastoreHarness,
  datastoreCompliance,
  follow,
  policyObject,
  type SourceObject,
} from '../support/datastore-compliance.ts';
import { until } from '../support/wait.ts';

interface World extends DatastoreHarness {
  readonly directory: string;
  readonly stateDir: string;
  write(file: string, text: string): void;
  create(): Datastore;
}

function world(t: TestContext): World {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-datastore-'));
  t.after(() => fs.rmSync(root, { recursive: true, force: true }));
  const directory = path.join(root, 'manifests');
  const stateDir = path.join(root, 'state');
  fs.mkdirSync(directory);
  const fileOf = ({ kind, metadata }: SourceObject): string =>
    `${kind}-${metadata.namespace ?? ''}-${metadata.name}.yaml`;
  const write = (file: string, text: string): void => {
    // As editors and configuration management do: whole or not at all.
    fs.writeFileSync(path.join(directory, `.${path.basename(file)}.tmp`), text);
    fs.renameSync(path.join(directory, `.${path.basename(file)}.tmp`), path.join(directory, file));
  };
  const put = (object: SourceObject): void => write(fileOf(object), JSON.stringify(object));
  return {
    directory,
    stateDir,
    write,
    create: () => createFileDatastore({ log: silentLogger }, { directory, stateDir }),
    put,
    putAll: (objects) => objects.forEach(put),
    remove: (object) => fs.rmSync(path.join(directory, fileOf(object))),
  };
}

datastoreCompliance('file datastore', world, 'keeps the mark back');

const yaml = (...objects: readonly SourceObject[]): string => objects.map((object) => stringify(object)).join('---\n');

test('a file that does not parse keeps every object it gave, across restarts, and names file and line', async (t) => {
  const source = world(t);
  source.write('all.yaml', yaml(policyObject('a', 80), policyObject('b', 80)));
  const first = await follow(t, source.create());
  await until(() => first.inSyncCalls() > 0, { what: 'in sync' });
  source.write('all.yaml', `${yaml(policyObject('a', 81))}---\nspec: [\n`);
  await until(() => first.datastore.status().faultsTotal > 0, { what: 'the fault' });
  const [fault] = first.datastore.status().faults;
  assert.match(formatFault(fault!), /all\.yaml:\d+:\d+: not valid YAML: .*the 2 objects it gave stay in force/);
  await first.datastore.stop();
  for (const run of ['second', 'third']) {
    const next = await follow(t, source.create());
    await until(() => next.inSyncCalls() > 0, { what: `in sync in the ${run} run` });
    assert.equal(next.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port, 80);
    assert.ok(next.get('NetworkPolicy', 'web/b'));
    await next.datastore.stop();
  }
  const mode = fs.statSync(path.join(source.stateDir, 'datastore', 'last-good.jsonl')).mode & 0o777;
  assert.equal(mode, 0o600);
});

test('cluster-wide policies of all kinds; one that becomes wrong stays as it was', async (t) => {
  const source = world(t);
  const clusterPolicy = (version: string, kind: string, spec: object): SourceObject => ({
    apiVersion: `policy.networking.k8s.io/${version}`,
    kind,
    metadata: { name: 'default' },
    spec: { subject: { namespaces: {} }, ...spec },
  });
  const newer = (action: string): SourceObject =>
    clusterPolicy('v1alpha2', 'ClusterNetworkPolicy', {
      tier: 'Admin',
      priority: 1,
      ingress: [{ action, from: [{ namespaces: {} }] }],
    });
  const older = clusterPolicy('v1alpha1', 'AdminNetworkPolicy', { priority: 2 });
  const baseline = clusterPolicy('v1alpha1', 'BaselineAdminNetworkPolicy', {});
  source.write('all.yaml', yaml(newer('Deny'), older, baseline));
  const watched = await follow(t, source.create());
  await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
  assert.deepEqual(
    (['ClusterNetworkPolicy', 'AdminNetworkPolicy', 'BaselineAdminNetworkPolicy'] as const).map((kind) => {
      const { tier, priority } = watched.get(kind, 'default')!;
      return `${tier} ${priority}`;
    }),
    ['Admin 1', 'Admin 2', 'Baseline 0'],
  );
  source.write('all.yaml', yaml(newer('Allow'), older));
  await until(() => watched.datastore.status().faultsTotal > 0, { what: 'the fault' });
  assert.match(formatFault(watched.datastore.status().faults[0]!), /ingress\[0\]\.action: "Allow".*stays in force/);
  await until(() => watched.get('BaselineAdminNetworkPolicy', 'default') === undefined, { what: 'the deletion' });
  assert.equal(watched.get('ClusterNetworkPolicy', 'default')?.ingress[0]?.action, 'Deny');
});

test('a torn or foreign journal of last good versions does no harm', async (t) => {
  const source = world(t);
  source.put(policyObject('a', 80));
  const journal = path.join(source.stateDir, 'datastore', 'last-good.jsonl');
  const first = await follow(t, source.create());
  await until(() => first.inSyncCalls() > 0, { what: 'in sync' });
  await first.datastore.stop();
  fs.appendFileSync(journal, '{"ref":"NetworkPolicy web/a","fi');
  source.write('NetworkPolicy-web-a.yaml', 'broken: [');
  const second = await follow(t, source.create());
  await until(() => second.inSyncCalls() > 0, { what: 'in sync with a torn journal' });
  assert.ok(second.get('NetworkPolicy', 'web/a'));
  source.put(policyObject('b', 81));
  await until(() => second.get('NetworkPolicy', 'web/b'), { what: 'a change after the tear' });
  await second.datastore.stop();
  source.write('NetworkPolicy-web-b.yaml', 'broken: [');
  const third = await follow(t, source.create());
  await until(() => third.inSyncCalls() > 0, { what: 'in sync from the mended journal' });
  assert.equal(third.get('NetworkPolicy', 'web/b')?.ingress[0]?.ports[0]?.port, 81);
  await third.datastore.stop();
  fs.writeFileSync(journal, '\0garbage');
  const fourth = await follow(t, source.create());
  await until(() => fourth.datastore.status().faultsTotal === 2, { what: 'both files broken' });
  assert.equal(fourth.datastore.status().inSync, false);
});

test('a directory that is missing is waited for; one that goes away takes nothing with it', async (t) => {
  const source = world(t);
  fs.rmdirSync(source.directory);
  const watched = await follow(t, source.create());
  assert.equal(watched.inSyncCalls(), 0);
  assert.match(watched.datastore.status().waitingFor.join(), /no such directory; create it/);
  fs.mkdirSync(source.directory);
  source.put(policyObject('a', 80));
  await until(() => watched.get('NetworkPolicy', 'web/a'), { what: 'the directory found' });
  fs.renameSync(source.directory, `${source.directory}.away`);
  await until(() => watched.datastore.status().faultsTotal > 0, { what: 'the loss noticed' });
  assert.ok(watched.get('NetworkPolicy', 'web/a'));
  fs.renameSync(`${source.directory}.away`, source.directory);
  await until(() => watched.datastore.status().faultsTotal === 0, { what: 'the return noticed' });
  fs.rmSync(path.join(source.directory, 'NetworkPolicy-web-a.yaml'));
  await until(() => !watched.get('NetworkPolicy', 'web/a'), { what: 'a deletion after the return' });
});

test('a mounted ConfigMap: files are links through ..data, which is swapped', async (t) => {
  const source = world(t);
  const version = (name: string, port: number): void => {
    fs.mkdirSync(path.join(source.directory, name));
    fs.writeFileSync(path.join(source.directory, name, 'p.yaml'), yaml(policyObject('a', port)));
    fs.symlinkSync(name, path.join(source.directory, '..data_tmp'));
    fs.renameSync(path.join(source.directory, '..data_tmp'), path.join(source.directory, '..data'));
  };
  version('..1', 80);
  fs.symlinkSync('..data/p.yaml', path.join(source.directory, 'p.yaml'));
  const watched = await follow(t, source.create());
  const port = () => watched.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port;
  await until(() => port() === 80, { what: 'the first version' });
  version('..2', 81);
  fs.rmSync(path.join(source.directory, '..1'), { recursive: true });
  await until(() => port() === 81, { what: 'the second version' });
  assert.equal(watched.datastore.status().objects.NetworkPolicy, 1);
});

test('folders are followed, made anew too; links that lead back up are not', async (t) => {
  const source = world(t);
  const watched = await follow(t, source.create());
  const folder = path.join(source.directory, 'team', 'web');
  for (const port of [80, 81]) {
    fs.mkdirSync(folder, { recursive: true });
    fs.symlinkSync(source.directory, path.join(folder, 'up'));
    fs.writeFileSync(path.join(folder, 'p.yml'), yaml(policyObject('a', port)));
    await until(() => watched.get('NetworkPolicy', 'web/a')?.ingress[0]?.ports[0]?.port === port, {
      what: `port ${port}`,
    });
    assert.equal(watched.datastore.status().faultsTotal, 0);
    fs.rmSync(path.join(source.directory, 'team'), { recursive: true });
    await until(() => !watched.get('NetworkPolicy', 'web/a'), { what: 'the folder gone' });
  }
});

test('a file written in place, piece by piece, never shows half of it', async (t) => {
  const source = world(t);
  const file = path.join(source.directory, 'all.yaml');
  fs.writeFileSync(file, yaml(policyObject('a', 80), policyObject('b', 80)));
  const watched = await follow(t, source.create());
  await until(() => watched.inSyncCalls() > 0, { what: 'in sync' });
  const before = watched.batches.length;
  for (let round = 1; round <= 5; round++) {
    const handle = fs.openSync(file, 'w');
    for (const part of [policyObject('a', 80 + round), policyObject('b', 80 + round)]) {
      // Lets the watch see the file as it is by now.
      await new Promise((resolve) => setImmediate(resolve));
      fs.writeSync(handle, `---\n${yaml(part)}`);
    }
    fs.closeSync(handle);
  }
  await until(() => watched.get('NetworkPolicy', 'web/b')?.ingress[0]?.ports[0]?.port === 85, {
    what: 'the last round',
  });
  const deletions = watched.batches
    .slice(before)
    .flat()
    .filter((update) => update.type === 'delete');
  assert.deepEqual(deletions, []);
});

test('what is not UTF-8, not a file, or not readable as one is said so', async (t) => {
  const source = world(t);
  fs.writeFileSync(path.join(source.directory, 'latin.yaml'), Buffer.from([0x61, 0x3a, 0x20, 0xe9]));
  fs.symlinkSync('/dev/null', path.join(source.directory, 'null.yaml'));
  fs.symlinkSync('nowhere.yaml', path.join(source.directory, 'dangling.yaml'));
  fs.writeFileSync(path.join(source.directory, 'notes.txt'), 'not: [a manifest');
  const watched = await follow(t, source.create());
  await until(() => watched.datastore.status().faultsTotal === 3, { what: 'three faults' });
  const text = watched.datastore.status().faults.map(formatFault).join('\n');
  assert.match(text, /dangling\.yaml: cannot be read/);
  assert.match(text, /latin\.yaml: is not UTF-8 text/);
  assert.match(text, /null\.yaml: is not a regular file/);
});
