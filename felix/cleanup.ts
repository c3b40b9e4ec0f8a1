/** Takes away all chains, jumps and sets that an agent with these prefixes ever made, also when no agent runs. */
import type { IpFamily, Logger } from '#kit';
import type { CommandRunner } from './drivers/command.ts';
import { IpsetError } from './drivers/ipset/commands.ts';
import { cleanupIptables } from './drivers/iptables/cleanup.ts';
import type { NftTables } from './drivers/nft-tables.ts';
import { defaultNames, type Names } from './render/names.ts';

export interface CleanupOptions extends Partial<Names> {
  readonly families?: readonly IpFamily[];
  /** Environment of the commands (XTABLES_LOCKFILE). */
  readonly env?: Readonly<Record<string, string>>;
}

export interface CleanupReport {
  readonly chains: number;
  readonly jumps: number;
  readonly sets: number;
  /** What could not be made as it was before, in words; it has no effect on packets. */
  readonly left: readonly string[];
}

const commandTimeoutMs = 120_000;

/** Safe to repeat. @throws IptablesError, IpsetError when something of ours is there and cannot be removed. */
export async function cleanupPolicyDataplane(
  deps: { readonly run: CommandRunner['run']; readonly tables: NftTables; readonly log: Logger },
  options: CleanupOptions = {},
): Promise<CleanupReport> {
  const { chainPrefix, setPrefix } = { ...defaultNames, ...options };
  const env = options.env ?? {};
  let chains = 0;
  let jumps = 0;
  const left: string[] = [];
  for (const backend of ['nft', 'legacy'] as const) {
    for (const family of options.families ?? [4, 6]) {
      const result = await cleanupIptables(deps, { backend, family, chainPrefix, env });
      chains += result.chains;
      jumps += result.jumps;
      left.push(...result.left);
    }
  }
  return { chains, jumps, sets: await destroySets(deps.run, setPrefix), left };
}

async function destroySets(run: CommandRunner['run'], setPrefix: string): Promise<number> {
  const listed = await run(['ipset', 'list', '-n'], { timeoutMs: commandTimeoutMs });
  if (listed.code !== 0)
    throw new IpsetError(`listing sets failed: ${listed.stderr.trim()}`, {
      code: 'SAVE_FAILED',
      stderr: listed.stderr,
    });
  const ours = listed.stdout
    .split('\n')
    .filter((name) => name.startsWith(`${setPrefix}4-`) || name.startsWith(`${setPrefix}6-`));
  if (ours.length === 0) return 0;
  const stdin = `${ours.map((name) => `destroy ${name}`).join('\n')}\n`;
  const result = await run(['ipset', 'restore'], { stdin, timeoutMs: commandTimeoutMs });
  if (result.code !== 0)
    throw new IpsetError(`destroying sets failed: ${result.stderr.trim()}`, {
      code: 'RESTORE_FAILED',
      stderr: result.stderr,
    });
  return ours.length;
}
