/** The command line, run in this process: for tests. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { type AgentView, createApiServer } from '#api';
import { silentLogger } from '#kit';
import { runCli } from './program.ts';

const nowMs = Date.parse('2026-01-01T01:00:00Z');

export interface Run {
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
}

export async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  let [out, err] = ['', ''];
  let code: number | undefined;
  await runCli(args, {
    terminal: {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
    },
    env,
    version: '9.9.9',
    now: () => nowMs,
    setExitCode: (value) => {
      code = value;
    },
  });
  return { code, out, err };
}

/** Cells of a table, a line each. */
export const cells = (table: string): readonly (readonly string[])[] =>
  table
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/));

/** An agent that answers with this. @returns the environment in which it is found. */
export async function serve(t: TestContext, view: Partial<AgentView>): Promise<Record<string, string>> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-cli-'));
  const server = createApiServer(
    { view: view as AgentView, log: silentLogger },
    { socketPath: path.join(folder, 'api.sock') },
  );
  await server.start();
  t.after(async () => {
    await server.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return { POPLIN_RUN_DIR: folder };
}
