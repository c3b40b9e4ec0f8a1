/** What a test waits for of an agent, with its log in the error, and what it has a runtime do. Under load on few cores everything takes its time. */
import assert from 'node:assert/strict';
import type { LoneAgent } from '../lone-agent.ts';
import { until } from '../wait.ts';

export const patience = { deadlineMs: 60_000, intervalMs: 50 } as const;

const logEnd = ({ log }: LoneAgent): string => `the log ends: ${log.slice(-800)}`;

export async function startReady(agent: LoneAgent): Promise<void> {
  agent.start();
  await agent.untilReady(patience.deadlineMs);
}

/** So many objects of a kind are in force. */
export async function untilKnown(agent: LoneAgent, kind: string, count: number): Promise<void> {
  await until(async () => (await agent.status()).datastore.objects[kind] === count, {
    what: () => `the agent to know ${count} ${kind}; ${logEnd(agent)}`,
    ...patience,
  });
}

/** Everything is followed. */
export async function untilInSync(agent: LoneAgent): Promise<void> {
  await until(
    async () => {
      const { datastore, problems } = await agent.status();
      return datastore.inSync && !problems.some((text) => text.startsWith('datastore:'));
    },
    { what: () => `the agent to be in sync; ${logEnd(agent)}`, ...patience },
  );
}

/** What `poplin status` prints as a problem. */
export async function untilProblem(agent: LoneAgent, pattern: RegExp): Promise<string> {
  let seen: readonly string[] = [];
  const find = async (): Promise<string | undefined> => {
    seen = (await agent.status()).problems;
    return seen.find((text) => pattern.test(text));
  };
  return until(find, { what: `a problem like ${pattern}`, ...patience }).catch((error: Error) => {
    throw new Error(`${error.message}; there are ${JSON.stringify(seen)}; ${logEnd(agent)}`);
  });
}

export async function untilNoProblem(agent: LoneAgent, pattern: RegExp): Promise<void> {
  let seen: readonly string[] = [];
  const isGone = async (): Promise<boolean> => {
    seen = (await agent.status()).problems;
    return !seen.some((text) => pattern.test(text));
  };
  const what = (): string => `no problem like ${pattern}; there are ${JSON.stringify(seen)}; ${logEnd(agent)}`;
  await until(isGone, { what, ...patience });
}

/** Names of the sessions, up or not. */
export async function untilSessions(agent: LoneAgent, ...wanted: readonly string[]): Promise<void> {
  const names = async (): Promise<string[]> => (await agent.api.bgpPeers()).map(({ name }) => name).sort();
  await until(async () => (await names()).join() === wanted.join(), {
    what: () => `the sessions ${wanted.join(', ') || 'to be none'}; ${logEnd(agent)}`,
    ...patience,
  });
}

export async function untilSession(agent: LoneAgent, name: string, up: boolean): Promise<void> {
  const isUp = async (): Promise<boolean> =>
    (await agent.api.bgpPeers()).some((peer) => peer.name === name && peer.state === 'Established');
  await until(async () => (await isUp()) === up, {
    what: () => `session ${name} to be ${up ? 'Established' : 'down'}; ${logEnd(agent)}`,
    ...patience,
  });
}

/** Wires a pod, as a runtime would. */
export async function addPod(agent: LoneAgent, pod: string, uid: string): Promise<readonly string[]> {
  await agent.makePodNetns(pod);
  const { exitCode, message, addresses } = await agent.cni('ADD', pod, {}, uid);
  assert.equal(exitCode, 0, message);
  return addresses;
}

/** A policy selects the pod for ingress, and is in the kernel. */
export async function untilIsolated(agent: LoneAgent, pod: string, isolated = true): Promise<void> {
  await until(
    async () => {
      const { applied, ingress } = await agent.api.policyEndpoint({ namespace: 'default', name: pod });
      return applied && ingress.isolated === isolated;
    },
    { what: () => `${pod} to be ${isolated ? '' : 'not '}isolated; ${logEnd(agent)}`, ...patience },
  );
}
