/** `poplin speaker` as a daemon, beside a BIRD: asked and given orders with `poplin bgp`, its routes in the kernel's table. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { mrt } from '#bgp';
import { BgpLink, type Bird } from '../support/bgp.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const wants = needs({ root: true, commands: ['ip', 'curl'], provided: ['bird', 'birdc'] });
const cli = path.join(import.meta.dirname, '../../src/cli/main.ts');
const birdText = `router id 10.9.0.2;
protocol device {}
protocol static s4 { ipv4; route 10.50.2.0/24 blackhole; }
protocol static s6 { ipv6; route fd50:2::/64 blackhole; }
protocol bgp p { local 10.9.0.2 as 64513; neighbor 10.9.0.1 as 64512; connect delay time 0; graceful restart on;
  ipv4 { import all; export where source = RTS_STATIC; }; ipv6 { import all; export where source = RTS_STATIC; next hop address fd09::2; }; }
`;

interface World {
  readonly link: BgpLink;
  readonly bird: Bird;
  readonly file: string;
  /** Writes the file, with `more` in the peer. */
  write(more: string, head?: string): void;
  start(): Promise<ChildProcess>;
  /** `poplin bgp ...` against the daemon. */
  bgp(...args: string[]): { readonly code: number | null; readonly out: string; readonly err: string };
}

async function world(t: TestContext): Promise<World> {
  const link = new BgpLink();
  t.after(() => link[Symbol.asyncDispose]());
  const file = path.join(link.folder, 'speaker.yaml');
  const socket = path.join(link.folder, 'run', 'speaker.sock');
  const bgp: World['bgp'] = (...args) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [cli, 'bgp', ...args, '--socket', socket], {
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  return {
    link,
    bird: await link.bird(birdText),
    file,
    write(more, head = '') {
      fs.writeFileSync(
        file,
        `asn: 64512\nrouterId: 10.9.0.1\noriginate: [10.50.1.0/24]\n${head}peers:\n- address: 10.9.0.2\n  asn: 64513\n  families: [ipv4, ipv6]\n  nextHop6: "fd09::1"\n  import: accept\n  export: accept\n${more}`,
      );
    },
    async start() {
      const args = ['speaker', '--config', file, '--socket', socket, '--state-dir', path.join(link.folder, 'state')];
      const child = link.spawn(link.a, process.execPath, [cli, ...args]);
      let said = '';
      child.stderr!.on('data', (chunk) => (said += chunk));
      await until(
        () => {
          if (child.exitCode !== null) throw new Error(said);
          return bgp('peers').out.includes('Established');
        },
        { what: 'the session', intervalMs: 100, deadlineMs: 60_000 },
      );
      return child;
    },
    bgp,
  };
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  // The child is `ip netns exec`, which has become the program.
  child.kill(signal);
  await gone;
}

test('sessions, routes and metrics are asked for; a second daemon on the socket is refused', wants, async (t) => {
  const { write, start, bgp, link, file } = await world(t);
  write('');
  const daemon = await start();
  assert.match(bgp('peers').out, /10\.9\.0\.2 +10\.9\.0\.2 +64513 +Established/);
  // A session is up before its routes are there.
  await until(() => /\* 10\.50\.2\.0\/24 +10\.9\.0\.2/.test(bgp('routes', '10.50.2.9').out), {
    what: 'the IPv4 route',
    intervalMs: 100,
  });
  await until(() => bgp('routes', '-6').out.includes('fd50:2::/64'), { what: 'the IPv6 route', intervalMs: 100 });
  const table = path.join(link.folder, 'table.mrt');
  assert.equal(bgp('dump', table).out, '3 prefixes, 3 paths\n');
  const records = [...mrt.readMrt(fs.readFileSync(table))].map((record) =>
    'prefix' in record ? record.prefix : record.type,
  );
  assert.deepEqual(records.sort(), ['10.50.1.0/24', '10.50.2.0/24', 'fd50:2::/64', 'peerIndex'], 'RFC 6396 4.3');
  assert.match(bgp('dump', path.join(link.folder, 'none', 'table.mrt')).err, /ENOENT/);
  const socket = path.join(link.folder, 'run', 'speaker.sock');
  const metrics = execFileSync('curl', ['-s', '--unix-socket', socket, 'http://x/metrics'], { encoding: 'utf8' });
  assert.match(metrics, /^poplin_bgp_peer_established\{peer="10\.9\.0\.2"\} 1$/m);
  const second = spawnSync(
    'ip',
    ['netns', 'exec', link.b, process.execPath, cli, 'speaker', '--config', file, '--socket', socket],
    {
      encoding: 'utf8',
    },
  );
  assert.notEqual(second.status, 0);
  assert.match(second.stderr, /another speaker serves .*speaker\.sock: process \d+/);
  await ended(daemon, 'SIGTERM');
  assert.match(bgp('peers').err, /there is no socket/);
});

test('the looking glass: why a path won, what was rejected by which rule, what a peer was told', wants, async (t) => {
  const { write, start, bgp, file } = await world(t);
  const filters =
    'filters:\n  from-bird:\n  - { then: next }\n  - { match: { prefixes: [10.50.2.0/24] }, then: reject }\n';
  write('  adjRibIn: true\n', filters);
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('import: accept', 'import: from-bird'));
  await start();
  await until(() => bgp('routes', '-6').out.includes('fd50:2::/64'), {
    what: 'the route that passes',
    intervalMs: 100,
  });
  assert.match(bgp('routes', '--all', '-6').out, /fd50:2::\/64.* 10\.9\.0\.2 +only path/);
  assert.equal(bgp('routes', '10.50.2.0/24').code, 1, 'it is not used');
  assert.match(
    bgp('routes', '10.50.2.0/24', '--received').out,
    /10\.50\.2\.0\/24.* 10\.9\.0\.2 +rejected by filter from-bird, rule 2/,
  );
  assert.match(
    bgp('peers').out,
    /^10\.9\.0\.2 .*Established +\S+ +4\/6 +0\/1 +1\/0 +1\/0$/m,
    'accepted, rejected, sent',
  );
  assert.match(bgp('peers', '10.9.0.2').out, /^ipv4-unicast +1 +1 +0 +0 +1 +yes$/m);
  const [told] = JSON.parse(bgp('routes', '-4', '--sent-to', '10.9.0.2', '-o', 'json').out);
  assert.deepEqual([told.prefix, told.paths[0].asPath, told.paths[0].nextHop], ['10.50.1.0/24', '64512', '10.9.0.1']);
  assert.match(bgp('routes', '--sent-to', 'nobody').err, /nobody/);
  assert.match(
    bgp('routes', '10.50.1.0/24', '--sent').out,
    /10\.50\.1\.0\/24 +10\.9\.0\.2 +10\.9\.0\.1 .* 64512 .* this node/,
  );
  assert.equal(bgp('routes', '10.50.2.0/24', '--sent').code, 1, 'nobody is told where it came from');
  write('', filters);
  bgp('reload');
  assert.match(bgp('routes', '--received').err, /not kept of 10\.9\.0\.2; adjRibIn: true keeps it/);
});

