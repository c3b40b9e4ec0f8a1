/**
 * One real agent, as a process of its own, in a network namespace with an uplink to an outside host: no routers, so that a test of the
 * agent's own promises takes a second or two. The test plays kubelet and container runtime.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { stringify } from 'yaml';
import { type AgentStatus, type ApiClient, createApiClient } from '#api';
import { toolPath } from '#setup';
import { exec } from '#sys';
import { until } from './wait.ts';

const cli = path.join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');
let sequence = 0;

export interface CniAnswer {
  readonly exitCode: number;
  /** CNI error code; 0 when there is none. */
  readonly code: number;
  readonly message: string;
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
}

export interface LoneAgentOptions {
  readonly podCIDRs?: readonly string[];
  /** Further options of the configuration file. */
  readonly config?: Readonly<Record<string, string | number | boolean>>;
  /** What runs instead of the checkout's command line, e.g. a bundle of it, with Node's flags. */
  readonly program?: readonly string[];
}

const outsideAddresses = { node: ['192.0.2.1/24', '2001:db8::1/64'], host: ['192.0.2.2/24', '2001:db8::2/64'] };

export class LoneAgent {
  readonly netns: string;
  readonly outside: string;
  readonly directory: string;
  readonly #options: LoneAgentOptions;
  readonly #pods = new Set<string>();
  #process: ChildProcess | undefined;

  private constructor(options: LoneAgentOptions) {
    this.#options = options;
    this.netns = `pt-${process.pid}-${++sequence}`;
    this.outside = `${this.netns}-out`;
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-agent-'));
  }

  /** The node and its manifests, without an agent; removed with the test. */
  static async node(t: Pick<TestContext, 'after'>, options: LoneAgentOptions = {}): Promise<LoneAgent> {
    const node = new LoneAgent(options);
    t.after(() => node.remove());
    await node.#build();
    return node;
  }

  /** As `node`, with the agent started and ready. */
  static async ready(t: Pick<TestContext, 'after'>, options: LoneAgentOptions = {}): Promise<LoneAgent> {
    const node = await LoneAgent.node(t, options);
    node.start();
    await node.untilReady();
    return node;
  }

