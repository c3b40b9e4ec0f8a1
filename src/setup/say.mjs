/** What the set-up tells the person waiting. Everything goes to stderr: stdout belongs to the command that follows. */

/** @param {string} line */
export function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}

/** Ends the set-up with an explanation and exit code 2: the machine lacks something that only a person can give. */
export class CannotGoOn extends Error {}
