/** MRT against bgpdump: what we read of others' files, and what it reads of ours. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { mrt, type SpeakerConfig } from '#bgp';
import { silentLogger, toCidr } from '#kit';
import { dumpTableToFile, type Runner, runSpeaker } from '#speaker';
import { freePort } from '../support/free-port.ts';
import {
  dumpLines,
  expectedLines,
  hasMrtFixture,
  mrtFixture,
  mrtFixturePath,
  mrtFixtures,
  playDump,
} from '../support/mrt.ts';
import { needs } from '../support/needs.ts';
import { tool } from '../support/tools.ts';
import { until } from '../support/wait.ts';

const wants = needs({ provided: ['bgpdump'] });

function bgpdump(file: string): string {
  return execFileSync(tool('bgpdump'), ['-m', file], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 28,
  });
}

/** Where bgpdump prints what is not said, or what RFC 7606 does not let pass; the number of its lines that we have not. */
const deviations: Readonly<Record<string, number>> = {
  // ADD-PATH messages in records that are not of the ADD-PATH subtypes (RFC 8050 3): path identifiers look like prefixes.
  'mrtparse-bird_bgp.gz': 24,
  'mrtparse-bird6_bgp.gz': 32,
  // STATE_CHANGE records without address family and addresses.
  'rrc01-updates.20001104.0124.gz': 42,
  // The last prefix is cut short by the end of the message (RFC 7606 5.3).
  'updates.nlri_mask_trailing_bits.gz': 1,
};

test('RFC 6396, RFC 8050: recorded dumps are read as their expected listings say', () => {
  let compared = 0;
  for (const name of mrtFixtures) {
    const listing = name.replace(/\.gz$/, '.bgpdump.gz');
    if (!hasMrtFixture(listing) || deviations[name]) continue;
    assert.deepEqual(dumpLines(mrtFixture(name)), expectedLines(mrtFixture(listing).toString()), name);
    compared++;
  }
  assert.equal(compared, 5);
});

test('RFC 6396 4: every recorded dump is read to its end, and as bgpdump reads it', wants, () => {
  for (const name of mrtFixtures) {
    const ours = dumpLines(mrtFixture(name));
    const theirs = expectedLines(bgpdump(mrtFixturePath(name)));
    const left = new Set(theirs);
    for (const line of ours) assert.ok(left.has(line), `${name}: ${line}`);
    assert.equal(theirs.length - ours.length, deviations[name] ?? 0, name);
  }
});

const address = '127.0.0.1';
const asn = 64512;

function config(port: number, more: Partial<SpeakerConfig> = {}): SpeakerConfig {
  const common = { port: 179, asn, holdTimeSec: 0, passive: true, connectRetrySec: 5 } as const;
  const families = ['ipv4-unicast', 'ipv6-unicast'] as const;
  return {
    asn,
    routerId: '10.0.0.1',
    listen: [{ address, port }],
    originate: ['10.50.1.0/24', 'fd50:1::/64'],
    // Internal peers: the recorded paths do not begin with one and the same AS.
    peers: ['127.0.0.2', '127.0.0.3'].map((peer) => ({
      ...common,
      name: peer,
      address: peer,
      families,
      import: 'accept',
      export: 'reject',
      nextHop6: 'fd00::1',
    })),
    gracefulRestart: { restarting: false, forwardingPreserved: [], restartTimeSec: 30, deferralTimeSec: 10 },
    ...more,
  };
}

async function start(more: Partial<SpeakerConfig> = {}): Promise<{ runner: Runner; port: number }> {
  const port = await freePort(address);
  const hooks = { onRoutes: () => undefined, onPeerState: () => undefined };
  return { runner: runSpeaker(config(port, more), silentLogger, hooks, { withoutFeed: true }), port };
}

/** Every route of every peer, as lines of a table dump without time and peer's AS. */
function routesOf(runner: Runner): string[] {
  const lines: string[] = [];
  for (let cursor: string | undefined, more = true; more; ) {
    const answer = runner.speaker.routes({ limit: 1000, ...(cursor === undefined ? {} : { cursor }) });
    for (const { prefix, paths } of answer.routes) {
      for (const { peer, attributes } of paths) {
        lines.push(`${peer ?? '0.0.0.0'}|${prefix}|${attributes.asPath}|${attributes.origin}`);
      }
    }
    cursor = answer.next;
    more = cursor !== undefined;
  }
  return lines.sort();
}
const withoutTime = (line: string): string => {
  const [, , , peer, , ...rest] = line.split('|');
  return [peer, ...rest].join('|');
};

/** What a peer that says all of a listing has announced at its end; an AS_SET is taken as withdrawn (RFC 9774 3). */
function outcomeOf(listing: readonly string[]): string[] {
  const routes = new Map<string, string>();
  for (const line of listing) {
    const [, , letter, , , text = '', asPath = '', origin = ''] = line.split('|');
    const prefix = toCidr(text);
    if (!prefix) continue;
    if (letter === 'W' || asPath.includes('{')) routes.delete(prefix);
    else routes.set(prefix, `${asPath}|${origin}`);
  }
  return [...routes].map(([prefix, rest]) => `127.0.0.2|${prefix}|${rest}`).sort();
}

test(
  'RFC 6396 4.4: a dump that is replayed to a speaker leaves it with what bgpdump lists of that file',
  wants,
  async () => {
    const name = 'updates.20160811.1600.gz';
    const { runner, port } = await start();
    try {
      const played = await playDump(mrtFixture(name), { address, port, localAddress: '127.0.0.2', asn });
      await until(() => runner.speaker.peerStatuses()[0]!.families.every((family) => family.endOfRibReceived), {
        what: `${name} to be in`,
        deadlineMs: 60_000,
      });
      const expected = outcomeOf(bgpdump(mrtFixturePath(name)).split('\n'));
      const held = routesOf(runner).filter((line) => line.startsWith('127.0.0.2|'));
      assert.ok(expected.length > 1000, `${expected.length} routes`);
      assert.deepEqual(held, expected);
      played.close();
    } finally {
      await runner.stop('graceful');
    }
  },
);

