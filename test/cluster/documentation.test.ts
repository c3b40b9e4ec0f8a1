/**
 * docs/kubernetes.md, followed as it stands there: its blocks are run as written and in their order, its routers' configurations are what the
 * ToR router runs, and after each the effect is looked for that the text claims.
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { before, suite, test } from 'node:test';
import { netnsPath, startProcess } from '#lab';
import { kubeFolder, nodeBinary, root } from '#setup';
import { exec } from '#sys';
import { agentImage } from '../support/cluster/agent-image.ts';
import { nodesReady, podCidrsOf } from '../support/cluster/cluster.ts';
import { type Frr, startFrr } from '../support/cluster/frr.ts';
import { agentNamespace, agentSelector } from '../support/cluster/hooks.ts';
import { kubectl, tryKubectl } from '../support/cluster/kubectl.ts';
import {
  addressesOf,
  clusterFolder,
  type NodeName,
  netnsOf,
  nodeNames,
  paths,
  systemPath,
} from '../support/cluster/layout.ts';
import { clusterNeeds } from '../support/cluster/needs.ts';
import { execOnNode, nodePath } from '../support/cluster/node.ts';
import { startPart, stopPart } from '../support/cluster/parts.ts';
import { addressOf, createNamespace, listPods, namespaceReady, type Pod, runPods } from '../support/cluster/pods.ts';
import { answers, blocked, request, url } from '../support/cluster/requests.ts';
import { suiteCluster } from '../support/cluster/suite.ts';
import { kubeBinary } from '../support/cluster/tools.ts';
import { birdc, inNamespace, torFiles, torSessions } from '../support/cluster/tor.ts';
import { type FencedBlock, fencedBlocks } from '../support/markdown.ts';
import { until } from '../support/wait.ts';

const document = path.join(root, 'docs', 'kubernetes.md');
const blocks = fencedBlocks(fs.readFileSync(document, 'utf8'));
/** In the document's order: a block that is new there gets a test here. */
const steps = [
  'preflight',
  'import',
  'install',
  'first-look',
  'peer',
  'sessions',
  'pool',
  'policy',
  'health',
  'uninstall',
];
const files = ['bird.conf', 'frr.conf'];
const password = 'correct-horse';

const families = [4, 6] as const;
const httpPort = 8080;
const outsidePorts = [53, 8090] as const;
const blockDeadlineMs = 600_000;
const programs = path.join(clusterFolder, 'bin');
const namespace = 'documentation';

function only(attribute: 'run' | 'file', value: string): FencedBlock {
  const found = blocks.filter(({ attributes }) => attributes[attribute] === value);
  assert.equal(found.length, 1, `${document} has one block ${attribute}=${value}`);
  return found[0]!;
}

/** Runs a block as a person would paste it into a shell, in the checkout, with kubectl and poplin in PATH. @returns its output */
async function follow(name: string): Promise<string> {
  const { text, attributes } = only('run', name);
  assert.equal(attributes['on'], undefined);
  const { code, stdout, stderr } = await exec('nsenter', [`--net=${netnsPath(netnsOf('wire'))}`, 'sh', '-ec', text], {
    cwd: root,
    env: { PATH: `${programs}:${kubeFolder()}:${systemPath}`, HOME: paths.home, KUBECONFIG: paths.adminKubeconfig },
    timeoutMs: blockDeadlineMs,
  });
  assert.equal(code, 0, `block ${name}:\n${stdout}\n${stderr}`);
  return stdout;
}

/** The same within each node, with the image's archive in the working folder. */
async function followOnNodes(name: string): Promise<void> {
  const { text, attributes } = only('run', name);
  assert.equal(attributes['on'], 'every-node');
  const image = await agentImage();
  for (const node of nodeNames) {
    fs.mkdirSync(nodePath(node, '/root/install'), { recursive: true });
    fs.copyFileSync(image, nodePath(node, '/root/install/poplin.tar'));
    const { code, stderr } = await execOnNode(node, ['sh', '-ec', `cd /root/install\n${text}`], { timeoutMs: 120_000 });
    assert.equal(code, 0, stderr);
    fs.rmSync(nodePath(node, '/root/install'), { recursive: true });
  }
}

