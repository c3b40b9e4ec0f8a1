/** Whether pods reach each other, asked by HTTP from within their network namespaces. */
import { netnsPath } from '#lab';
import { exec } from '#sys';
import { until } from '../wait.ts';
import { type MachineName, netnsOf, systemPath } from './layout.ts';
import { addressOf, type Pod, type PodOptions, podNetnsPath } from './pods.ts';

const port = 8080;
const atOnce = 8;

/** A pod that can be asked by `unreachable`. */
export function serverPod(options: PodOptions): PodOptions {
  return {
    ...options,
    args: ['netexec', `--http-port=${port}`],
    container: { readinessProbe: { httpGet: { path: '/', port }, periodSeconds: 1 }, ...options.container },
  };
}

type Source = Pod | MachineName;

const nameOf = (source: Source): string => (typeof source === 'string' ? source : source.metadata.name);
const netnsPathOf = (source: Source): string =>
  typeof source === 'string' ? netnsPath(netnsOf(source)) : podNetnsPath(source);

/** Whether `to` answers over both families. @throws Error that says what came instead */
export async function asks(from: Source, to: Pod): Promise<true> {
  const failures = await unreachable([from], [to]);
  if (failures.length > 0) throw new Error(failures.join('\n'));
  return true;
}

/** Every `from` asks every other `to` over both families. @returns one line for each that got no, or a wrong, answer */
export async function unreachable(from: readonly Source[], to: readonly Pod[]): Promise<readonly string[]> {
  const questions = from.flatMap((source) =>
    to.filter((pod) => pod !== source).flatMap((pod) => ([4, 6] as const).map((family) => ({ source, pod, family }))),
  );
  const answers: string[] = [];
  // A few at a time: a curl for each pair of 30 pods at once would be about the machine.
  for (let at = 0; at < questions.length; at += atOnce) {
    const some = questions.slice(at, at + atOnce).map(({ source, pod, family }) => ask(source, pod, family));
    answers.push(...(await Promise.all(some)).filter((line) => line !== undefined));
  }
  return answers;
}

async function ask(source: Source, pod: Pod, family: 4 | 6): Promise<string | undefined> {
  const address = addressOf(pod, family);
  const url = `http://${family === 6 ? `[${address}]` : address}:${port}/hostname`;
  const command = [`--net=${netnsPathOf(source)}`, 'curl', '-sS', '-m', '3', url];
  const { stdout, stderr } = await exec('nsenter', command, { env: { PATH: systemPath } });
  if (stdout === pod.metadata.name) return undefined;
  return `${nameOf(source)} -> ${pod.metadata.name} over IPv${family}: ${stderr.trim() || stdout}`;
}

/** Global addresses of a pod's `eth0`, IPv4 first, as its kernel has them. */
export async function addressesIn(pod: Pod): Promise<readonly string[]> {
  const command = [`--net=${podNetnsPath(pod)}`, 'ip', '-o', 'address', 'show', 'dev', 'eth0', 'scope', 'global'];
  const { stdout } = await exec('nsenter', command, { env: { PATH: systemPath } });
  return [...stdout.matchAll(/ inet6? ([0-9a-f.:]+)/g)].map(([, address]) => address!);
}

/** Waits until all reach all. `pods` is asked anew each time: their addresses may change meanwhile. */
export async function allReach(
  pods: () => Promise<readonly Pod[]>,
  { also = [], deadlineMs = 60_000 }: { readonly also?: readonly MachineName[]; readonly deadlineMs?: number } = {},
): Promise<void> {
  await until(
    async () => {
      const all = await pods();
      const lines = await unreachable([...all, ...also], all);
      if (lines.length > 0) throw new Error(lines.join('\n'));
      return true;
    },
    { what: 'pods to reach each other', deadlineMs, intervalMs: 200 },
  );
}
