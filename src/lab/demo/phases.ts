/** The demonstration's facts in order. Each phase leaves the lab as it found it, unless it says so. */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { apply, killAgent, type Lab, restartAgent } from '../lab.ts';
import { formatTable, probe } from '../probe.ts';
import { ProberClient } from '../prober/client.ts';
import type { StreamReport, StreamRequest } from '../prober/protocol.ts';
import { linksOf } from '../topology.ts';
import {
  allAllowed,
  differences,
  type ExpectedTable,
  formatDifferences,
  readExpected,
  unreachable,
} from './expected.ts';
import { type Report, record } from './facts.ts';
import { bytesSent, type KernelRoute, kernelRoutes, setLinks } from './kernel.ts';
import type { Sabotage } from './sabotage.ts';
import { waitForSessions } from './sessions.ts';

export const manifestsBefore = path.join(import.meta.dirname, 'manifests');
export const policies = path.join(import.meta.dirname, 'policies');

export interface Stage {
  lab: Lab;
  readonly report: Report;
  readonly sabotage?: Sabotage;
}

type Phase = (stage: Stage) => Promise<void>;

const sessionsDeadlineMs = 15_000;
const routesDeadlineMs = 10_000;
const policyDeadlineMs = 5_000;
const lossMaxMs = 200;
/** What a stream runs before and after an event. */
const streamLeadMs = 700;
const streamTailMs = 1_500;
const packetsPerSec = 1_000;
const flows = 8;
const notifyPort = 5353;
const sabotagedSession = ['tor2-node3'];

const sessionsAreUp: Phase = async ({ lab, report, sabotage }) => {
  const since = Date.parse(lab.state.startedAt);
  // A sabotaged session is given the time that the others took, and some more: it will not come.
  const deadlineMs = sabotage === 'session' ? 5_000 : sessionsDeadlineMs;
  const { all, missing } = await waitForSessions(lab, deadlineMs);
  const seconds = ((Date.now() - since) / 1000).toFixed(1);
  record(report, {
    name: 'BGP sessions are Established',
    held: missing.length === 0,
    expected: `${all.length} of ${all.length}: spine to racks, racks to nodes, and both ends of the mesh between the nodes`,
    measured:
      missing.length === 0
        ? `${all.length} of ${all.length}, ${seconds} s after the first command (${all.map(({ name }) => name).join(', ')})`
        : `${all.length - missing.length} of ${all.length} after ${seconds} s; not Established: ${missing.join(', ')}`,
  });
};

/** Waits for a state with a deadline; gives the last one seen. */
async function settle<T>(look: () => Promise<T>, good: (value: T) => boolean, deadlineMs: number): Promise<T> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await look();
    if (good(value) || performance.now() >= end) return value;
    await sleep(50);
  }
}

const routesHaveBothNextHops: Phase = async ({ lab, report }) => {
  const wanted = ['0.0.0.0/0', '10.42.2.0/24', '10.42.3.0/24', '::/0', 'fd00:42:2::/64', 'fd00:42:3::/64'];
  const uplinks = linksOf(lab.topology, 'node1')
    .map(({ own }) => own.interfaceName)
    .sort();
  const overBoth = (routes: readonly KernelRoute[], prefix: string): boolean => {
    const devices = routes.find((route) => route.prefix === prefix)?.nextHops.map(({ device }) => device);
    return uplinks.every((device) => devices?.includes(device));
  };
  const routes = await settle(
    () => kernelRoutes(lab, 'node1'),
    (found) => wanted.every((prefix) => overBoth(found, prefix)),
    routesDeadlineMs,
  );
  const missing = wanted.filter((prefix) => !overBoth(routes, prefix));
  const shown = routes.filter(({ prefix }) => wanted.includes(prefix));
  record(report, {
    name: 'the kernel of node1 has the routes over both racks',
    held: missing.length === 0,
    expected: `a next hop on each of ${uplinks.join(', ')} for ${wanted.join(', ')}`,
    measured:
      missing.length === 0
        ? `${wanted.length} routes, each with two next hops`
        : `not over both: ${missing.join(', ')}`,
  });
  for (const { prefix, protocol, nextHops } of shown) {
    const hops = nextHops.map(({ gateway, device }) => `via ${gateway} dev ${device}`).join(', ');
    report.show(`${prefix.padEnd(16)} proto ${protocol}  ${hops || 'none'}`);
  }
};

async function tableFact(stage: Stage, name: string, expected: ExpectedTable, deadlineMs: number): Promise<void> {
  const { lab, report } = stage;
  const started = performance.now();
  const table = await settle(
    () => probe(lab),
    ({ results }) => differences(expected, results).length === 0,
    deadlineMs,
  );
  const wrong = differences(expected, table.results);
  const rate = Math.round((table.results.length * 1000) / Math.max(1, table.elapsedMs));
  record(stage.report, {
    name,
    held: wrong.length === 0,
    expected: `${expected.size} ordered pairs as worked out by hand`,
    measured:
      wrong.length === 0
        ? `all ${expected.size} ordered pairs as expected: ${table.results.length} probes in ${table.elapsedMs} ms (${rate} a second)`
        : `${formatDifferences(wrong)} (after ${Math.round(performance.now() - started)} ms)`,
  });
  report.show(formatTable(table.results));
}