/** `poplin` for a person's PATH. */
function writePrograms(): void {
  fs.mkdirSync(programs, { recursive: true });
  const poplin = `#!/bin/sh\nexec ${nodeBinary} ${path.join(root, 'src', 'cli', 'main.ts')} "$@"\n`;
  fs.writeFileSync(path.join(programs, 'poplin'), poplin, { mode: 0o755 });
}

async function startOutsideServers(): Promise<void> {
  for (const port of outsidePorts)
    await startProcess({
      role: `outside server ${port}`,
      netns: netnsOf('outside'),
      command: kubeBinary('agnhost'),
      args: ['netexec', `--http-port=${port}`, '--udp-port=-1'],
      logFile: path.join(paths.logs, `outside-${port}.log`),
      env: { PATH: systemPath },
    });
}

/** TCP segments that the ToR router's kernel has refused for a missing or a wrong signature (RFC 2385). */
async function signaturesRefused(): Promise<number> {
  const [names, values] = (await inNamespace('tor', ['cat', '/proc/net/netstat'])).split('\n') as [string, string];
  const wanted = ['TCPMD5NotFound', 'TCPMD5Unexpected', 'TCPMD5Failure'];
  const counts = values.split(' ');
  return names.split(' ').reduce((sum, name, i) => (wanted.includes(name) ? sum + Number(counts[i]) : sum), 0);
}

const withPort = (address: string): RegExp => new RegExp(`^\\[?${address.replaceAll('.', '\\.')}\\]?:\\d+$`);
const ofMachine = (machine: NodeName | 'outside', family: 4 | 6): string => addressesOf(machine)[family === 4 ? 0 : 1];

