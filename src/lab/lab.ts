/**
 * A lab's life: up, apply, probe, down. One command does one of these; what must be remembered stands in the state file.
 *
 *   topology + manifests --> namespaces, links (netns.ts)
 *                        --> routers, prober, agents (agents.ts, processes.ts)
 *                        --> objects in each node's datastore directory (manifests.ts)
 *                        --> pods by CNI calls, their status written back (kubelet.ts)
 *                        --> what to serve, to the prober (prober/)
 */
import fs from 'node:fs';
import { type AgentOptions, labTool, startAgent, startProber, startRouter } from './agents.ts';
import { type Manifest, manifestKey, readManifests } from './documents.ts';
import { badInput, LabError } from './errors.ts';
import { addPods, deletePods, type KubeletDeps, waitForCni } from './kubelet.ts';
import {
  checkManifests,
  complete,
  ManifestStore,
  nodeAddresses,
  podOf,
  type StoredObject,
  withStatus,
} from './manifests.ts';
import { type LabPaths, labPaths, labsRoot, machineNetns, netnsPath, podNetns } from './names.ts';
import { buildNetwork, deleteNamespaces, namespacesWith } from './netns.ts';
import { ProberClient } from './prober/client.ts';
import type { Target } from './prober/protocol.ts';
import { endProcesses, isAlive, type LabProcess, processesIn, signal } from './processes.ts';
import { claim, type LabPod, type LabState, podKey, readState, writeState } from './state.ts';
import { linksOf, parseTopology, type Topology } from './topology.ts';

/** Tells a person what is going on; the lab itself prints nothing. */
export type Say = (line: string) => void;

export interface Lab {
  readonly paths: LabPaths;
  readonly topology: Topology;
  readonly state: LabState;
}

function kubelet(lab: Lab): KubeletDeps {
  return { lab: lab.paths, shim: labTool('cniShim'), agentAlive: (node) => agentAlive(lab, node) };
}

function storeOf(lab: Lab): ManifestStore {
  return new ManifestStore(
    lab.paths,
    lab.topology.nodes.map(({ name }) => name),
    lab.state.withheld,
  );
}

/** @throws LabError NOT_ROOT */
function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new LabError('the lab works inside network namespaces: run it as root', { code: 'NOT_ROOT' });
}

/** @throws LabError NO_SUCH_LAB, NOT_ROOT */
export function openLab(name: string): Lab {
  requireRoot();
  const paths = labPaths(name);
  const state = readState(paths);
  return { paths, topology: state.topology, state };
}

function remember(lab: Lab, change: Partial<LabState>): Lab {
  const state = { ...lab.state, ...change };
  writeState(lab.paths, state);
  return { ...lab, state };
}

/** The one Topology among `manifests`. @throws LabError BAD_INPUT */
function topologyOf(manifests: readonly Manifest[]): Topology {
  const found = manifests.filter(({ kind }) => kind === 'Topology');
  if (found.length !== 1) {
    throw badInput([
      found.length === 0
        ? `no document of kind Topology among ${manifests.length} in the given files: add one (\`poplin lab up --help\` shows it)`
        : `${found.length} documents of kind Topology (${found.map(({ file, line }) => `${file}:${line}`).join(', ')}): give one`,
    ]);
  }
  const { topology, problems } = parseTopology(found[0]!);
  if (!topology) throw badInput(problems);
  return topology;
}

export interface UpOptions {
  readonly name: string;
  readonly files: readonly string[];
  readonly say: Say;
  /** Leave what was made when something fails, to look at it. */
  readonly keepOnFailure?: boolean;
  readonly withheld?: Readonly<Record<string, readonly string[]>>;
  /** Further options of every agent's configuration file. */
  readonly agentOptions?: AgentOptions;
  /** Called when the network stands and before any daemon runs. */
  readonly beforeDaemons?: (paths: LabPaths) => Promise<void>;
}

/** Builds a lab. On failure everything made is removed again. @throws LabError */
export async function up(options: UpOptions): Promise<Lab> {
  requireRoot();
  const manifests = readManifests(options.files);
  const topology = topologyOf(manifests);
  const problems = checkManifests(
    manifests,
    topology.nodes.map(({ name }) => name),
  );
  if (problems.length > 0) throw badInput(problems);
  labTool('cniShim');
  if (topology.routers.length > 0) labTool('bird');
  const paths = claim(options.name);
  try {
    return await build(paths, topology, manifests, options);
  } catch (error) {
    if (!options.keepOnFailure) await down(options.name);
    throw error;
  }
}

