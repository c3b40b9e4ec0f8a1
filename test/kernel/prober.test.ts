/** The lab's prober over plain namespaces: two hosts joined by a link, no agent. Its verdicts must be the kernel's. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type ProbeRequest, ProberClient, type Target } from '#lab';
import { exec } from '#sys';
import { needs } from '../support/needs.ts';

const a = `pt-${process.pid}-a`;
const b = `pt-${process.pid}-b`;
const addresses = { a: ['10.9.0.1', 'fd09::1'], b: ['10.9.0.2', 'fd09::2'] };
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-prober-'));
const socket = path.join(directory, 'p.sock');
const entry = path.join(import.meta.dirname, '..', '..', 'src', 'lab', 'prober', 'main.ts');
let child: ReturnType<typeof spawn> | undefined;
let client: ProberClient;

async function ip(lines: readonly string[], netns?: string): Promise<void> {
  const { code, stderr } = await exec('ip', [...(netns ? ['-n', netns] : []), '-batch', '-'], {
    stdin: lines.join('\n'),
  });
  assert.equal(code, 0, stderr);
}

const target = (id: string, netns: string, own: readonly string[]): Target => ({
  id,
  netns: `/run/netns/${netns}`,
  addresses: own,
  ports: [
    { protocol: 'TCP', port: 80 },
    { protocol: 'UDP', port: 53 },
  ],
});
const targets = [target('t/a', a, addresses.a), target('t/b', b, addresses.b)];

function probesBetween(times = 1): ProbeRequest[] {
  const one = targets.flatMap((from) =>
    targets.flatMap((to) =>
      to.ports.flatMap(({ protocol, port }) =>
        to.addresses.map((address) => ({ from: from.id, to: to.id, protocol, port, address })),
      ),
    ),
  );
  return Array.from({ length: times }, () => one).flat();
}

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ip6tables'] });

before(async () => {
  if (mayRun.skip) return;
  await ip([
    `netns add ${a}`,
    `netns add ${b}`,
    `link add e0 index 10 netns ${a} type veth peer name e0 index 20 netns ${b}`,
  ]);
  for (const [netns, own] of [
    [a, addresses.a],
    [b, addresses.b],
  ] as const) {
    await ip(
      ['link set lo up', 'link set e0 up', `addr add ${own[0]}/24 dev e0`, `addr add ${own[1]}/64 dev e0 nodad`],
      netns,
    );
  }
  child = spawn(process.execPath, [entry, socket], { stdio: 'inherit' });
  client = await ProberClient.connect(socket);
  assert.deepEqual(await client.call({ op: 'sync', targets }), { serving: 8, problems: [] });
});

after(async () => {
  client?.close();
  child?.kill('SIGTERM');
  fs.rmSync(directory, { recursive: true });
  if (!mayRun.skip) await ip([`netns del ${a}`, `netns del ${b}`]);
});

async function verdicts(probes: readonly ProbeRequest[]): Promise<string[]> {
  const { outcomes } = await client.call({ op: 'probe', probes });
  return probes.flatMap(({ from, to, protocol, address }, i) =>
    outcomes[i]!.verdict === 'deny' ? [`${from} ${to} ${protocol} ${address}`] : [],
  );
}

test('an open network: every pair, itself included, over both protocols and families', mayRun, async () => {
  assert.deepEqual(await verdicts(probesBetween()), []);
});

test('a dropped protocol is denied in one direction, and that alone', mayRun, async () => {
  const rule = ['INPUT', '-p', 'tcp', '--dport', '80', '-i', 'e0', '-j', 'DROP'];
  const env = { PATH: process.env['PATH'] ?? '', XTABLES_LOCKFILE: path.join(directory, 'xtables.lock') };
  const iptables = (op: string): ReturnType<typeof exec> =>
    exec('nsenter', [`--net=/run/netns/${b}`, 'iptables', op, ...rule], { env });
  assert.equal((await iptables('-A')).code, 0);
  try {
    assert.deepEqual(await verdicts(probesBetween()), ['t/a t/b TCP 10.9.0.2']);
  } finally {
    await iptables('-D');
  }
});

test('no verdict "allow" from a wrong server, a closed port, or an address that nobody has', mayRun, async () => {
  const probes: ProbeRequest[] = [
    { from: 't/a', to: 't/a', protocol: 'TCP', port: 80, address: addresses.b[0]! },
    { from: 't/a', to: 't/b', protocol: 'TCP', port: 81, address: addresses.b[0]! },
    { from: 't/a', to: 't/b', protocol: 'UDP', port: 54, address: addresses.b[1]! },
    { from: 't/a', to: 't/b', protocol: 'TCP', port: 80, address: '10.99.0.1' },
  ];
  const { outcomes } = await client.call({ op: 'probe', probes });
  assert.deepEqual(
    outcomes.map(({ verdict }) => verdict),
    ['deny', 'deny', 'deny', 'deny'],
  );
  assert.deepEqual(
    outcomes.map(({ reason }) => reason),
    ['answered by t/b', 'refused', 'refused', 'ENETUNREACH'],
  );
});

test('at least 500 probes a second, all denied by silence', mayRun, async () => {
  const nobody = probesBetween(125).map((probe) => ({
    ...probe,
    address: probe.address.includes(':') ? 'fd09::99' : '10.9.0.99',
  }));
  const { outcomes, elapsedMs } = await client.call({ op: 'probe', probes: nobody });
  assert.ok(outcomes.every(({ verdict }) => verdict === 'deny'));
  assert.ok((nobody.length * 1000) / elapsedMs >= 500, `${nobody.length} probes took ${elapsedMs} ms`);
});

test('a stream over a link that goes down and up again loses exactly what was sent meanwhile', mayRun, async () => {
  const stream = (name: string): Parameters<ProberClient['call']>[0] => ({
    op: 'streamStart',
    streams: [
      { stream: name, from: 't/a', to: 't/b', address: addresses.b[0]!, port: 53, packetsPerSec: 1000, flows: 4 },
    ],
  });
  await client.call(stream('steady'));
  await client.call({ op: 'probe', probes: probesBetween() });
  const steady = (await client.call({ op: 'streamStop', streams: ['steady'] })).reports[0]!;
  assert.ok(steady.sent > 0);
  assert.deepEqual([steady.lost, steady.duplicates], [0, 0]);

  await client.call(stream('cut'));
  await ip(['link set e0 down'], b);
  // One probe by address resolution takes as long as its whole window: the link is down for that time.
  await client.call({
    op: 'probe',
    probes: [{ from: 't/a', to: 't/b', protocol: 'UDP', port: 53, address: addresses.b[0]! }],
  });
  await ip(['link set e0 up'], b);
  await client.call({ op: 'probe', probes: probesBetween() });
  const cut = (await client.call({ op: 'streamStop', streams: ['cut'] })).reports[0]!;
  assert.ok(cut.lost > 500, `${cut.lost} of ${cut.sent} lost`);
  assert.ok(cut.longestOutageMs > 500);
  assert.ok(cut.received > 0);
  assert.equal(cut.sent, cut.received + cut.lost);
});
