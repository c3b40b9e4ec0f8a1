import { linesOf } from '../command.ts';

/** `iptables-save` as far as we need it: every chain of every table with its rule lines. */
export interface SavedChain {
  /** `-` for a user chain, else the policy of a kernel chain. */
  readonly policy: string;
  /** Lines as printed, `-A CHAIN …`, in order. */
  readonly lines: string[];
}
export type SavedTables = Map<string, Map<string, SavedChain>>;

export interface SaveParser {
  /** Those that the dump does not show are absent. */
  readonly tables: SavedTables;
  /**
   * Of which iptables-nft says that it cannot show them: somebody wrote rules into them with `nft` that iptables has no words for.
   * It then prints nothing of the table, ours included, and exits 0.
   */
  readonly unreadable: readonly string[];
  line(line: string): void;
}

/** Takes a dump line by line. */
export function saveParser(): SaveParser {
  const tables: SavedTables = new Map();
  const unreadable: string[] = [];
  let chains = new Map<string, SavedChain>();
  return {
    tables,
    unreadable,
    line(line) {
      if (line.startsWith('-A ')) {
        const end = line.indexOf(' ', 3);
        chains.get(end < 0 ? line.slice(3) : line.slice(3, end))?.lines.push(line);
      } else if (line.startsWith('*')) {
        chains = new Map();
        tables.set(line.slice(1).trim(), chains);
      } else if (line.startsWith(':')) {
        const [name, policy] = line.slice(1).split(' ');
        if (name !== undefined) chains.set(name, { policy: policy ?? '-', lines: [] });
      } else if (line.startsWith('# Table ')) {
        const table = /^# Table `([^']+)' is incompatible/.exec(line)?.[1];
        if (table !== undefined) unreadable.push(table);
      }
    },
  };
}

export function parseSave(text: string): SavedTables {
  const parser = saveParser();
  for (const line of linesOf(text)) parser.line(line);
  return parser.tables;
}

/** The chain or target that a rule line hands the packet to. */
export function targetOfLine(line: string): string | undefined {
  return / (?:-j|-g) (\S+)/.exec(line.replace(/"(?:[^"\\]|\\.)*"/g, '""'))?.[1];
}
