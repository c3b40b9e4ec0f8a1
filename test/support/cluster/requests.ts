/**
 * HTTP requests from anywhere in a cluster, by the machine's curl within the caller's network namespace: no program is needed in pods
 * and none is started through a kubelet, which costs a second on a busy machine.
 *
 * A verdict is waited for, never read once: "blocked" wants several attempts in a row that nobody answered, not even with a refusal.
 */
import { netnsPath } from '#lab';
import { exec } from '#sys';
import { until } from '../wait.ts';
import { type MachineName, machineNames, netnsOf, systemPath } from './layout.ts';
import { type Pod, podNetnsPath } from './pods.ts';

/** Who asks: a machine of the cluster, or a pod (of the node's network where it has no own). */
export type Place = MachineName | Pod;

export interface Answer {
  readonly body: string;
  /** What curl says: `refused` and `timeout` are verdicts of the network. */
  readonly outcome: 'answered' | 'refused' | 'timeout' | `curl ${number}`;
}

const answerDeadlineMs = 60_000;
const blockedDeadlineMs = 60_000;
/** Attempts in a row without an answer that make "blocked". */
const blockedAttempts = 3;
/** A SYN is repeated after 1 s. */
const attemptSec = 1.5;

const isMachine = (place: Place): place is MachineName => machineNames.some((name) => name === place);

/** Path of its network namespace, as seen from outside. */
export function netnsOfPlace(place: Place): string {
  if (isMachine(place)) return netnsPath(netnsOf(place));
  return place.spec.hostNetwork ? netnsPath(netnsOf(place.spec.nodeName as MachineName)) : podNetnsPath(place);
}

export function nameOfPlace(place: Place): string {
  return isMachine(place) ? place : `${place.metadata.namespace}/${place.metadata.name}`;
}

/** `http://HOST:PORT/PATH`, IPv6 hosts in brackets. */
export function url(host: string, port: number, path = ''): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/${path}`;
}

/** One attempt. */
export async function request(from: Place, target: string, timeoutSec = attemptSec): Promise<Answer> {
  const curl = ['curl', '-sg', '--noproxy', '*', '--max-time', String(timeoutSec), target];
  const { code, stdout } = await exec('nsenter', [`--net=${netnsOfPlace(from)}`, ...curl], {
    env: { PATH: systemPath },
  });
  const outcome =
    code === 0 ? 'answered' : code === 7 ? 'refused' : code === 28 ? 'timeout' : (`curl ${code!}` as const);
  return { outcome, body: stdout.trim() };
}

/** Asks until the answer is `expected`. @returns it */
export async function answers(from: Place, target: string, expected: string | RegExp): Promise<string> {
  let last: Answer | undefined;
  try {
    return await until(
      async () => {
        last = await request(from, target, 5);
        if (last.outcome !== 'answered') return undefined;
        return (typeof expected === 'string' ? last.body === expected : expected.test(last.body)) && last.body;
      },
      { what: `${nameOfPlace(from)} to get ${expected} from ${target}`, deadlineMs: answerDeadlineMs, intervalMs: 100 },
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}; the last answer: ${JSON.stringify(last)}`, { cause: error });
  }
}

/** Waits until nobody answers. The caller shows with `answers`, before or after, that there is somebody who would. */
export async function blocked(from: Place, target: string): Promise<void> {
  const outcomes: string[] = [];
  await until(
    async () => {
      const { outcome, body } = await request(from, target);
      outcomes.push(outcome);
      if (outcome === 'refused') throw new Error(`refused: nobody listens there (${body})`);
      return outcomes.length >= blockedAttempts && outcomes.slice(-blockedAttempts).every((one) => one === 'timeout');
    },
    { what: `${nameOfPlace(from)} to be kept from ${target}`, deadlineMs: blockedDeadlineMs, intervalMs: 0 },
  );
}

/** Several at once: each waits for its time out. */
export async function allBlocked(from: Place, targets: readonly string[]): Promise<void> {
  await Promise.all(targets.map((target) => blocked(from, target)));
}
