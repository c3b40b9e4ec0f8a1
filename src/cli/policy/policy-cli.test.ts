import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Run, run as runCommand } from '../cli-run.ts';

const run = (...args: readonly string[]): Promise<Run> => runCommand(['policy', ...args]);

const workload = (kind: string, name: string, port: string): string => `
apiVersion: apps/v1
kind: ${kind}
metadata: { name: ${name}, namespace: shop }
spec:
  template:
    metadata: { labels: { app: ${name} } }
    spec: { containers: [{ name: c, image: i, ports: [${port}] }] }`;
const pod = (namespace: string, name: string, address: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: { app: ${name} } }
spec: { nodeName: n1, containers: [{ name: c, image: i, ports: [{ containerPort: 80 }, { containerPort: 53, protocol: UDP }] }] }
status: { phase: Running, podIP: ${address}, podIPs: [{ ip: ${address} }] }`;
const db = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: web } } }]
      ports: [{ port: sql }]`;
const shop = [
  workload('Deployment', 'web', '{ name: http, containerPort: 8080 }'),
  workload('StatefulSet', 'db', '{ name: sql, containerPort: 5432 }'),
  pod('ops', 'monitor', '10.1.0.1'),
  db,
  `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: { name: no-ssh }
spec:
  tier: Admin
  priority: 10
  subject: { namespaces: {} }
  ingress: [{ action: Deny, from: [{ namespaces: {} }], protocols: [{ tcp: { destinationPort: { number: 22 } } }] }]`,
];

function files(t: TestContext, contents: Readonly<Record<string, string>>): (name: string) => string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-policy-cli-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(contents)) fs.writeFileSync(path.join(folder, name), text);
  return (name) => path.join(folder, name);
}

const shopFile = (t: TestContext) => files(t, { 'shop.yaml': shop.join('\n---\n') })('shop.yaml');

test('explain: walks tiers to the rule that decides; exit code 1 for a denial', async (t) => {
  const file = shopFile(t);
  const allowed = await run('explain', '-f', file, 'shop/web', 'shop/db');
  assert.equal(allowed.code, 0);
  for (const text of [
    /^shop\/web \(10\.244\.0\.2\) -> shop\/db \(10\.244\.0\.1\) {2}TCP 5432: allowed$/m,
    /^Egress of shop\/web: allowed, no policy selects it in this direction$/m,
    /^ {6}1\. deny TCP 22 from all pods in every namespace .* no match$/m,
    /^ {6}1\. allow TCP port "sql" \(5432\) from pods app == 'web' .* <= allowed$/m,
    /^IPv6 .*: the same$/m,
  ]) {
    assert.match(allowed.out, text);
  }
  assert.match(allowed.err, /2 pods have no address yet/);
  const denied = await run('explain', '-f', file, 'ops/monitor', 'shop/db', '5432');
  assert.equal(denied.code, 1);
  assert.match(denied.out, /: DENIED\n {2}because ingress of shop\/db is denied: policies of tier default select it/);
  assert.match(denied.out, /what no rule decided +<= DENIED/);
  assert.doesNotMatch(denied.out, /IPv6/);
  const [json] = JSON.parse(
    (await run('explain', '-f', file, '-n', 'shop', 'monitor.example=192.0.2.7', 'db', '22', '-o', 'json')).out,
  );
  assert.equal(json.from.id, 'ext:monitor.example');
  assert.equal(json.explanation.directions[0].verdict.tier, 'default');
});

test('explain: what is not there is said with what would be', async (t) => {
  const file = shopFile(t);
  for (const [args, message] of [
    [['shop/w', 'shop/db'], /there is no pod shop\/w; did you mean shop\/web\?/],
    [['shop/none', 'shop/db'], /there is no pod shop\/none; write NAMESPACE\/POD/],
    [['shop/web', 'shop/db', '0'], /"0" is no port: write 80, 80\/TCP/],
    [['shop/web', '192.0.2.1'], /does not say which ports it serves: give one/],
    [['ops/monitor', 'x.example=2001:db8::1', '80'], /have no addresses of one family/],
    [['node:n9', 'shop/db'], /there is no node n9/],
  ] as const) {
    const { code, err } = await run('explain', '-f', file, ...args);
    assert.equal(code, 2, args.join(' '));
    assert.match(err, message);
  }
  assert.match((await run('matrix')).err, /give manifests with -f, or --live/);
  assert.match((await run('explain', 'a/b', 'a/c')).err, /give the port, as in 80\/TCP/);
  assert.equal((await run('explain', '--socket', '/none', 'a/b', 'a/c', '80')).code, 3);
  assert.equal((await run('explain', '-f', '/none/of/it', 'a/b', 'a/c')).code, 2);
});

