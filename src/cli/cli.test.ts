import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { parse } from 'yaml';
import { type AgentStatus, type AgentView, type BgpPathView, createApiServer } from '#api';
import { FakeClock, silentLogger } from '#kit';
import { createHealthRegistry } from '#obs';
import { formatDuration, formatTable } from './output.ts';
import { runCli } from './program.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');
const time = '2026-01-01T00:58:00Z';

interface Run {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  let out = '';
  let err = '';
  let code: number | undefined;
  await runCli(args, {
    terminal: {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
    },
    env,
    version: '9.9.9',
    now: () => nowMs,
    setExitCode: (value) => {
      code = value;
    },
  });
  return { code, out, err };
}

const status: AgentStatus = {
  version: '9.9.9',
  node: 'n1',
  pid: 42,
  startedAt: time,
  uptimeSec: 120,
  ready: { ok: false, reasons: ['datastore: not in sync'] },
  datastore: {
    location: '/m',
    inSync: false,
    waitingFor: ['NetworkPolicy web/a: never valid, see /m/a.yaml:4'],
    faults: 1,
    objects: { Pod: 3, Node: 0 },
    lastUpdate: time,
  },
  bgp: {
    asn: 64512,
    routerId: '10.0.0.1',
    peersEstablished: 1,
    peersConfigured: 2,
    originated: ['10.1.1.0/24'],
    learned: { ipv4: 5, ipv6: 6 },
    waitingForEndOfRib: ['mesh/n2'],
  },
  routes: { pending: 0, programmed: { ipv4: 5, ipv6: 6 }, unresolved: 1, stale: 0, lastApply: time, lastApplyMs: 3 },
  policy: {
    pending: 2,
    endpoints: 3,
    policies: 1,
    sets: 1,
    backend: 'nft',
    error: { message: 'iptables-restore: line 3 failed', since: time },
  },
  cni: { pods: 3, addresses: [{ cidr: '10.1.1.0/24', used: 3, size: 253 }], notServing: 'datastore not in sync' },
  problems: ['BGPPeer tor: connection refused'],
};
const hop: BgpPathView = {
  peer: 'mesh/n2',
  best: true,
  nextHop: '10.0.0.2',
  resolved: [
    { gateway: '172.16.0.1', device: 'eth0' },
    { gateway: '172.16.1.1', device: 'eth1' },
  ],
  origin: 'IGP',
  asPath: '',
  stale: false,
};
const routes = [
  { prefix: '10.1.1.0/24', source: 'originated', paths: [{ ...hop, peer: undefined, nextHop: '', resolved: [] }] },
  {
    prefix: '10.1.2.0/24',
    source: 'learned',
    paths: [hop, { ...hop, peer: 'tor', best: false, asPath: '65001 65002' }],
  },
  { prefix: '10.9.0.0/16', source: 'learned', paths: [{ ...hop, resolved: [] }] },
] as never;

const counts = {
  messages: { received: 12, sent: 13 },
  updates: { received: 7, sent: 3 },
  notifications: { received: 0, sent: 1 },
  updateErrors: 2,
  queuedBytes: 0,
};

