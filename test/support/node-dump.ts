/** Everything of a node that an agent may change, as text that two moments can be compared by: no counters, handles, times. */
import type { ExecResult } from '#sys';

const commands: readonly (readonly string[])[] = [
  ['ip', '-o', 'link'],
  ['ip', '-o', 'address'],
  ['ip', 'rule'],
  ['ip', '-6', 'rule'],
  ['ip', 'route', 'show', 'table', 'all'],
  ['ip', '-6', 'route', 'show', 'table', 'all'],
  ['ip', 'nexthop'],
  ['ipset', 'save'],
  ['nft', 'list', 'ruleset'],
  ['xtables-legacy-multi', 'iptables-save'],
  ['xtables-legacy-multi', 'ip6tables-save'],
  ['grep', '-rs', '.', '/proc/sys/net'],
  // Files; what is empty, a kubelet that mounts folders leaves behind.
  ['find', '/etc/cni', '/opt/cni', '/var/lib/poplin', '/run/poplin', '-not', '-type', 'd'],
];

/** Settings that count or are drawn by chance. */
const moving = /^\/proc\/sys\/net\/\S*(nf_conntrack_count|stable_secret|random|route\/flush)\S*:/;

export async function nodeDump(run: (command: readonly string[]) => Promise<ExecResult>): Promise<string> {
  const texts: string[] = [];
  for (const command of commands) {
    const { code, stdout, stderr } = await run(command);
    const mayFail = ['find', 'grep'].includes(command[0]!);
    if (code !== 0 && !mayFail) throw new Error(`${command.join(' ')}: ${stderr}`);
    texts.push(
      ...stdout
        .replaceAll(/ expires \d+sec/g, '')
        .replaceAll(/^#.*\n/gm, '')
        .replaceAll(/ ?\[\d+:\d+\]/g, '')
        // A legacy table that was looked at once stays loaded, empty and accepting, as long as the namespace.
        .replaceAll(/^\*\w+\n(:[A-Z]+ ACCEPT\n)+COMMIT\n/gm, '')
        .replaceAll(/counter packets \d+ bytes \d+/g, 'counter')
        .split('\n')
        .filter((line) => !moving.test(line))
        .map((line) => `${command[0]}: ${line}`),
    );
  }
  return texts.join('\n');
}

/** Lines that only one of two dumps has. */
export function difference(before: string, after: string): string[] {
  const [had, has] = [before.split('\n'), after.split('\n')];
  const [hadSet, hasSet] = [new Set(had), new Set(has)];
  return [
    ...had.filter((line) => !hasSet.has(line)).map((line) => `-${line}`),
    ...has.filter((line) => !hadSet.has(line)).map((line) => `+${line}`),
  ];
}
