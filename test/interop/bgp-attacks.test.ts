/**
 * A hostile peer beside a good one (BIRD, hold time 3 s) on real sockets. Whatever the one does, the other's session stays up and its routes
 * come and go in order, connections and memory are bounded, and nothing is left once the hostile one is gone.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { type TestContext, test } from 'node:test';
import type { FilterTerm, PeerConfig } from '#bgp';
import { BgpLink, type Bird, birdConfig, linkConfig, linkPeer, type SpeakerProcess } from '../support/bgp.ts';
import { largestUpdates } from '../support/hostile/largest.ts';
import { freshMemoryMs, loopTurns, loopTurnsEnvironment, slowness } from '../support/loop-turns.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip'], provided: ['bird', 'birdc'] });

const hostile = '10.9.0.3';
const attackerAsn = 64666;
/** What a peer is sent at most beyond what its socket takes: the speaker's bound (1 MiB), and one slice on top. */
const queuedBytesMax = 3 * 1024 * 1024;
const attacker = path.join(import.meta.dirname, '../support/bgp-attacker.ts');
/** @param ours, theirs: what the sessions with BIRD and with the hostile peer have besides. */
const peersWith = (ours: Partial<PeerConfig> = {}, theirs: Partial<PeerConfig> = {}): readonly PeerConfig[] => [
  linkPeer({ holdTimeSec: 3, export: 'accept', ...ours }),
  linkPeer({
    name: 'hostile',
    address: hostile,
    asn: attackerAsn,
    passive: true,
    holdTimeSec: 90,
    export: 'accept',
    ...theirs,
  }),
];
const peers = peersWith();
/** Processor time of one turn of the speaker's event loop, under whatever comes. */
const stallMsMax = 20;
/** What one turn may write to for the first time: room for more rows and slots, and what the collector moves things to. */
const freshBytes = 8 << 20;
/** Messages of each family: extended ones, and others. */
const largestCount = 100;
const largeCount = 500;
/** Files of a speaker process, with connections that it has ended and their peers have not (256). */
const openMax = 400;
/** What a speaker process may grow by under any of the attacks; mostly the heap that a collector has not looked at yet. */
const growthMiBMax = 200;

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024;
}

class Siege {
  readonly link = new BgpLink();
  /** What `loopTurns` reads. */
  readonly turns = path.join(this.link.folder, 'turns');
  bird!: Bird;
  speaker!: SpeakerProcess;
  #round = 0;

  async start(withPeers: readonly PeerConfig[]): Promise<this> {
    const { link } = this;
    link.run(link.b, 'ip', 'addr', 'add', `${hostile}/24`, 'dev', 'e0');
    link.run(link.b, 'ip', 'route', 'add', 'local', '10.9.1.0/24', 'dev', 'lo');
    link.run(link.a, 'ip', 'route', 'add', '10.9.1.0/24', 'via', '10.9.0.2');
    this.bird = await link.bird(birdConfig({ holdSec: 3 }));
    fs.mkdirSync(this.turns);
    const { env } = process;
    Object.assign(env, loopTurnsEnvironment(this.turns));
    this.speaker = await link.speaker(linkConfig({ peers: withPeers }));
    Object.assign(env, { NODE_OPTIONS: '' });
    await this.speaker.established('bird');
    await until(() => this.speaker.routes.size === 2, { what: 'the routes of BIRD' });
    // Its start, in which the program is compiled, is no turn under attack.
    process.kill(this.speaker.pid, 'SIGUSR2');
    return this;
  }

