/** What a runtime, an operator with a typo, or an attacker may send: the specification's codes, JSON on stdout, nothing left behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import { test } from 'node:test';
import { AF_NETLINK, AF_UNIX, inNetns, libc, MessageBuffer, newSocket, SOCK_STREAM, sockaddrUn } from '#sys';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';
import { netConf, netnsPath, podEnvironment, shimPath, startNode, type TestNode } from './cni-support.ts';

const here = needs({ root: true, commands: ['gcc', 'nsenter', 'setpriv'] });
const SOCK_RAW = 3;

test('each bad call gets its code and leaves nothing', here, async (t) => {
  const node = await startNode(t);
  const pod = node.newPod();
  const good = podEnvironment('ADD', 'a', pod);
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
  const table: readonly (readonly [
    what: string,
    code: number,
    message: RegExp,
    environment: Record<string, string>,
    stdin: unknown,
  ])[] = [
    ['stdin that is empty', 6, /no JSON/, good, ''],
    ['stdin that is cut off', 6, /no JSON/, good, '{"cniVersion":"1.0.0","name":"po'],
    ['stdin that is a list', 6, /no JSON object/, good, '[]'],
    ['a version of the future', 1, /9\.0\.0.*0\.3\.1, 0\.4\.0, 1\.0\.0, 1\.1\.0/, good, netConf('9.0.0')],
    ['an old version', 1, /0\.2\.0/, good, netConf('0.2.0')],
    ['no version', 1, /absent/, good, { name: 'poplin', type: 'poplin' }],
    ['an unknown command', 4, /CNI_COMMAND must be/, { ...good, CNI_COMMAND: 'PAINT' }, netConf()],
    ['a command of Object.prototype', 4, /CNI_COMMAND must be/, { ...good, CNI_COMMAND: 'constructor' }, netConf()],
    ['GC before 1.1.0', 1, /GC is not part of CNI 1\.0\.0/, { CNI_COMMAND: 'GC' }, netConf('1.0.0')],
    ['STATUS before 1.1.0', 1, /STATUS is not part/, { CNI_COMMAND: 'STATUS' }, netConf('0.4.0')],
    ['no container', 4, /CNI_CONTAINERID is required/, without('CNI_CONTAINERID'), netConf()],
    ['a container with a path', 4, /CNI_CONTAINERID must/, { ...good, CNI_CONTAINERID: '../../etc' }, netConf()],
    [
      'a container longer than a file name',
      4,
      /CNI_CONTAINERID must not/,
      { ...good, CNI_CONTAINERID: 'a'.repeat(300) },
      netConf(),
    ],
    ['no interface', 4, /CNI_IFNAME is required/, without('CNI_IFNAME'), netConf()],
    ['an interface of 16 characters', 4, /15 bytes/, { ...good, CNI_IFNAME: 'a'.repeat(16) }, netConf()],
    ['an interface with a slash', 4, /CNI_IFNAME/, { ...good, CNI_IFNAME: 'a/b' }, netConf()],
    ['an interface with a colon', 4, /CNI_IFNAME/, { ...good, CNI_IFNAME: 'a:b' }, netConf()],
    ['an interface with a blank', 4, /CNI_IFNAME/, { ...good, CNI_IFNAME: 'a b' }, netConf()],
    ['an interface called ..', 4, /CNI_IFNAME/, { ...good, CNI_IFNAME: '..' }, netConf()],
    ['no namespace', 4, /CNI_NETNS is required/, without('CNI_NETNS'), netConf()],
    [
      'a namespace that is gone',
      3,
      /CNI_NETNS .*No such file/,
      { ...good, CNI_NETNS: '/run/netns/no-such' },
      netConf(),
    ],
    ['a namespace that is a file', 4, /CNI_NETNS .*setns/, { ...good, CNI_NETNS: '/etc/hostname' }, netConf()],
    ["the node's own namespace", 4, /node's own/, { ...good, CNI_NETNS: netnsPath(node.namespace) }, netConf()],
    ['no pod', 4, /K8S_POD_NAMESPACE is absent/, without('CNI_ARGS'), netConf()],
    ['a pod with a path', 4, /K8S_POD_NAME/, { ...good, CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_NAME=../b' }, netConf()],
    ['arguments that are no pairs', 4, /KEY=VALUE/, { ...good, CNI_ARGS: 'K8S_POD_NAMESPACE' }, netConf()],
    ['no network name', 7, /"name"/, good, { cniVersion: '1.1.0', type: 'poplin' }],
    ['a network name with a slash', 7, /"name"/, good, { cniVersion: '1.1.0', name: 'a/b', type: 'poplin' }],
    ['no type', 7, /"type"/, good, { cniVersion: '1.1.0', name: 'poplin' }],
    ['an MTU that is text', 7, /"mtu"/, good, { ...netConf(), mtu: '1500' }],
    ['an MTU of 10', 7, /"mtu"/, good, { ...netConf(), mtu: 10 }],
    ['a prevResult that is a number', 7, /"prevResult"/, good, { ...netConf(), prevResult: 3 }],
    ['a prevResult with wrong lists', 7, /prevResult\.ips/, good, { ...netConf(), prevResult: { ips: 'x' } }],
  ];
  for (const [what, code, message, environment, stdin] of table) {
    const result = await node.call(environment, stdin);
    assert.deepEqual([result.code, result.json?.code], [1, code], `${what}: ${result.stdout}`);
    assert.match(`${result.json?.msg} ${result.json?.details}`, message, what);
    assert.match(result.json?.cniVersion ?? '', /^(0\.3\.1|0\.4\.0|1\.0\.0|1\.1\.0)$/, what);
  }
  assert.equal((await node.call(without('CNI_COMMAND'), netConf())).json?.code, 4);
  await assertNothingLeft(node);
});

test('the interface name taken by somebody else in the pod: refused, and nothing of ours stays', here, async (t) => {
  const node = await startNode(t);
  const pod = node.newPod();
  const made = spawnSync('nsenter', [
    `--net=${netnsPath(pod)}`,
    'ip',
    'link',
    'add',
    'eth0',
    'type',
    'veth',
    'peer',
    'name',
    'other',
  ]);
  assert.equal(made.status, 0);
  const result = await node.add('a', pod);
  assert.equal(result.json?.code, 100);
  assert.match(result.json?.msg ?? '', /EEXIST/);
  await assertNothingLeft(node);
});

test('policy that cannot be put in force, or not in time, makes ADD fail with nothing left', here, async (t) => {
  const node = await startNode(t, { policyWaitMs: 50, podWaitMs: 50 });
  await node.set('policy', 'fail');
  const failed = await node.add('a', node.newPod());
  assert.deepEqual([failed.json?.code, failed.json?.details], [11, 'iptables-restore said no']);
  await node.set('policy', 'hang');
  const late = await node.add('a', node.newPod());
  assert.equal(late.json?.code, 11);
  assert.match(
    late.json?.msg ?? '',
    /policy of Pod default\/pod-a could not be put in force within 0\.05 s; try again/,
  );
  await node.set('policy', 'ok');
  await node.set('pods', 'unknown');
  const unknown = await node.add('a', node.newPod());
  assert.equal(unknown.json?.code, 11);
  assert.match(unknown.json?.msg ?? '', /Pod default\/pod-a with UID uid-a has not come .* try again/);
  await assertNothingLeft(node);
});

test('only root is served', here, async (t) => {
  const node = await startNode(t);
  // The directory alone keeps others out; open both to see that the socket does as well.
  fs.chmodSync(node.directory, 0o755);
  for (const path of [`${node.directory}/run`, `${node.directory}/run/cni`]) fs.chmodSync(path, 0o755);
  fs.chmodSync(node.paths.socketPath, 0o777);
  const shim = `${node.directory}/shim`;
  fs.copyFileSync(shimPath(), shim);
  const run = spawnSync('setpriv', ['--reuid=65534', '--clear-groups', shim], {
    env: { CNI_COMMAND: 'STATUS', POPLIN_CNI_SOCKET: node.paths.socketPath },
    input: JSON.stringify(netConf()),
    encoding: 'utf8',
  });
  const answer = JSON.parse(run.stdout) as { code: number; msg: string };
  assert.deepEqual([run.status, answer.code], [1, 102]);
  assert.match(answer.msg, /uid 65534 may not/);
});

test('callers that send rubbish, half a request or too many descriptors harm nobody', here, async (t) => {
  const node = await startNode(t);
  const before = descriptorsOf(node);
  const length = (bytes: number): Buffer => {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(bytes);
    return word;
  };
  const hostile = [
    length(0xffffffff),
    Buffer.concat([length(3), Buffer.from('abc')]),
    Buffer.concat([length(2), Buffer.from('abcdef')]),
  ];
  for (const bytes of hostile) {
    const socket = net.connect(node.paths.socketPath);
    socket.on('error', () => undefined);
    socket.write(bytes);
    await new Promise((resolve) => socket.once('close', resolve).resume());
  }
  const address = sockaddrUn(node.paths.socketPath);
  const message = new MessageBuffer(64, 8);
  const crowd = newSocket(AF_UNIX, SOCK_STREAM);
  assert.equal(libc.connect(crowd.number, address, address.length), 0);
  message.data.writeUInt32LE(100);
  message.send(crowd.number, 4, [0, 0, 0, 0, 0, 0]);
  await until(() => message.receive(crowd.number).result === 0, { what: 'the agent to hang up', intervalMs: 2 });
  crowd.close();
  assert.equal((await node.add('a', node.newPod())).code, 0);
  await until(() => descriptorsOf(node) === before, { what: `${before} descriptors as before`, intervalMs: 5 });
});

test('a netlink socket of another namespace than the one passed is refused', here, async (t) => {
  const node = await startNode(t);
  const pod = node.newPod();
  // Made in the node's namespace: an agent that believed it would configure the node.
  const foreign = inNetns(node.namespace, () => newSocket(AF_NETLINK, SOCK_RAW, 0));
  t.after(() => foreign.close());
  const environment = Object.entries(podEnvironment('ADD', 'a', pod)).map(([key, value]) => `${key}=${value}\0`);
  const body = Buffer.from(`${environment.join('')}\0${JSON.stringify(netConf())}`);
  const caller = newSocket(AF_UNIX, SOCK_STREAM);
  t.after(() => caller.close());
  const address = sockaddrUn(node.paths.socketPath);
  assert.equal(libc.connect(caller.number, address, address.length), 0);
  const message = new MessageBuffer(4096, 2);
  message.data.writeUInt32LE(body.length);
  body.copy(message.data, 4);
  message.send(caller.number, 4 + body.length, [pod.number, foreign.number]);
  const answer = await until(
    () => {
      const { result } = message.receive(caller.number);
      return result > 8 ? message.data.toString('utf8', 8, result) : undefined;
    },
    { what: 'an answer', intervalMs: 2 },
  );
  assert.match(answer, /socket of another namespace/);
  await assertNothingLeft(node);
});

function descriptorsOf(node: TestNode): number {
  return fs.readdirSync(`/proc/${node.agentPid()}/fd`).length;
}

async function assertNothingLeft(node: TestNode): Promise<void> {
  const report = await node.report();
  assert.deepEqual(node.leftovers(), { links: [], routes: [] });
  assert.deepEqual([report.usage[0]?.used, report.attached, node.files('.intent', '.json', '.tmp')], [0, [], []]);
}
