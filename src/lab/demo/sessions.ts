/** BGP sessions of a lab, as the routers (birdc) and the agents (their API) see them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { labTool, routerFiles } from '../agents.ts';
import { birdSessionName, birdSessions } from '../bird.ts';
import type { Lab } from '../lab.ts';
import { linksOf } from '../topology.ts';
import { agentPeers } from './agent-api.ts';

export interface Session {
  /** `tor1-node1`: the end that was asked, then its peer. */
  readonly name: string;
  readonly established: boolean;
}

const pollMs = 100;

/** One entry for each session a router should have (seen from it), and for each end of each mesh session. */
export async function sessions(lab: Lab): Promise<Session[]> {
  const birdc = labTool('birdc');
  const { topology, paths } = lab;
  const ofRouters = topology.routers.map(async ({ name }) => {
    const found = await birdSessions(birdc, routerFiles(paths, name).control);
    const peers = linksOf(topology, name)
      .map(({ peer }) => peer.owner)
      .filter((peer) => !topology.hosts.some((host) => host.name === peer));
    return peers.map((peer) => ({
      name: `${name}-${peer}`,
      established: found.some((session) => session.name === birdSessionName(peer) && session.state === 'Established'),
    }));
  });
  const ofNodes = topology.nodes.map(async ({ name }) => {
    const peers = await agentPeers(lab, name);
    const others = topology.nodes.filter((node) => node.name !== name);
    return others.map((other) => ({
      name: `${name}-${other.name}`,
      established: peers.some((peer) => peer.name === `mesh/${other.name}` && peer.state === 'Established'),
    }));
  });
  return (await Promise.all([...ofRouters, ...ofNodes])).flat();
}

/** Waits until all sessions but the `exempt` ones are Established. @returns those that are not when the time is over. */
export async function waitForSessions(
  lab: Lab,
  deadlineMs: number,
  exempt: readonly string[] = [],
): Promise<{ readonly all: readonly Session[]; readonly missing: readonly string[] }> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const all = await sessions(lab);
    const missing = all
      .filter(({ name, established }) => !established && !exempt.includes(name))
      .map(({ name }) => name);
    if (missing.length === 0 || performance.now() >= end) return { all, missing };
    await sleep(pollMs);
  }
}