test(
  'a dry run says what a reload would do, and the reload does it: one session reset, then none',
  wants,
  async (t) => {
    const { write, start, bgp } = await world(t);
    write('');
    await start();
    /** When the session came up, once it is up. */
    const since = (): Promise<string> =>
      until(
        () => {
          const [peer] = JSON.parse(bgp('peers', '-o', 'json').out);
          return peer.state === 'Established' && peer.since;
        },
        { what: 'the session', intervalMs: 100 },
      );
    const first = await since();
    write('  holdTime: 30s\n');
    const dry = bgp('reload', '--dry-run');
    assert.match(dry.out, /10\.9\.0\.2 +reset +holdTimeSec: 90 -> 30/);
    assert.equal(age(await since(), first), 'the same');
    assert.equal(bgp('reload').out, dry.out);
    const second = await since();
    assert.equal(age(second, first), 'another');
    assert.match(bgp('reload').out, /^1 peer does not notice$/m);
    write('  holdTime: 30s\n  colour: red\n');
    const bad = bgp('reload');
    assert.notEqual(bad.code, 0);
    assert.match(bad.err, /speaker\.yaml:\d+:\d+: unknown key colour/);
    assert.equal(age(await since(), second), 'the same');
    assert.equal(bgp('reset', '10.9.0.2', '--text', 'new optics').code, 0);
    assert.equal(age(await since(), second), 'another');
    assert.match(bgp('reset', 'nobody').err, /nobody/);
  },
);

/** The age is rounded where it is told, so that one moment may be told a millisecond apart. */
const age = (now: string, then: string): 'the same' | 'another' =>
  Math.abs(Date.parse(now) - Date.parse(then)) < 100 ? 'the same' : 'another';

test(
  'kernel: true installs what is learned; a restart leaves it there, a withdrawal takes it out',
  wants,
  async (t) => {
    const { write, start, link, bird } = await world(t);
    write('', 'kernel: true\n');
    const routes = (six = false): string =>
      link.run(link.a, 'ip', ...(six ? ['-6'] : []), 'route', 'show', six ? 'fd50:2::/64' : '10.50.2.0/24');
    const first = await start();
    await until(() => routes().includes('10.9.0.2') || /nhid/.test(routes()), {
      what: 'the route in the kernel',
      intervalMs: 100,
    });
    await until(() => routes(true) !== '', { what: 'the IPv6 route', intervalMs: 100 });
    await ended(first, 'SIGKILL');
    assert.notEqual(routes(), '');
    await start();
    assert.notEqual(routes(), '');
    bird.configure(birdText.replace('route 10.50.2.0/24 blackhole;', ''));
    await until(() => routes() === '', { what: 'the route to be gone', intervalMs: 100 });
  },
);

