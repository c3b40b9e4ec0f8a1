/** The kube datastore under the suite that every datastore passes, on a real API server. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, suite, type TestContext } from 'node:test';
import { createKubeDatastore, type KubeDatastore } from '#datastore';
import { silentLogger } from '#kit';
import { stagedKinds } from '#model';
import { type DatastoreHarness, datastoreCompliance, type SourceObject } from '../support/datastore-compliance.ts';
import { type ApiServer, apiServerAssets, startApiServer } from '../support/kube/api-server.ts';
import { needs } from '../support/needs.ts';
import { definitions } from './crds/definitions.ts';
import { installDefinitions } from './crds/install.ts';

suite('kube datastore on a real API server', needs({ kube: apiServerAssets }), () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    await installDefinitions(
      server,
      definitions.filter(({ spec }) => (stagedKinds as readonly string[]).includes(spec.names.kind)),
    );
  });
  after(() => server.stop());

  datastoreCompliance('kube datastore', (t) => harness(t, server), 'denies');
});

/** Each test's objects go with it; the server stays. */
function harness(t: TestContext, server: ApiServer): DatastoreHarness {
  const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
  const made = new Map<string, SourceObject>();
  const created: KubeDatastore[] = [];
  t.after(async () => {
    for (const datastore of created) await datastore.stop();
    fs.rmSync(stateDir, { recursive: true, force: true });
    await inParallel([...made.values()], (object) => server.etcd.delete(`/registry/${etcdKey(object)}`));
  });
  const note = (object: SourceObject): void => void made.set(etcdKey(object), object);
  /** Pods as a kubelet leaves them, and what validation refuses. */
  const putPastValidation = async (object: SourceObject): Promise<void> => {
    note(object);
    await server.etcdPut(etcdKey(object), object);
  };
  const put = async (object: SourceObject): Promise<void> => {
    const { namespace } = object.metadata;
    if (namespace) await server.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    if (object.kind === 'Pod') return putPastValidation(object);
    note(object);
    // Not by apply, which cannot change what is invalid now.
    await server.objects.delete(object);
    await server.objects.create(object as Parameters<typeof server.objects.create>[0]);
  };
  return {
    create: () => {
      const options = { kubeconfig: server.adminKubeconfig, namespace: 'poplin-system', stateDir };
      const datastore = createKubeDatastore({ log: silentLogger }, options);
      created.push(datastore);
      return datastore;
    },
    put: async (object) => {
      const known = made.get(etcdKey(object));
      if (known && object.kind !== 'Pod') await server.objects.apply(object as never).catch(() => put(object));
      else await put(object);
    },
    putInvalid: async (object) => {
      const { namespace } = object.metadata;
      if (namespace) await server.objects.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
      await putPastValidation(object);
    },
    putAll: async (objects) => {
      await put(objects[0]!);
      await inParallel(objects, putPastValidation);
    },
    remove: async (object) => {
      await server.objects.delete(object);
      made.delete(etcdKey(object));
    },
  };
}

const plurals: Readonly<Record<string, string>> = { NetworkPolicy: 'networkpolicies', Pod: 'pods' };

function etcdKey({ kind, metadata }: SourceObject): string {
  return `${plurals[kind] ?? kind}/${metadata.namespace ?? ''}/${metadata.name}`;
}

async function inParallel<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const left = all.values();
  await Promise.all(
    Array.from({ length: 24 }, async () => {
      for (const one of left) await work(one);
    }),
  );
}
