/** `poplin cleanup` leaves a node as it was before the first agent ran: links, routes, rules, next hops, tables, sets, settings. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { agentOf, type LabPaths, machineNetns, netnsPath, nodePaths, probe } from '#lab';
import { exec, inNetns, openNetns } from '#sys';
import { podDocument, smallTopology, withLab } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { until } from '../support/wait.ts';

const mayRun = needs({ root: true, commands: ['ip', 'iptables', 'ipset', 'nft'], provided: ['bird', 'cniShim'] });
const cli = path.join(import.meta.dirname, '..', '..', 'src', 'cli', 'main.ts');

const dumps = [
  ['ip', '-o', 'link'],
  ['ip', '-o', 'addr'],
  ['ip', 'rule'],
  ['ip', '-6', 'rule'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', 'nexthop'],
  ['ipset', 'save'],
  ['nft', 'list', 'ruleset'],
  ['xtables-legacy-multi', 'iptables-save'],
  ['xtables-legacy-multi', 'ip6tables-save'],
];

/** What the kernel of n1 holds, without handles, counters and comments that name the time. */
async function dump(lab: LabPaths): Promise<string> {
  const netns = netnsPath(machineNetns(lab, 'n1'));
  const texts: string[] = [];
  for (const command of dumps) {
    const { code, stdout, stderr } = await exec('nsenter', [`--net=${netns}`, ...command]);
    assert.equal(code, 0, `${command.join(' ')}: ${stderr}`);
    const text = stdout
      .replaceAll(/ expires \d+sec/g, '')
      .replaceAll(/^#.*\n/gm, '')
      .replaceAll(/ ?\[\d+:\d+\]/g, '')
      // A legacy table that was looked at once stays loaded, empty and accepting, as long as the namespace.
      .replaceAll(/^\*\w+\n(:[A-Z]+ ACCEPT\n)+COMMIT\n/gm, '')
      .replaceAll(/counter packets \d+ bytes \d+/g, '');
    texts.push(`== ${command.join(' ')}\n${text}`);
  }
  using namespace = openNetns(netns);
  const settings = inNetns(namespace, () => sysctlsBelow('/proc/sys/net'));
  return [...texts, settings].join('\n');
}

function sysctlsBelow(folder: string): string {
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory()) return [sysctlsBelow(file)];
      if (entry.name === 'nf_conntrack_count' || (fs.statSync(file).mode & 0o400) === 0) return [];
      try {
        return [`${file} ${fs.readFileSync(file, 'utf8').trim()}`];
      } catch (error) {
        if (error instanceof Error) return []; // some cannot be read in a namespace: the same ones both times
        throw error;
      }
    })
    .join('\n');
}

for (const iptablesBackend of ['nft', 'legacy'])
  test(`dumps before the first start and after cleanup are equal (iptables-${iptablesBackend})`, mayRun, async () => {
    let before = '';
    const pods =
      podDocument({ namespace: 'a', name: 'x', node: 'n1' }) + podDocument({ namespace: 'a', name: 'y', node: 'n2' });
    const policy = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { namespace: a, name: x }
spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] }
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: pods }
spec: { cidr: 10.42.0.0/16, natOutgoing: true }
`;
    const beforeDaemons = async (lab: LabPaths): Promise<void> => {
      before = await dump(lab);
    };
    await withLab(
      smallTopology + pods + policy,
      async (lab) => {
        await until(async () => (await probe(lab)).results.every(({ verdict }) => verdict === 'allow'), {
          what: 'the pods to reach each other',
          deadlineMs: 60_000,
        });
        assert.notEqual(await dump(lab.paths), before, 'the agent has written something');
        const agent = agentOf(lab, 'n1')!;
        process.kill(agent.pid, 'SIGKILL');
        await until(() => !fs.existsSync(`/proc/${agent.pid}/ns/net`), { what: 'the agent to be gone' });
        const netns = netnsPath(machineNetns(lab.paths, 'n1'));
        const { code, stdout, stderr } = await exec('nsenter', [
          `--net=${netns}`,
          process.execPath,
          cli,
          'cleanup',
          '--config',
          nodePaths(lab.paths, 'n1').config,
        ]);
        assert.equal(code, 0, stdout + stderr);
        assert.doesNotMatch(stdout, /^still there: /m);
        for (const line of stdout.match(/^note: .*$/gm) ?? []) {
          assert.match(line, /legacy tables, without rules of ours/);
          assert.equal(iptablesBackend, 'legacy', line);
        }
        assert.equal(await dump(lab.paths), before);
      },
      { beforeDaemons, agentOptions: { iptablesBackend } },
    );
  });