test('matrix: a table, lines as of a probe, a page; selections', async (t) => {
  const file = shopFile(t);
  const { code, out } = await run('matrix', '-f', file, '--with', 'net=192.0.2.1');
  assert.equal(code, 0);
  assert.deepEqual(out.split('\n').slice(0, 5), [
    '   from \\ to     1  2  3',
    ' 1 ops/monitor   +  .  +',
    ' 2 shop/db       +  +  +',
    ' 3 shop/web      +  +  +',
    ' 4 ext:net       +  .  +',
  ]);
  const lines = JSON.parse((await run('matrix', '-f', file, '-o', 'json', '--from', 'ops/*', '--to', '*/db')).out);
  assert.deepEqual(lines, [
    { from: 'ops/monitor', to: 'shop/db', protocol: 'TCP', port: 5432, family: 'ipv4', verdict: 'deny' },
  ]);
  const classes = JSON.parse((await run('matrix', '-f', file, '-o', 'json', '--by-class', '-p', '22')).out);
  assert.equal(classes.classes.flatMap(({ members }: { members: string[] }) => members).length, 3);
  assert.ok(
    classes.results.some(({ port, verdict }: { port: number; verdict: string }) => port === 22 && verdict === 'deny'),
  );
  const page = (await run('matrix', '-f', file, '-o', 'html')).out;
  assert.match(page, /^<!doctype html>/);
  assert.match(page, /class="none" title="ops\/monitor to shop\/db\nTCP 5432 ipv4: deny"/);
  assert.match((await run('matrix', '-f', file, '--from', 'x')).err, /no source is left of 3 pods/);
});

