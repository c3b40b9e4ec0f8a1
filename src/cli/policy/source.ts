/** Where the objects come from that a command looks at: manifests, or the API server. */
import type { Command } from 'commander';
import { PoplinError } from '#kit';
import type { ModelUpdate, ServiceSelection } from '#model';
import { type SimulatedCluster, simulateCluster, simulatedKinds, withAddresses, withEndpointSlices } from '#policy';
import type { CliContext } from '../context.ts';

export interface SourceOptions {
  readonly file?: readonly string[];
  readonly live?: boolean;
  readonly kubeconfig?: string;
  readonly kubeApiServer?: string;
}

export interface Objects {
  readonly updates: readonly ModelUpdate[];
  /** Of manifests, which hold no EndpointSlices. */
  readonly services?: readonly ServiceSelection[] | undefined;
  /** What is wrong with objects, one line each. */
  readonly faults: readonly string[];
}

/** What a person gave does not do; the message says what would. */
export class PolicyCommandError extends PoplinError<{ readonly code: 'USAGE' }> {}

export function usage(message: string): PolicyCommandError {
  return new PolicyCommandError(message, { code: 'USAGE' });
}

const faultsShownMax = 20;

export function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

/** `-f` and `--live`, for commands that look at a whole cluster. */
export function withSource(command: Command): Command {
  return command
    .option('-f, --file <file|dir>', 'manifests, the workloads among them too; may be given several times', collect)
    .option('--live', 'the objects that the API server holds')
    .option('--kubeconfig <file>', 'credentials (default: $KUBECONFIG, the service account of a pod, ~/.kube/config)')
    .option('--kube-api-server <url>', 'API server to ask instead of the one that the credentials name');
}

/** @throws PolicyCommandError when neither or both are given. */
export async function loadObjects(options: SourceOptions): Promise<Objects> {
  const { file = [], live } = options;
  if (live && file.length > 0) throw usage('give either -f or --live');
  if (live) return loadLive(options);
  if (file.length === 0) throw usage('give manifests with -f, or --live for the objects that the API server holds');
  return loadFiles(file);
}

export async function loadFiles(places: readonly string[]): Promise<Objects> {
  const { readManifests } = await import('#datastore');
  const { updates, services, faults } = await readManifests(places);
  const lines = faults.map(({ file, line, object, field, message, effect }) => {
    const where = [file, line].filter((part) => part !== undefined).join(':');
    return `${[where, object, field, message].filter((part) => part !== undefined).join(': ')} (${effect})`;
  });
  return { updates, services, faults: lines };
}

async function loadLive(options: SourceOptions): Promise<Objects> {
  const { listCluster } = await import('#datastore');
  return listCluster(simulatedKinds, { kubeconfig: options.kubeconfig, apiServer: options.kubeApiServer });
}

/** The objects, with addresses of pods and endpoints of services that a cluster would give them. */
export function complete({ updates, services = [] }: Pick<Objects, 'updates' | 'services'>): {
  readonly updates: readonly ModelUpdate[];
  /** Pods that got addresses. */
  readonly given: readonly string[];
} {
  const addressed = withAddresses(updates);
  return { updates: withEndpointSlices(addressed.updates, services), given: addressed.given };
}

/** The cluster that the objects make, with what is uncertain of it said on standard error. */
export function simulate(objects: Objects, context: CliContext): SimulatedCluster {
  const { faults } = objects;
  const { updates, given } = complete(objects);
  for (const line of faults.slice(0, faultsShownMax)) context.terminal.err(`poplin: ${line}\n`);
  if (faults.length > faultsShownMax) context.terminal.err(`poplin: and ${faults.length - faultsShownMax} more\n`);
  if (given.length > 0) {
    const which = given.length === 1 ? `Pod ${given[0]} has` : `${given.length} pods have`;
    context.terminal.err(
      `poplin: ${which} no address yet: looked at as if in 10.244.0.0/16 and fd00:10:244::/64 (matters to rules with prefixes)\n`,
    );
  }
  return simulateCluster(updates);
}