  /** Starts an attack; resolves with what it did when it says that it is done. */
  async attack(
    mode: string,
    count: number,
    family: string,
  ): Promise<{ readonly child: ChildProcess; readonly said: object }> {
    const { link } = this;
    const args = [attacker, mode, hostile, '10.9.0.1', String(count), '179', family];
    const child = link.spawn(link.b, process.execPath, args);
    const lines: string[] = [];
    let errors = '';
    child.stderr!.on('data', (chunk) => (errors += chunk));
    readline.createInterface({ input: child.stdout! }).on('line', (line) => lines.push(line));
    await until(() => lines.length > 1 || child.exitCode !== null, {
      what: `${mode} to be done; ${errors}`,
      deadlineMs: 60_000,
    });
    assert.equal(child.exitCode, null, errors);
    return { child, said: JSON.parse(lines[1]!) as object };
  }

  /** A route of BIRD comes and goes, and the session is still the first. */
  async othersAreUndisturbed(): Promise<void> {
    const route = `10.61.${++this.#round}.0/24`;
    this.bird.configure(birdConfig({ holdSec: 3, routes4: `route ${route} blackhole;` }));
    await until(() => this.speaker.routes.has(route), { what: `${route} to come` });
    this.bird.configure(birdConfig({ holdSec: 3 }));
    await until(() => !this.speaker.routes.has(route), { what: `${route} to go` });
    const { establishedCount, state, lastError } = await this.speaker.peer('bird');
    assert.deepEqual([establishedCount, state], [1, 'Established'], lastError);
  }

