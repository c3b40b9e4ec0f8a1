/** A monitoring station in a namespace, and tshark as its decoder. */
import { type ChildProcess, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import type { BgpLink } from './bgp.ts';
import { tool } from './tools.ts';
import { until } from './wait.ts';

export const bmpPort = 11019;

/** One BMP message, as tshark reads it. Lists are in order of appearance. */
export interface DecodedBmp {
  /** 0 Route Monitoring, 1 Statistics, 2 Peer Down, 3 Peer Up, 4 Initiation, 5 Termination. */
  readonly type: number;
  readonly peerType: string;
  /** `0x40` and so on. */
  readonly flags: string;
  readonly peer: string;
  readonly asn: string;
  readonly downReason: string;
  readonly localPort: string;
  readonly remotePort: string;
  readonly info: readonly string[];
  /** Types of the BGP messages within. */
  readonly bgpTypes: readonly string[];
  /** IPv4 and IPv6. */
  readonly announced: readonly string[];
  readonly withdrawn: readonly string[];
  readonly asPath: readonly string[];
  readonly nextHops: readonly string[];
  readonly statistics: readonly string[];
  /** What tshark finds wrong; empty: nothing. */
  readonly malformed: string;
}

const fields = [
  'bmp.type',
  'bmp.peer.type',
  'bmp.peer.flags',
  'bmp.peer.ip.addr',
  'bmp.peer.ipv6.addr',
  'bmp.peer.asn',
  'bmp.peer.down.reason',
  'bmp.peer.up.port.local',
  'bmp.peer.up.port.remote',
  'bmp.init.info',
  'bgp.type',
  'bgp.nlri_prefix',
  'bgp.mp_reach_nlri_ipv6_prefix',
  'bgp.withdrawn_prefix',
  'bgp.mp_unreach_nlri_ipv6_prefix',
  'bgp.update.path_attribute.as_path_segment.as4',
  'bgp.update.path_attribute.next_hop',
  'bgp.update.path_attribute.mp_reach_nlri.next_hop.ipv6',
  'bmp.stats.type',
  '_ws.malformed',
] as const;

/** Each message as one packet of a capture file, which tshark decodes. */
export function decodeWithTshark(folder: string, stream: Buffer): DecodedBmp[] {
  const file = path.join(folder, `bmp-${process.hrtime.bigint()}.pcap`);
  fs.writeFileSync(file, capture(stream));
  const args = ['-r', file, '-d', `tcp.port==${bmpPort},bmp`, '-T', 'fields', '-E', 'separator=|'];
  const output = execFileSync(tool('tshark'), [...args, ...fields.flatMap((field) => ['-e', field])], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    maxBuffer: 1 << 28,
    env: { ...process.env, HOME: folder },
  });
  return output
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const value = Object.fromEntries(line.split('|').map((text, i) => [fields[i], text]));
      const list = (...names: (typeof fields)[number][]): string[] =>
        names.flatMap((name) => (value[name] ? value[name].split(',') : []));
      return {
        type: Number(value['bmp.type']),
        peerType: value['bmp.peer.type']!,
        flags: value['bmp.peer.flags']!,
        peer: value['bmp.peer.ip.addr'] || value['bmp.peer.ipv6.addr'] || '',
        asn: value['bmp.peer.asn']!,
        downReason: value['bmp.peer.down.reason']!,
        localPort: value['bmp.peer.up.port.local']!,
        remotePort: value['bmp.peer.up.port.remote']!,
        info: list('bmp.init.info'),
        bgpTypes: list('bgp.type'),
        announced: list('bgp.nlri_prefix', 'bgp.mp_reach_nlri_ipv6_prefix'),
        withdrawn: list('bgp.withdrawn_prefix', 'bgp.mp_unreach_nlri_ipv6_prefix'),
        asPath: list('bgp.update.path_attribute.as_path_segment.as4'),
        nextHops: list('bgp.update.path_attribute.next_hop', 'bgp.update.path_attribute.mp_reach_nlri.next_hop.ipv6'),
        statistics: list('bmp.stats.type'),
        malformed: value['_ws.malformed'] ?? '',
      };
    });
}

/** A pcap file of raw IPv4 packets, one whole message each. */
function capture(stream: Buffer): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65535, 16);
  header.writeUInt32LE(101, 20);
  const out: Buffer[] = [header];
  for (let at = 0; at + 6 <= stream.length; ) {
    const length = stream.readUInt32BE(at + 1);
    if (length < 6 || at + length > stream.length) break;
    out.push(packet(stream.subarray(at, at + length), 1 + at));
    at += length;
  }
  return Buffer.concat(out);
}

function packet(payload: Buffer, sequence: number): Buffer {
  const head = Buffer.alloc(16 + 40);
  const total = 40 + payload.length;
  head.writeUInt32LE(total, 8);
  head.writeUInt32LE(total, 12);
  head.set([0x45, 0, total >> 8, total & 255, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2], 16);
  head.writeUInt16BE(40_000, 36);
  head.writeUInt16BE(bmpPort, 38);
  head.writeUInt32BE(sequence, 40);
  head.set([0x50, 0x18, 0xff, 0xff], 48);
  return Buffer.concat([head, payload]);
}

export class BmpCollector {
  readonly #link: BgpLink;
  readonly #child: ChildProcess;
  readonly #streams = new Map<number, Buffer[]>();
  readonly closed = new Set<number>();
  listening = false;

  constructor(link: BgpLink, namespace: string, mode: 'reading' | 'deaf' = 'reading') {
    this.#link = link;
    const file = path.join(import.meta.dirname, 'bmp-collector-process.ts');
    this.#child = link.spawn(namespace, process.execPath, [file, String(bmpPort), mode]);
    readline.createInterface({ input: this.#child.stdout! }).on('line', (line) => {
      const message = JSON.parse(line);
      if (message.listening) this.listening = true;
      else if (message.closed) this.closed.add(message.connection);
      else {
        const stream = this.#streams.get(message.connection) ?? [];
        this.#streams.set(message.connection, stream);
        stream.push(Buffer.from(message.hex, 'hex'));
      }
    });
  }
  async ready(): Promise<this> {
    await until(() => this.listening, { what: 'the station to listen' });
    return this;
  }
  get connections(): number {
    return this.#streams.size;
  }
  /** Bytes that came on a connection, counted from 1. */
  bytes(connection: number): number {
    return (this.#streams.get(connection) ?? []).reduce((sum, chunk) => sum + chunk.length, 0);
  }
  decode(connection: number): DecodedBmp[] {
    return decodeWithTshark(this.#link.folder, Buffer.concat(this.#streams.get(connection) ?? []));
  }
  read(on: boolean): void {
    this.#child.stdin!.write(on ? 'read\n' : 'stop\n');
  }
  async kill(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await gone;
  }
}