test(
  'RFC 4724 4.1: kernel: true says R and F for its earlier run: killed under BIRD as helper, twice, no route leaves BIRD',
  wants,
  async (t) => {
    const { write, start, link, bird, file } = await world(t);
    write('', 'kernel: true\n');
    const text = fs.readFileSync(file, 'utf8');
    fs.writeFileSync(file, text.replace('[10.50.1.0/24]', '[10.50.1.0/24, "fd50:1::/64"]'));
    bird.configure(`log stderr all;\n${birdText.replace('protocol bgp p {', 'protocol bgp p { debug { routes };')}`);
    const ours = ['10.50.1.0/24', 'fd50:1::/64'];
    const theirs = ['10.50.2.0/24', 'fd50:2::/64'];
    const installed = (): boolean =>
      theirs.every(
        (prefix) => link.run(link.a, 'ip', prefix.includes(':') ? '-6' : '-4', 'route', 'show', prefix) !== '',
      );
    const told = (): boolean => ours.every((prefix) => bird.birdc('show route protocol p').includes(prefix));
    let daemon = await start();
    await until(() => told() && installed(), { what: 'routes on both sides', intervalMs: 100 });
    for (let round = 0; round < 2; round++) {
      await ended(daemon, 'SIGKILL');
      await until(() => !bird.established('p'), { what: 'BIRD to notice' });
      assert.ok(installed(), 'forwarding goes on');
      daemon = await start();
      await until(() => bird.established('p'), { what: 'the session at BIRD' });
      const said = bird.birdc('show protocols all p');
      const neighbour = said.slice(said.indexOf('Neighbor capabilities'));
      assert.match(neighbour, /Restart recovery/, 'R');
      assert.match(neighbour, /AF preserved: ipv4 ipv6/, 'F');
      await until(() => !/\bstale\b/i.test(bird.birdc('show route all protocol p')) && told(), {
        what: 'our routes anew',
      });
    }
    const gone = bird.output
      .split('\n')
      .filter((line) => line.includes('removed') && ours.some((p) => line.includes(p)));
    assert.deepEqual(gone, []);
  },
);

for (const [what, head] of [
  ['kernel: true', 'kernel: true\n'],
  ['kernel: false', ''],
] as const) {
  test(
    `RFC 4724 4.1: ${what} says R and F for an earlier run that learned nothing, and neither for a first one`,
    wants,
    async (t) => {
      const { write, start, link, bird } = await world(t);
      write('', head);
      const silent = birdText.replaceAll('export where source = RTS_STATIC;', 'export none;');
      bird.configure(`log stderr all;\n${silent.replace('protocol bgp p {', 'protocol bgp p { debug { routes };')}`);
      const told = (): boolean => bird.birdc('show route protocol p').includes('10.50.1.0/24');
      const neighbour = (): string => {
        const said = bird.birdc('show protocols all p');
        return said.slice(said.indexOf('Neighbor capabilities'));
      };
      let daemon = await start();
      await until(told, { what: 'our route' });
      assert.doesNotMatch(neighbour(), /Restart recovery|AF preserved: \S/);
      assert.equal(link.run(link.a, 'ip', 'route', 'show', 'proto', '155'), '', 'nothing was learned');
      for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
        await ended(daemon, signal);
        await until(() => !bird.established('p'), { what: 'BIRD to notice' });
        daemon = await start();
        await until(() => bird.established('p'), { what: 'the session at BIRD' });
        assert.match(neighbour(), /Restart recovery/, 'R');
        assert.match(neighbour(), /AF preserved: ipv4 ipv6/, 'F');
        await until(() => !/\bstale\b/i.test(bird.birdc('show route all protocol p')) && told(), {
          what: 'our route anew',
        });
      }
      const gone = bird.output.split('\n').filter((line) => line.includes('removed') && line.includes('10.50.1.0/24'));
      assert.deepEqual(gone, []);
      if (head !== '') return;
      await ended(daemon, 'SIGQUIT');
      await until(() => !told(), { what: 'our route to go' });
      await start();
      await until(told, { what: 'our route' });
      assert.doesNotMatch(neighbour(), /Restart recovery|AF preserved: \S/, 'a drain ends what was before');
    },
  );
}
