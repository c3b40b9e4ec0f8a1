/**
 * What a test needs of the machine. Give the answer as the test's options, so that a machine without it names the test
 * and the reason at the end of `npm test`, and CI (where nothing may be missing) fails:
 *
 * @example
 * test('a route reaches the kernel', needs({ root: true, commands: ['ip'] }), async () => { ... });
 */
import fs from 'node:fs';
import path from 'node:path';
import { type KubeAsset, kubeAsset, toolPath } from '#setup';
import type { ToolName } from './tools.ts';

export interface Needs {
  /** Root, to make network namespaces. */
  readonly root?: boolean;
  /** Commands in PATH, e.g. `nft`. */
  readonly commands?: readonly string[];
  /** What the set-up scripts provide, e.g. `bird`, `cniShim`. */
  readonly provided?: readonly ToolName[];
  /** Kubernetes programs, e.g. `kube-apiserver`: the set-up builds them where there is a Go toolchain. */
  readonly kube?: readonly KubeAsset[];
}

function inPath(command: string): boolean {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.some((folder) => fs.existsSync(path.join(folder, command)));
}

/** `{}` when everything is there, otherwise `{ skip: 'needs ...' }`. */
export function needs(wanted: Needs): { readonly skip?: string } {
  const lacking = [
    ...(wanted.root && process.getuid?.() !== 0 ? ['root'] : []),
    ...(wanted.commands ?? []).filter((command) => !inPath(command)),
    ...(wanted.provided ?? []).filter((name) => toolPath(name) === undefined),
  ];
  const programs = (wanted.kube ?? []).filter((name) => kubeAsset(name) === undefined);
  if (programs.length > 0) lacking.push(`${programs.join(', ')} (built by npm test where Go is, see CONTRIBUTING.md)`);
  return lacking.length === 0 ? {} : { skip: `needs ${lacking.join(', ')}` };
}
