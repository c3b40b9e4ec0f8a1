/**
 * `--sabotage`: one thing broken from outside the agents, in a way that they cannot repair, and such that one fact alone
 * must fail. Each lasts for the whole demonstration.
 */
import { exec } from '#sys';
import { LabError } from '../errors.ts';
import type { Lab } from '../lab.ts';
import { type LabPaths, machineNetns, netnsPath } from '../names.ts';
import { ipBatch } from '../netns.ts';

export type Sabotage = 'route' | 'policy' | 'session';

/** A manifest that one node's agent never gets. */
export const withheldPolicy = { node3: ['NetworkPolicy/data/default-deny'] } as const;

export const sabotageText: Readonly<Record<Sabotage, string>> = {
  route: 'a policy rule on node2 sends everything for the outside host into a blackhole',
  policy: 'the agent of node3 is not given the NetworkPolicy data/default-deny',
  session: 'tor2 drops everything to and from port 179 on its link to node3',
};

/** Takes effect before any daemon runs. */
export async function sabotageSession(paths: LabPaths): Promise<void> {
  for (const iptables of ['iptables', 'ip6tables']) {
    for (const direction of ['--dport', '--sport']) {
      const args = ['-A', 'INPUT', '-i', 'to-node3', '-p', 'tcp', direction, '179', '-j', 'DROP'];
      const env = { PATH: process.env['PATH'] ?? '', XTABLES_LOCKFILE: `${paths.directory}/xtables-tor2.lock` };
      const { code, stderr } = await exec(
        'nsenter',
        [`--net=${netnsPath(machineNetns(paths, 'tor2'))}`, iptables, ...args],
        { env },
      );
      if (code !== 0)
        throw new LabError(`${iptables} on tor2: ${stderr.trim()}`, { code: 'COMMAND_FAILED', command: iptables });
    }
  }
}

/** A rule before the main table: whatever routes the agent writes, they are not asked. */
export async function sabotageRoute(lab: Lab, outsideAddress: string): Promise<void> {
  await ipBatch([`rule add pref 100 to ${outsideAddress}/32 blackhole`], machineNetns(lab.paths, 'node2'));
}
