/**
 * The rights of the agent's pod are those that it needs: each capability and each mount, taken away, breaks what is named here, and with all of
 * them nothing is broken. The pods are the DaemonSet's own but for that one thing, on a node without its pod.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, suite, test } from 'node:test';
import { agentsReady, daemonSetPath, keepAgentOff } from '../support/cluster/agents.ts';
import { type Cluster, down, up } from '../support/cluster/cluster.ts';
import { agentNamespace, manifestHook } from '../support/cluster/hooks.ts';
import { tryKubectl } from '../support/cluster/kubectl.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { execOnNode } from '../support/cluster/node.ts';
import { createNamespace, type Pod, podPath, podProcess, podReady, runPods } from '../support/cluster/pods.ts';
import { allReach, serverPod } from '../support/cluster/reach.ts';
import { until } from '../support/wait.ts';

const deadlineMs = 120_000;
const node = 'node1';
const variant = { namespace: agentNamespace, name: 'variant' };

interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}
interface Container {
  readonly name: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: {
    readonly capabilities: { readonly add?: readonly string[]; readonly drop: readonly string[] };
  };
  readonly volumeMounts: readonly Mount[];
}
interface PodSpec {
  readonly containers: readonly [Container];
  readonly initContainers: readonly [Container];
  readonly volumes: readonly { readonly name: string }[];
}

function withoutCapability(spec: PodSpec, capability: string): PodSpec {
  const [agent] = spec.containers;
  const { securityContext } = agent;
  const { capabilities } = securityContext;
  const add = capabilities.add?.filter((name) => name !== capability) ?? [];
  return {
    ...spec,
    containers: [{ ...agent, securityContext: { ...securityContext, capabilities: { ...capabilities, add } } }],
  };
}

function withoutMount(spec: PodSpec, name: string): PodSpec {
  const strip = (container: Container): Container => ({
    ...container,
    volumeMounts: container.volumeMounts.filter((mount) => mount.name !== name),
  });
  return {
    ...spec,
    containers: [strip(spec.containers[0])],
    initContainers: [strip(spec.initContainers[0])],
    volumes: spec.volumes.filter((volume) => volume.name !== name),
  };
}

function withEnvironment(spec: PodSpec, name: string, value: string): PodSpec {
  const [agent] = spec.containers;
  return { ...spec, containers: [{ ...agent, env: [...(agent.env ?? []), { name, value }] }] };
}

/** On a machine whose firewall is in the old tables: their only lock is a file. */
const legacyTables = (spec: PodSpec): PodSpec => withEnvironment(spec, 'POPLIN_IPTABLES_BACKEND', 'legacy');

/** Settings in their usual place, which a container may only read. */
function usualSettings(spec: PodSpec): PodSpec {
  const [agent] = spec.containers;
  return {
    ...spec,
    containers: [{ ...agent, env: agent.env?.filter(({ name }) => name !== 'POPLIN_PROC_SYS') ?? [] }],
  };
}

/** Capability -> what its log says that fails without it. */
const capabilities: Readonly<Record<string, RegExp>> = {
  // Forwarding, where nobody has switched it on; else rules, the next that it writes.
  NET_ADMIN:
    /Could not fetch rule set generation id: Permission denied|code: 'EPERM', call: 'sysctl net\/ipv4\/ip_forward'/,
  NET_BIND_SERVICE: /bind: EACCES \(0\.0\.0\.0 port 179\)/,
  NET_RAW: /Can't open socket to ipset/,
};