test('RFC 6396 4.3: bgpdump reads a dump of our tables to the routes that are in them', wants, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-mrt-'));
  const { runner, port } = await start();
  try {
    const played = [
      await playDump(mrtFixture('updates.20160811.1600.gz'), { address, port, localAddress: '127.0.0.2', asn }),
      await playDump(mrtFixture('updates.20100722.2015.gz'), { address, port, localAddress: '127.0.0.3', asn }),
    ];
    const complete = (): boolean =>
      runner.speaker.peerStatuses().every(({ families }) => families.every((family) => family.endOfRibReceived));
    await until(complete, { what: 'both dumps to be in', deadlineMs: 60_000 });
    const file = path.join(folder, 'table.mrt');
    const counts = await dumpTableToFile(runner.speaker, file);
    const expected = routesOf(runner);
    assert.ok(expected.length > 2000, `${expected.length} routes`);
    assert.equal(counts.paths, expected.length);
    assert.deepEqual(expectedLines(bgpdump(file)).map(withoutTime).sort(), expected);
    assert.deepEqual(dumpLines(fs.readFileSync(file)).map(withoutTime).sort(), expected, 'and we read it, too');
    const [index] = mrt.readMrt(fs.readFileSync(file));
    assert.ok(index?.type === 'peerIndex');
    assert.deepEqual(
      index.peers.map((peer) => [peer.address, peer.asn, peer.routerId]),
      [
        ['0.0.0.0', asn, 0x0a000001],
        ['127.0.0.2', asn, 77],
        ['127.0.0.3', asn, 77],
      ],
    );
    for (const { close } of played) close();
  } finally {
    await runner.stop('graceful');
    fs.rmSync(folder, { recursive: true });
  }
});

test('RFC 6396 4.4: bgpdump reads what we record, from files that are rotated while it comes', wants, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-mrt-'));
  const file = path.join(folder, 'updates.mrt');
  // Half a record of a run that was killed: nothing may be appended to it.
  fs.writeFileSync(file, Buffer.from('5a5a5a5a0011', 'hex'));
  const updates = { file, rotateBytes: 200_000, rotateSec: 3600, sent: true };
  const { runner, port } = await start({ mrt: { updates } });
  const name = 'updates.20160811.1600.gz';
  const played = await playDump(mrtFixture(name), { address, port, localAddress: '127.0.0.2', asn });
  await until(() => runner.speaker.peerStatuses()[0]!.families.every((family) => family.endOfRibReceived), {
    what: 'the dump to be in',
    deadlineMs: 60_000,
  });
  played.close();
  await runner.stop('graceful');
  const files = fs.readdirSync(folder).map((entry) => path.join(folder, entry));
  assert.ok(files.length > 5, `${files.length} files`);
  const whole = files.filter((entry) => fs.statSync(entry).size > 6);
  assert.equal(whole.length, files.length - 1);
  const records = whole.flatMap((entry) => [...mrt.readMrt(fs.readFileSync(entry))]);
  assert.ok(records.every(({ type }) => type === 'message' || type === 'stateChange'));
  const routesIn = (lines: readonly string[]): string[] =>
    lines
      .filter((line) => /\|[AW]\|/.test(line))
      .map((line) => {
        const [, , letter, , , ...rest] = line.split('|');
        return [letter, ...rest].join('|');
      })
      .sort();
  const theirs = whole.flatMap((entry) => expectedLines(bgpdump(entry)));
  assert.deepEqual(routesIn(theirs), routesIn(dumpLines(mrtFixture(name))));
  // RFC 6396 4.4.1: the states on the way up, and what we sent is told from what we received.
  const states = records.flatMap((record) => (record.type === 'stateChange' ? [record] : []));
  const entered = states.filter(({ peerAddress }) => peerAddress === '127.0.0.2').map(({ newState }) => newState);
  for (const state of [3, 4, 5, 6, 1]) assert.ok(entered.includes(state), `state ${state}`);
  const kinds = (local: boolean) =>
    new Set(records.flatMap((r) => (r.type === 'message' && r.local === local ? [r.message[18]] : [])));
  // OPEN, UPDATE, KEEPALIVE; whether a NOTIFICATION could still be sent depends on who hung up first.
  for (const local of [true, false])
    for (const type of [1, 2, 4]) assert.ok(kinds(local).has(type), `${local} ${type}`);
  fs.rmSync(folder, { recursive: true });
});

test('a full disk costs records, and nothing else', async () => {
  const updates = { file: '/dev/full', rotateBytes: 200_000, rotateSec: 3600 };
  const { runner, port } = await start({ mrt: { updates } });
  const played = await playDump(mrtFixture('as140684-2024.updates.gz'), {
    address,
    port,
    localAddress: '127.0.0.2',
    asn,
  });
  await until(() => runner.mrtStatus().lastError !== '', { what: 'the disk to be noticed' });
  assert.match(runner.mrtStatus().lastError, /ENOSPC/);
  await until(() => runner.speaker.peerStatuses()[0]!.families.every((family) => family.endOfRibReceived), {
    what: 'the dump to be in',
  });
  assert.ok(runner.mrtStatus().lostBytes > 0);
  assert.equal(runner.speaker.peerStatuses()[0]!.state, 'Established');
  played.close();
  await runner.stop('graceful');
});
