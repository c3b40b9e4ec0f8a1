/**
 * DNS messages in packets from servers: UDP datagrams, and TCP as far as a message begins where a segment does. Total; all but the few octets
 * that say where messages of a connection begin is forgotten at once.
 *
 * A segment that does not begin a message says nothing, however much it looks like one: whoever owns a name chooses what long answers hold. So a
 * connection is followed from its SYN-ACK on, by the lengths in front of messages (RFC 1035 4.2.2); of a message over several segments counts what
 * the first one holds of it.
 */
import { networkOf, TCP, UDP } from '../flows/packet.ts';

export interface DnsMessageBytes {
  readonly bytes: Uint8Array;
  /** The end may be missing. */
  readonly partial: boolean;
}

/** Connections that are followed; when there are more, the ones that came first are no longer. */
const connectionsMaxDefault = 4_096;
const UDP_HEADER_BYTES = 8;
const TCP_HEADER_BYTES_MIN = 20;
const LENGTH_BYTES = 2;
const FIN = 1;
const SYN = 2;
const RST = 4;
/** Of one segment; honest servers send a few. */
const MESSAGES_PER_SEGMENT_MAX = 16;

export class AnswerPackets {
  readonly #connectionsMax: number;
  /** Both ends of a connection -> sequence number at which the next message begins. */
  readonly #next = new Map<string, number>();

  constructor(connectionsMax = connectionsMaxDefault) {
    this.#connectionsMax = connectionsMax;
  }

  /** @param packet from the IP header on. */
  messages(packet: Uint8Array): DnsMessageBytes[] {
    const { protocol, at } = networkOf(packet) ?? {};
    if (at === undefined) return [];
    if (protocol === UDP) return [{ bytes: packet.subarray(at + UDP_HEADER_BYTES), partial: false }];
    return protocol === TCP && at + TCP_HEADER_BYTES_MIN <= packet.length ? this.#segment(packet, at) : [];
  }

  #segment(packet: Uint8Array, at: number): DnsMessageBytes[] {
    const key = connectionKey(packet, at);
    const flags = packet[at + 13]!;
    const sequence = u32(packet, at + 4);
    if (flags & SYN) {
      this.#follow(key, (sequence + 1) >>> 0);
      return [];
    }
    const next = this.#next.get(key);
    if (flags & (RST | FIN)) this.#next.delete(key);
    const payload = packet.subarray(at + Math.max(TCP_HEADER_BYTES_MIN, (packet[at + 12]! >> 4) * 4));
    if (next !== sequence || payload.length < LENGTH_BYTES) return [];
    const found: DnsMessageBytes[] = [];
    let begin = 0;
    while (begin + LENGTH_BYTES <= payload.length && found.length < MESSAGES_PER_SEGMENT_MAX) {
      const end = begin + LENGTH_BYTES + ((payload[begin]! << 8) | payload[begin + 1]!);
      found.push({ bytes: payload.subarray(begin + LENGTH_BYTES, end), partial: end > payload.length });
      begin = end;
    }
    if (this.#next.has(key)) this.#next.set(key, (sequence + begin) >>> 0);
    return found;
  }

  #follow(key: string, next: number): void {
    const [oldest] = this.#next.size >= this.#connectionsMax ? this.#next.keys() : [];
    if (oldest !== undefined && !this.#next.has(key)) this.#next.delete(oldest);
    this.#next.set(key, next);
  }
}

/** Addresses and ports, as octets. */
function connectionKey(packet: Uint8Array, at: number): string {
  const [from, to] = packet[0]! >> 4 === 4 ? [12, 20] : [8, 40];
  return String.fromCharCode(...packet.subarray(from, to), ...packet.subarray(at, at + 4));
}

function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
