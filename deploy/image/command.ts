/** Programs that the build runs. */
import { execFile } from 'node:child_process';
import { ImageError } from './errors.ts';

const outputBytesMax = 64 << 20;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** What the program printed on stdout. @throws ImageError COMMAND with what it said on stderr. */
export function run(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      command,
      args,
      {
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
        env: { ...process.env, LC_ALL: 'C', ...options.env },
        maxBuffer: outputBytesMax,
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const text = `${command} ${args.join(' ')} failed: ${stderr.trim() || error.message}`;
        reject(new ImageError(text, { code: 'COMMAND', command }, { cause: error }));
      },
    );
  });
}
