/** GoBGP in a namespace of a {@link BgpLink}. Its programs are not the set-up's: they are looked for in `$GOPEERS`, or `gopeers` in the cache. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '#setup';
import type { BgpLink } from './bgp.ts';
import { until } from './wait.ts';

const folder = process.env['GOPEERS'] ?? path.join(cacheFolder(), '..', 'gopeers');

/** Options of a test that wants GoBGP beside what `needs` says. */
export function needsGobgp(others: { readonly skip?: string }): { readonly skip?: string } {
  if (others.skip !== undefined || fs.existsSync(path.join(folder, 'gobgpd'))) return others;
  return { skip: 'needs gobgpd and gobgp in $GOPEERS' };
}

export interface Gobgp {
  /** `gobgp ...`. */
  cli(command: string): string;
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
  const child = link.spawn(namespace, path.join(folder, 'gobgpd'), args);
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk) => (output += chunk));
  const cli = (command: string): string =>
    execFileSync('ip', ['netns', 'exec', namespace, path.join(folder, 'gobgp'), ...command.split(' ')], {
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
  await until(answers, { what: `gobgpd to answer; it said ${output}`, deadlineMs: 20_000 });
  const kill = async (): Promise<void> => {
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  };
  return { cli, kill };
}