async function build(
  paths: LabPaths,
  topology: Topology,
  manifests: readonly Manifest[],
  options: UpOptions,
): Promise<Lab> {
  const { say } = options;
  const withheld = options.withheld ?? {};
  const agentOptions = options.agentOptions ?? {};
  let lab: Lab = {
    paths,
    topology,
    state: { topology, startedAt: new Date().toISOString(), processes: [], pods: [], withheld, agentOptions },
  };
  lab = remember(lab, {});
  const objects = complete(manifests, []);
  const loopbacks = new Map<string, readonly string[]>();
  for (const router of topology.routers) loopbacks.set(router.name, router.loopbacks);
  for (const object of objects) if (object.kind === 'Node') loopbacks.set(object.name, nodeAddresses(object.value));
  const machines = topology.nodes.length + topology.routers.length + topology.hosts.length;
  say(`building ${machines} network namespaces and ${topology.links.length} links`);
  await buildNetwork(paths, topology, loopbacks);
  await options.beforeDaemons?.(paths);
  const store = storeOf(lab);
  for (const object of objects) store.write(object);
  say(`starting ${topology.routers.length} routers and ${topology.nodes.length} agents`);
  const starts = [
    () => startProber(paths),
    ...topology.routers.map((router) => () => startRouter(paths, topology, router, objects)),
    ...topology.nodes.map(
      ({ name }) =>
        () =>
          startAgent(paths, name, agentOptions),
    ),
  ];
  for (const start of starts) lab = remember(lab, { processes: [...lab.state.processes, await start()] });
  await Promise.all(topology.nodes.map(({ name }) => waitForCni(kubelet(lab), name)));
  lab = await runPods(lab, objects, say);
  await syncProber(lab);
  return lab;
}

export function agentOf(lab: Lab, node: string): LabProcess | undefined {
  return lab.state.processes.find(({ role }) => role === `agent ${node}`);
}

function agentAlive(lab: Lab, node: string): boolean {
  const agent = agentOf(lab, node);
  return agent !== undefined && isAlive(agent);
}

/** Wires every Pod object that does not run yet, unwires every running pod whose object is gone or moved. */
async function runPods(lab: Lab, objects: readonly StoredObject[], say: Say): Promise<Lab> {
  const store = storeOf(lab);
  const podObjects = objects.filter(({ kind }) => kind === 'Pod');
  const wanted = new Map(podObjects.map((object) => [podKey(object), podOf(object)]));
  const same = (a: LabPod | undefined, b: LabPod): boolean =>
    a?.uid === b.uid && a.nodeName === b.nodeName && a.hostNetwork === b.hostNetwork;
  const gone = lab.state.pods.filter((pod) => !same(wanted.get(podKey(pod)), pod));
  if (gone.length > 0) {
    say(`removing ${gone.length} pods`);
    const problems = await deletePods(
      kubelet(lab),
      gone.filter((pod) => !pod.hostNetwork),
    );
    for (const problem of problems) say(problem);
  }
  const running = new Map(lab.state.pods.filter((pod) => !gone.includes(pod)).map((pod) => [podKey(pod), pod]));
  const fresh = [...wanted.values()].filter((pod) => !running.has(podKey(pod)));
  if (fresh.length > 0) say(`wiring ${fresh.length} pods through the CNI plugin`);
  const wired = await addPods(
    kubelet(lab),
    fresh.filter((pod) => !pod.hostNetwork),
  );
  const pods: LabPod[] = [];
  // Who ran already stays in his place: tables of before and after have the same order.
  const rank = new Map([...running.keys(), ...fresh.map(podKey)].map((key, i) => [key, i]));
  for (const object of podObjects.toSorted((a, b) => rank.get(podKey(a))! - rank.get(podKey(b))!)) {
    const pod = wanted.get(podKey(object))!;
    const hostIPs = nodeAddresses(
      objects.find(({ kind, name }) => kind === 'Node' && name === pod.nodeName)?.value ?? {},
    );
    const addresses = running.get(podKey(pod))?.addresses ?? wired.get(podKey(pod)) ?? hostIPs;
    store.write(withStatus(object, addresses, hostIPs));
    pods.push({ ...pod, addresses });
  }
  return remember(lab, { pods });
}

