/** What the image says of where it comes from. */
import { root } from '#setup';
import type { BuildStamp } from './bundle.ts';
import { run } from './command.ts';
import { ImageError } from './errors.ts';
import { packageVersion } from './names.ts';

/** Version, commit and the commit's time: a build of the same commit says the same. */
export async function checkoutStamp(): Promise<BuildStamp> {
  const version = packageVersion();
  const git = (...args: readonly string[]): Promise<string> =>
    run('git', ['-c', `safe.directory=${root}`, '-C', root, ...args]);
  try {
    const [commit, time] = (await git('log', '-1', '--format=%h %ct', '--abbrev=12')).trim().split(' ');
    const dirty = (await git('status', '--porcelain', '--untracked-files=no')).trim() !== '';
    const date = new Date(Number(time) * 1000).toISOString().replace('.000Z', 'Z');
    return { version, commit: `${commit}${dirty ? '-dirty' : ''}`, date };
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    // An unpacked source archive.
    return { version, commit: 'unknown', date: '1970-01-01T00:00:00Z' };
  }
}
