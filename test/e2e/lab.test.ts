/** A lab's life: several at once, changes while it runs, a crash, wrong input; and the command line over it. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { apply, type Lab, LabError, openLab, probe, up } from '#lab';
import { exec } from '#sys';
import { labName, podDocument, removeLab, smallTopology, withLab } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset'], provided: ['bird', 'cniShim'] });
const cli = path.join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');
const quiet = { say: () => undefined };

function poplin(args: readonly string[]): ReturnType<typeof exec> {
  return exec(process.execPath, [cli, ...args]);
}

function namespaces(lab: Lab): string[] {
  return fs.readdirSync('/run/netns').filter((name) => name.startsWith(lab.paths.netnsPrefix));
}

function writeScratch(t: { after(fn: () => void): void }, text: string): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-lab-'));
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, 'm.yaml');
  fs.writeFileSync(file, text);
  return file;
}

const twoPods =
  podDocument({ namespace: 'a', name: 'x', node: 'n1' }) + podDocument({ namespace: 'a', name: 'y', node: 'n2' });
const denyAll = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: a, name: deny }
spec: { podSelector: { matchLabels: { shut: "yes" } }, policyTypes: [Ingress] }
`;

/** `x>y` for each ordered pair of different pods of which every probe passed. */
async function open(lab: Lab): Promise<string> {
  const { results } = await probe(lab);
  const pairs = Map.groupBy(results, ({ from, to }) => `${from.slice(2)}>${to.slice(2)}`);
  return [...pairs]
    .filter(([pair, of]) => pair[0] !== pair.at(-1) && of.every(({ verdict }) => verdict === 'allow'))
    .map(([pair]) => pair)
    .sort()
    .join(' ');
}

test('manifests applied to a running lab take effect; pruned pods are unwired', mayRun, async (t) => {
  await withLab(smallTopology + twoPods + denyAll, async (lab) => {
    await until(async () => (await open(lab)) === 'x>y y>x', {
      what: 'both pods to reach each other',
      deadlineMs: 60_000,
    });
    const shut = twoPods.replace('"name":"y","labels":{}', '"name":"y","labels":{"shut":"yes"}');
    const { changed } = await apply(lab, [writeScratch(t, shut)], quiet);
    assert.deepEqual(changed, ['Pod/a/y']);
    await until(async () => (await open(openLab(lab.paths.name))) === 'y>x', {
      what: 'the label to shut y',
      deadlineMs: 10_000,
    });

    const third = podDocument({ namespace: 'a', name: 'z', node: 'n1' });
    const file = writeScratch(t, smallTopology + third + podDocument({ namespace: 'a', name: 'x', node: 'n1' }));
    const before = openLab(lab.paths.name).state.pods.find(({ name }) => name === 'x');
    const { removed } = await apply(openLab(lab.paths.name), [file], { ...quiet, prune: true });
    assert.deepEqual([...removed].sort(), ['NetworkPolicy/a/deny', 'Pod/a/y']);
    const after = openLab(lab.paths.name);
    assert.deepEqual(after.state.pods.map(({ name }) => name).sort(), ['x', 'z']);
    assert.deepEqual(
      after.state.pods.find(({ name }) => name === 'x'),
      before,
    );
    assert.ok(!namespaces(after).some((name) => name.endsWith('.y')));
    await until(async () => (await open(after)) === 'x>z z>x', {
      what: 'the new pod to be reached',
      deadlineMs: 10_000,
    });
  });
});

test('two labs of the same topology run at once and do not meet; ending one leaves the other', mayRun, async () => {
  await withLab(smallTopology + twoPods, async (first) => {
    await withLab(smallTopology + twoPods, async (second) => {
      for (const lab of [first, second]) {
        await until(async () => (await open(lab)) === 'x>y y>x', {
          what: `pods of ${lab.paths.name}`,
          deadlineMs: 60_000,
        });
      }
      await assert.rejects(
        up({ name: second.paths.name, files: [writeFileFor(second)], ...quiet }),
        (error) => error instanceof LabError && error.code === 'LAB_EXISTS',
      );
    });
    assert.equal(await open(first), 'x>y y>x');
  });
});

function writeFileFor(lab: Lab): string {
  const file = path.join(lab.paths.directory, 'again.yaml');
  fs.writeFileSync(file, smallTopology + twoPods);
  return file;
}

