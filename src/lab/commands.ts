/** `poplin lab ...`. Exit codes: 0 done, 1 something failed, 2 wrong input; `exec` gives the command's own. */
import { spawn } from 'node:child_process';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { stringify } from 'yaml';
import { errorText } from '#kit';
import { agentEnvironment, cliEntry, labTool, routerFiles } from './agents.ts';
import { type BirdSession, birdSessions } from './bird.ts';
import { badInput, LabError } from './errors.ts';
import { apply, down, type Lab, openLab, type Say, up } from './lab.ts';
import { machineNetns, netnsPath, nodePaths, podNetns } from './names.ts';
import { formatTable, probe } from './probe.ts';
import { isAlive } from './processes.ts';
import { podKey } from './state.ts';

const defaultName = 'lab';
const topologyHelp = `
Among the manifests is one topology:
  apiVersion: lab.poplin.dev/v1
  kind: Topology
  metadata: { name: mine }
  spec:
    nodes: [{ name: a }, { name: b }]       # each with a Node manifest; optional ports: [{ protocol: TCP, port: 80 }]
    routers:
      - { name: tor, daemon: bird, asn: 65001, loopbacks: [10.255.0.1], nodeRoutes: default }    # or all
    hosts: [{ name: outside, ports: [{ port: 80 }] }]
    links:                                  # the first end has the first address of each subnet, the other the second
      - { ends: [tor, a], subnets: [172.16.1.0/30, "fd00:16:1::/64"] }
      - { ends: [tor, b], subnets: [172.16.2.0/30, "fd00:16:2::/64"] }
      - { ends: [tor, outside], subnets: [192.0.2.0/30] }
Each link between routers, and from a router to a node, carries an eBGP session; the node's side is a BGPPeer manifest.
README has a whole example.`;
type Output = 'table' | 'json' | 'yaml';

/** Adds the `lab` command with its subcommands. */
export function registerLabCommands(program: Command): void {
  const lab = program
    .command('lab')
    .description('build nodes, routers and pods in network namespaces, and probe them with real packets');
  lab.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 something failed, 2 wrong input. `exec` gives the exit code of its command.',
  );
  registerLifeCommands(lab);
  registerLookCommands(lab);
  lab
    .command('demo')
    .description('the demonstration: three nodes behind two racks, checked fact by fact, under a minute')
    .addOption(
      new Option('--sabotage <what>', 'break one thing, to see it found').choices(['route', 'policy', 'session']),
    )
    .option(
      '--keep',
      'leave the lab running (look into it with `poplin lab --help`, end it with `poplin lab down --name demo`)',
    )
    .option('--name <lab>', 'name of the lab', 'demo')
    .action((options: { sabotage?: 'route' | 'policy' | 'session'; keep?: boolean; name: string }) =>
      act(async () => {
        const { runDemo } = await import('./demo/demo.ts');
        return runDemo({
          name: options.name,
          keep: options.keep === true,
          ...(options.sabotage ? { sabotage: options.sabotage } : {}),
          print: (line) => process.stdout.write(`${line}\n`),
        });
      }),
    );
}

function withName(command: Command): Command {
  return command.option('--name <lab>', 'name of the lab; several may run at once', defaultName);
}

function withOutput(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'output format').choices(['table', 'json', 'yaml']).default('table'),
  );
}

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

function registerLifeCommands(lab: Command): void {
  withName(lab.command('up'))
    .description('build a lab from a topology document and manifests')
    .requiredOption('-f, --file <file|dir>', 'manifests; may be given several times', collect)
    .option('--keep', 'leave everything in place when something fails')
    .addHelpText('after', topologyHelp)
    .action((options: { name: string; file: readonly string[]; keep?: boolean }) =>
      act(async () => {
        const built = await up({ name: options.name, files: options.file, say, keepOnFailure: options.keep === true });
        say(
          `lab ${options.name}: ${built.topology.nodes.length} nodes and ${built.state.pods.length} pods are up; logs in ${built.paths.logs}`,
        );
        return 0;
      }),
    );
  withName(lab.command('apply'))
    .description('bring changed or further manifests into a running lab')
    .requiredOption('-f, --file <file|dir>', 'manifests; may be given several times', collect)
    .option('--prune', 'remove every object that is not among them')
    .action((options: { name: string; file: readonly string[]; prune?: boolean }) =>
      act(async () => {
        const { changed, removed } = await apply(openLab(options.name), options.file, {
          prune: options.prune === true,
          say,
        });
        for (const key of changed) process.stdout.write(`${key} applied\n`);
        for (const key of removed) process.stdout.write(`${key} removed\n`);
        if (changed.length + removed.length === 0) process.stdout.write('nothing to change\n');
        return 0;
      }),
    );
  withName(lab.command('down'))
    .description('end a lab, also one that crashed, and remove everything it made')
    .action((options: { name: string }) =>
      act(async () => {
        const report = await down(options.name);
        process.stdout.write(
          `lab ${options.name}: ended ${report.processes} processes, removed ${report.namespaces} namespaces\n`,
        );
        for (const left of report.left) process.stderr.write(`still there: ${left}\n`);
        return report.left.length > 0 ? 1 : 0;
      }),
    );
}

