/**
 * All that is ours in the iptables of one family, kept equal to what is wanted.
 *
 * Goals, and how each is met:
 * - Atomic: everything that changes in a table goes into one `iptables-restore`, which commits a table at once. A chain that
 *   differs by more rules gets those inserted, one that differs by fewer bare ones has those deleted, any other that differs is replaced whole;
 *   chains that do not differ are not named. (With nft a program that deleted a rule ends after a grace period of the kernel, 15 to 30 ms, one
 *   that only added takes 4: a pod that comes must not delete. Rules with matches that are added after a commit that deleted, the other family's
 *   too, wait for the same; and a commit that adds any has the kernel walk through all rules of the table from each hook.) With nft, where very many chains are new, those go ahead in commits of their own, of the same call: nothing names them
 *   yet, and iptables-nft walks a list of all chains of a commit for each of its lines (1.8.9: 9 s of processor for 40,000 rules in one, 0.3 s in many).
 * - No write without a difference: what is there is read back by `iptables-save` and compared by the hash that each rule carries in its comment,
 *   bare ones by their text (see render/rule.ts). A restart with the same wishes makes no restore call.
 * - Order: chains before the jumps and gotos that name them (one commit), deletions in a later call (`sweep`), because
 *   nft refuses to delete in the transaction that removes the last reference.
 * - Others' rules are never touched: we own the chains with our prefix and one jump in each of a few kernel chains, which `write` puts back to the
 *   head when it is gone, doubled or not in its place. Jumps are removed by their text, not by number: numbers move.
 * - What we made appear can be taken away again: an nft table that was not there gets an empty chain `…made-table`, so that `cleanup`,
 *   also of a later process, knows. A legacy table stays until its network namespace or module goes.
 *
 * Races: another program may write between our save and our restore. A restore that fails therefore leaves everything unknown: the
 * next `write` wants a `read` first (`stale`). A rule whose text was changed but not its comment is not noticed.
 */
import { type Clock, DeltaTracker, type IpFamily, type Logger, PoplinError } from '#kit';
import { Pace, paced } from '../../pace.ts';
import type { Jump, TableName } from '../../render/base.ts';
import { hashInLine, hashOfLine, type Rule, ruleHashes, ruleLine } from '../../render/rule.ts';
import {
  type CommandOptions,
  type CommandResult,
  type CommandRunner,
  newCounters,
  runLines,
  type WriteCounters,
} from '../command.ts';
import { type Backend, restoreArgv, restoreEnv, saveArgv } from './backend.ts';
import type { CommittingPrograms } from './commits.ts';
import { chainLines, changeLines, portions, type WantedChain } from './lines.ts';
import type { LegacyLock } from './lock.ts';
import { type SavedChain, type SaveParser, saveParser, targetOfLine } from './parse.ts';

export type IptablesFailure =
  | { readonly code: 'TABLE_UNREADABLE'; readonly family: IpFamily; readonly tables: readonly string[] }
  | { readonly code: 'SAVE_FAILED'; readonly family: IpFamily; readonly backend: Backend; readonly stderr: string }
  | { readonly code: 'RESTORE_FAILED'; readonly family: IpFamily; readonly backend: Backend; readonly stderr: string };
export class IptablesError extends PoplinError<IptablesFailure> {}

export interface IptablesOptions {
  readonly family: IpFamily;
  readonly backend: Backend;
  readonly chainPrefix: string;
  /** For XTABLES_LOCKFILE. */
  readonly env: Readonly<Record<string, string>>;
}

interface Table {
  readonly wanted: Map<string, WantedChain>;
  /** Chain name to identity. */
  readonly chains: DeltaTracker<string, string>;
  readonly jumps: Map<string, Jump>;
  /** Kernel chain to its lines as last read, only those that hold or should hold a jump of ours. */
  jumpLines: Map<string, readonly string[]>;
  /** The dump showed the table. */
  present: boolean;
}

/** In the order in which they are written: the verdicts first. */
const tableOrder: readonly TableName[] = ['mangle', 'filter', 'nat', 'raw'];
/** Of more the kernel would have much to tell. */
const toldCharactersMax = 60_000;
/** An iptables-restore of 50,000 rules takes under 2 s; beyond this something hangs. */
const commandTimeoutMs = 60_000;