function view(extra: Partial<AgentView>): AgentView {
  const health = createHealthRegistry(new FakeClock());
  return {
    status: () => status,
    bgpPeers: () => [
      {
        name: 'mesh/n2',
        address: '10.0.0.2',
        port: 179,
        asn: 64512,
        state: 'Established',
        since: time,
        families: [
          { family: 'ipv4-unicast', received: 5, receivedPrePolicy: 8, sent: 1, stale: 0, endOfRib: true },
          { family: 'ipv6-unicast', received: 6, receivedPrePolicy: 6, sent: 2, stale: 0, endOfRib: true },
        ],
        ...counts,
        gracefulRestart: true,
        restarting: false,
        timesEstablished: 1,
        bfd: 'Up',
      },
      {
        name: 'peer/tor',
        address: 'fd00::1',
        port: 1790,
        asn: 65001,
        state: 'Active',
        families: [],
        ...counts,
        gracefulRestart: false,
        restarting: false,
        lastError: 'connection refused',
        timesEstablished: 0,
      },
    ],
    bgpRoutes: () => ({ routes }),
    policyExplain: async ({ from }) => ({ problem: `there is no pod ${from}` }),
    policyEndpoint: ({ namespace, name }) =>
      `${namespace}/${name}` === 'web/a'
        ? {
            pod: 'web/a',
            interfaceName: 'pop123',
            addresses: ['10.1.1.2'],
            applied: true,
            ingress: {
              isolated: true,
              tiers: [
                {
                  tier: 'kube-admin',
                  endOfTier: 'pass',
                  policies: [{ id: 'ClusterNetworkPolicy:c', rules: ['deny TCP 22 from everyone'] }],
                },
                {
                  tier: 'default',
                  endOfTier: 'deny',
                  policies: [{ id: 'NetworkPolicy:web/p', rules: ['allow TCP 80 from everyone'] }],
                },
              ],
            },
            egress: {
              isolated: false,
              tiers: [{ tier: 'kube-baseline', endOfTier: 'pass', policies: [{ id: 'x', rules: [] }] }],
            },
          }
        : undefined,
    datastore: () => ({
      source: 'file',
      location: '/m',
      inSync: false,
      waitingFor: [],
      objects: {},
      faults: [
        {
          file: '/m/a.yaml',
          line: 4,
          object: 'NetworkPolicy web/a',
          field: 'spec.x',
          message: 'unknown field',
          effect: 'not in force',
          blocking: true,
          since: time,
        },
      ],
      faultsTotal: 3,
      notUsed: [],
      notUsedTotal: 0,
      ignored: [],
    }),
    config: () => [{ name: 'asn', value: 65001, source: 'flag --asn' }],
    flows: async () => ({ flows: [], next: 0, missed: 0, log: { verdicts: 'denied', ratePerSec: 10, lost: 0 } }),
    flowCounts: () => [],
    alive: () => health.alive(),
    ready: () => health.ready(),
    metrics: async () => ({ contentType: 'text/plain', body: '' }),
    ...extra,
  };
}

async function agent(t: TestContext, extra: Partial<AgentView> = {}): Promise<Record<string, string>> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'pt-cli-'));
  const server = createApiServer(
    { view: view(extra), log: silentLogger },
    { socketPath: path.join(folder, 'api.sock') },
  );
  await server.start();
  t.after(async () => {
    await server.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return { POPLIN_RUN_DIR: folder };
}

test('status says at a glance what is wrong, and exits 1 while not ready', async (t) => {
  const env = await agent(t);
  const { code, out } = await run(['status'], env);
  assert.equal(code, 1);
  for (const text of [
    /^ready +NO: datastore: not in sync$/m,
    /^datastore +\/m: NOT IN SYNC; 3 Pod; 1 FAULTS; changed 2m0s ago$/m,
    /1 of 2 peers Established.*waiting for End-of-RIB of mesh\/n2/,
    /1 UNRESOLVED/,
    /^policy .*FAILING since 2m0s ago: iptables-restore: line 3 failed$/m,
    /^cni +NOT SERVING: datastore not in sync; 3 pods; 10\.1\.1\.0\/24 3 of 253 addresses$/m,
    /BGPPeer tor: connection refused/,
    /^\/m\/a\.yaml:4 +NetworkPolicy web\/a +2m0s +spec\.x: unknown field \(not in force\)$/m,
    /and 2 more/,
  ]) {
    assert.match(out, text);
  }
  const json = JSON.parse((await run(['status', '-o', 'json'], env)).out) as AgentStatus;
  assert.deepEqual(json.bgp, status.bgp);
  assert.equal(
    (await run(['status'], await agent(t, { status: () => ({ ...status, ready: { ok: true, reasons: [] } }) }))).code,
    0,
  );
});

test('bgp peers: counts by family, address with port only where it is another, why a session is down', async (t) => {
  const { code, out } = await run(['bgp', 'peers'], await agent(t));
  assert.equal(code, 0);
  assert.deepEqual(
    out
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
    [
      ['NAME', 'ADDRESS', 'AS', 'STATE', 'FOR', 'FAMILIES', 'ACCEPTED', 'REJECTED', 'SENT', 'LAST ERROR'],
      ['mesh/n2', '10.0.0.2', '64512', 'Established (BFD Up)', '2m0s', '4/6', '5/6', '3/0', '1/2'],
      ['peer/tor', '[fd00::1]:1790', '65001', 'Active', '-', '-', '-', '-', '-', 'connection refused'],
    ],
  );
});

test('bgp peers NAME: all of one session; a name that none has is an error that says where names are', async (t) => {
  const env = await agent(t);
  const { code, out } = await run(['bgp', 'peers', 'mesh/n2'], env);
  assert.equal(code, 0);
  for (const line of [
    /^state +Established \(BFD Up\) for 2m0s$/m,
    /^messages +12 received, 13 sent$/m,
    /^ {2}updates +7 received, 3 sent, 2 with errors$/m,
    /^ {2}notifications +0 received, 1 sent$/m,
    /^FAMILY +RECEIVED +REJECTED +ACCEPTED +STALE +SENT +END-OF-RIB$/m,
    /^ipv4-unicast +8 +3 +5 +0 +1 +yes$/m,
  ]) {
    assert.match(out, line);
  }
  assert.equal(JSON.parse((await run(['bgp', 'peers', 'mesh/n2', '-o', 'json'], env)).out).name, 'mesh/n2');
  assert.match((await run(['bgp', 'peers', 'peer/tor'], env)).out, /^last error +connection refused$/m);
  const none = await run(['bgp', 'peers', 'n2'], env);
  assert.deepEqual([none.code, none.err], [2, 'poplin: no peer is called n2; `poplin bgp peers` names them\n']);
});

test('bgp routes: next hop resolved to every gateway and device; other paths only on request', async (t) => {
  const env = await agent(t);
  const cells = (text: string): string[][] =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}/));
  assert.deepEqual(cells((await run(['bgp', 'routes'], env)).out), [
    ['', 'PREFIX', 'NEXT HOP', 'VIA', 'ORIGIN', 'AS PATH', 'FROM'],
    ['* 10.1.1.0/24', '-', '-', 'IGP', '-', 'this node'],
    ['* 10.1.2.0/24', '10.0.0.2', '172.16.0.1 dev eth0', 'IGP', '-', 'mesh/n2'],
    ['', '10.0.0.2', '172.16.1.1 dev eth1', 'IGP', '-', 'mesh/n2'],
    ['* 10.9.0.0/16', '10.0.0.2', 'UNRESOLVED', 'IGP', '-', 'mesh/n2'],
  ]);
  assert.match((await run(['bgp', 'routes', '--all'], env)).out, /65001 65002 +tor$/m);
});

