/** kubectl as a user would call it, in the control plane's namespace with the admin's kubeconfig. */
import { netnsPath } from '#lab';
import { type ExecResult, exec } from '#sys';
import { ClusterError } from './errors.ts';
import { netnsOf, paths, systemPath } from './layout.ts';
import { kubeBinary } from './tools.ts';

export interface KubectlOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
}

/** Arguments and environment, for a caller that wants a terminal. */
export function kubectlCommand(args: readonly string[]): {
  readonly command: readonly string[];
  readonly env: Record<string, string>;
} {
  return {
    command: ['nsenter', `--net=${netnsPath(netnsOf('wire'))}`, kubeBinary('kubectl'), ...args],
    env: { PATH: systemPath, HOME: paths.home, KUBECONFIG: paths.adminKubeconfig, TERM: process.env['TERM'] ?? 'dumb' },
  };
}

/** Never throws: see `code` and `stderr`. */
export function tryKubectl(args: readonly string[], options: KubectlOptions = {}): Promise<ExecResult> {
  const { command, env } = kubectlCommand(args);
  const [first, ...rest] = command;
  return exec(first!, rest, { env, ...options });
}

/** @returns stdout. @throws ClusterError COMMAND_FAILED with what kubectl said. */
export async function kubectl(args: readonly string[], options: KubectlOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await tryKubectl(args, options);
  if (code === 0) return stdout;
  const command = `kubectl ${args.join(' ')}`;
  throw new ClusterError(`${command}: exit ${code}: ${stderr.trim() || stdout.trim()}`, {
    code: 'COMMAND_FAILED',
    command,
  });
}

/** `kubectl apply -f -` of objects. */
export function applyObjects(objects: readonly object[]): Promise<string> {
  return kubectl(['apply', '-f', '-'], { stdin: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }) });
}

/** Runs a command in a pod's (first) container. Never throws. */
export function execInPod(
  pod: { readonly namespace: string; readonly name: string; readonly container?: string },
  command: readonly string[],
  options: KubectlOptions = {},
): Promise<ExecResult> {
  const container = pod.container ? ['-c', pod.container] : [];
  const stdin = options.stdin === undefined ? [] : ['-i'];
  return tryKubectl(['exec', '-n', pod.namespace, ...stdin, pod.name, ...container, '--', ...command], options);
}
