/** Facts: what was expected, what was measured, and whether the two agree. Printed as they come. */

export interface Fact {
  /** Stable name, for tests. */
  readonly name: string;
  readonly held: boolean;
  /** In words, with the numbers. */
  readonly expected: string;
  readonly measured: string;
}

export interface Report {
  readonly facts: Fact[];
  /** A line for the person watching, with the time. */
  readonly say: (line: string) => void;
  /** Lines that belong to what was said last. */
  readonly show: (text: string) => void;
}

const margin = ' '.repeat(17);

export function createReport(print: (line: string) => void): Report {
  const started = performance.now();
  return {
    facts: [],
    say: (line) => print(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}`),
    show: (text) => print(text.trimEnd().replaceAll(/^/gm, margin)),
  };
}

/** Records a fact and prints it: what was measured when it held, both sides when it did not. */
export function record(report: Report, fact: Fact): void {
  report.facts.push(fact);
  const inLine = !fact.measured.includes('\n');
  if (fact.held) {
    report.say(`ok      ${fact.name}${inLine ? `: ${fact.measured}` : ''}`);
    if (!inLine) report.show(fact.measured);
    return;
  }
  report.say(`FAILED  ${fact.name}`);
  report.show(`expected: ${fact.expected}`);
  report.show(`measured: ${fact.measured.replaceAll('\n', '\n          ')}`);
}
