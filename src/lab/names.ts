/**
 * Names of what a lab makes. Namespaces are `pl-LAB.NAME`; a lab's name holds no dot, so the prefix `pl-LAB.` is one lab's
 * alone, and whatever begins with it may be removed.
 */
import path from 'node:path';
import { badInput } from './errors.ts';

export const labsRoot = '/run/poplin-lab';
export const netnsRoot = '/run/netns';
const labNameMaxLength = 20; // unix socket paths below the lab's directory must fit into 107 bytes

export interface LabPaths {
  readonly name: string;
  readonly directory: string;
  readonly stateFile: string;
  readonly logs: string;
  readonly proberSocket: string;
  readonly netnsPrefix: string;
}

/** @throws LabError BAD_INPUT */
export function labPaths(name: string): LabPaths {
  if (name.length > labNameMaxLength || !/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name)) {
    throw badInput([`--name ${JSON.stringify(name)}: 1 to ${labNameMaxLength} of a-z, 0-9 and - are wanted`]);
  }
  const directory = path.join(labsRoot, name);
  return {
    name,
    directory,
    stateFile: path.join(directory, 'lab.json'),
    logs: path.join(directory, 'logs'),
    proberSocket: path.join(directory, 'prober.sock'),
    netnsPrefix: `pl-${name}.`,
  };
}

/** Namespace of a node, router or host. */
export function machineNetns(lab: LabPaths, machine: string): string {
  return `${lab.netnsPrefix}${machine}`;
}

export function podNetns(lab: LabPaths, pod: { readonly namespace: string; readonly name: string }): string {
  return `${lab.netnsPrefix}pod.${pod.namespace}.${pod.name}`;
}

export function netnsPath(netns: string): string {
  return path.join(netnsRoot, netns);
}

export interface NodePaths {
  readonly directory: string;
  /** The node's copy of the manifests: what its agent's file datastore watches. */
  readonly datastore: string;
  readonly state: string;
  readonly run: string;
  readonly config: string;
  readonly xtablesLock: string;
  readonly cniSocket: string;
  readonly cniQueue: string;
  readonly cniConfig: string;
  readonly cniBinary: string;
  readonly apiSocket: string;
  readonly log: string;
}

export function nodePaths(lab: LabPaths, node: string): NodePaths {
  const directory = path.join(lab.directory, 'nodes', node);
  return {
    directory,
    datastore: path.join(directory, 'manifests'),
    state: path.join(directory, 'state'),
    run: path.join(directory, 'run'),
    config: path.join(directory, 'agent.yaml'),
    xtablesLock: path.join(directory, 'xtables.lock'),
    cniSocket: path.join(directory, 'run', 'cni', 'cni.sock'),
    cniQueue: path.join(directory, 'state', 'cni-queue'),
    cniConfig: path.join(directory, 'cni', 'net.d'),
    cniBinary: path.join(directory, 'cni', 'bin', 'poplin'),
    apiSocket: path.join(directory, 'run', 'api.sock'),
    log: path.join(lab.logs, `agent-${node}.log`),
  };
}
