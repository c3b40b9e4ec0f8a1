/** Namespaces, BIRD and our speaker for tests of BGP. Everything made here ends with `dispose`. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import type { PeerConfig, PeerStatus, RouteChange, RouteQuery, SpeakerConfig, SpeakerStatus } from '#bgp';
import { nodeFlags } from '#image';
import { tool } from './tools.ts';
import { until } from './wait.ts';

let counter = 0;

/** Two namespaces joined by a veth: ours 10.9.0.1, fd09::1; the other's 10.9.0.2, fd09::2. */
export class BgpLink {
  readonly a: string;
  readonly b: string;
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-bgp-'));
  readonly #processes = new Set<ChildProcess>();

  constructor() {
    const id = `pt-${process.pid}-${++counter}`;
    this.a = `${id}a`;
    this.b = `${id}b`;
    const ip = (...args: string[]): void => void execFileSync('ip', args);
    for (const name of [this.a, this.b]) ip('netns', 'add', name);
    // Different interface indexes at both ends: loss of carrier is then reported at once.
    ip('-n', this.a, 'link', 'add', 'e0', 'index', '7', 'type', 'veth', 'peer', 'name', 'e0', 'netns', this.b);
    for (const [name, host] of [
      [this.a, 1],
      [this.b, 2],
    ] as const) {
      ip('-n', name, 'addr', 'add', `10.9.0.${host}/24`, 'dev', 'e0');
      ip('-n', name, 'addr', 'add', `fd09::${host}/64`, 'dev', 'e0', 'nodad');
      ip('-n', name, 'link', 'set', 'lo', 'up');
      ip('-n', name, 'link', 'set', 'e0', 'up');
    }
  }

  /** Every packet is lost from now on, without loss of carrier. */
  cut(): void {
    const rules = '*filter\n-A INPUT -i e0 -j DROP\nCOMMIT\n';
    for (const name of [this.a, this.b]) {
      execFileSync('ip', ['netns', 'exec', name, 'iptables-restore'], {
        input: rules,
        env: { ...process.env, XTABLES_LOCKFILE: path.join(this.folder, 'xtables.lock') },
      });
    }
  }

  /** Segments that the kernel of a namespace dropped for a TCP-MD5 hash that is wrong, missing or unexpected. */
  md5Failures(namespace: string): number {
    const text = execFileSync('ip', ['netns', 'exec', namespace, 'cat', '/proc/net/netstat'], { encoding: 'utf8' });
    const [names, values] = text.split('\n').filter((line) => line.startsWith('TcpExt:'));
    const columns = names!.split(' ');
    const numbers = values!.split(' ');
    return columns.reduce((sum, name, i) => sum + (name.startsWith('TCPMD5') ? Number(numbers[i]) : 0), 0);
  }

  run(namespace: string, command: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', namespace, command, ...args], { encoding: 'utf8' });
  }
  spawn(namespace: string, command: string, args: readonly string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', namespace, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#processes.add(child);
    child.once('exit', () => this.#processes.delete(child));
    return child;
  }

  async bird(config: string, namespace = this.b): Promise<Bird> {
    const bird = new Bird(this, namespace, config);
    await bird.ready();
    return bird;
  }
  async speaker(config: SpeakerConfig, namespace = this.a): Promise<SpeakerProcess> {
    const speaker = new SpeakerProcess(this, namespace, config);
    await until(() => speaker.started || speaker.exited, { what: 'the speaker to start' });
    if (speaker.exited) throw new Error(`the speaker did not start: ${speaker.errors}`);
    return speaker;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes) child.kill('SIGKILL');
    await until(() => this.#processes.size === 0, { what: 'processes to end' });
    for (const name of [this.a, this.b]) execFileSync('ip', ['netns', 'del', name]);
    fs.rmSync(this.folder, { recursive: true });
  }
}

/** Where a BIRD runs: its files, and its process in a namespace. */
export type BirdHost = Pick<BgpLink, 'folder' | 'spawn'>;

export class Bird {
  readonly #link: BirdHost;
  readonly #namespace: string;
  readonly #socket: string;
  readonly #configFile: string;
  #child: ChildProcess;
  output = '';

