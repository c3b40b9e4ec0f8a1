/** What people write for the ends of a connection, and for its port. */
import dns from 'node:dns/promises';
import { toIpAddress } from '#kit';
import type { Protocol } from '#model';
import type { ServedPort, SimulatedCluster, SimulatedEnd } from '#policy';
import { usage } from './source.ts';

const protocols: readonly Protocol[] = ['TCP', 'UDP', 'SCTP'];

/** `80`, `80/tcp`, `53/UDP`. @throws PolicyCommandError */
export function parsePort(text: string): ServedPort {
  const match = /^(\d{1,5})(?:\/([A-Za-z]+))?$/.exec(text);
  const port = Number(match?.[1]);
  const protocol = protocols.find((one) => one === (match?.[2] ?? 'TCP').toUpperCase());
  if (!match || !protocol || port < 1 || port > 65_535) {
    throw usage(
      `${JSON.stringify(text)} is no port: write 80, 80/TCP, 53/UDP or 9003/SCTP, with a number of 1 to 65535`,
    );
  }
  return { protocol, port };
}

/**
 * `NAMESPACE/POD`, `POD` (of `namespace`), `node:NAME`, an address, `NAME=ADDRESS`, or a name that `lookup` knows. An address that a pod
 * or node has is that pod or node.
 *
 * @throws PolicyCommandError for what is not there.
 */
export async function parseEnd(
  text: string,
  cluster: SimulatedCluster,
  namespace: string,
  lookup: (name: string) => Promise<readonly string[]> = lookUp,
): Promise<SimulatedEnd> {
  const known = [...cluster.pods, ...cluster.nodes];
  const address = toIpAddress(text);
  if (address) {
    return (
      known.find((end) => end.addresses.includes(address)) ?? { id: `ext:${address}`, addresses: [address], ports: [] }
    );
  }
  const [name, given] = text.split('=', 2) as [string, string | undefined];
  if (given !== undefined) return outside(name, given.split(','));
  const id = /[/:]/.test(text) ? text : `${namespace}/${text}`;
  const found = known.find((end) => end.id === id);
  if (found) return found;
  const left = cluster.leftOut.find((one) => one.id === id);
  if (left)
    throw usage(`pod ${id} takes no part: ${left.why === 'completed' ? 'it has completed' : 'it has no address'}`);
  if (text.startsWith('ext:')) return outside(text.slice('ext:'.length), [text.slice('ext:'.length)]);
  if (!text.includes('.') || text.includes('/')) throw usage(`${notThere(id)}${similar(id, known)}`);
  return outside(text, await lookup(text));
}

function notThere(id: string): string {
  return id.startsWith('node:') ? `there is no node ${id.slice('node:'.length)}` : `there is no pod ${id}`;
}

/** Pods whose names begin alike, as those of one Deployment do. */
function similar(id: string, known: readonly SimulatedEnd[]): string {
  const shown = known.filter((end) => end.id.startsWith(id)).slice(0, 3);
  const names = shown.map((end) => end.id).join(', ');
  return names ? `; did you mean ${names}?` : '; write NAMESPACE/POD, node:NAME, an address, or NAME=ADDRESS';
}

/** An end as the agent knows it: a pod with its namespace, a node, or one address; a name outside is looked up here. */
export async function agentEnd(text: string, namespace: string): Promise<string> {
  if (toIpAddress(text) || text.startsWith('node:')) return text;
  const given = text.includes('=') ? text.slice(text.indexOf('=') + 1) : undefined;
  if (given !== undefined) return outside(text, given.split(',')).addresses[0]!;
  if (text.includes('/')) return text;
  return text.includes('.') ? outside(text, await lookUp(text)).addresses[0]! : `${namespace}/${text}`;
}

function outside(name: string, texts: readonly string[]): SimulatedEnd {
  const addresses = texts.map((text) => {
    const address = toIpAddress(text);
    if (!address) throw usage(`${JSON.stringify(text)} is no address: write ${name}=192.0.2.1`);
    return address;
  });
  return { id: `ext:${name}`, addresses, ports: [] };
}

async function lookUp(name: string): Promise<readonly string[]> {
  try {
    return (await dns.lookup(name, { all: true })).map(({ address }) => address);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw usage(`${name} has no address here (${code}): write ${name}=ADDRESS`);
  }
}