test('bgp routes: what was received, what a peer is told, and why', async (t) => {
  const asked: unknown[] = [];
  const path = { best: false, nextHop: '10.0.0.2', origin: 'IGP', asPath: '65001', stale: false, peer: 'tor' } as const;
  const paths = [
    { ...path, rejected: { by: 'filter', filter: 'from-tor', term: 1 } },
    { ...path, rejected: { by: 'loop' } },
    { ...path, reason: 'med' },
    { ...path, best: true, reason: 'only-path' },
  ];
  const env = await agent(t, {
    bgpRoutes: (query) => {
      asked.push(query);
      const told = query.sent ? paths.map((each) => ({ ...each, sentTo: 'spine' })) : paths;
      return { routes: [{ prefix: '10.7.0.0/16', source: 'learned', paths: told }] };
    },
  });
  const { out } = await run(['bgp', 'routes', '--received', '--peer', 'tor'], env);
  const why = out
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/).at(-1));
  assert.deepEqual(why, ['WHY', 'rejected by filter from-tor, rule 2', 'rejected by loop', 'lost by med', 'only path']);
  assert.equal((await run(['bgp', 'routes', '--sent-to', 'tor'], env)).code, 0);
  assert.match(
    (await run(['bgp', 'routes', '10.7.0.0/16', '--sent'], env)).out,
    /SENT TO.*\n.*10\.7\.0\.0\/16 +spine /,
  );
  for (const words of [['--sent-to', 'tor', '--received'], ['--sent'], ['10.7.0.0/16', '--sent', '--sent-to', 'tor']]) {
    assert.equal((await run(['bgp', 'routes', ...words], env)).code, 2, words.join(' '));
  }
  assert.deepEqual(asked, [
    { peer: 'tor', received: true, limit: 1000 },
    { sentTo: 'tor', limit: 1000 },
    { within: '10.7.0.0/16', sent: true, limit: 1000 },
  ]);
});