test('a crashed lab, its state file damaged and its processes still running, is cleaned by down', mayRun, async (t) => {
  const name = labName();
  t.after(() => removeLab(name));
  const lab = await up({ name, files: [writeScratch(t, smallTopology + twoPods)], ...quiet });
  const inside = lab.state.processes.filter(({ role }) => role !== 'prober');
  const alive = (): number[] => inside.filter(({ pid }) => fs.existsSync(`/proc/${pid}/ns/net`)).map(({ pid }) => pid);
  assert.equal(alive().length, 3);
  process.kill(lab.state.processes.find(({ role }) => role === 'prober')!.pid, 'SIGKILL');
  fs.writeFileSync(lab.paths.stateFile, '{"topology"');
  const damaged = await poplin(['lab', 'status', '--name', name]);
  assert.equal(damaged.code, 1);
  assert.match(damaged.stderr, /lab\.json is damaged .*poplin lab down/);
  const { code, stdout } = await poplin(['lab', 'down', '--name', name]);
  assert.equal(code, 0, stdout);
  await until(() => alive().length === 0, { what: 'agents and routers to be gone' });
  assert.deepEqual(namespaces(lab), []);
  assert.equal(fs.existsSync(lab.paths.directory), false);
  const again = await poplin(['lab', 'down', '--name', name]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, new RegExp(`no lab named ${name}`));
});

test('wrong input is refused with file and line, and nothing is left behind', mayRun, async (t) => {
  const name = labName();
  t.after(() => removeLab(name));
  const file = writeScratch(t, `${smallTopology}${twoPods.replace('"nodeName":"n2"', '"nodeName":"n7"')}`);
  const { code, stderr } = await poplin(['lab', 'up', '--name', name, '-f', file]);
  assert.equal(code, 2);
  assert.match(stderr, /m\.yaml:\d+: Pod a\/y: spec\.nodeName "n7" is no node of the topology \(n1, n2\)/);
  assert.equal(fs.existsSync(`/run/poplin-lab/${name}`), false);
});

test('probe -o json, exec and status on the command line', mayRun, async () => {
  await withLab(smallTopology + twoPods, async (lab) => {
    const { name } = lab.paths;
    await until(async () => (await open(lab)) === 'x>y y>x', {
      what: 'both pods to reach each other',
      deadlineMs: 60_000,
    });
    const probed = await poplin(['lab', 'probe', '--name', name, '-o', 'json', '--include', 'hosts']);
    const rows = JSON.parse(probed.stdout) as unknown[];
    assert.deepEqual(rows[0], { from: 'a/x', to: 'a/x', protocol: 'TCP', port: 80, family: 'ipv4', verdict: 'allow' });
    assert.equal(rows.length, 3 * (1 + 1 + 2) * 2);
    assert.ok(rows.some((row) => (row as { from: string }).from === 'ext:outside'));
    const inPod = await poplin(['lab', 'exec', '--name', name, 'a/x', '--', 'ip', '-o', 'addr', 'show', 'dev', 'eth0']);
    assert.match(inPod.stdout, new RegExp(lab.state.pods[0]!.addresses[0]!.replaceAll('.', '\\.')));
    assert.equal((await poplin(['lab', 'exec', '--name', name, 'n1', '--', 'sh', '-c', 'exit 7'])).code, 7);
    assert.equal((await poplin(['lab', 'exec', '--name', name, 'nobody', '--', 'true'])).code, 2);
    // Pods reach each other over the router, too, before the nodes have a session.
    const meshed = async (): Promise<true> => {
      const ofAgent = await poplin(['lab', 'exec', '--name', name, 'n1', '--', 'poplin', 'bgp', 'peers']);
      assert.equal(ofAgent.code, 0, ofAgent.stderr);
      assert.match(ofAgent.stdout, /mesh\/n2 .*Established/);
      return true;
    };
    await until(meshed, { what: 'the session with n2 to be shown', deadlineMs: 60_000 });
    const status = await poplin(['lab', 'status', '--name', name, '-o', 'json']);
    assert.equal(status.code, 0);
    assert.equal((JSON.parse(status.stdout) as { pods: unknown[] }).pods.length, 2);
  });
});
