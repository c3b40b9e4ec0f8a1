/** The machine's own network, which a lab must not touch, as text to compare. */
import { must } from '../netns.ts';

/** Links, addresses, rules and routes of this network namespace, without counters and lifetimes. */
export async function ownNetworkDump(): Promise<string> {
  const link = JSON.parse(await must('ip', ['-j', 'addr', 'show'])) as {
    ifname: string;
    flags: string[];
    addr_info: { local?: string }[];
  }[];
  const links = link.map(
    ({ ifname, flags, addr_info }) => `${ifname} ${flags.join(',')} ${addr_info.map(({ local }) => local).join(' ')}`,
  );
  const texts = await Promise.all(
    ['-4', '-6'].flatMap((family) => [
      must('ip', [family, 'rule', 'show']),
      must('ip', [family, 'route', 'show', 'table', 'all']),
    ]),
  );
  return [...links, ...texts.map((text) => text.replaceAll(/ expires \d+sec/g, ''))].join('\n');
}