export interface ApplyResult {
  readonly lab: Lab;
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/** Brings objects into a running lab; with `prune`, what is not among them goes. @throws LabError BAD_INPUT */
export async function apply(
  lab: Lab,
  files: readonly string[],
  options: { readonly prune?: boolean; readonly say: Say },
): Promise<ApplyResult> {
  const nodes = lab.topology.nodes.map(({ name }) => name);
  const manifests = readManifests(files);
  const given = manifests.find(({ kind }) => kind === 'Topology');
  if (given) {
    const { topology, problems } = parseTopology(given);
    if (problems.length > 0) throw badInput(problems);
    if (JSON.stringify(topology) !== JSON.stringify(lab.topology)) {
      throw badInput([
        `${given.file}:${given.line}: Topology ${given.name}: a running lab's topology cannot change: \`poplin lab down\`, then \`up\``,
      ]);
    }
  }
  const store = storeOf(lab);
  const known = store.read();
  const objects = complete(manifests, known);
  const keys = new Set(objects.map(manifestKey));
  const others = known.filter((object) => !keys.has(manifestKey(object)));
  const inUse = new Set(objects.map(({ namespace }) => namespace));
  const dropped = options.prune ? others.filter(({ kind, name }) => kind !== 'Namespace' || !inUse.has(name)) : [];
  const problems = checkManifests(manifests, nodes).filter(
    (problem) => options.prune || !problem.startsWith('topology:'),
  );
  if (problems.length > 0) throw badInput(problems);
  const changed = objects.filter((object) => store.write(object)).map(manifestKey);
  const keptOthers = others.filter((object) => !dropped.includes(object));
  for (const object of dropped) if (object.kind !== 'Pod') store.remove(object);
  const next = await runPods(lab, [...keptOthers, ...objects], options.say);
  for (const object of dropped) store.remove(object); // Pods last: their object outlives the DEL, as at the API server
  await syncProber(next);
  return { lab: next, changed, removed: dropped.map(manifestKey) };
}

/** Everything that can be probed: pods, then nodes, then hosts. */
export function targetsOf(lab: Lab): Target[] {
  const { paths, topology } = lab;
  const objects = storeOf(lab).read();
  const pods = lab.state.pods
    .filter((pod) => !pod.hostNetwork)
    .map(
      (pod): Target => ({
        id: podKey(pod),
        netns: netnsPath(podNetns(paths, pod)),
        addresses: pod.addresses,
        ports: pod.ports,
      }),
    );
  const nodes = topology.nodes.map(({ name, ports }): Target => {
    const node = objects.find((object) => object.kind === 'Node' && object.name === name);
    return {
      id: `node:${name}`,
      netns: netnsPath(machineNetns(paths, name)),
      addresses: nodeAddresses(node?.value ?? {}),
      ports,
    };
  });
  const hosts = topology.hosts.map(({ name, ports }): Target => {
    const addresses = linksOf(topology, name).flatMap(({ own }) => own.addresses.map(({ address }) => address));
    return { id: `ext:${name}`, netns: netnsPath(machineNetns(paths, name)), addresses, ports };
  });
  return [...pods, ...nodes, ...hosts];
}

/** Tells the prober what to serve. @throws LabError NOT_READY when something cannot be served. */
export async function syncProber(lab: Lab): Promise<void> {
  const client = await ProberClient.connect(lab.paths.proberSocket);
  try {
    const { problems } = await client.call({ op: 'sync', targets: targetsOf(lab) });
    if (problems.length > 0) throw new LabError(problems.join('\n'), { code: 'NOT_READY', what: 'served ports' });
  } finally {
    client.close();
  }
}

/** SIGKILLs the agent of a node, as a crash would end it. */
export function killAgent(lab: Lab, node: string): void {
  const agent = agentOf(lab, node);
  if (agent) signal(agent, 'SIGKILL');
}

export async function restartAgent(lab: Lab, node: string): Promise<Lab> {
  const agent = await startAgent(lab.paths, node, lab.state.agentOptions);
  const others = lab.state.processes.filter(({ role }) => role !== agent.role);
  const next = remember(lab, { processes: [...others, agent] });
  await waitForCni(kubelet(next), node);
  return next;
}

export interface DownReport {
  readonly processes: number;
  readonly namespaces: number;
  /** Names of what is still there; empty when all went well. */
  readonly left: readonly string[];
}

/** Without a state file that reads there are none; those inside the lab's namespaces are found all the same. */
function recordedProcesses(paths: LabPaths): readonly LabProcess[] {
  if (!fs.existsSync(paths.stateFile)) return [];
  try {
    return readState(paths).processes;
  } catch (error) {
    if (error instanceof LabError && error.code === 'STATE_DAMAGED') return [];
    throw error;
  }
}

/** Ends and removes everything of a lab, whole or crashed. @throws LabError NO_SUCH_LAB when there is nothing of that name. */
export async function down(name: string): Promise<DownReport> {
  requireRoot();
  const paths = labPaths(name);
  const namespaces = namespacesWith(paths.netnsPrefix);
  if (!fs.existsSync(paths.directory) && namespaces.length === 0) readState(paths);
  const recorded = recordedProcesses(paths).filter(isAlive);
  // Agents first (their pods' namespaces go next), and whatever else was started inside the lab's namespaces.
  const inside = processesIn(namespaces).filter(
    ({ pid }) => pid !== process.pid && !recorded.some((one) => one.pid === pid),
  );
  await endProcesses([...recorded, ...inside]);
  await deleteNamespaces(namespaces);
  fs.rmSync(paths.directory, { recursive: true, force: true });
  if (fs.existsSync(labsRoot) && fs.readdirSync(labsRoot).length === 0) fs.rmdirSync(labsRoot);
  const left = [
    ...namespacesWith(paths.netnsPrefix).map((netns) => `namespace ${netns}`),
    ...[...recorded, ...inside].filter(isAlive).map(({ role, pid }) => `process ${pid} (${role})`),
  ];
  return { processes: recorded.length + inside.length, namespaces: namespaces.length, left };
}