const beforePolicies: Phase = async (stage) => {
  const uplinks = linksOf(stage.lab.topology, 'node1').map(({ own }) => own.interfaceName);
  const count = (): Promise<number[]> => Promise.all(uplinks.map((device) => bytesSent(stage.lab, 'node1', device)));
  const before = await count();
  await tableFact(stage, 'before policies every pod reaches every pod', allAllowed(readExpected()), policyDeadlineMs);
  const after = await count();
  const grown = after.map((bytes, i) => bytes - before[i]!);
  record(stage.report, {
    name: 'both links of node1 carried it',
    held: grown.every((bytes) => bytes > 2_000),
    expected: 'more than 2000 bytes sent over each of them',
    measured: uplinks.map((device, i) => `${device} ${grown[i]} bytes`).join(', '),
  });
};

const afterPolicies: Phase = async (stage) => {
  const { lab } = await apply(stage.lab, [policies], { say: stage.report.say });
  stage.lab = lab;
  stage.report.say(
    'three policies applied: a default-deny for the data tier, API servers to databases, outside and API to web',
  );
  await tableFact(
    stage,
    'with the policies exactly the allowed pairs pass',
    readExpected(),
    stage.sabotage === 'policy' ? 2_000 : policyDeadlineMs,
  );
};

const outsideReachesPod: Phase = async ({ lab, report }) => {
  const ask = (to: string): ReturnType<typeof probe> =>
    probe(lab, { includeHosts: true, only: (from, target) => from === 'ext:outside' && target === to });
  const describe = ({ results, reasons }: Awaited<ReturnType<typeof ask>>): string =>
    results
      .map(
        ({ protocol, port, family, verdict }, i) =>
          `${protocol} ${port} over ${family}: ${verdict}${reasons[i] ? ` (${reasons[i]})` : ''}`,
      )
      .join(', ');
  const open = await ask('front/web-2');
  const addresses = lab.state.pods.find(({ name }) => name === 'web-2')?.addresses.join(', ');
  record(report, {
    name: 'the outside host reaches front/web-2 by its own address',
    held: open.results.length === 4 && open.results.every(({ verdict }) => verdict === 'allow'),
    expected: `allow for TCP and UDP over both families, at ${addresses}`,
    measured: `${addresses}: ${describe(open)}`,
  });
  const closed = await ask('data/db-1');
  record(report, {
    name: 'the outside host does not reach data/db-1',
    held: closed.results.length === 4 && closed.results.every(({ verdict }) => verdict === 'deny'),
    expected: 'deny for TCP and UDP over both families',
    measured: describe(closed),
  });
};

/** Streams between pods of different nodes and from the outside host, to pods whose policy lets everybody in. */
function streamPlan(lab: Lab): StreamRequest[] {
  const to = (pod: string, family: 4 | 6): Pick<StreamRequest, 'to' | 'address'> => {
    const { addresses } = lab.state.pods.find(({ namespace, name }) => `${namespace}/${name}` === pod)!;
    return { to: pod, address: addresses.find((address) => address.includes(':') === (family === 6))! };
  };
  const common = { port: notifyPort, packetsPerSec, flows };
  return [
    { stream: 'front/web-2 to api/server-1, IPv4', from: 'front/web-2', ...to('api/server-1', 4), ...common },
    { stream: 'api/server-1 to api/server-2, IPv6', from: 'api/server-1', ...to('api/server-2', 6), ...common },
    { stream: 'outside to api/server-1, IPv4', from: 'ext:outside', ...to('api/server-1', 4), ...common },
    { stream: 'outside to api/server-3, IPv6', from: 'ext:outside', ...to('api/server-3', 6), ...common },
  ];
}

async function withStreams(
  lab: Lab,
  during: () => Promise<void>,
): Promise<{ readonly plan: readonly StreamRequest[]; readonly reports: readonly StreamReport[] }> {
  const plan = streamPlan(lab);
  const client = await ProberClient.connect(lab.paths.proberSocket);
  try {
    await client.call({ op: 'streamStart', streams: plan });
    await sleep(streamLeadMs);
    await during();
    await sleep(streamTailMs);
    const { reports } = await client.call({ op: 'streamStop', streams: plan.map(({ stream }) => stream) });
    return { plan, reports };
  } finally {
    client.close();
  }
}

function describeStreams({ plan, reports }: Awaited<ReturnType<typeof withStreams>>): string {
  return plan
    .map(({ stream }, i) => {
      const { sent, lost, longestOutageMs } = reports[i]!;
      return `${stream}: ${lost} of ${sent} lost${lost > 0 ? `, longest gap ${longestOutageMs} ms` : ''}`;
    })
    .join('\n');
}

