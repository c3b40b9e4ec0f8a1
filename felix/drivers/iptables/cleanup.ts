/** Removes every chain and jump with our prefix from one back end and family, whoever made them and whenever. */
import type { IpFamily, Logger } from '#kit';
import type { CommandRunner } from '../command.ts';
import type { NftTables } from '../nft-tables.ts';
import { type Backend, restoreArgv, saveArgv } from './backend.ts';
import { IptablesError } from './iptables.ts';
import { parseSave, type SavedChain, targetOfLine } from './parse.ts';

export interface IptablesCleanupOptions {
  readonly backend: Backend;
  readonly family: IpFamily;
  readonly chainPrefix: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface IptablesCleanupResult {
  readonly chains: number;
  readonly jumps: number;
  /** What could not be made as it was, in words. */
  readonly left: readonly string[];
}

const commandTimeoutMs = 60_000;

/** A back end that is not on this machine or has no tables is clean. @throws IptablesError when ours are there and cannot be removed. */
export async function cleanupIptables(
  deps: { readonly run: CommandRunner['run']; readonly tables: NftTables; readonly log: Logger },
  options: IptablesCleanupOptions,
): Promise<IptablesCleanupResult> {
  const { backend, family, chainPrefix, env } = options;
  const saved = await deps.run(saveArgv(backend, family), { env, timeoutMs: commandTimeoutMs });
  if (saved.code !== 0) {
    deps.log.debug({ backend, family, stderr: saved.stderr }, 'nothing to clean up: the back end cannot be read');
    return { chains: 0, jumps: 0, left: [] };
  }
  const detach: string[] = [];
  const remove: string[] = [];
  const made: string[] = [];
  const emptied: [table: string, chains: string[]][] = [];
  let chains = 0;
  let jumps = 0;
  for (const [table, content] of parseSave(saved.stdout)) {
    const ours = [...content.keys()].filter((name) => name.startsWith(chainPrefix));
    const references = jumpsInto(content, chainPrefix);
    if (ours.length + references.length === 0) continue;
    chains += ours.length;
    jumps += references.length;
    detach.push(
      `*${table}`,
      ...ours.map((name) => `:${name} - [0:0]`),
      ...references.map((line) => `-D${line.slice(2)}`),
      'COMMIT',
    );
    remove.push(`*${table}`, ...ours.map((name) => `-X ${name}`), 'COMMIT');
    if (ours.includes(`${chainPrefix}made-table`)) made.push(table);
    else emptied.push([table, chainsEmptiedBy(content, references)]);
  }
  await restore(deps.run, options, detach);
  await restore(deps.run, options, remove);
  const left: string[] = [];
  for (const table of made)
    if (!(await removeEmptyTable(deps, options, table))) left.push(`the empty nft table ${table} (IPv${family})`);
  for (const [table, names] of emptied) await removeEmptyBaseChains(deps.run, options, table, names);
  if (backend === 'legacy' && chains > 0)
    left.push(
      `legacy tables, without rules of ours (IPv${family}): they stay loaded as long as their module or network namespace`,
    );
  return { chains, jumps, left };
}

function jumpsInto(content: ReadonlyMap<string, SavedChain>, chainPrefix: string): string[] {
  const out: string[] = [];
  for (const [name, chain] of content) {
    if (name.startsWith(chainPrefix)) continue;
    out.push(...chain.lines.filter((line) => targetOfLine(line)?.startsWith(chainPrefix)));
  }
  return out;
}

/** @throws IptablesError RESTORE_FAILED */
export async function restore(
  run: CommandRunner['run'],
  options: Omit<IptablesCleanupOptions, 'chainPrefix'>,
  lines: readonly string[],
): Promise<void> {
  if (lines.length === 0) return;
  const { backend, family, env } = options;
  const result = await run(restoreArgv(backend, family), {
    stdin: `${lines.join('\n')}\n`,
    env,
    timeoutMs: commandTimeoutMs,
  });
  if (result.code === 0) return;
  throw new IptablesError(`removing our IPv${family} rules (${backend}) failed: ${result.stderr.trim()}`, {
    code: 'RESTORE_FAILED',
    family,
    backend,
    stderr: result.stderr,
  });
}

/** Kernel chains in which nothing but `lines` stands, and whose policy is the usual one. */
export function chainsEmptiedBy(chains: ReadonlyMap<string, SavedChain>, lines: readonly string[]): string[] {
  return [...chains]
    .filter(([, chain]) => chain.policy === 'ACCEPT' && chain.lines.length > 0)
    .filter(([, chain]) => chain.lines.every((line) => lines.includes(line)))
    .map(([name]) => name);
}

/**
 * iptables-nft makes the kernel's chains when a rule first needs them. One that only we needed goes again: it passes every packet, and to
 * iptables it looks the same whether it is there or not. With legacy they are there for as long as their table.
 */
export async function removeEmptyBaseChains(
  run: CommandRunner['run'],
  { backend, family, env }: Omit<IptablesCleanupOptions, 'chainPrefix'>,
  table: string,
  names: readonly string[],
): Promise<void> {
  if (backend === 'legacy') return;
  const program = family === 4 ? 'iptables' : 'ip6tables';
  // One at a time: the dump shows kernel chains that do not exist, and removing one of those fails; so does one that holds a rule by now.
  for (const name of names) {
    await run([`xtables-${backend}-multi`, program, '-w', '10', '-t', table, '-X', name], {
      env,
      timeoutMs: commandTimeoutMs,
    });
  }
}

/** A table that we made appear goes again when nothing of anyone is in it. False when it stays though it is empty. */
export async function removeEmptyTable(
  { run, tables }: { readonly run: CommandRunner['run']; readonly tables: NftTables },
  options: Omit<IptablesCleanupOptions, 'chainPrefix'>,
  table: string,
): Promise<boolean> {
  const { backend, family, env } = options;
  const saved = await run(saveArgv(backend, family, table), { env, timeoutMs: commandTimeoutMs });
  const content = parseSave(saved.stdout).get(table);
  if (!content) return true;
  if ([...content.values()].some((chain) => chain.policy !== 'ACCEPT' || chain.lines.length > 0)) return true;
  await removeEmptyBaseChains(run, options, table, [...content.keys()]);
  // Besides what iptables shows there may be sets and chains of somebody who writes into it by other means.
  const use = tables.use(family, table);
  if (use === 0) tables.deleteTable(family, table);
  return use === 0 || use === undefined;
}
