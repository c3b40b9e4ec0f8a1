/** Labs for tests: names of their own, removed whatever happens. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type DemoOptions, down, LabError, type UpOptions, up } from '#lab';

let sequence = 0;

/** A lab name that no other test process uses. */
export function labName(): string {
  return `t${process.pid}-${++sequence}`;
}

/** Removes a lab that may or may not exist. */
export async function removeLab(name: string): Promise<void> {
  try {
    await down(name);
  } catch (error) {
    if (!(error instanceof LabError && error.code === 'NO_SUCH_LAB')) throw error;
  }
}

/** Builds a lab from documents given as text, runs `use`, and removes it. */
export async function withLab(
  documents: string,
  use: (lab: Awaited<ReturnType<typeof up>>) => Promise<void>,
  options: Partial<UpOptions> = {},
): Promise<void> {
  const name = labName();
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-lab-'));
  fs.writeFileSync(path.join(directory, 'lab.yaml'), documents);
  try {
    await use(await up({ name, files: [directory], say: () => undefined, ...options }));
  } finally {
    fs.rmSync(directory, { recursive: true });
    await removeLab(name);
  }
}

/** Options of a demonstration whose lines are kept. */
export function demoOptions(sabotage?: DemoOptions['sabotage']): {
  readonly options: DemoOptions;
  readonly lines: string[];
} {
  const lines: string[] = [];
  const options = { name: labName(), keep: false, print: (line: string) => void lines.push(line) };
  return { options: sabotage ? { ...options, sabotage } : options, lines };
}
