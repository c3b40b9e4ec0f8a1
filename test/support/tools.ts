/** Programs that the set-up scripts unpacked or built (see src/setup). */
import assert from 'node:assert/strict';
import { toolPath } from '#setup';

export type ToolName = Parameters<typeof toolPath>[0];

/** Path of a tool that the calling test declared with `needs`. @throws AssertionError when the set-up never provided it. */
export function tool(name: ToolName): string {
  const file = toolPath(name);
  assert.ok(
    file,
    `${name} is not there: run npm test once, which fetches it, or declare needs({ provided: ['${name}'] })`,
  );
  return file;
}