  async end(child: ChildProcess): Promise<void> {
    child.kill('SIGKILL');
    await until(async () => (await this.speaker.peer('hostile')).state !== 'Established', {
      what: 'its session to end',
    });
    await until(async () => (await this.speaker.status()).paths.ipv4 === 2, { what: 'its routes to go' });
    // Others are told before the sets go.
    await until(async () => (await this.speaker.status()).attributeSets <= 3, { what: 'its attribute sets to go' });
    assert.deepEqual((await this.speaker.status()).paths, { ipv4: 2, ipv6: 2 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.link[Symbol.asyncDispose]();
  }
}

/** The longest that an answer of the speaker's thread took: shown, not judged. */
async function watched(speaker: SpeakerProcess, use: () => Promise<void>): Promise<number> {
  let longestMs = 0;
  let over = false;
  const watching = (async () => {
    while (!over) {
      const started = performance.now();
      await speaker.status();
      longestMs = Math.max(longestMs, performance.now() - started);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  try {
    await use();
  } finally {
    over = true;
    await watching;
  }
  return longestMs;
}

async function besiege(
  t: TestContext,
  mode: string,
  count: number,
  check?: (siege: Siege, said: object) => Promise<void>,
  { withPeers = peers, family = '' }: { readonly withPeers?: readonly PeerConfig[]; readonly family?: string } = {},
) {
  await using siege = await new Siege().start(withPeers);
  const { speaker } = siege;
  const before = residentMiB(speaker.pid);
  let report: object = {};
  const longestMs = await watched(speaker, async () => {
    const [{ child, said }] = await Promise.all([siege.attack(mode, count, family), siege.othersAreUndisturbed()]);
    report = said;
    await siege.othersAreUndisturbed();
    await check?.(siege, said);
    await siege.end(child);
  });
  await siege.othersAreUndisturbed();
  const growth = residentMiB(speaker.pid) - before;
  const { longestCpuMs, turns, cpuMs } = loopTurns(siege.turns);
  t.diagnostic(
    `${turns} turns of the loop, longest ${longestCpuMs.toFixed(1)} ms of processor time: ${cpuMs.join(' ')}`,
  );
  const turnMsMax = stallMsMax * slowness() + freshMemoryMs(freshBytes);
  assert.ok(
    longestCpuMs <= turnMsMax,
    `a turn of the loop took ${longestCpuMs} of ${turnMsMax} ms of processor time: ${cpuMs.join(' ')}`,
  );
  t.diagnostic(
    `${JSON.stringify(report)}; slowest status ${longestMs.toFixed(0)} ms; grew by ${growth.toFixed(0)} MiB`,
  );
  assert.ok(growth < growthMiBMax, `grew by ${growth} MiB`);
}

test('RFC 4271 6.1: HTTP on the port', wants, (t) => besiege(t, 'http', 300));

test('RFC 4271 8.2.2: half a header on 500 connections of a peer: one of them is kept', wants, (t) =>
  besiege(t, 'loris', 500, async ({ link }) => {
    const open = link.run(link.a, 'ss', '-Htn', 'state', 'established', 'dst', hostile);
    assert.ok(open.trim().split('\n').length <= 1, open);
  }),
);

test('100,000 connection attempts, 10,000 a second and more, from strangers and from a peer', wants, (t) =>
  besiege(t, 'connect', 100_000, async ({ speaker }, said) => {
    const { connected } = said as { readonly connected: number };
    // The rest found the kernel's queue full.
    assert.ok(connected > 10_000, `${connected} connected`);
    const descriptors = fs.readdirSync(`/proc/${speaker.pid}/fd`).length;
    assert.ok(descriptors < openMax, `${descriptors} open files`);
  }),
);

test('RFC 9687: a window that is never opened, and more for it than fits', wants, (t) =>
  besiege(t, 'deaf', 0, async (siege) => {
    const { speaker, link } = siege;
    // Another peer's routes, which change all the time, are for the deaf one, too.
    link.run(link.b, 'ip', 'addr', 'add', '10.9.0.4/24', 'dev', 'e0');
    const other = { name: 'other', address: '10.9.0.4', asn: attackerAsn, passive: true, holdTimeSec: 90 };
    speaker.configure(linkConfig({ peers: [...peers, linkPeer({ ...other, export: 'reject' })] }));
    const changes = 300_000;
    const child = link.spawn(link.b, process.execPath, [attacker, 'sets', '10.9.0.4', '10.9.0.1', String(changes)]);
    await until(async () => (await speaker.peer('other')).updatesIn >= changes, {
      what: 'all changes to be read',
      deadlineMs: 60_000,
    });
    await siege.othersAreUndisturbed();
    const peer = await speaker.peer('hostile');
    assert.equal(peer.state, 'Established', 'until the send hold timer says otherwise');
    assert.ok(peer.queuedBytes > 0 && peer.queuedBytes < queuedBytesMax, `${peer.queuedBytes} octets queued`);
    child.kill('SIGKILL');
    await until(async () => (await speaker.peer('other')).state !== 'Established', { what: 'the other to go' });
  }),
);

test('a flood of UPDATEs, each with attributes of its own', wants, (t) =>
  besiege(t, 'sets', 300_000, async ({ speaker }) => {
    await until(async () => (await speaker.peer('hostile')).updatesIn >= 300_000, {
      what: 'all to be read',
      deadlineMs: 60_000,
    });
    const { attributeSets, paths } = await speaker.status();
    assert.ok(attributeSets <= 1010, `${attributeSets} sets for 1,000 prefixes`);
    assert.equal(paths.ipv4, 1002);
  }),
);

test('RFC 2918 4: a flood of ROUTE-REFRESH is answered a few times', wants, (t) =>
  besiege(t, 'refreshes', 200_000, async ({ speaker }) => {
    await until(async () => (await speaker.peer('hostile')).messagesIn >= 200_000, {
      what: 'all to be read',
      deadlineMs: 60_000,
    });
    const { messagesIn, updatesOut } = await speaker.peer('hostile');
    assert.ok(updatesOut < messagesIn / 10, `${updatesOut} UPDATEs for ${messagesIn} requests`);
  }),
);

test('RFC 4271 9.1: a table of 100,000 prefixes comes, is told to another, and goes with its session', wants, (t) =>
  besiege(t, 'table', 100_000, async ({ speaker }) => {
    await until(async () => (await speaker.status()).paths.ipv4 === 100_002, {
      what: 'all to be read',
      deadlineMs: 60_000,
    });
  }),
);

test('a flood of KEEPALIVEs', wants, (t) => besiege(t, 'keepalives', 1_000_000));

test('RFC 4724 2: a flood of End-of-RIB', wants, (t) => besiege(t, 'endOfRibs', 500_000));

test('RFC 7606 8: a flood of UPDATEs to be treated as withdraw does not flood the log', wants, (t) =>
  besiege(t, 'malformed', 300_000, async ({ speaker }) => {
    await until(async () => (await speaker.peer('hostile')).updateErrors >= 300_000, {
      what: 'all to be read',
      deadlineMs: 60_000,
    });
    assert.ok(speaker.logs.length < 1000, `${speaker.logs.length} lines`);
  }),
);

test('sessions that come and go, 300 times', wants, (t) => besiege(t, 'churn', 300));

const allRead =
  (updates: number) =>
  async ({ speaker }: Siege): Promise<void> => {
    await until(async () => (await speaker.peer('hostile')).updatesIn >= updates, {
      what: 'all to be read',
      deadlineMs: 60_000,
    });
  };

for (const family of Object.keys(largestUpdates)) {
  test(`RFC 8654: messages of 65,535 octets: ${family}`, wants, (t) =>
    besiege(t, 'largest', largestCount, allRead(largestCount), { family }),
  );
}

test('RFC 4271 4.1: messages of 4,096 octets, of all these kinds', wants, (t) =>
  besiege(t, 'large', largeCount, allRead(largeCount * Object.keys(largestUpdates).length)),
);

test('next hops that a peer makes up', wants, (t) => besiege(t, 'nextHops', 60_000, allRead(60_000)));

test('RFC 7911: 128 paths to each prefix, by as many next hops, over and over', wants, (t) =>
  besiege(t, 'paths', 3000, allRead(3000), {
    withPeers: peersWith({ addPath: { receive: true, send: 16 } }, { addPath: { receive: true, send: 0 } }),
  }),
);

/** A filter that looks a long list of communities through again and again. */
const lookingFar = Array.from(
  { length: 50 },
  (_, n): FilterTerm => ({ action: 'reject', communities: { any: [`${n + 1}:65000`, `${n + 1}:*`] } }),
);
test('RFC 8654: prefixes whose long attribute sets differ from one to the next, before an export filter', wants, (t) =>
  besiege(t, 'setsInTurn', 10, allRead(30), { withPeers: peersWith({ exportFilter: { ipv4: lookingFar, ipv6: [] } }) }),
);

/** Many prefixes, none of which a peer says here. */
const aboutOthers = Array.from(
  { length: 50 },
  (_, n): FilterTerm => ({ action: 'reject', prefix: { operator: 'in', cidr: `10.${n}.0.0/16`, minLength: 24 } }),
);
for (const family of ['prefixes of no length', 'prefixes of one octet', 'prefixes']) {
  test(`RFC 8654: messages of 65,535 octets before an import filter of 50 prefixes: ${family}`, wants, (t) =>
    besiege(t, 'largest', largestCount, allRead(largestCount), {
      withPeers: peersWith({}, { importFilter: { ipv4: aboutOthers, ipv6: [] } }),
      family,
    }),
  );
}

/** Expressions that no path here matches, so that each is read to its end; some have exponentially many states. */
const aboutPaths: readonly FilterTerm[] = [
  '_65000$',
  '^64496_.*_65000$',
  '(_23456){3}',
  '^([0-9]+_){200}$',
  '_1(2|3)*4_.*_99$',
  '1.{20}5$',
  '(1|2|3|4|5).{200}5$',
].map((text) => ({ action: 'reject', asPath: { matches: [text] } }));
for (const family of ['an AS_PATH of segments of one AS', 'an AS_PATH of full segments']) {
  test(`RFC 8654: messages of 65,535 octets before an import filter by AS_PATH expressions: ${family}`, wants, (t) =>
    besiege(t, 'largest', largestCount, allRead(largestCount), {
      withPeers: peersWith({}, { importFilter: { ipv4: aboutPaths, ipv6: [] } }),
      family,
    }),
  );
}
