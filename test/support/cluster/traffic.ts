/**
 * Streams of numbered packets and single probes between pods, the outside host and nodes: the lab's prober, whose sockets are opened
 * within their namespaces. Needs no program in the pods.
 */
import path from 'node:path';
import {
  endProcesses,
  type LabProcess,
  netnsPath,
  ProberClient,
  type StreamReport,
  type StreamRequest,
  startProcess,
  type Target,
} from '#lab';
import { root } from '#setup';
import { addressesOf, type MachineName, netnsOf, paths, systemPath } from './layout.ts';
import { type Pod, podNetnsPath } from './pods.ts';
import { updateState } from './state.ts';

const role = 'prober';
/** UDP, served in every target. */
export const streamPort = 9999;
const proberDeadlineMs = 60_000;

export interface Traffic {
  readonly client: ProberClient;
  /** Starts a stream between two targets. */
  readonly start: (stream: Omit<StreamRequest, 'port' | 'flows'> & { readonly flows?: number }) => Promise<void>;
  readonly stop: (...streams: readonly string[]) => Promise<readonly StreamReport[]>;
  readonly close: () => Promise<void>;
}

const served: Target['ports'] = [
  { protocol: 'UDP', port: streamPort },
  { protocol: 'TCP', port: streamPort },
];

export function podTarget(pod: Pod): Target {
  return {
    id: `${pod.metadata.namespace}/${pod.metadata.name}`,
    netns: podNetnsPath(pod),
    addresses: (pod.status.podIPs ?? []).map(({ ip }) => ip),
    ports: served,
  };
}

/** `outside`, a node, or the ToR router. */
export function machineTarget(machine: MachineName): Target {
  return { id: machine, netns: netnsPath(netnsOf(machine)), addresses: addressesOf(machine), ports: served };
}

/** Starts the prober with these targets. It is ended with `close`, and in any case with the cluster. */
export async function startTraffic(targets: readonly Target[]): Promise<Traffic> {
  const process_: LabProcess = await startProcess({
    role,
    command: process.execPath,
    args: [path.join(root, 'src', 'lab', 'prober', 'main.ts'), paths.proberSocket],
    logFile: path.join(paths.logs, 'prober.log'),
    env: { PATH: systemPath },
  });
  updateState((state) => ({ ...state, processes: { ...state.processes, [role]: process_ } }));
  const client = await ProberClient.connect(paths.proberSocket, proberDeadlineMs);
  const { problems } = await client.call({ op: 'sync', targets });
  if (problems.length > 0) throw new Error(`prober: ${problems.join('; ')}`);
  return {
    client,
    start: async ({ flows = 1, ...stream }) => {
      await client.call({ op: 'streamStart', streams: [{ ...stream, flows, port: streamPort }] });
    },
    stop: async (...streams) => (await client.call({ op: 'streamStop', streams })).reports,
    close: async () => {
      client.close();
      await endProcesses([process_]);
    },
  };
}