  constructor(link: BirdHost, namespace: string, config: string) {
    this.#link = link;
    this.#namespace = namespace;
    const name = `bird-${++counter}`;
    this.#socket = path.join(link.folder, `${name}.ctl`);
    this.#configFile = path.join(link.folder, `${name}.conf`);
    fs.writeFileSync(this.#configFile, config);
    this.#child = this.#start([]);
  }
  #start(extra: readonly string[]): ChildProcess {
    const args = ['-f', '-c', this.#configFile, '-s', this.#socket, ...extra];
    const child = this.#link.spawn(this.#namespace, tool('bird'), args);
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (this.output += chunk));
    return child;
  }
  get process(): ChildProcess {
    return this.#child;
  }
  async ready(): Promise<void> {
    await until(() => this.birdc('show status').includes('up and running'), {
      what: () => `BIRD to answer; it said ${this.output}`,
    });
  }
  birdc(command: string): string {
    return execFileSync(tool('birdc'), ['-s', this.#socket, ...command.split(' ')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
  /** Other contents for its configuration file, taken up as `birdc configure` does. */
  configure(config: string): void {
    fs.writeFileSync(this.#configFile, config);
    this.birdc('configure');
  }
  established(protocol: string): boolean {
    return /\bEstablished\b/.test(this.birdc(`show protocols ${protocol}`));
  }
  /** SIGKILL: the kernel closes its connections, no NOTIFICATION is sent. */
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
  /** Starts again in graceful restart recovery (`-R`), with another configuration where one is given. */
  async restart(config?: string): Promise<void> {
    if (config !== undefined) fs.writeFileSync(this.#configFile, config);
    this.#child = this.#start(['-R']);
    await this.ready();
  }
}

export class SpeakerProcess {
  readonly #child: ChildProcess;
  /** Routes as a route programmer would hold them. */
  readonly routes = new Map<string, readonly string[]>();
  /** Every change in order of arrival. */
  readonly changes: RouteChange[] = [];
  /** Told of every change, as well as `changes`. */
  onRoute: ((change: RouteChange) => void) | undefined;
  readonly peerEvents: PeerStatus[] = [];
  readonly logs: { level: string; message: string; fields: object }[] = [];
  readonly #answers = new Map<number, (value: unknown) => void>();
  #nextId = 1;
  started = false;
  exited = false;
  unblocked = false;
  errors = '';

  constructor(link: BgpLink, namespace: string, config: SpeakerConfig) {
    const file = path.join(import.meta.dirname, 'bgp-speaker-process.ts');
    // As in the image: what a load leaves to the collector is another matter without.
    this.#child = link.spawn(namespace, process.execPath, [...nodeFlags, file]);
    this.#child.stderr!.on('data', (chunk) => (this.errors += chunk));
    this.#child.once('exit', () => (this.exited = true));
    readline.createInterface({ input: this.#child.stdout! }).on('line', (line) => this.#line(JSON.parse(line)));
    this.#post(config);
  }

  get pid(): number {
    return this.#child.pid!;
  }
  get deferralEnded(): boolean {
    return this.changes.some((change) => change.type === 'deferralEnded');
  }
  status(): Promise<SpeakerStatus> {
    return this.#ask({ type: 'status' }) as Promise<SpeakerStatus>;
  }
  query(query: RouteQuery): Promise<unknown> {
    return this.#ask({ type: 'routes', query });
  }
  async peer(name: string): Promise<PeerStatus> {
    return (await this.status()).peers.find((peer) => peer.name === name)!;
  }
  /** Both ends of a session may dial at a time; GoBGP then stays idle for 5 s, and more than once after a restart. */
  async established(name: string, deadlineMs = 60_000): Promise<PeerStatus> {
    return until(
      async () => {
        const peer = await this.peer(name);
        return peer.state === 'Established' && peer;
      },
      {
        what: () => `${name} to be Established; last: ${JSON.stringify(this.peerEvents.slice(-4))} ${this.errors}`,
        deadlineMs,
      },
    );
  }
  configure(config: SpeakerConfig): void {
    this.#post({ type: 'configure', config });
  }
  pathLost(peer: string): void {
    this.#post({ type: 'pathLost', peer });
  }
  /** Keeps the main thread busy. */
  block(ms: number): void {
    this.#post({ type: 'block', ms });
  }
  async stop(mode: 'graceful' | 'drain'): Promise<void> {
    this.#post({ type: 'stop', mode });
    await until(() => this.exited, { what: 'the speaker to end' });
  }
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await until(() => this.exited, { what: 'the speaker to be gone' });
  }

  #post(message: object): void {
    this.#child.stdin!.write(`${JSON.stringify(message)}\n`);
  }
  #ask(message: object): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      this.#answers.set(id, resolve);
      this.#post({ ...message, id });
    });
  }
  // biome-ignore lint/suspicious/noExplicitAny: lines of the process above, whose shape is plain there
  #line(message: any): void {
    if (message.type === 'started') this.started = true;
    else if (message.type === 'unblocked') this.unblocked = true;
    else if (message.type === 'peer') this.peerEvents.push(message.status);
    else if (message.type === 'log') this.logs.push(message);
    else if (message.type === 'status') this.#answers.get(message.id)?.(message.status);
    else if (message.type === 'route') {
      const change = message.change as RouteChange;
      this.changes.push(change);
      this.onRoute?.(change);
      if (change.type === 'upsert') this.routes.set(change.prefix, change.nextHops);
      else if (change.type === 'withdraw') this.routes.delete(change.prefix);
    }
  }
}

/** Our side of a {@link BgpLink}: AS 64512 against BIRD's 64513. */
export function linkConfig(overrides: Partial<SpeakerConfig> = {}, peer: Partial<PeerConfig> = {}): SpeakerConfig {
  return {
    asn: 64512,
    routerId: '10.9.0.1',
    listen: [
      { address: '0.0.0.0', port: 179 },
      { address: '::', port: 179 },
    ],
    originate: ['10.50.1.0/24', 'fd50:1::/64'],
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 30, deferralTimeSec: 20 },
    ...overrides,
    peers: overrides.peers ?? [linkPeer(peer)],
  };
}
export function linkPeer(overrides: Partial<PeerConfig> = {}): PeerConfig {
  return {
    name: 'bird',
    address: '10.9.0.2',
    port: 179,
    asn: 64513,
    families: ['ipv4-unicast', 'ipv6-unicast'],
    holdTimeSec: 9,
    passive: false,
    connectRetrySec: 1,
    import: 'accept',
    export: 'originated',
    nextHop4: '10.9.0.1',
    nextHop6: 'fd09::1',
    ...overrides,
  };
}

/** BIRD's side: announces 10.60.1.0/24 and fd60:1::/64 and what `routes4` adds. `bgp` goes into the protocol. */
export function birdConfig(
  options: { bgp?: string; neighbor?: string; channels?: string; routes4?: string; holdSec?: number } = {},
): string {
  const channels =
    options.channels ?? 'ipv4 { import all; export all; }; ipv6 { import all; export all; next hop address fd09::2; };';
  const neighbor = options.neighbor ?? 'local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64512;';
  return `router id 10.9.0.2;
log stderr all;
protocol device { scan time 1; }
protocol static s4 { ipv4; route 10.60.1.0/24 blackhole; ${options.routes4 ?? ''} }
protocol static s6 { ipv6; route fd60:1::/64 blackhole; }
protocol bgp peer { ${neighbor} hold time ${options.holdSec ?? 9}; error wait time 1, 2; connect delay time 1; connect retry time 1; ${options.bgp ?? ''} ${channels} }
`;
}
