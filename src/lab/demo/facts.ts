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
  /** A line for the person watching. */
  readonly say: (line: string) => void;
}

export function createReport(print: (line: string) => void): Report {
  const started = performance.now();
  return {
    facts: [],
    say: (line) => print(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}`),
  };
}

/** Records a fact and prints it: what was measured when it held, both sides when it did not. */
export function record(report: Report, fact: Fact): void {
  report.facts.push(fact);
  if (fact.held) report.say(`ok      ${fact.name}: ${fact.measured}`);
  else {
    report.say(`FAILED  ${fact.name}`);
    report.say(`          expected: ${fact.expected}`);
    report.say(`          measured: ${fact.measured}`);
  }
}