test('bgp routes asks page by page and passes its filter on; none is exit code 1', async (t) => {
  const asked: unknown[] = [];
  const env = await agent(t, {
    bgpRoutes: (query) => {
      asked.push(query);
      return query.cursor === undefined ? { routes, next: 'n' } : { routes };
    },
  });
  const { out } = await run(['bgp', 'routes', '10.1.2.3', '-4', '-o', 'yaml'], env);
  assert.equal((parse(out) as unknown[]).length, 6);
  assert.deepEqual(asked, [
    { covers: '10.1.2.3', family: 4, limit: 1000 },
    { covers: '10.1.2.3', family: 4, limit: 1000, cursor: 'n' },
  ]);
  const empty = await run(['bgp', 'routes', '10.0.0.0/8'], await agent(t, { bgpRoutes: () => ({ routes: [] }) }));
  assert.deepEqual(
    [empty.code, empty.out, empty.err],
    [1, '', 'poplin: no route for 10.0.0.0/8; --received shows also what is rejected\n'],
  );
  assert.equal((await run(['bgp', 'routes', '10.0.0.0/99'], env)).code, 2);
  assert.equal((await run(['bgp', 'routes', '-4', '-6'], env)).code, 2);
});

test('policy explain: by the agent, with counters, and where else to ask', async (t) => {
  const tiers = [
    {
      tier: 'default',
      policies: [
        { policy: 'NetworkPolicy:web/p', rules: [{ rule: 0, action: 'allow', text: 'allow TCP 80', matched: false }] },
      ],
      outcome: 'deny',
      byEndOfTier: true,
    },
  ] as const;
  const verdict = { verdict: 'deny', by: 'endOfTier', tier: 'default' } as const;
  const rule = { endpoint: 'web/a', family: 4, direction: 'ingress', chain: 'c' } as const;
  const asked: unknown[] = [];
  const env = await agent(t, {
    policyExplain: async (query) => {
      asked.push(query);
      if (query.from !== 'web/b') return { problem: `there is no pod ${query.from}` };
      return {
        connections: [
          {
            from: { id: 'web/b', address: '10.1.2.2' },
            to: { id: 'web/a', address: '10.1.1.2' },
            port: { protocol: query.protocol, port: query.port },
            family: 'ipv4',
            fromOwnNode: false,
            explanation: {
              verdict: 'deny',
              toItself: false,
              directions: [{ endpoint: 'web/a', direction: 'ingress', tiers, verdict }],
            },
            unknown: ['Egress of web/b: decided on node n2'],
          },
        ],
        counters: [
          { ...rule, policy: 'NetworkPolicy:web/p', rule: 0, packets: 8, bytes: 480 },
          { ...rule, endOfTier: 'default', packets: 3, bytes: 180 },
          { ...rule, family: 6, endOfTier: 'default', packets: 99, bytes: 1 },
        ],
      };
    },
  });
  const { code, out } = await run(['policy', 'explain', 'b', 'a', '81/udp', '-n', 'web'], env);
  assert.equal(code, 1);
  assert.deepEqual(asked, [{ from: 'web/b', to: 'web/a', protocol: 'UDP', port: 81 }]);
  assert.match(out, /^web\/b \(10\.1\.2\.2\) -> web\/a \(10\.1\.1\.2\) {2}UDP 81: DENIED$/m);
  assert.match(out, /1\. allow TCP 80 +no match {2}\[8 packets, 480 bytes\]$/m);
  assert.match(out, /what no rule decided +<= DENIED {2}\[3 packets, 180 bytes\]$/m);
  assert.match(out, /^Egress of web\/b: decided on node n2$/m);
  await run(['policy', 'explain', 'web/b', 'web/a', '80', '--staged'], env);
  assert.deepEqual(asked.at(-1), { from: 'web/b', to: 'web/a', protocol: 'TCP', port: 80, staged: true });
  const none = await run(['policy', 'explain', 'web/c', 'web/a', '80'], env);
  assert.equal(none.code, 2);
  assert.match(none.err, /there is no pod web\/c/);
});

test('policy show: by namespace/name or -n; elsewhere is exit code 1', async (t) => {
  const env = await agent(t);
  const shown = await run(['policy', 'show', 'web/a'], env);
  assert.equal(shown.code, 0);
  assert.match(
    shown.out,
    /Ingress: isolated\n {2}tier kube-admin\n {4}ClusterNetworkPolicy:c\n {6}1\. deny TCP 22 from everyone\n {4}otherwise: pass to the next tier\n {2}tier default\n {4}NetworkPolicy:web\/p\n {6}1\. allow TCP 80 from everyone\n {4}otherwise: deny/,
  );
  assert.match(
    shown.out,
    /Egress: not isolated, what is not denied is allowed\n {2}tier kube-baseline\n {4}x\n {6}no rules\n {4}otherwise: allow\n/,
  );
  assert.equal((await run(['policy', 'show', 'a', '-n', 'web'], env)).out, shown.out);
  const absent = await run(['policy', 'show', 'a'], env);
  assert.deepEqual([absent.code, absent.out], [1, '']);
  assert.match(absent.err, /pod default\/a is not on this node/);
  assert.equal((await run(['policy', 'show', 'a/b/c'], env)).code, 2);
});

