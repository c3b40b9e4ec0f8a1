/** Nodes, pods and calls of the real plugin for the CNI tests. Namespaces are held by descriptor: nothing has a name, nothing stays behind. */
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import type { IpAddress } from '#kit';
import { changeLink, dumpLinks, dumpRoutes, type Fd, inNetns, Netlink, newNetns } from '#sys';
import { until } from '../support/wait.ts';
import { pathsIn, type ServerConfig } from './cni-server.ts';

const shimSource = path.join(import.meta.dirname, '../../src/cni/shim/poplin-cni.c');
let shim: string | undefined;

/** The plugin, compiled once a process with the flags of its head comment. */
export function shimPath(): string {
  if (shim === undefined) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-shim-'));
    process.once('exit', () => fs.rmSync(directory, { recursive: true, force: true }));
    shim = path.join(directory, 'poplin-cni');
    execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-Os', '-static', '-s', '-o', shim, shimSource]);
  }
  return shim;
}

/** Any process can open this while we hold the descriptor. */
export function netnsPath(namespace: Fd): string {
  return `/proc/${process.pid}/fd/${namespace.number}`;
}

export interface CallResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Parsed stdout; undefined when there is none. */
  readonly json: CniJson | undefined;
}

export interface CniJson {
  readonly cniVersion?: string;
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
  readonly supportedVersions?: readonly string[];
  readonly interfaces?: readonly {
    readonly name: string;
    readonly mac: string;
    readonly sandbox?: string;
    readonly mtu?: number;
  }[];
  readonly ips?: readonly {
    readonly address: string;
    readonly gateway: string;
    readonly interface: number;
    readonly version?: string;
  }[];
  readonly routes?: readonly { readonly dst: string; readonly gw: string }[];
  readonly dns?: object;
}

export interface ServerReport {
  readonly endpoints: readonly {
    readonly id: string;
    readonly interfaceName: string;
    readonly addresses: readonly IpAddress[];
  }[];
  readonly usage: readonly {
    readonly cidr: string;
    readonly size: number;
    readonly used: number;
    readonly resting: number;
  }[];
  readonly attached: readonly string[];
  readonly lastAdd?: Readonly<Record<string, number>>;
}

type Line = Readonly<Record<string, unknown>>;

/** A node: a namespace that forwards, a directory, and an agent that can be killed and started again. */
export class TestNode {
  readonly namespace: Fd;
  readonly netlink: Netlink;
  readonly directory: string;
  readonly lines: Line[] = [];
  readonly #config: Omit<ServerConfig, 'directory'>;
  #agent: ChildProcessWithoutNullStreams | undefined;
  #pods: Fd[] = [];

  constructor(config: Omit<ServerConfig, 'directory'>) {
    this.#config = config;
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-cni-'));
    this.namespace = newNetns();
    this.netlink = inNetns(this.namespace, () => {
      fs.writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
      fs.writeFileSync('/proc/sys/net/ipv6/conf/all/forwarding', '1');
      return new Netlink();
    });
    changeLink(this.netlink, { index: 1, up: true }).flush();
  }
  get paths() {
    return pathsIn(this.directory);
  }

  async start(): Promise<void> {
    const config: ServerConfig = { directory: this.directory, ...this.#config };
    const args = [
      `--net=${netnsPath(this.namespace)}`,
      process.execPath,
      path.join(import.meta.dirname, 'cni-server.ts'),
      JSON.stringify(config),
    ];
    const agent = spawn('nsenter', args, {
      stdio: ['pipe', 'pipe', 'inherit'],
    }) as unknown as ChildProcessWithoutNullStreams;
    this.#agent = agent;
    this.lines.length = 0;
    createInterface({ input: agent.stdout }).on('line', (line) => {
      // The last line of an agent that was killed may be half a one.
      if (line.endsWith('}')) this.lines.push(JSON.parse(line) as Line);
    });
    await until(() => agent.exitCode !== null || this.lines.some((line) => line['state'] === 'serving'), {
      what: 'the agent to serve',
      deadlineMs: 20_000,
      intervalMs: 5,
    });
    assert.equal(agent.exitCode, null, 'the agent ended at its start');
  }
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (!agent) return;
    agent.kill(signal);
    await until(() => agent.exitCode !== null || agent.signalCode !== null, {
      what: 'the agent to end',
      intervalMs: 2,
    });
  }
  agentPid(): number {
    const pid = this.#agent?.pid;
    assert.ok(pid, 'the agent runs');
    return pid;
  }
  signal(signal: NodeJS.Signals): void {
    this.#agent?.kill(signal);
  }
  /** Waits until it is so. */
  async set(what: 'policy' | 'pods' | 'ready' | 'known', value: string): Promise<void> {
    const before = this.lines.length;
    this.#agent?.stdin.write(`${what} ${value}\n`);
    await until(() => this.lines.slice(before).some((line) => line['set'] === what), {
      what: `${what} ${value}`,
      intervalMs: 2,
    });
  }
  async report(): Promise<ServerReport> {
    const before = this.lines.length;
    this.#agent?.stdin.write('report\n');
    const found = await until(() => this.lines.slice(before).find((line) => line['report'] !== undefined), {
      what: 'a report',
      intervalMs: 2,
    });
    return found['report'] as ServerReport;
  }