export class IptablesFamily {
  readonly counters: WriteCounters = newCounters();
  readonly options: IptablesOptions;
  readonly #run: CommandRunner['run'];
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #lock: LegacyLock | undefined;
  readonly #programs: CommittingPrograms | undefined;
  readonly #tables: Readonly<Record<TableName, Table>> = {
    mangle: newTable(),
    filter: newTable(),
    nat: newTable(),
    raw: newTable(),
  };
  #stale = true;
  #wasRead = false;

  constructor(
    deps: {
      readonly run: CommandRunner['run'];
      readonly log: Logger;
      readonly clock: Clock;
      /** Absent: each program takes it itself. */
      readonly lock?: LegacyLock;
      /** Of nft, those of all families. Absent: what was given is done when the program ends. */
      readonly programs?: CommittingPrograms | undefined;
    },
    options: IptablesOptions,
  ) {
    this.#run = deps.run;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#lock = deps.lock;
    this.options = options;
    this.#programs = deps.programs;
  }

  get family(): IpFamily {
    return this.options.family;
  }
  /** What is there is not known: nothing was read yet, or a write failed. */
  get stale(): boolean {
    return this.#stale;
  }

  /** Some chain with verdicts is not in the kernel as it is wanted. */
  get rulesPending(): boolean {
    return this.#tables.mangle.chains.pendingUpdates.size + this.#tables.raw.chains.pendingUpdates.size > 0;
  }

  desireChain(table: TableName, name: string, rules: readonly Rule[]): void {
    const { wanted, chains } = this.#tables[table];
    const hashes = ruleHashes(name, rules);
    const identity = hashes.join();
    const last = wanted.get(name);
    const before = last?.identity === chains.actual.get(name) ? last : last?.before;
    const chain = { rules, hashes, identity };
    wanted.set(
      name,
      before && before.identity !== identity ? { ...chain, before: { ...before, before: undefined } } : chain,
    );
    chains.desire(name, identity);
  }
  undesireChain(table: TableName, name: string): void {
    this.#tables[table].wanted.delete(name);
    this.#tables[table].chains.undesire(name);
  }
  /** The chain's rules as they are wanted, each with the hash that it carries in the kernel; empty for a chain that is not wanted. */
  rulesOf(table: TableName, chain: string): readonly (Rule & { readonly hash: string })[] {
    const wanted = this.#tables[table].wanted.get(chain);
    return wanted?.rules.map((rule, at) => ({ ...rule, hash: wanted.hashes[at]! })) ?? [];
  }
  desireJump(jump: Jump): void {
    this.#tables[jump.table].jumps.set(jump.from, jump);
  }
  undesireJump(jump: Jump): void {
    this.#tables[jump.table].jumps.delete(jump.from);
  }
  /** Reads back what is there. @throws IptablesError */
  async read(): Promise<void> {
    const { tables, unreadable } = await this.#save();
    const hidden = unreadable.filter((name) => tableOrder.some((table) => table === name));
    if (hidden.length > 0) this.#hidden(hidden);
    for (const name of tableOrder) if (!hidden.includes(name)) await this.#adopt(this.#tables[name], tables.get(name));
    this.#stale = false;
    this.#wasRead = true;
  }

  /** Chains and jumps that differ, one restore for all tables; nothing when nothing differs. @throws IptablesError */
  async write(): Promise<void> {
    const commits = this.#commits();
    const first = await commits.next();
    if (first.done) return;
    const second = await commits.next();
    if (second.done) await this.#restore(first.value);
    else if (this.options.backend === 'nft') await this.#restore([...first.value, ...second.value], commits);
    else {
      // The lock is not held while they are made.
      const lines = [...first.value, ...second.value];
      for await (const commit of commits) lines.push(...commit);
      await this.#restore(lines);
    }
    for (const name of tableOrder) this.#written(this.#tables[name]);
  }

  /**
   * Wants a chain and writes it alone when it is not there; after `read`. Where the kernel refuses it, it is wanted no longer and nothing else
   * has changed.
   *
   * @returns why it is refused
   */
  async tryChain(name: TableName, chain: string, rules: readonly Rule[]): Promise<string | undefined> {
    const table = this.#tables[name];
    this.desireChain(name, chain, rules);
    if (!table.chains.pendingUpdates.has(chain)) return undefined;
    const { hashes, identity } = table.wanted.get(chain)!;
    const marker = !table.present && this.options.backend === 'nft' ? [`:${this.#marker} - [0:0]`] : [];
    const lines = chainLines(chain, { rules, hashes });
    try {
      await this.#restore([`*${name}`, ...marker, `:${chain} - [0:0]`, ...lines, 'COMMIT']);
    } catch (error) {
      if (!(error instanceof IptablesError)) throw error;
      this.undesireChain(name, chain);
      return error.message;
    }
    table.chains.found(chain, identity);
    table.present = true;
    return undefined;
  }

  /** Deletes chains that nothing wants any more; after `write`, which removed what named them. @throws IptablesError */
  async sweep(): Promise<void> {
    const lines: string[] = [];
    for (const name of tableOrder) {
      const doomed = [...this.#tables[name].chains.pendingDeletes];
      if (doomed.length === 0) continue;
      lines.push(`*${name}`);
      for (const chain of doomed) lines.push(`:${chain} - [0:0]`);
      for (const chain of doomed) lines.push(`-X ${chain}`);
      lines.push('COMMIT');
    }
    if (lines.length === 0) return;
    await this.#restore(lines);
    for (const name of tableOrder) {
      const { chains } = this.#tables[name];
      for (const chain of [...chains.pendingDeletes]) chains.gone(chain);
    }
  }

  /** Writing still works, so what we wrote is taken for what is there. Without that knowledge every start would add one more jump. */
  #hidden(tables: readonly string[]): void {
    const { family } = this.options;
    const message = `iptables cannot show the IPv${family} table ${tables.join(', ')}: another program put nft rules there that iptables has no words for; have it use a table of its own`;
    if (!this.#wasRead) throw new IptablesError(message, { code: 'TABLE_UNREADABLE', family, tables });
    this.#log.error({ family, tables, reason: message }, 'a table cannot be read back, repairs are off for it');
  }

  async #adopt(table: Table, saved: Map<string, SavedChain> | undefined): Promise<void> {
    table.present = saved !== undefined;
    const found: [string, string][] = [];
    const jumpLines = new Map<string, readonly string[]>();
    await paced(this.#clock, saved ?? [], ([name, chain]) => {
      if (this.#isOurs(name)) {
        if (!this.#isMarker(name)) found.push([name, chain.lines.map(hashOfLine).join()]);
      } else if (chain.policy !== '-' || chain.lines.some((line) => this.#isJump(line))) {
        jumpLines.set(name, chain.lines);
      }
    });
    await paced(this.#clock, table.chains.replacingActual(found));
    table.jumpLines = jumpLines;
  }

  async *#commits(): AsyncGenerator<readonly string[], void> {
    for (const name of tableOrder) yield* this.#commitsOf(name);
  }

  /** What is written into a table, a commit at a time: with iptables-nft new chains come in portions, and with the last of them all else. */
  async *#commitsOf(name: TableName): AsyncGenerator<readonly string[], void> {
    const table = this.#tables[name];
    const { wanted, chains } = table;
    const fresh: string[] = [];
    const declared: string[] = [];
    const rules: string[] = [];
    await paced(this.#clock, chains.pendingUpdates, (chain) => {
      const actual = chains.actual.get(chain);
      if (actual === undefined && this.options.backend === 'nft') {
        fresh.push(chain);
        return;
      }
      const change = changeLines(chain, wanted.get(chain)!, actual);
      if (!change) declared.push(`:${chain} - [0:0]`);
      rules.push(...(change ?? chainLines(chain, wanted.get(chain)!)));
    });
    // In the first commit: it makes the table.
    let marker = !table.present && this.options.backend === 'nft' ? [`:${this.#marker} - [0:0]`] : [];
    const last = { declared: [] as string[], rules: [] as string[] };
    const pace = new Pace(this.#clock);
    for (const portion of portions(fresh, wanted)) {
      if (last.declared.length > 0) {
        yield [`*${name}`, ...marker, ...last.declared, ...last.rules, 'COMMIT'];
        marker = [];
      }
      pace.begin();
      last.declared = portion.map((chain) => `:${chain} - [0:0]`);
      last.rules = portion.flatMap((chain) => chainLines(chain, wanted.get(chain)!));
      if (pace.over) await pace.giveWay();
    }
    const jumps = this.#jumpLines(table);
    if (last.declared.length + declared.length + rules.length + jumps.length === 0) return;
    yield [`*${name}`, ...marker, ...last.declared, ...declared, ...last.rules, ...rules, ...jumps, 'COMMIT'];
  }

  /** Commands that leave exactly one jump of ours, at its place, in each kernel chain that should have one, and none elsewhere. */
  #jumpLines(table: Table): string[] {
    const out: string[] = [];
    for (const from of new Set([...table.jumps.keys(), ...table.jumpLines.keys()])) {
      const lines = table.jumpLines.get(from) ?? [];
      const jump = table.jumps.get(from);
      const ours = lines.flatMap((line, index) => (this.#isJump(line) ? [{ line, index }] : []));
      if (!jump) {
        out.push(...ours.map(({ line }) => `-D${line.slice(2)}`));
        continue;
      }
      const others = lines.filter((line) => !this.#isJump(line));
      const ahead = others.findIndex((line) => !jump.behind.some((prefix) => targetOfLine(line)?.startsWith(prefix)));
      const place = ahead < 0 ? others.length : ahead;
      const rule = jumpRule(jump);
      const [hash] = ruleHashes(from, [rule]);
      if (ours.length === 1 && ours[0]!.index === place && hashInLine(ours[0]!.line) === hash) continue;
      out.push(...ours.map(({ line }) => `-D${line.slice(2)}`));
      out.push(ruleLine(`-I ${from} ${place + 1}`, rule, hash!));
    }
    return out;
  }

  #written(table: Table): void {
    for (const chain of [...table.chains.pendingUpdates]) {
      table.chains.found(chain, table.wanted.get(chain)!.identity);
      table.present = true;
    }
    for (const from of new Set([...table.jumps.keys(), ...table.jumpLines.keys()])) {
      const jump = table.jumps.get(from);
      const others = (table.jumpLines.get(from) ?? []).filter((line) => !this.#isJump(line));
      if (jump) {
        const rule = jumpRule(jump);
        const ahead = others.findIndex((line) => !jump.behind.some((prefix) => targetOfLine(line)?.startsWith(prefix)));
        others.splice(ahead < 0 ? others.length : ahead, 0, ruleLine(`-A ${from}`, rule, ruleHashes(from, [rule])[0]!));
      }
      table.jumpLines.set(from, others);
    }
  }

  async #save(): Promise<SaveParser> {
    const { backend, family, env } = this.options;
    this.counters.saveCalls++;
    const runner = { run: this.#run, clock: this.#clock };
    const saved = saveParser();
    const options = { env, timeoutMs: commandTimeoutMs };
    const result = await runLines(runner, saveArgv(backend, family), options, saved.line);
    if (result.code === 0) return saved;
    this.#stale = true;
    throw new IptablesError(`reading the IPv${family} rules (${backend}) failed: ${result.stderr.trim()}`, {
      code: 'SAVE_FAILED',
      family,
      backend,
      stderr: result.stderr,
    });
  }

  /** @param more further commits, made while the first are being worked on. @throws IptablesError */
  async #restore(first: readonly string[], more?: AsyncIterable<readonly string[]>): Promise<void> {
    const { backend, family, env } = this.options;
    this.counters.restoreCalls++;
    const lines = [...first];
    // Unknown until it succeeded: also when the runner itself throws.
    this.#stale = true;
    const options = { env: { ...restoreEnv(backend), ...env }, timeoutMs: commandTimeoutMs };
    const argv = restoreArgv(backend, family);
    const text = `${lines.join('\n')}\n`;
    const stdin = more ? textOf(text, more, lines) : text;
    const isTold = !more && text.length <= toldCharactersMax && lines.indexOf('COMMIT') === lines.length - 1;
    const programs = isTold ? this.#programs : undefined;
    const give = (held: Pick<CommandOptions, 'env' | 'inherit'> = {}): Promise<CommandResult> =>
      programs
        ? programs.run(argv, { ...options, stdin: text }, (reason) => this.#failedLate(reason))
        : this.#run(argv, { ...options, ...held, stdin, env: { ...options.env, ...held.env } });
    const result = (await (this.#lock ? this.#lock.during(give) : give())) ?? {
      code: 1,
      stderr: 'another program holds the xtables lock',
    };
    this.counters.restoreLines += lines.length;
    if (result.code !== 0) {
      throw new IptablesError(
        `writing IPv${family} rules (${backend}) failed: ${whereItFailed(result.stderr, lines)}`,
        {
          code: 'RESTORE_FAILED',
          family,
          backend,
          stderr: result.stderr,
        },
      );
    }
    this.#stale = false;
  }

  #failedLate(reason: string): void {
    this.#stale = true;
    const { family } = this.options;
    this.#log.warn(
      { family, reason },
      'iptables failed after its commit, its rules are read back with the next change',
    );
  }

  get #marker(): string {
    return `${this.options.chainPrefix}made-table`;
  }
  #isMarker(name: string): boolean {
    return name === this.#marker;
  }
  #isOurs(name: string): boolean {
    return name.startsWith(this.options.chainPrefix);
  }
  #isJump(line: string): boolean {
    return targetOfLine(line)?.startsWith(this.options.chainPrefix) ?? false;
  }
}

function newTable(): Table {
  return { wanted: new Map(), chains: new DeltaTracker(), jumps: new Map(), jumpLines: new Map(), present: false };
}

function jumpRule(jump: Jump): Rule {
  return { match: '', target: `-j ${jump.to}`, comment: '' };
}

/** @param lines gets what is given, too. */
async function* textOf(first: string, more: AsyncIterable<readonly string[]>, lines: string[]): AsyncGenerator<string> {
  yield first;
  for await (const commit of more) {
    lines.push(...commit);
    yield `${commit.join('\n')}\n`;
  }
}

/** restore names the line; people want to see it. */
function whereItFailed(stderr: string, lines: readonly string[]): string {
  const line = /line:? (\d+)/i.exec(stderr)?.[1];
  const text = line === undefined ? undefined : lines[Number(line) - 1];
  return `${stderr.trim()}${text === undefined ? '' : ` (line ${line}: ${text})`}`;
}