const mounts: Readonly<Record<string, { readonly breaks: RegExp; readonly also?: (spec: PodSpec) => PodSpec }>> = {
  config: { breaks: /file \/etc\/poplin\/agent\.yaml: cannot be read/ },
  run: { breaks: /\/run\/poplin cannot be (made|written)/ },
  state: { breaks: /\/var\/lib\/poplin cannot be (made|written)/ },
  'cni-conf': { breaks: /\/host\/etc\/cni\/net\.d cannot be (made|written)/ },
  'cni-bin': { breaks: /\/host\/opt\/cni\/bin/ },
  'xtables-lock': { breaks: /can't open lock file \/run\/xtables\.lock/, also: legacyTables },
  sysctls: { breaks: /'sysctl net\/ipv4\/ip_forward'/, also: usualSettings },
};

suite("the agent's rights", clusterNeeds(), () => {
  let cluster: Cluster;
  let spec: PodSpec;

  before(async () => {
    cluster = await up({ agent: manifestHook(), dns: false });
    const daemonSet = await cluster.api.get<{ spec: { template: { spec: PodSpec } } }>(daemonSetPath);
    spec = daemonSet.spec.template.spec;
    await keepAgentOff(cluster, node, deadlineMs);
    await createNamespace(cluster, 'rights');
  });
  after(async () => {
    cluster?.api.close();
    await down();
  });

  async function run(changed: PodSpec): Promise<void> {
    await cluster.api.create(`/api/v1/namespaces/${agentNamespace}/pods`, {
      metadata: { name: variant.name },
      spec: { ...changed, nodeName: node, terminationGracePeriodSeconds: 1 },
    });
  }
  async function remove(): Promise<void> {
    await cluster.api.delete(podPath(variant));
    await until(async () => (await cluster.api.find(podPath(variant))) === undefined, {
      what: 'the pod to be gone',
      deadlineMs,
      intervalMs: 100,
    });
  }

  /** What its containers say, those of before among them. */
  async function logs(): Promise<string> {
    const which = ['logs', '-n', agentNamespace, variant.name, '--all-containers'];
    const [now, before_] = await Promise.all([tryKubectl(which), tryKubectl([...which, '--previous'])]);
    return now.stdout + before_.stdout;
  }

  async function mustBreak(changed: PodSpec, ...breaks: readonly RegExp[]): Promise<void> {
    // As on a node that has just booted.
    await execOnNode(node, ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward']);
    await run(changed);
    try {
      const said = async (): Promise<true> => {
        const text = await logs();
        if (!breaks.every((pattern) => pattern.test(text))) throw new Error(text.slice(-2_000));
        return true;
      };
      await until(said, { what: `a log that says ${breaks}`, deadlineMs, intervalMs: 500 });
      const { status } = await cluster.api.get<Pod>(podPath(variant));
      assert.equal(
        status.containerStatuses?.some(({ ready }) => ready),
        false,
        'it is not ready',
      );
    } finally {
      await remove();
    }
  }

  test('with all of them pods are served, and there is no more than what is listed', async () => {
    await run(spec);
    const pod = await podReady(cluster, variant, deadlineMs);
    await agentsReady([node], deadlineMs);
    const servers = await runPods(
      cluster,
      (['node1', 'node2'] as const).map((on) => serverPod({ namespace: 'rights', name: on, node: on })),
    );
    await allReach(async () => servers, { deadlineMs });
    const pid = podProcess(pod, 'agent');
    const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
    // CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW of linux/capability.h.
    const bits = ((1n << 10n) | (1n << 12n) | (1n << 13n)).toString(16).padStart(16, '0');
    for (const set of ['CapEff', 'CapPrm', 'CapBnd']) assert.match(status, new RegExp(`^${set}:\\s+${bits}$`, 'm'));
    assert.match(status, /^NoNewPrivs:\s+1$/m);
    assert.match(status, /^Seccomp:\s+2$/m);
    assert.deepEqual(writableMounts(pid!), [
      '/host/etc/cni/net.d',
      '/host/proc/sys/net',
      '/run/poplin',
      '/run/xtables.lock',
      '/var/lib/poplin',
    ]);
    await remove();
    const [agent] = spec.containers;
    const [installer] = spec.initContainers;
    assert.deepEqual([...(agent.securityContext.capabilities.add ?? [])].sort(), Object.keys(capabilities).sort());
    assert.equal(installer.securityContext.capabilities.add, undefined);
    assert.deepEqual(
      [...new Set([...agent.volumeMounts, ...installer.volumeMounts].map(({ name }) => name))].sort(),
      Object.keys(mounts).sort(),
    );
  });

  for (const [capability, breaks] of Object.entries(capabilities))
    test(`without ${capability}: ${breaks.source}`, () =>
      mustBreak(
        withoutCapability(spec, capability),
        breaks,
        new RegExp(`the process lacks CAP_${capability} .*securityContext`),
      ));

  for (const [name, { breaks, also = (same: PodSpec) => same }] of Object.entries(mounts))
    test(`without the mount ${name}: ${breaks.source}`, () => mustBreak(also(withoutMount(spec, name)), breaks));

  // After it was shown that they cannot be written without.
  test('with the old tables, and their lock', async () => {
    await run(legacyTables(spec));
    await podReady(cluster, variant, deadlineMs);
    await remove();
  });
});

/** Of disks and of the kernel's settings; what every container has of its runtime is left out. */
function writableMounts(pid: number): readonly string[] {
  const everywhere = /^\/(dev|proc|sys)(\/|$)|^\/etc\/(hosts|hostname|resolv\.conf)$|^\/var\/run\/secrets\//;
  return fs
    .readFileSync(`/proc/${pid}/mounts`, 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, at, , options]) => at && !everywhere.test(at) && options?.split(',').includes('rw'))
    .map(([, at]) => at!)
    .sort();
}