  /** A namespace for a pod; closed with the node. */
  newPod(): Fd {
    const namespace = newNetns();
    this.#pods.push(namespace);
    return namespace;
  }

  /** Starts the plugin as a runtime does. */
  spawnShim(environment: Readonly<Record<string, string>>, stdin: string) {
    const env = {
      POPLIN_CNI_SOCKET: this.paths.socketPath,
      POPLIN_CNI_QUEUE: this.paths.queueDirectory,
      CNI_PATH: '/opt/cni/bin',
      ...environment,
    };
    const child = spawn(shimPath(), [], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    return child;
  }
  call(environment: Readonly<Record<string, string>>, config: unknown): Promise<CallResult> {
    const child = this.spawnShim(environment, typeof config === 'string' ? config : JSON.stringify(config));
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout += data.toString();
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr += data.toString();
    });
    return new Promise((resolve) => {
      child.on('close', (code, signal) => {
        resolve({ code, signal, stdout, stderr, json: stdout === '' ? undefined : (JSON.parse(stdout) as CniJson) });
      });
    });
  }
  add(
    id: string,
    pod: Fd,
    options: { readonly config?: object; readonly version?: string; readonly ifName?: string } = {},
  ): Promise<CallResult> {
    return this.call(podEnvironment('ADD', id, pod, options.ifName), {
      ...netConf(options.version),
      ...options.config,
    });
  }
  del(id: string, pod?: Fd, ifName = 'eth0'): Promise<CallResult> {
    return this.call(podEnvironment('DEL', id, pod, ifName), netConf());
  }

  /** Pods' interfaces and the node's routes to pods, of both families. */
  leftovers(): { readonly links: readonly string[]; readonly routes: readonly string[] } {
    const links = dumpLinks(this.netlink).filter((link) => link.name.startsWith('pop'));
    const routes = ([4, 6] as const).flatMap((family) => dumpRoutes(this.netlink, family, { protocol: 155 }));
    return { links: links.map((link) => link.name), routes: routes.map((route) => route.prefix) };
  }
  /** Files of attachments in these states. */
  files(...states: readonly string[]): string[] {
    const { stateDirectory } = this.paths;
    return fs.existsSync(stateDirectory)
      ? fs.readdirSync(stateDirectory).filter((name) => states.some((state) => name.endsWith(state)))
      : [];
  }
  async close(): Promise<void> {
    await this.kill();
    this.netlink.close();
    for (const pod of this.#pods) pod.close();
    this.namespace.close();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

export function netConf(cniVersion = '1.1.0'): object {
  return { cniVersion, name: 'poplin', type: 'poplin' };
}

export function podEnvironment(command: string, id: string, pod?: Fd, ifName = 'eth0'): Record<string, string> {
  return {
    CNI_COMMAND: command,
    CNI_CONTAINERID: id,
    CNI_IFNAME: ifName,
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-${id};K8S_POD_UID=uid-${id};K8S_POD_INFRA_CONTAINER_ID=${id}`,
    ...(pod ? { CNI_NETNS: netnsPath(pod) } : {}),
  };
}

/** A node that serves; gone when the test is. */
export async function startNode(
  t: TestContext,
  config: Partial<Omit<ServerConfig, 'directory'>> = {},
): Promise<TestNode> {
  const node = new TestNode({ podCIDRs: ['10.1.0.0/24', 'fd00:1::/64'], ...config });
  t.after(() => node.close());
  await node.start();
  return node;
}