function registerLookCommands(lab: Command): void {
  withOutput(withName(lab.command('probe')))
    .description('send real packets between all pods and print who reaches whom')
    .option('--include <what>', 'also probe `nodes` and `hosts` (comma separated)', parseInclude, [])
    .action((options: { name: string; output: Output; include: readonly string[] }) =>
      act(async () => {
        const table = await probe(openLab(options.name), {
          includeNodes: options.include.includes('nodes'),
          includeHosts: options.include.includes('hosts'),
        });
        if (options.output === 'table') process.stdout.write(formatTable(table.results));
        else print(table.results, options.output);
        return 0;
      }),
    );
  withOutput(withName(lab.command('status')))
    .description('what runs in a lab')
    .action((options: { name: string; output: Output }) =>
      act(async () => {
        const status = await labStatus(openLab(options.name));
        if (options.output === 'table') process.stdout.write(formatStatus(status));
        else print(status, options.output);
        return status.processes.every(({ alive }) => alive) ? 0 : 1;
      }),
    );
  withName(lab.command('exec'))
    .description('run a command inside a node, router, host or pod (`namespace/name`)')
    .argument('<where>', 'NODE, ROUTER, HOST or NAMESPACE/POD')
    .argument('<command...>', 'the command, after --')
    .passThroughOptions()
    .action((where: string, command: readonly string[], options: { name: string }) =>
      // Options are passed through from WHERE on, and with them the `--` itself.
      act(() => execInside(openLab(options.name), where, command[0] === '--' ? command.slice(1) : command)),
    );
  lab.enablePositionalOptions();
}

function parseInclude(value: string): string[] {
  const parts = value.split(',').filter(Boolean);
  for (const part of parts)
    if (part !== 'nodes' && part !== 'hosts') throw new InvalidArgumentError('nodes and hosts are known.');
  return parts;
}

const say: Say = (line) => void process.stderr.write(`lab: ${line}\n`);

function print(value: unknown, output: Output): void {
  process.stdout.write(output === 'yaml' ? stringify(value) : `${JSON.stringify(value)}\n`);
}

/** Runs a command's body; its result or its failure becomes the exit code. */
async function act(run: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await run();
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    process.stderr.write(`lab: ${errorText(error)}\n`);
    process.exitCode = error.code === 'BAD_INPUT' || error.code === 'NOT_ROOT' || error.code === 'TOOL_MISSING' ? 2 : 1;
  }
}

export interface LabStatus {
  readonly name: string;
  readonly startedAt: string;
  readonly processes: readonly { readonly role: string; readonly pid: number; readonly alive: boolean }[];
  readonly routers: readonly { readonly name: string; readonly sessions: readonly BirdSession[] }[];
  readonly pods: readonly { readonly pod: string; readonly node: string; readonly addresses: readonly string[] }[];
}

export async function labStatus(lab: Lab): Promise<LabStatus> {
  const birdc = lab.topology.routers.length > 0 ? labTool('birdc') : '';
  return {
    name: lab.paths.name,
    startedAt: lab.state.startedAt,
    processes: lab.state.processes.map((one) => ({ role: one.role, pid: one.pid, alive: isAlive(one) })),
    routers: await Promise.all(
      lab.topology.routers.map(async ({ name }) => ({
        name,
        sessions: await birdSessions(birdc, routerFiles(lab.paths, name).control),
      })),
    ),
    pods: lab.state.pods.map((pod) => ({ pod: podKey(pod), node: pod.nodeName, addresses: pod.addresses })),
  };
}

function formatStatus(status: LabStatus): string {
  const table = (rows: readonly (readonly string[])[]): string => {
    const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
    return `${rows
      .map((row) =>
        row
          .map((text, i) => text.padEnd(widths[i]!))
          .join('   ')
          .trimEnd(),
      )
      .join('\n')}\n`;
  };
  const processes = status.processes.map(({ role, pid, alive }) => [role, String(pid), alive ? 'running' : 'GONE']);
  const sessions = status.routers.flatMap(({ name, sessions }) =>
    sessions.map((session) => [name, session.name.replace(/^to_/, ''), session.state, session.since]),
  );
  const pods = status.pods.map(({ pod, node, addresses }) => [pod, node, addresses.join(' ')]);
  return [
    table([['PROCESS', 'PID', 'STATE'], ...processes]),
    table([['ROUTER', 'PEER', 'STATE', 'SINCE'], ...sessions]),
    table([['POD', 'NODE', 'ADDRESSES'], ...pods]),
  ].join('\n');
}

/** The namespace that `where` names. @throws LabError BAD_INPUT */
function netnsOf(lab: Lab, where: string): string {
  const machines = [...lab.topology.nodes, ...lab.topology.routers, ...lab.topology.hosts].map(({ name }) => name);
  if (machines.includes(where)) return machineNetns(lab.paths, where);
  const pod = lab.state.pods.find((one) => podKey(one) === where);
  if (pod) return pod.hostNetwork ? machineNetns(lab.paths, pod.nodeName) : podNetns(lab.paths, pod);
  throw badInput([
    `${where}: no such node, router, host or pod; there are: ${[...machines, ...lab.state.pods.map(podKey)].join(', ')}`,
  ]);
}

/** Runs a command with our terminal. @returns its exit code. */
async function execInside(lab: Lab, where: string, command: readonly string[]): Promise<number> {
  const netns = netnsOf(lab, where);
  const isNode = lab.topology.nodes.some(({ name }) => name === where);
  // On a node, `poplin ...` and iptables are to find that node's agent and lock.
  const env = isNode
    ? {
        ...process.env,
        ...agentEnvironment(lab.paths, where),
        POPLIN_API_SOCKET: nodePaths(lab.paths, where).apiSocket,
      }
    : process.env;
  // `poplin` is this checkout's, which is in nobody's PATH.
  const words = command[0] === 'poplin' ? [process.execPath, cliEntry, ...command.slice(1)] : command;
  const child = spawn('nsenter', [`--net=${netnsPath(netns)}`, ...words], { stdio: 'inherit', env });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}
