/** A real agent process by itself: broken manifests, locks, exhausted addresses, health. */
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';
import { LoneAgent } from '../support/lone-agent.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset', 'nft'], provided: ['cniShim'] });

const CNI_TRY_AGAIN = 11;
const CNI_NOT_AVAILABLE = 50;

/** `endPort` without a number below it: never valid. */
const neverValid = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: default, name: odd }
spec:
  podSelector: {}
  ingress:
    - ports: [{ port: 99999 }]
`;
const valid = neverValid.replace('99999', '80');

function get(socketPath: string, route: string): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    http
      .get({ socketPath, path: route, agent: false }, (response) => {
        let body = '';
        response.on('data', (data) => {
          body += String(data);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      })
      .on('error', reject);
  });
}

test(
  'an object that was never valid: out of sync, ADD refused with the reason, kernel untouched; mended: all goes',
  mayRun,
  async (t) => {
    const node = await LoneAgent.node(t);
    node.write('odd.yaml', neverValid);
    node.writePod('x');
    await node.makePodNetns('x');
    const before = await node.kernel();
    node.start();
    const where = path.join(node.manifests, 'odd.yaml:7');
    await until(async () => (await node.status()).problems.some((problem) => problem.startsWith(where)), {
      what: `the fault at ${where} in the status`,
      deadlineMs: 20_000,
    });
    const refused = await node.cni('ADD', 'x');
    assert.equal(refused.code, CNI_TRY_AGAIN, refused.message);
    assert.match(refused.message, /not in sync: NetworkPolicy default\/odd: never valid, see .*odd\.yaml:7/);
    assert.equal((await node.cni('STATUS')).code, CNI_NOT_AVAILABLE);
    assert.equal(await node.kernel(), before, 'nothing is written to the kernel');
    const ready = await get(node.socket, '/readyz');
    assert.equal(ready.status, 503);
    assert.match(ready.body, /datastore: .*NetworkPolicy default\/odd: never valid/);
    assert.equal((await get(node.socket, '/healthz')).status, 200);
    const shown = await node.poplin('status');
    assert.equal(shown.code, 1, shown.stdout);
    assert.match(
      shown.stdout,
      /odd\.yaml:7:\d+: NetworkPolicy default\/odd: spec\.ingress\[0\]\.ports\[0\]\.port: .*99999/,
    );

    await node.kill();
    node.start();
    await until(async () => (await node.status()).datastore.waitingFor.length > 0, {
      what: 'the same after a restart',
    });
    assert.equal((await node.cni('ADD', 'x')).code, CNI_TRY_AGAIN);
    assert.equal(await node.kernel(), before);

    node.write('odd.yaml', valid);
    await node.untilReady();
    const added = await node.cni('ADD', 'x');
    assert.equal(added.exitCode, 0, added.message);
    assert.equal(added.addresses.length, 2);
    assert.equal((await get(node.socket, '/readyz')).status, 200);
    assert.equal((await node.poplin('status')).code, 0);
  },
);

test(
  'what was valid stays in force when it breaks, over a SIGKILL and a restart, as does a file that does not parse',
  mayRun,
  async (t) => {
    const node = await LoneAgent.node(t);
    node.write('odd.yaml', valid);
    node.writePod('x');
    node.writePod('y');
    node.start();
    await node.untilReady();
    await node.makePodNetns('x');
    assert.equal((await node.cni('ADD', 'x')).exitCode, 0);
    const rules = async (): Promise<string> =>
      JSON.stringify(JSON.parse((await node.poplin('policy', 'show', 'default/x', '-o', 'json')).stdout));
    const inForce = await rules();
    assert.match(inForce, /default\/odd/);
    const before = await node.kernel();

    node.write('odd.yaml', neverValid);
    node.write('pod-y.yaml', 'kind: Pod\n  metadata: [');
    const bothSeen = async (): Promise<boolean> => {
      const { problems, datastore } = await node.status();
      assert.equal(datastore.objects['NetworkPolicy'], 1);
      assert.equal(datastore.objects['Pod'], 2);
      return (
        problems.some((one) => one.startsWith(`${node.manifests}/odd.yaml:7`)) &&
        problems.some((one) => /pod-y\.yaml:\d+/.test(one))
      );
    };
    await until(bothSeen, { what: 'both faults in the status', deadlineMs: 5_000 });
    assert.equal(await rules(), inForce);
    await node.kill();
    node.start();
    await node.untilReady();
    assert.ok(await bothSeen());
    assert.equal(await rules(), inForce);
    assert.equal(await node.kernel(), before);
    await node.makePodNetns('y');
    assert.equal((await node.cni('ADD', 'y')).exitCode, 0, 'the Pod of the broken file is still known');
  },
);

test(
  'a second agent is refused with exit code 4, by run directory and by network namespace, and told who holds it',
  mayRun,
  async (t) => {
    const node = await LoneAgent.ready(t);
    const same = await node.poplin('agent', '--config', node.config);
    assert.equal(same.code, 4, same.stderr);
    assert.match(same.stderr, new RegExp(`process ${node.pid} holds .*agent\\.lock`));
    const elsewhere = path.join(node.directory, 'second');
    const directories = ['--run-dir', path.join(elsewhere, 'run'), '--state-dir', path.join(elsewhere, 'state')];
    for (const command of ['agent', 'cleanup']) {
      const other = await node.poplin(command, '--config', node.config, ...directories);
      assert.equal(other.code, 4, other.stderr);
      assert.match(
        other.stderr,
        new RegExp(`network namespace: process ${node.pid} with run directory ${node.directory}/run`),
      );
    }
    assert.ok((await node.status()).ready.ok);
    // Taken back as soon as the holder is dead, however it died.
    await node.kill();
    node.start();
    await node.untilReady();
  },
);

test('addresses exhausted: "try again" with the pool and its size; one DEL frees one', mayRun, async (t) => {
  const node = await LoneAgent.ready(t, { podCIDRs: ['10.42.1.0/29', 'fd00:42:1::/64'] });
  const added: string[] = [];
  let refused = '';
  for (let i = 0; refused === '' && i < 10; i++) {
    const name = `p${i}`;
    node.writePod(name);
    await node.makePodNetns(name);
    const answer = await node.cni('ADD', name);
    if (answer.exitCode === 0) added.push(answer.addresses[0]!);
    else {
      assert.equal(answer.code, CNI_TRY_AGAIN, answer.message);
      refused = answer.message;
    }
  }
  assert.equal(new Set(added).size, added.length);
  assert.ok(added.length >= 5 && added.length <= 8, `${added.length} pods in a /29`);
  assert.match(refused, /10\.42\.1\.0\/29/);
  assert.match(refused, new RegExp(`\\b${added.length}\\b`));
  const last = `p${added.length}`;
  const links = (await node.inside('ip', '-o', 'link')).stdout.match(/ pop\w+/g) ?? [];
  assert.equal(links.length, added.length, 'the refused ADD left no interface');
  assert.equal((await node.cni('DEL', 'p0')).exitCode, 0);
  // Addresses rest for a while after use.
  await until(async () => (await node.cni('ADD', last)).exitCode === 0, {
    what: 'the freed address',
    deadlineMs: 60_000,
    intervalMs: 250,
  });
});

test('no secret reaches the log or the API', mayRun, async (t) => {
  const node = await LoneAgent.node(t, { config: { logLevel: 'debug' } });
  const secret = 'tell-nobody-7261';
  node.write(
    'peer.yaml',
    `apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: outside }
spec: { peerIP: 192.0.2.2, asNumber: 65001, password: { value: ${secret} } }
`,
  );
  node.write(
    'plain.yaml',
    `apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: plain }
spec: { peerIP: 192.0.2.3, asNumber: 65001, password: ${secret} }
`,
  );
  node.write(
    'broken.yaml',
    `kind: BGPPeer
spec: { password: { value: "${secret} } }
`,
  );
  node.start();
  const quiet = async (): Promise<void> => {
    for (const route of ['/v1/status', '/v1/datastore', '/v1/config', '/v1/bgp/peers', '/metrics']) {
      const { body } = await get(node.socket, route);
      assert.ok(!body.includes(secret), body);
    }
    assert.ok(!node.log.includes(secret), node.log);
  };
  await until(async () => (await node.status()).datastore.faults >= 3, { what: 'the faults', deadlineMs: 20_000 });
  await quiet();
  node.drop('plain.yaml');
  node.drop('broken.yaml');
  await until(async () => (await node.status()).bgp.peersConfigured === 1, { what: 'the peer', deadlineMs: 20_000 });
  await quiet();
  assert.ok(node.log.includes('poplin agent starts'));
});
