/** GoBGP in a namespace of a {@link BgpLink}. The set-up builds it where there is a Go toolchain (test/kubernetes/assets/gobgp). */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { kubeAsset } from '#setup';
import type { BgpLink } from './bgp.ts';
import { needs } from './needs.ts';
import { until } from './wait.ts';

/** Options of a test that wants GoBGP beside what `needs` says. */
export function needsGobgp(others: { readonly skip?: string }): { readonly skip?: string } {
  return others.skip === undefined ? needs({ kube: ['gobgp', 'gobgpd'] }) : others;
}

export interface Gobgp {
  readonly process: ChildProcess;
  /** `gobgp ...`. */
  cli(command: string): string;
  /** Halts it (SIGSTOP) or lets it go on; connections to it are made all the same. */
  pause(paused: boolean): void;
  /** SIGKILL: the kernel closes its connections, no NOTIFICATION is sent. */
  kill(): Promise<void>;
}

/** Starts it with this TOML; it ends with the link. `extra`: more arguments, such as `-r` after a restart. */
export async function startGobgp(
  link: BgpLink,
  config: string,
  namespace = link.b,
  extra: readonly string[] = [],
): Promise<Gobgp> {
  const file = path.join(link.folder, 'gobgp.toml');
  fs.writeFileSync(file, config);
  const args = ['-f', file, '--pprof-disable', '--api-hosts', '127.0.0.1:50051', '-p', ...extra];
  const child = link.spawn(namespace, kubeAsset('gobgpd')!, args);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  const cli = (command: string): string =>
    execFileSync('ip', ['netns', 'exec', namespace, kubeAsset('gobgp')!, ...command.split(' ')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const answers = (): boolean => {
    try {
      return cli('global') !== '';
    } catch (error) {
      if (child.exitCode !== null) throw new Error(`gobgpd ended: ${output}`, { cause: error });
      return false;
    }
  };
  await until(answers, { what: () => `gobgpd to answer; it said ${output}`, deadlineMs: 60_000 });
  const kill = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  };
  const pause = (paused: boolean): void => void child.kill(paused ? 'SIGSTOP' : 'SIGCONT');
  return { process: child, cli, pause, kill };
}