const closing = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec: { podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: {} }] }] }`;

test('diff: pairs and recorded flows that change; exit code 1 when any does', async (t) => {
  const flow = (pod: string, address: string, packets: number, protocol = 'TCP', port = 8080): string =>
    JSON.stringify({
      source: { address, pod },
      destination: { address: '10.244.0.2', port, pod: 'shop/web' },
      protocol,
      packets,
    });
  const file = files(t, {
    'old.yaml': shop.join('\n---\n'),
    'new.yaml': closing,
    'flows.jsonl': [
      flow('ops/monitor', '10.1.0.1', 5),
      flow('shop/db', '10.244.0.1', 2),
      flow('a/b', '192.0.2.9', 4, 'ICMP'),
      flow('a/b', '192.0.2.9', 1, 'TCP', 0),
      flow('ops/monitor', '10.1.0.9', 7).replace('{', '{"verdict":"dropped",'),
    ].join('\n'),
    'broken.jsonl': '{"source": 1}\n',
  });
  const { code, out } = await run(
    'diff',
    '-f',
    file('new.yaml'),
    '-f',
    file('old.yaml'),
    '--merge',
    '--flows',
    file('flows.jsonl'),
  );
  assert.equal(code, 1);
  assert.match(out, /^ops\/monitor +shop\/web +TCP 8080 +ipv4 +allow -> DENY +1$/m);
  assert.match(out, /^0 pairs opened, 1 closed, /m);
  assert.match(out, /^ops\/monitor +shop\/web +TCP 8080 +allow -> DENY +5 +end of tier default$/m);
  assert.match(out, /^recorded packets: 5 change, 2 do not, 3 left out \(without ports, or dropped by no policy\)$/m);
  const same = await run('diff', '-f', file('old.yaml'), '-f', file('old.yaml'));
  assert.equal(same.code, 0);
  assert.match(same.out, /^No pair of pods changes its verdict\.\n0 pairs opened, 0 closed/);
  const unmerged = await run('diff', '-f', file('new.yaml'), '-f', file('old.yaml'));
  assert.equal(unmerged.code, 2);
  assert.match(unmerged.err, /holds no pod.*give --merge/);
  const broken = await run('diff', '-f', file('old.yaml'), '-f', file('old.yaml'), '--flows', file('broken.jsonl'));
  assert.equal(broken.code, 2);
  assert.match(broken.err, /broken\.jsonl:1: no flow/);
});

const stagedClosing = `
apiVersion: projectcalico.org/v3
kind: StagedKubernetesNetworkPolicy
metadata: { name: web, namespace: shop }
spec: { podSelector: { matchLabels: { app: web } }, ingress: [{ from: [{ podSelector: {} }] }] }`;

test('--staged: explain and diff as if the staged policies were in force', async (t) => {
  const file = files(t, {
    'shop.yaml': [...shop, stagedClosing].join('\n---\n'),
    'flows.jsonl': JSON.stringify({
      source: { address: '10.1.0.1', pod: 'ops/monitor' },
      destination: { address: '10.244.0.2', port: 8080, pod: 'shop/web' },
      protocol: 'TCP',
      packets: 5,
    }),
  });
  const explain = (...args: readonly string[]) => run('explain', '-f', file('shop.yaml'), ...args);
  const inForce = await explain('ops/monitor', 'shop/web', '8080');
  assert.equal(inForce.code, 0);
  assert.doesNotMatch(inForce.out, /[Ss]taged/);
  const would = await explain('ops/monitor', 'shop/web', '8080', '--staged');
  assert.equal(would.code, 1);
  assert.match(would.out, /TCP 8080: DENIED with the staged policies, allowed by what is in force\n/);
  assert.match(would.out, /^ {4}StagedKubernetesNetworkPolicy:shop\/web$/m);
  assert.match(would.out, /^ {4}what no rule decided +<= DENIED$/m);
  const [json] = JSON.parse((await explain('shop/db', 'shop/web', '8080', '--staged', '-o', 'json')).out);
  assert.deepEqual([json.explanation.verdict, json.staged], ['allow', { inForce: 'allow' }]);

  const flows = ['--flows', file('flows.jsonl')];
  const { code, out } = await run('diff', '--staged', '-f', file('shop.yaml'), ...flows);
  assert.equal(code, 1);
  assert.match(out, /^ops\/monitor +shop\/web +TCP 8080 +ipv4 +allow -> DENY +1$/m);
  assert.match(out, /^0 pairs opened, 1 closed, /m);
  assert.match(out, /^ops\/monitor +shop\/web +TCP 8080 +allow -> DENY +5 +end of tier default$/m);
  assert.match((await run('diff')).err, /give -f once for the new manifests, and once more for the old; or --staged/);
  assert.match((await run('diff', '--staged')).err, /give manifests with -f, or --live/);
  assert.match((await run('diff', '--staged', '--merge', '-f', file('shop.yaml'))).err, /exclude each other/);
});

test('lint: exit codes for CI', async (t) => {
  const file = files(t, {
    'good.yaml': shop.slice(0, 4).join('\n---\n'),
    'warned.yaml': [...shop, closing.replace('app: web', 'app: gone')].join('\n---\n'),
    'invalid.yaml': closing.replace('ingress', 'ingres'),
  });
  const good = await run('lint', '-f', file('good.yaml'));
  assert.deepEqual([good.code, good.out], [0, 'Nothing is found.\n']);
  const warned = await run('lint', '-f', file('warned.yaml'));
  assert.equal(warned.code, 1);
  assert.match(
    warned.out,
    /^WARNING +selects-nothing +NetworkPolicy:shop\/web +selects no pod \(app == 'gone' in namespace shop\)/m,
  );
  assert.equal((await run('lint', '-f', file('warned.yaml'), '--fail-on', 'error')).code, 0);
  const invalid = await run('lint', '-f', file('invalid.yaml'), '--fail-on', 'error', '-o', 'json');
  assert.equal(invalid.code, 1);
  assert.equal(JSON.parse(invalid.out).errors.length, 1);
});

test('services of manifests have endpoints: of workloads, at their target ports', async (t) => {
  const service = `
apiVersion: v1
kind: Service
metadata: { name: front, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: http }] }`;
  const toFront = (name: string): string => `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: { name: out, namespace: shop }
spec:
  selector: app == 'db'
  egress: [{ action: Allow, destination: { services: { name: ${name} } } }]`;
  const workloads = [
    workload('Deployment', 'web', '{ name: http, containerPort: 8080 }'),
    workload('StatefulSet', 'db', '{ name: sql, containerPort: 5432 }'),
  ];
  const file = files(t, {
    'front.yaml': [...workloads, service, toFront('front')].join('\n---\n'),
    'back.yaml': [...workloads, service, toFront('back')].join('\n---\n'),
  });
  const folder = file('front.yaml');
  const explain = (port: string) => run('explain', 'shop/db', 'shop/web', port, '-f', folder);
  assert.equal((await explain('8080/tcp')).code, 0);
  assert.match((await explain('8080/tcp')).out, /service shop\/front \(TCP 8080 at 2 addresses\)/);
  assert.equal((await explain('80/tcp')).code, 1);
  assert.equal((await run('lint', '-f', folder)).code, 0);
  const without = file('back.yaml');
  const lint = await run('lint', '-f', without);
  assert.equal(lint.code, 1);
  assert.match(lint.out, /service shop\/back has no EndpointSlice/);
  const { code, out } = await run('diff', '-f', without, '-f', folder);
  assert.equal(code, 1);
  assert.match(out, /shop\/db +shop\/web +TCP 8080/);
});
