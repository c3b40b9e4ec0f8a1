/**
 * Takes away what the reference plugin `portmap` made for pods of one network: it is chained behind ours, and without a network
 * configuration nobody calls it to do so itself. It keeps rules of all networks in chains that they share; those go with the last rule.
 *
 *   iptables   nat CNI-HOSTPORT-DNAT -> CNI-DN-HASH, found by the comment `dnat name: "NETWORK" id: "CONTAINER"`
 *   nftables   table cni_hostport, found by the comment CONTAINER (only where there is no iptables, or by configuration)
 */
import type { IpFamily, Logger } from '#kit';
import type { CommandRunner } from './drivers/command.ts';
import { type Backend, saveArgv } from './drivers/iptables/backend.ts';
import { chainsEmptiedBy, removeEmptyBaseChains, removeEmptyTable, restore } from './drivers/iptables/cleanup.ts';
import { parseSave, type SavedChain, targetOfLine } from './drivers/iptables/parse.ts';
import type { NftTables } from './drivers/nft-tables.ts';

export interface HostPortCleanupOptions {
  /** Name of the network in the CNI configuration. */
  readonly network: string;
  readonly containerIds: ReadonlySet<string>;
  /** The shared chains go as well when no rule is in them, though none of ours was there now: portmap leaves them behind on every DEL. */
  readonly sharedChains: boolean;
  readonly env: Readonly<Record<string, string>>;
}

export interface HostPortCleanupReport {
  /** Rules, and shared chains without rules. */
  readonly removed: number;
  /** What could not be made as it was before, in words. */
  readonly left: readonly string[];
}

type Deps = { readonly run: CommandRunner['run']; readonly tables: NftTables; readonly log: Logger };

const commandTimeoutMs = 60_000;
const dnatChain = 'CNI-HOSTPORT-DNAT';
const sharedChains = [dnatChain, 'CNI-HOSTPORT-SETMARK', 'CNI-HOSTPORT-MASQ'];
const nftTable = 'cni_hostport';
const nftRuleChains = ['hostports', 'hostip_hostports', 'masquerading'];

/** Safe to repeat. @throws IptablesError when something of ours is there and cannot be removed. */
export async function cleanupHostPorts(deps: Deps, options: HostPortCleanupOptions): Promise<HostPortCleanupReport> {
  let removed = 0;
  const left: string[] = [];
  for (const family of [4, 6] as const) {
    for (const backend of ['nft', 'legacy'] as const) {
      const done = await cleanIptables(deps, options, backend, family);
      removed += done.removed;
      if (done.isEmpty) left.push(`the nft table nat (IPv${family}), without any rule`);
    }
    removed += cleanNftables(deps, options, family);
  }
  return { removed, left };
}

async function cleanIptables(
  { run, tables, log }: Deps,
  { network, env, ...options }: HostPortCleanupOptions,
  backend: Backend,
  family: IpFamily,
): Promise<{ readonly removed: number; readonly isEmpty: boolean }> {
  const nothing = { removed: 0, isEmpty: false };
  const saved = await run(saveArgv(backend, family), { env, timeoutMs: commandTimeoutMs });
  if (saved.code !== 0) {
    log.debug({ backend, family, stderr: saved.stderr }, 'no host ports to clean up: the back end cannot be read');
    return nothing;
  }
  const nat = parseSave(saved.stdout).get('nat');
  if (!nat) return nothing;
  const entries = nat.get(dnatChain)?.lines ?? [];
  const ours = entries.filter((line) => line.includes(`"dnat name: \\"${network}\\" id: `));
  const containers = [...new Set(ours.flatMap((line) => targetOfLine(line) ?? []))].filter((name) => nat.has(name));
  const isLast = entries.length === ours.length && (ours.length > 0 || options.sharedChains);
  const shared = isLast ? sharedChains.filter((name) => nat.has(name)) : [];
  if (ours.length + shared.length === 0) return nothing;
  const jumps = jumpsTo(nat, shared, containers);
  const detach = [
    ...[...containers, ...shared].map((name) => `:${name} - [0:0]`),
    // Declaring a chain has emptied it: of the shared ones' rules, only those in other chains are left to delete.
    ...[...(isLast ? [] : ours), ...jumps].map((line) => `-D${line.slice(2)}`),
  ];
  const remove = [...containers, ...shared].map((name) => `-X ${name}`);
  const place = { backend, family, env };
  for (const lines of [detach, remove]) await restore(run, place, ['*nat', ...lines, 'COMMIT']);
  const removed = ours.length + shared.length;
  if (!isLast) return { removed, isEmpty: false };
  await removeEmptyBaseChains(run, place, 'nat', chainsEmptiedBy(nat, jumps));
  return { removed, isEmpty: backend === 'nft' && !(await removeEmptyTable({ run, tables }, place, 'nat')) };
}

/** Rules that jump to `targets`, but for those in chains that are emptied anyhow. */
function jumpsTo(
  chains: ReadonlyMap<string, SavedChain>,
  targets: readonly string[],
  emptied: readonly string[],
): string[] {
  return [...chains]
    .filter(([name]) => !targets.includes(name) && !emptied.includes(name))
    .flatMap(([, chain]) => chain.lines.filter((line) => targets.includes(targetOfLine(line) ?? '')));
}

function cleanNftables(
  { tables }: Deps,
  { containerIds, sharedChains: always }: HostPortCleanupOptions,
  family: IpFamily,
): number {
  if (tables.use(family, nftTable) === undefined) return 0;
  const rules = tables.rules(family, nftTable).filter(({ chain }) => nftRuleChains.includes(chain));
  const ours = rules.filter(({ comment }) => containerIds.has(comment));
  if (ours.length === rules.length && (ours.length > 0 || always)) {
    tables.deleteTable(family, nftTable);
    return ours.length + 1;
  }
  if (ours.length > 0) tables.deleteRules(family, nftTable, ours);
  return ours.length;
}