test('config show: of the agent, or of what is given here', async (t) => {
  const env = await agent(t);
  assert.match((await run(['config', 'show'], env)).out, /^asn +65001 +flag --asn$/m);
  const local = await run(['config', 'show', '--local', '--asn', '1.0'], { POPLIN_HOLD_TIME_SEC: '9' });
  assert.match(local.out, /^asn +65536 +flag --asn$/m);
  assert.match(local.out, /^holdTimeSec +9 +env POPLIN_HOLD_TIME_SEC$/m);
  assert.equal((await run(['config', 'show', '--asn', '1'], env)).code, 2);
  const bad = await run(['config', 'show', '--local', '--config', '/none.yaml']);
  assert.equal(bad.code, 2);
  assert.match(bad.err, /\/none\.yaml: cannot be read/);
});

test('an agent that is away is exit code 3; the socket is found by flag, then variable', async (t) => {
  const { POPLIN_RUN_DIR: folder } = await agent(t);
  const away = await run(['status'], { POPLIN_RUN_DIR: '/none' });
  assert.equal(away.code, 3);
  assert.match(away.err, /there is no socket \/none\/api\.sock/);
  const socket = `${folder}/api.sock`;
  assert.equal((await run(['bgp', 'peers'], { POPLIN_API_SOCKET: socket, POPLIN_RUN_DIR: '/none' })).code, 0);
  assert.equal((await run(['bgp', 'peers', '--socket', socket], { POPLIN_API_SOCKET: '/none' })).code, 0);
});

test('wrong arguments are exit code 2, help and version 0', async () => {
  assert.match((await run(['bgp', 'rotes'])).err, /Did you mean routes/);
  for (const args of [
    ['nothing'],
    ['status', '--colour'],
    ['status', '-o', 'xml'],
    ['policy', 'show'],
    ['speaker'],
    ['agent', '--asn', '0'],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, 2, args.join(' '));
    assert.notEqual(err, '', args.join(' '));
  }
  const help = await run(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.out, /Exit codes:\n {2}0 {2}done/);
  assert.deepEqual(await run(['--version']), { code: 0, out: '9.9.9\n', err: '' });
  for (const args of [
    ['status'],
    ['bgp', 'peers'],
    ['bgp', 'routes'],
    ['policy', 'show'],
    ['config', 'show'],
    ['agent'],
    ['cleanup'],
    ['speaker'],
    ['install-cni'],
  ]) {
    const { code, out } = await run([...args, '--help']);
    assert.equal(code, 0);
    assert.match(out, /Example/, args.join(' '));
  }
});

test('install-cni says what it did with each plugin, and a source without any is exit code 1', async (t) => {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-cli-install-'));
  t.after(() => fs.rmSync(work, { recursive: true }));
  const [source, dest] = [path.join(work, 'source'), path.join(work, 'bin')];
  const args = ['install-cni', '--source', source, '--dest', dest];
  assert.equal((await run(args)).code, 1);
  fs.mkdirSync(source);
  fs.writeFileSync(path.join(source, 'poplin'), 'plugin', { mode: 0o755 });
  const installed = await run(args);
  assert.deepEqual(installed, { code: 0, out: `installed ${dest}/poplin\n`, err: '' });
  assert.deepEqual(await run([...args, '--remove']), { code: 0, out: 'removed poplin\n', err: '' });
  assert.equal((await run(['install-cni'])).code, 2);
});

test('tables and durations', () => {
  assert.equal(
    formatTable(
      ['A', 'LONG'],
      [
        ['xxx', 'y'],
        ['', 'z'],
      ],
    ),
    'A     LONG\nxxx   y\n      z\n',
  );
  assert.deepEqual([0, 59.9, 61, 3600, 90_000, -5].map(formatDuration), ['0s', '59s', '1m1s', '1h0m', '1d1h', '0s']);
});

test('speaker: a file that cannot be read is named, with what to do', async () => {
  for (const file of ['/nonexistent/speaker.yaml', '/']) {
    const { code, err } = await run(['speaker', '--config', file]);
    assert.equal(code, 2);
    assert.ok(err.includes(`file ${file}: cannot be read`), err);
    assert.match(err, /give an existing file with --config/);
  }
});