  async #build(): Promise<void> {
    const { netns, outside } = this;
    const batch = [
      `netns add ${netns}`,
      `netns add ${outside}`,
      `-n ${netns} link set lo up`,
      // Different indexes at both ends: with equal ones the kernel tells of a carrier up to a second late.
      `-n ${netns} link add up0 type veth peer name up0 index 100 netns ${outside}`,
      ...outsideAddresses.node.map((address) => `-n ${netns} addr add ${address} dev up0 nodad`),
      ...outsideAddresses.host.map((address) => `-n ${outside} addr add ${address} dev up0 nodad`),
    ];
    for (const line of batch) await this.must('ip', ...line.replace('-n ', '-netns ').split(' '));
    for (const name of [netns, outside]) await this.must('ip', '-netns', name, 'link', 'set', 'up0', 'up');
    for (const route of ['10.42.0.0/16 via 192.0.2.1', 'fd00:42::/32 via 2001:db8::1'])
      await this.must('ip', '-netns', outside, 'route', 'add', ...route.split(' '));
    fs.mkdirSync(this.manifests);
    const podCIDRs = this.#options.podCIDRs ?? ['10.42.1.0/24', 'fd00:42:1::/64'];
    this.write('node.yaml', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n1' },
      spec: { podCIDRs },
      status: {
        addresses: [
          { type: 'InternalIP', address: '192.0.2.1' },
          { type: 'InternalIP', address: '2001:db8::1' },
        ],
      },
    });
    fs.writeFileSync(
      this.config,
      stringify({
        nodeName: 'n1',
        datastoreDir: this.manifests,
        stateDir: path.join(this.directory, 'state'),
        runDir: path.join(this.directory, 'run'),
        xtablesLockFile: path.join(this.directory, 'xtables.lock'),
        cniConfDir: path.join(this.directory, 'net.d'),
        cniBinary: path.join(this.directory, 'bin', 'poplin'),
        ...this.#options.config,
      }),
    );
  }

  get manifests(): string {
    return path.join(this.directory, 'manifests');
  }
  get config(): string {
    return path.join(this.directory, 'agent.yaml');
  }
  get socket(): string {
    return path.join(this.directory, 'run', 'api.sock');
  }
  get log(): string {
    const file = path.join(this.directory, 'agent.log');
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
  }
  get pid(): number {
    assert.ok(this.#process?.pid, 'the agent runs');
    return this.#process.pid;
  }

  /** Writes a manifest whole, as `kubectl` and editors do: under another name, then renamed. Text as it is, else JSON. */
  write(file: string, content: string | object): void {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    fs.writeFileSync(path.join(this.manifests, `.${file}`), text);
    fs.renameSync(path.join(this.manifests, `.${file}`), path.join(this.manifests, file));
  }

  drop(file: string): void {
    fs.rmSync(path.join(this.manifests, file));
  }

  start(): void {
    const log = fs.openSync(path.join(this.directory, 'agent.log'), 'a');
    const program = this.#options.program ?? [process.execPath, cli];
    const args = [`--net=/run/netns/${this.netns}`, ...program, 'agent', '--config', this.config];
    this.#process = spawn('nsenter', args, { stdio: ['ignore', log, log], env: { PATH: process.env['PATH'] ?? '' } });
    fs.closeSync(log);
  }
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const agent = this.#process;
    this.#process = undefined;
    if (!agent || agent.exitCode !== null || agent.signalCode !== null) return;
    const ended = new Promise((resolve) => agent.once('exit', resolve));
    agent.kill(signal);
    await ended;
  }
  get api(): ApiClient {
    return createApiClient({ socketPath: this.socket });
  }
  status(): Promise<AgentStatus> {
    return this.api.status();
  }
  untilReady(deadlineMs = 60_000): Promise<AgentStatus> {
    return until(
      async () => {
        const status = await this.status();
        return status.ready.ok && status;
      },
      { what: () => `the agent to be ready; its log ends: ${this.log.slice(-600)}`, deadlineMs, intervalMs: 10 },
    );
  }

  /** Runs the command line inside the node's namespace. */
  poplin(...args: string[]): ReturnType<typeof exec> {
    return this.inside('poplin', ...args);
  }
  inside(...words: string[]): ReturnType<typeof exec> {
    const [command, ...args] = words[0] === 'poplin' ? [process.execPath, cli, ...words.slice(1)] : words;
    const env = { PATH: process.env['PATH'] ?? '', POPLIN_API_SOCKET: this.socket };
    return exec('nsenter', [`--net=/run/netns/${this.netns}`, command!, ...args], { env });
  }
  async must(command: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await exec(command, args);
    assert.equal(code, 0, `${command} ${args.join(' ')}: ${stderr}`);
    return stdout;
  }

  /** A Pod manifest, as the API server would have it before its sandbox is made. */
  writePod(name: string, labels: Readonly<Record<string, string>> = {}): void {
    this.write(`pod-${name}.yaml`, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'default', name, uid: `uid-${name}`, labels },
      spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'example/c' }] },
    });
  }
  podNetns(name: string): string {
    return `${this.netns}-${name}`;
  }
  async makePodNetns(name: string): Promise<void> {
    await this.must('ip', 'netns', 'add', this.podNetns(name));
    this.#pods.add(name);
  }
  async dropPodNetns(name: string): Promise<void> {
    await this.must('ip', 'netns', 'del', this.podNetns(name));
    this.#pods.delete(name);
  }

  /** Calls the plugin as a runtime does. The container of pod `x` is `c-x`. */
  async cni(
    command: 'ADD' | 'DEL' | 'STATUS' | 'GC',
    name = 'none',
    config: object = {},
    uid = `uid-${name}`,
  ): Promise<CniAnswer> {
    const env = {
      PATH: process.env['PATH'] ?? '',
      CNI_COMMAND: command,
      CNI_PATH: '/opt/cni/bin',
      POPLIN_CNI_SOCKET: path.join(this.directory, 'run', 'cni', 'cni.sock'),
      POPLIN_CNI_QUEUE: path.join(this.directory, 'state', 'cni-queue'),
      CNI_CONTAINERID: `c-${name}`,
      CNI_IFNAME: 'eth0',
      CNI_NETNS: `/run/netns/${this.podNetns(name)}`,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
    };
    const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'poplin', type: 'poplin', ...config });
    const { code, stdout, stderr } = await exec('nsenter', [`--net=/run/netns/${this.netns}`, toolPath('cniShim')!], {
      env,
      stdin,
      timeoutMs: 95_000,
    });
    const body = (stdout.trim() === '' ? {} : JSON.parse(stdout)) as {
      code?: number;
      msg?: string;
      details?: string;
      ips?: readonly { address: string }[];
    };
    return {
      exitCode: code ?? -1,
      code: body.code ?? 0,
      message: [body.msg, body.details, stderr.trim()].filter(Boolean).join(': '),
      addresses: (body.ips ?? []).map(({ address }) => address.split('/')[0]!),
    };
  }

  /** Everything of the kernel that an agent may write, but for counters and handles. */
  async kernel(): Promise<string> {
    const texts: string[] = [];
    for (const command of [
      ['ip', '-o', 'link'],
      ['ip', 'rule'],
      ['ip', '-6', 'rule'],
      ['ip', 'route', 'show', 'table', 'all'],
      ['ip', '-6', 'route', 'show', 'table', 'all'],
      ['ip', 'nexthop'],
      ['cat', '/proc/sys/net/ipv4/ip_forward', '/proc/sys/net/ipv6/conf/all/forwarding'],
      ['cat', '/proc/sys/net/ipv4/nexthop_compat_mode', '/proc/sys/net/ipv4/fib_multipath_hash_policy'],
      ['ipset', 'save'],
      ['nft', 'list', 'ruleset'],
      ['xtables-legacy-multi', 'iptables-save'],
      ['xtables-legacy-multi', 'ip6tables-save'],
    ]) {
      const { code, stdout, stderr } = await this.inside(...command);
      assert.equal(code, 0, `${command.join(' ')}: ${stderr}`);
      texts.push(
        stdout.replaceAll(/^#.*\n/gm, '').replaceAll(/ expires \d+sec|\[\d+:\d+\]|packets \d+ bytes \d+/g, ''),
      );
    }
    // The kernel's own: its forwarding addresses, and link-local ones a second after a link came up.
    return texts.join('==\n').replaceAll(/^.*(anycast|fe80::).*\n/gm, '');
  }

  async remove(): Promise<void> {
    await this.kill();
    for (const name of [...[...this.#pods].map((pod) => this.podNetns(pod)), this.netns, this.outside]) {
      if (fs.existsSync(`/run/netns/${name}`)) await this.must('ip', 'netns', 'del', name);
    }
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}