suite('docs/kubernetes.md', clusterNeeds(), () => {
  const theCluster = suiteCluster('documentation');
  let servers: readonly Pod[] = [];
  let frr: Frr | undefined;

  before(async () => {
    writePrograms();
    // The document has no router yet.
    await stopPart('bird');
    await startOutsideServers();
  });
  const agentOn = async (node: NodeName): Promise<string> => {
    const pods = await listPods(theCluster(), agentNamespace, agentSelector);
    return pods.find(({ spec }) => spec.nodeName === node)!.metadata.name;
  };
  const poplinOn = async (node: NodeName, ...args: readonly string[]): Promise<string> =>
    kubectl(['exec', '-n', agentNamespace, await agentOn(node), '--', 'poplin', ...args]);

  /** What "reached as they are, and reach out as they are" means. */
  const podsAndOutsideReachEachOther = async (): Promise<void> => {
    for (const family of families) {
      for (const server of servers) {
        const own = addressOf(server, family);
        const outside = ofMachine('outside', family);
        await answers('outside', url(own, httpPort, 'clientip'), withPort(outside));
        await answers(server, url(outside, outsidePorts[1], 'clientip'), withPort(own));
      }
    }
  };
  const routerKnowsPods = async (by: 'bird' | 'bgp'): Promise<void> => {
    for (const node of nodeNames) {
      for (const [i, cidr] of (await podCidrsOf(theCluster(), node)).entries()) {
        const show = ['ip', ...(i === 0 ? [] : ['-6']), 'route', 'show', cidr];
        // FRR takes the link-local address that stands beside the global one in an IPv6 next hop (RFC 2545 3).
        const via = by === 'bgp' && i === 1 ? `(?:${addressesOf(node)[i]}|fe80::[0-9a-f:]+)` : addressesOf(node)[i];
        const wanted = new RegExp(`via ${via} .*proto ${by} `);
        await until(async () => wanted.test(await inNamespace('tor', show)), {
          what: `the router's route to ${cidr}`,
          deadlineMs: 60_000,
          intervalMs: 200,
        });
      }
    }
  };
  /** The block, until it shows a session Established from every node. */
  /** Statuses follow within their pace of writing, and routes a moment after their session. */
  const sessionsShown = async (): Promise<void> => {
    const signs = [
      /^tor\s.*\sTrue\s/m,
      /^peer\/tor\s.*\sEstablished\s/m,
      /192\.0\.2\.0\/24/,
      ...nodeNames.map((node) => new RegExp(`^${node}\\s.*\\s2/2\\s`, 'm')),
    ];
    let missing = signs;
    await until(
      async () => {
        const text = await follow('sessions');
        missing = signs.filter((sign) => !sign.test(text));
        return missing.length === 0;
      },
      { what: 'block sessions to show sessions and routes of the router', deadlineMs: 120_000, intervalMs: 1_000 },
    ).catch((error: unknown) => {
      throw new Error(`block sessions never showed ${missing.join(' and ')}`, { cause: error });
    });
  };

  test('every block that is to be run or used is known here, in its order', () => {
    const attribute = (name: string): readonly string[] => blocks.flatMap(({ attributes }) => attributes[name] ?? []);
    assert.deepEqual(attribute('run'), steps);
    assert.deepEqual(attribute('file'), files);
    const sides = blocks.filter(({ language }) => ['bird', 'frr', 'eos'].includes(language));
    assert.deepEqual(
      sides.map(({ language, text }) => [language, text.includes(password)]),
      [
        ['bird', true],
        ['frr', true],
        ['eos', true],
      ],
    );
  });

  test('preflight names the manifest, and finds nothing but that kube-proxy is no DaemonSet here', async () => {
    const report = await follow('preflight');
    assert.match(report, /^Manifest: poplin\.yaml /m);
    assert.doesNotMatch(report, /^PROBLEM/m);
    assert.deepEqual(report.match(/^WARNING +\S+/gm), ['WARNING   kube-proxy']);
  });

  test('install: nodes become Ready', async () => {
    await followOnNodes('import');
    await follow('install');
    await nodesReady(theCluster(), 1_000);
    assert.equal((await listPods(theCluster(), agentNamespace, agentSelector)).length, nodeNames.length);
  });

  test('first look: both nodes report, are meshed, and have a route to the pods of the other', async () => {
    // An agent that is ready has not yet written its first report.
    let look = '';
    const shown = async (): Promise<boolean> => {
      look = await follow('first-look');
      return nodeNames.every((node) => new RegExp(`^${node}\\s`, 'm').test(look));
    };
    const what = (): string => `block first-look to show both nodes; it shows ${look}`;
    await until(shown, { what, deadlineMs: 60_000, intervalMs: 1_000 });
    await createNamespace(theCluster(), namespace);
    servers = await runPods(
      theCluster(),
      nodeNames.map((node) => ({ namespace, name: node, node, args: ['netexec', `--http-port=${httpPort}`] })),
    );
    for (const family of families)
      await answers(servers[0]!, url(addressOf(servers[1]!, family), httpPort, 'hostname'), 'node2');
  });

  test('first ToR router: BIRD, with the password and not without it', async () => {
    await follow('peer');
    const config = only('file', 'bird.conf').text;
    fs.writeFileSync(torFiles.config, config.replace(password, 'another'));
    await startPart('bird');
    await until(async () => (await signaturesRefused()) > 0, {
      what: 'the router to refuse what another password signed',
      deadlineMs: 60_000,
      intervalMs: 200,
    });
    assert.ok(!(await torSessions()).some(({ state }) => state === 'Established'));
    fs.writeFileSync(torFiles.config, config);
    await until(async () => /Reconfigur/.test(await birdc('configure')), { what: 'BIRD to take its configuration' });
    await until(
      async () => (await torSessions()).filter(({ state }) => state === 'Established').length === nodeNames.length,
      { what: 'a session of the router with each node', deadlineMs: 60_000, intervalMs: 200 },
    );
    await routerKnowsPods('bird');
    await podsAndOutsideReachEachOther();
  });

  test('both ends show the sessions', async () => {
    await sessionsShown();
  });

  test('the same with FRR in its place', async () => {
    await stopPart('bird');
    frr = await startFrr(only('file', 'frr.conf').text);
    await until(
      async () => {
        const { ipv4Unicast, ipv6Unicast } = JSON.parse(await frr!.vtysh('show bgp summary json')) as {
          ipv4Unicast?: { peers: Record<string, { state: string }> };
          ipv6Unicast?: { peers: Record<string, { state: string }> };
        };
        return [ipv4Unicast, ipv6Unicast].every(
          (family) => Object.values(family?.peers ?? {}).filter(({ state }) => state === 'Established').length === 2,
        );
      },
      { what: 'FRR to have a session with each node, both families on it', deadlineMs: 120_000, intervalMs: 500 },
    );
    await routerKnowsPods('bgp');
    await podsAndOutsideReachEachOther();
    await sessionsShown();
    // BIRD's routes may have stayed up to here: once more, by FRR's own.
    await podsAndOutsideReachEachOther();
    // A graceful restart of the agent, as the document wants the router to be set up for.
    const neighbor = await frr.vtysh(`show bgp neighbors ${addressesOf('node1')[0]}`);
    assert.match(neighbor, /Remote GR Mode: Restart/);
  });

  test('a pool masquerades what leaves it', async () => {
    assert.match(await follow('pool'), /^pods-ipv4\s+10\.240\.0\.0\/16/m);
    const [server, other] = servers as [Pod, Pod];
    await answers(server, url(ofMachine('outside', 4), outsidePorts[1], 'clientip'), withPort(ofMachine('node1', 4)));
    await answers(server, url(ofMachine('outside', 6), outsidePorts[1], 'clientip'), withPort(addressOf(server, 6)));
    await answers(server, url(addressOf(other, 4), httpPort, 'clientip'), withPort(addressOf(server, 4)));
  });

  test('policy: nobody gets in, and out goes DNS alone', async () => {
    await follow('policy');
    await namespaceReady(theCluster(), 'shop');
    const [pod] = (await runPods(theCluster(), [
      { namespace: 'shop', name: 'cart', node: 'node1', args: ['netexec', `--http-port=${httpPort}`] },
    ])) as [Pod];
    const checks = families.map(async (family) => {
      const own = url(addressOf(pod, family), httpPort, 'hostname');
      const [dns, other] = outsidePorts.map((port) => url(ofMachine('outside', family), port));
      await Promise.all([
        blocked('outside', own),
        blocked('node2', own),
        blocked(servers[0]!, own),
        blocked(pod, other!),
        blocked(pod, url(addressOf(servers[1]!, family), httpPort)),
      ]);
      await answers('node1', own, 'cart');
      await answers(pod, dns!, /./);
    });
    await Promise.all(checks);
    const shown = await poplinOn('node1', 'policy', 'show', 'shop/cart');
    assert.match(shown, /default-deny/);
    assert.match(shown, /allow-dns/);
    for (const node of nodeNames)
      for (const address of addressesOf(node)) assert.equal((await request(pod, url(address, 179))).outcome, 'timeout');
  });

  test('health: status as JSON, readiness by component, figures', async () => {
    const text = await follow('health');
    assert.doesNotThrow(() => JSON.parse(text.slice(0, text.lastIndexOf('}') + 1)));
    const local = (what: string): Promise<{ stdout: string }> =>
      execOnNode('node1', ['curl', '-s', `127.0.0.1:9179/${what}`]);
    assert.match((await local('readyz?verbose')).stdout, /datastore/);
    assert.match((await local('metrics')).stdout, /^poplin_/m);
  });

  test('remove: nodes are free of it', async () => {
    const text = await follow('uninstall');
    assert.match(text, /^node1\s+documentation\s+node1\s/m);
    assert.match(text, /^Poplin is uninstalled\.$/m);
    assert.match((await tryKubectl(['get', 'namespace', agentNamespace])).stderr, /NotFound/);
    for (const node of nodeNames) {
      const { stdout } = await execOnNode(node, [
        'sh',
        '-c',
        'ip link; ip route; ip -6 route; iptables-save; ip6tables-save; ls /etc/cni/net.d',
      ]);
      assert.doesNotMatch(stdout, /pop[0-9a-f]{8}|poplin/);
    }
  });
});