/** Something goes down at the routers' end while streams run; every pair must be reachable afterwards; then it comes back. */
async function failover(
  stage: Stage,
  what: string,
  cuts: readonly { readonly router: string; readonly devices: readonly string[] }[],
): Promise<void> {
  const { lab, report } = stage;
  const set = async (state: 'up' | 'down'): Promise<void> => {
    await Promise.all(cuts.map(({ router, devices }) => setLinks(lab, router, devices, state)));
  };
  const streams = await withStreams(lab, () => set('down'));
  record(report, {
    name: `${what} goes down: at most ${lossMaxMs} ms of a stream is lost`,
    held: streams.reports.every(
      ({ sent, lost, longestOutageMs }) =>
        sent > 0 && lost <= (lossMaxMs * packetsPerSec) / 1000 && longestOutageMs <= lossMaxMs,
    ),
    expected: `no gap longer than ${lossMaxMs} ms in any of ${flows} flows of ${streams.plan.length} streams of ${packetsPerSec} packets a second`,
    measured: describeStreams(streams),
  });
  const { results } = await probe(lab);
  const lost = unreachable(readExpected(), results);
  record(report, {
    name: `${what} is down: every allowed pair is still reachable`,
    held: lost.length === 0,
    expected: 'every pair that the policies allow',
    measured: lost.length === 0 ? `all of them, ${results.length} probes` : formatDifferences(lost),
  });
  await set('up');
  const started = performance.now();
  const exempt = stage.sabotage === 'session' ? sabotagedSession : [];
  const { missing } = await waitForSessions(lab, sessionsDeadlineMs, exempt);
  record(report, {
    name: `${what} comes back: its sessions are Established again`,
    held: missing.length === 0,
    expected: `all sessions within ${sessionsDeadlineMs / 1000} s`,
    measured:
      missing.length === 0
        ? `after ${((performance.now() - started) / 1000).toFixed(1)} s`
        : `not Established: ${missing.join(', ')}`,
  });
}

const linkGoesDown: Phase = (stage) =>
  failover(stage, 'the link of node1 to tor1', [{ router: 'tor1', devices: ['to-node1'] }]);

function allLinks(lab: Lab, router: string): { router: string; devices: string[] } {
  return { router, devices: linksOf(lab.topology, router).map(({ own }) => own.interfaceName) };
}

const torGoesDown: Phase = (stage) => failover(stage, 'all of tor2', [allLinks(stage.lab, 'tor2')]);

const agentIsKilled: Phase = async (stage) => {
  const { report } = stage;
  const exempt = stage.sabotage === 'session' ? sabotagedSession : [];
  let missing: readonly string[] = [];
  let seconds = '';
  const streams = await withStreams(stage.lab, async () => {
    killAgent(stage.lab, 'node1');
    const started = performance.now();
    stage.lab = await restartAgent(stage.lab, 'node1');
    ({ missing } = await waitForSessions(stage.lab, sessionsDeadlineMs, exempt));
    seconds = ((performance.now() - started) / 1000).toFixed(1);
  });
  const lost = streams.reports.reduce((sum, { lost }) => sum + lost, 0);
  record(report, {
    name: 'the agent of node1 is killed (SIGKILL) and comes back: nothing is lost',
    held: lost === 0 && missing.length === 0 && streams.reports.every(({ sent }) => sent > 0),
    expected: '0 packets lost, and its sessions Established again',
    measured: `${missing.length === 0 ? `back after ${seconds} s` : `not Established again: ${missing.join(', ')}`}\n${describeStreams(streams)}`,
  });
};

/** Leaves both racks cut: it is the last one. */
const bothRacksCut: Phase = async ({ lab, report }) => {
  await Promise.all(['tor1', 'tor2'].map((tor) => setLinks(lab, tor, allLinks(lab, tor).devices, 'down')));
  const nodeOf = new Map(lab.state.pods.map(({ namespace, name, nodeName }) => [`${namespace}/${name}`, nodeName]));
  const { results } = await probe(lab, { only: (from, to) => nodeOf.get(from) !== nodeOf.get(to) });
  const passed = results.filter(({ verdict }) => verdict === 'allow');
  record(report, {
    name: 'with both racks cut no packet passes between nodes',
    held: results.length > 0 && passed.length === 0,
    expected: `0 of ${results.length} probes between pods of different nodes pass`,
    measured: `${passed.length} of ${results.length} pass${passed[0] ? `, e.g. ${passed[0].from} to ${passed[0].to}` : ''}`,
  });
};

export const phases: readonly Phase[] = [
  sessionsAreUp,
  routesHaveBothNextHops,
  beforePolicies,
  afterPolicies,
  outsideReachesPod,
  linkGoesDown,
  torGoesDown,
  agentIsKilled,
  bothRacksCut,
];
