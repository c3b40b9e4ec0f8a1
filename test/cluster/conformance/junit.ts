/** Reads the JUnit files that ginkgo writes: only as much XML as they use. */

export type Verdict = 'passed' | 'failed' | 'skipped';

export interface SpecResult {
  /** Without ginkgo's `[It] `. Of set-up and the like: with its own mark, e.g. `[SynchronizedBeforeSuite]`. */
  readonly name: string;
  readonly verdict: Verdict;
  readonly seconds: number;
  /** Of a failure: the first lines of what it said. Of a skipped one: the reason, if it is the spec's own. */
  readonly reason: string;
}

const entities: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };
const reasonCharactersMax = 400;

function decode(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16));
    if (decimal) return String.fromCodePoint(Number(decimal));
    return entities[name] ?? whole;
  });
}

function attributes(tag: string): Readonly<Record<string, string>> {
  return Object.fromEntries([...tag.matchAll(/([\w:-]+)="([^"]*)"/g)].map((match) => [match[1], decode(match[2]!)]));
}

/** Results of one file, skipped ones included. */
export function parseJunit(xml: string): readonly SpecResult[] {
  const results: SpecResult[] = [];
  for (const match of xml.matchAll(/<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const { name = '', status = '', time = '0' } = attributes(match[1]!);
    const verdict: Verdict = status === 'passed' || status === 'skipped' ? status : 'failed';
    results.push({
      name: name.replace(/^\[It\] /, ''),
      verdict,
      seconds: Number(time),
      reason: reasonOf(match[2] ?? '', verdict),
    });
  }
  return results;
}

function reasonOf(body: string, verdict: Verdict): string {
  if (verdict === 'passed') return '';
  const element = verdict === 'skipped' ? /<skipped\b([^>]*)>/ : /<(?:failure|error)\b([^>]*)>([^<]*)/;
  const found = element.exec(body);
  const message = attributes(found?.[1] ?? '')['message'] || decode(found?.[2] ?? '');
  if (message === 'skipped') return ''; // not selected
  return message.replaceAll(/\s+/g, ' ').trim().slice(0, reasonCharactersMax);
}

/**
 * One result for each wanted spec over the files of all shards. A spec that no file says passed or failed (its shard died) has
 * failed; broken set-up is a result of its own.
 */
export function collect(wanted: readonly string[], files: readonly (readonly SpecResult[])[]): readonly SpecResult[] {
  const all = files.flat();
  const results = wanted.map((name): SpecResult => {
    const ran = all.filter((result) => result.name === name && result.verdict !== 'skipped');
    const byItself = all.find((result) => result.name === name && result.reason !== '');
    return (
      ran.find(({ verdict }) => verdict === 'failed') ??
      ran[0] ??
      byItself ?? { name, verdict: 'failed', seconds: 0, reason: 'did not run: see the shards’ output' }
    );
  });
  const setUp = all.filter(
    ({ name, verdict }) =>
      verdict === 'failed' && /^\[\w+\]/.test(name) && !name.startsWith('[sig-') && !wanted.includes(name),
  );
  return [...results, ...setUp];
}
