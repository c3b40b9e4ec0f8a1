/** What a lab has made, on disk: so that another command, or `down` after a crash, knows it. */
import fs from 'node:fs';
import path from 'node:path';
import { readFileIfThere, writeFileDurableSync } from '#sys';
import { LabError } from './errors.ts';
import { type LabPaths, labPaths, labsRoot } from './names.ts';
import type { LabProcess } from './processes.ts';
import type { Topology } from './topology.ts';

/** A pod as the lab's kubelet runs it. */
export interface LabPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string;
  readonly hostNetwork: boolean;
  readonly containerId: string;
  /** Empty until ADD has answered. */
  readonly addresses: readonly string[];
  readonly ports: readonly { readonly protocol: 'TCP' | 'UDP'; readonly port: number }[];
}

export interface LabState {
  readonly topology: Topology;
  readonly startedAt: string;
  readonly processes: readonly LabProcess[];
  readonly pods: readonly LabPod[];
  /** Node -> keys of manifests that its agent is not given. */
  readonly withheld: Readonly<Record<string, readonly string[]>>;
  /** For the agents of all nodes. */
  readonly agentOptions: Readonly<Record<string, string | number | boolean>>;
}

export function podKey(pod: { readonly namespace: string; readonly name: string }): string {
  return `${pod.namespace}/${pod.name}`;
}

/** @throws LabError NO_SUCH_LAB, STATE_DAMAGED */
export function readState(lab: LabPaths): LabState {
  const text = readFileIfThere(lab.stateFile);
  if (text === undefined) {
    const others = labNames();
    const hint =
      others.length > 0
        ? `; there are: ${others.join(', ')} (choose one with --name)`
        : '; start one with `poplin lab up -f FILE|DIR`';
    throw new LabError(`no lab named ${lab.name}${hint}`, { code: 'NO_SUCH_LAB', name: lab.name });
  }
  try {
    return JSON.parse(text) as LabState;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new LabError(
      `${lab.stateFile} is damaged (${error.message}): \`poplin lab down --name ${lab.name}\`, then \`up\``,
      {
        code: 'STATE_DAMAGED',
        name: lab.name,
      },
    );
  }
}

export function writeState(lab: LabPaths, state: LabState): void {
  writeFileDurableSync(lab.stateFile, `${JSON.stringify(state, null, 1)}\n`);
}

/** Labs that have a directory, whole or crashed. */
export function labNames(): string[] {
  if (!fs.existsSync(labsRoot)) return [];
  return fs.readdirSync(labsRoot).sort();
}

/** Makes the lab's directory. @throws LabError LAB_EXISTS */
export function claim(name: string): LabPaths {
  const lab = labPaths(name);
  fs.mkdirSync(labsRoot, { recursive: true, mode: 0o755 });
  try {
    fs.mkdirSync(lab.directory, { mode: 0o700 });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new LabError(
      `lab ${name} exists already (or crashed): end it with \`poplin lab down --name ${name}\`, or choose another --name`,
      { code: 'LAB_EXISTS', name },
    );
  }
  fs.mkdirSync(path.join(lab.directory, 'logs'));
  return lab;
}
