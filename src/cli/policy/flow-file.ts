/** Recorded flows from a file: one JSON object a line, as `poplin flows -o json` prints them; other fields are not looked at. */
import fs from 'node:fs';
import readline from 'node:readline';
import { toIpAddress } from '#kit';
import type { Protocol } from '#model';
import type { RecordedFlow } from '#policy';
import { usage } from './source.ts';

const protocols: readonly string[] = ['TCP', 'UDP', 'SCTP'] satisfies Protocol[];
/** Flows of one file; beyond it the file is refused rather than half read. */
const flowsMax = 1_000_000;

export interface FlowFile {
  readonly flows: readonly RecordedFlow[];
  /**
   * Of protocols without ports, which policies of ports say nothing of; to port 0, which nobody serves: scans send such packets; and those
   * that were dropped by what is no policy, whatever policy says.
   */
  readonly leftOut: number;
}

/** @throws PolicyCommandError naming the first line that is no flow. */
export async function readFlows(file: string): Promise<FlowFile> {
  const handle = fs.createReadStream(file);
  // A file that is not there fails here, where callers know it, and not in the loop.
  await new Promise<void>((resolve, reject) => handle.once('open', () => resolve()).once('error', reject));
  const flows: RecordedFlow[] = [];
  let leftOut = 0;
  let line = 0;
  for await (const text of readline.createInterface({ input: handle, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++;
    if (text.trim() === '') continue;
    const flow = flowOf(parse(text));
    if (flow === 'fault')
      throw usage(`${file}:${line}: no flow as poplin flows -o json prints one: ${text.slice(0, 100)}`);
    if (flow === 'left out') leftOut++;
    else flows.push(flow);
    if (flows.length > flowsMax) throw usage(`${file} holds more than ${flowsMax} flows: split it`);
  }
  return { flows, leftOut };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

interface RawEnd {
  readonly address?: unknown;
  readonly port?: unknown;
  readonly pod?: unknown;
}

/** `{"source": {"address", "pod"}, "destination": {"address", "port", "pod"}, "protocol", "packets", "verdict"}`. */
function flowOf(value: unknown): RecordedFlow | 'fault' | 'left out' {
  if (typeof value !== 'object' || value === null) return 'fault';
  const { source, destination, protocol, packets, verdict } = value as Readonly<Record<string, unknown>>;
  if (typeof source !== 'object' || source === null || typeof destination !== 'object' || destination === null)
    return 'fault';
  if (typeof protocol !== 'string') return 'fault';
  const [from, to] = [endOf(source), endOf(destination)];
  if (!from || !to) return 'fault';
  if (verdict === 'dropped') return 'left out';
  const { port } = destination as RawEnd;
  if (!protocols.includes(protocol) || port === undefined || port === 0) return 'left out';
  if (!Number.isInteger(port) || (port as number) < 1 || (port as number) > 65_535) return 'fault';
  return {
    ...(from.pod !== undefined && { from: from.pod }),
    ...(to.pod !== undefined && { to: to.pod }),
    fromAddress: from.address,
    toAddress: to.address,
    protocol: protocol as Protocol,
    port: port as number,
    count: typeof packets === 'number' && Number.isInteger(packets) && packets > 0 ? packets : 1,
  };
}

function endOf({ address, pod }: RawEnd) {
  const parsed = typeof address === 'string' ? toIpAddress(address) : undefined;
  return parsed && { address: parsed, ...(typeof pod === 'string' && { pod }) };
}
