/**
 * Whose answers count, as addresses: of services what the API server says, asked while some policy names a domain (a service keeps its address; one
 * that is made anew is seen within a minute), and kept on disk for a start without it. What a service was last known to have counts until another
 * is known.
 */
import { type Clock, errorText, type IpAddress, type Logger, toIpAddress } from '#kit';
import type { DnsServer } from '#model';
import { dnsServerAddresses } from './servers.ts';

const ASK_AGAIN_MS = 60_000;
const RETRY_MS = 5_000;

export interface TrustedServersDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the node's resolv.conf. */
  readonly nameServers: () => readonly IpAddress[];
  /** `spec.clusterIPs` of a Service; undefined: it is not there, or nobody can be asked. */
  readonly clusterIPs: (namespace: string, name: string) => Promise<readonly string[] | undefined>;
  readonly file: { read(): string | undefined; write(text: string): void };
  /** Told of each change. */
  readonly onServers: (addresses: readonly IpAddress[]) => void;
}

export interface TrustedServers {
  /** As configured from now on. */
  set(servers: readonly DnsServer[]): void;
  /** Some policy names a domain, or none does any more. */
  wanted(isWanted: boolean): void;
  stop(): void;
}

export function createTrustedServers(deps: TrustedServersDeps): TrustedServers {
  const { clock, log } = deps;
  const known = readKnown(deps.file.read());
  let servers: readonly DnsServer[] = [];
  let isWanted = false;
  let cancelAsk: (() => void) | undefined;
  let told = '';
  let complained = '';
  /** Counts up with each change of what is asked: answers to older questions say nothing. */
  let round = 0;

  const tell = (): void => {
    const clusterIPs = (namespace: string, name: string): readonly IpAddress[] => known[`${namespace}/${name}`] ?? [];
    const addresses = dnsServerAddresses(servers, { nameServers: deps.nameServers(), clusterIPs });
    if (addresses.join() === told) return;
    told = addresses.join();
    log.info({ servers: addresses }, 'answers of these DNS servers count');
    deps.onServers(addresses);
  };
  const askOne = async (namespace: string, name: string): Promise<string | undefined> => {
    const key = `${namespace}/${name}`;
    try {
      const found = (await deps.clusterIPs(namespace, name))?.flatMap((text) => toIpAddress(text) ?? []) ?? [];
      if (found.length === 0) return `Service ${key} has no address, or cannot be read`;
      if (found.join() === known[key]?.join()) return undefined;
      known[key] = found;
      deps.file.write(`${JSON.stringify(known)}\n`);
      return undefined;
    } catch (error) {
      return `Service ${key}: ${errorText(error)}`;
    }
  };
  const ask = async (): Promise<void> => {
    cancelAsk?.();
    cancelAsk = undefined;
    const mine = ++round;
    const problems: string[] = [];
    for (const server of servers) {
      const problem = server.type === 'service' ? await askOne(server.namespace, server.name) : undefined;
      if (problem !== undefined) problems.push(problem);
    }
    if (mine !== round) return;
    tell();
    if (problems.join() !== complained && problems.length > 0)
      log.warn({ reason: problems.join('; ') }, 'a DNS server that is trusted is not known');
    complained = problems.join();
    if (isWanted) cancelAsk = clock.schedule(problems.length > 0 ? RETRY_MS : ASK_AGAIN_MS, () => void ask());
  };
  return {
    set(next) {
      servers = next;
      tell();
      if (isWanted) void ask();
    },
    wanted(next) {
      if (next === isWanted) return;
      isWanted = next;
      if (isWanted) void ask();
      else cancelAsk?.();
    },
    stop() {
      isWanted = false;
      round++;
      cancelAsk?.();
    },
  };
}

/** By `namespace/name`. What cannot be read is nothing. */
function readKnown(text: string | undefined): Record<string, readonly IpAddress[]> {
  const known: Record<string, readonly IpAddress[]> = {};
  for (const [key, list] of Object.entries(parsed(text))) {
    if (Array.isArray(list)) known[key] = list.flatMap((entry) => toIpAddress(String(entry)) ?? []);
  }
  return known;
}

function parsed(text: string | undefined): object {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
