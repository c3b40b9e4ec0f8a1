import { execFileSync } from 'node:child_process';
import path from 'node:path';

/** Compiles a C program of this folder into another one. @returns the program's file */
export function compiled(source: string, into: string): string {
  const program = path.join(into, path.basename(source, '.c'));
  const file = path.join(import.meta.dirname, source);
  execFileSync('gcc', ['-Wall', '-Wextra', '-Werror', '-O2', '-o', program, file]);
  return program;
}
