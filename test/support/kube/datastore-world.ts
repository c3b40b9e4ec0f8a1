/** A kube datastore as an agent's service account sees an API server: with a role, a token file, and a relay that can fail. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { createKubeDatastore, type KubeDatastore } from '#datastore';
import { type Clock, silentLogger, systemClock } from '#kit';
import type { Kind } from '#model';
import { follow, type Watched } from '../datastore-compliance.ts';
import { until } from '../wait.ts';
import type { ApiServer } from './api-server.ts';
import type { KubeObject } from './objects.ts';
import { type Relay, relayBeside } from './relay.ts';

const rbac = 'rbac.authorization.k8s.io';

/** Time that goes by faster: pauses and time limits of half a minute pass in seconds. */
export function hurriedClock(factor: number): Clock {
  const clock = systemClock({ unref: true });
  return {
    nowMs: () => clock.nowMs() * factor,
    schedule: (delayMs, fn) => clock.schedule(delayMs / factor, fn),
  };
}

export interface DatastoreWorld {
  readonly relay: Relay;
  readonly stateDir: string;
  /** Of the service account that the datastore uses. */
  readonly account: string;
  readonly tokenFile: string;
  /** Another run over the same state on disk. */
  create(options?: { readonly clock?: Clock }): KubeDatastore;
  /** `create`, followed; stops with the test. */
  follow(options?: { readonly clock?: Clock }): Promise<Watched & { readonly datastore: KubeDatastore }>;
  /** A token for the account into its file. */
  renewToken(seconds?: number): Promise<void>;
  grant(): Promise<void>;
  revoke(): Promise<void>;
}

/** What the datastore reads, and nothing else. */
const rules = [
  { apiGroups: [''], resources: ['nodes', 'namespaces', 'pods', 'serviceaccounts'], verbs: ['list', 'watch'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['get'] },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['list', 'watch'] },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  {
    apiGroups: ['policy.networking.k8s.io'],
    resources: ['clusternetworkpolicies', 'adminnetworkpolicies', 'baselineadminnetworkpolicies'],
    verbs: ['list', 'watch'],
  },
  {
    apiGroups: ['projectcalico.org', 'crd.projectcalico.org'],
    resources: [
      ...['bgpconfigurations', 'bgppeers', 'bgpfilters', 'ippools', 'caliconodestatuses', 'felixconfigurations'],
      ...['networkpolicies', 'globalnetworkpolicies', 'tiers', 'networksets', 'globalnetworksets', 'hostendpoints'],
      ...['stagednetworkpolicies', 'stagedglobalnetworkpolicies', 'stagedkubernetesnetworkpolicies'],
    ],
    verbs: ['list', 'watch'],
  },
];

export async function datastoreWorld(t: TestContext, server: ApiServer, namespace: string): Promise<DatastoreWorld> {
  const relay = await relayBeside(t, server.port);
  const stateDir = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-kube-state-'));
  const made: KubeDatastore[] = [];
  t.after(async () => {
    // What it has not written yet it writes when it stops.
    for (const datastore of made) await datastore.stop();
    fs.rmSync(stateDir, { recursive: true, force: true });
  });
  const account = 'agent';
  const tokenFile = path.join(stateDir, 'token');
  const kubeconfig = server.kubeconfig(namespace, { tokenFile }, `https://127.0.0.1:${relay.port}`);
  const name = `${namespace}-agent`;
  const binding: KubeObject = {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
  };
  const secretsRole: KubeObject = {
    apiVersion: `${rbac}/v1`,
    kind: 'Role',
    metadata: { name, namespace },
    rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get'] }],
  };
  const secretsBinding: KubeObject = {
    ...binding,
    kind: 'RoleBinding',
    metadata: { name, namespace },
    roleRef: { apiGroup: rbac, kind: 'Role', name },
  };
  const world: DatastoreWorld = {
    relay,
    stateDir,
    account,
    tokenFile,
    create: ({ clock = hurriedClock(10) } = {}) => {
      const datastore = createKubeDatastore({ log: silentLogger, clock }, { kubeconfig, namespace, stateDir });
      made.push(datastore);
      return datastore;
    },
    follow: async (options) => {
      const datastore = world.create(options);
      return { ...(await follow(t, datastore)), datastore };
    },
    renewToken: async (seconds = 3600) => {
      fs.writeFileSync(`${tokenFile}.new`, await server.tokenFor(account, namespace, seconds), { mode: 0o600 });
      fs.renameSync(`${tokenFile}.new`, tokenFile);
    },
    grant: async () => {
      await server.objects.apply([
        { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name }, rules },
        binding,
        secretsRole,
        secretsBinding,
      ]);
    },
    revoke: () => server.objects.delete(binding),
  };
  t.after(() => world.revoke());
  await world.grant();
  await world.renewToken();
  return world;
}

export async function untilInSync(watched: Watched, what = 'in sync'): Promise<void> {
  await until(
    () => {
      const status = watched.datastore.status();
      if (!status.inSync || status.stale) throw new Error(JSON.stringify(status.waitingFor));
      return true;
    },
    { what, deadlineMs: 60_000 },
  );
}

export async function untilState(watched: Watched, kind: Kind, state: string): Promise<void> {
  await until(
    () => {
      const found = watched.datastore.status().kinds?.[kind];
      if (found?.state !== state) throw new Error(JSON.stringify(found));
      return true;
    },
    { what: `${kind} to be ${state}`, deadlineMs: 60_000 },
  );
}
