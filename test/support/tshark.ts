/** What tshark makes of BGP messages: a decoder that shares nothing with ours. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { tool } from './tools.ts';

const bgpPort = 179;
/** DLT_RAW: packets begin with an IP header. */
const linkTypeRaw = 101;

/** One TCP stream from port 179 as a capture; a packet holds one message, so that what is malformed is found by its number. */
export function captureOf(messages: readonly Uint8Array[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(0xffff, 16);
  header.writeUInt32LE(linkTypeRaw, 20);
  const parts = [header];
  let sequence = 1;
  for (const [index, message] of messages.entries()) {
    const packet = Buffer.alloc(40 + message.length);
    packet[0] = 0x45;
    packet.writeUInt16BE(packet.length, 2);
    packet[8] = 64;
    packet[9] = 6;
    packet.set([10, 9, 0, 1, 10, 9, 0, 2], 12);
    packet.writeUInt16BE(bgpPort, 20);
    packet.writeUInt16BE(40_000, 22);
    packet.writeUInt32BE(sequence, 24);
    packet.writeUInt32BE(1, 28);
    packet[32] = 0x50;
    packet[33] = 0x18;
    packet.writeUInt16BE(0xffff, 34);
    packet.set(message, 40);
    sequence = (sequence + message.length) >>> 0;
    const record = Buffer.alloc(16);
    record.writeUInt32LE(index, 0);
    record.writeUInt32LE(packet.length, 8);
    record.writeUInt32LE(packet.length, 12);
    parts.push(record, packet);
  }
  return Buffer.concat(parts);
}

/** The lines of `tshark -r CAPTURE ARGS...`. */
export function tshark(messages: readonly Uint8Array[], args: readonly string[]): string[] {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'poplin-tshark-'));
  try {
    const file = path.join(folder, 'bgp.pcap');
    fs.writeFileSync(file, captureOf(messages));
    const text = execFileSync(tool('tshark'), ['-n', '-r', file, ...args], {
      encoding: 'utf8',
      maxBuffer: 256 * 1024 * 1024,
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, HOME: folder },
    });
    return text.split('\n').filter(Boolean);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}
