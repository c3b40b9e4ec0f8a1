/**
 * Packets that rules hold until this process has seen them (linux/netfilter/nfnetlink_queue.h). Every one goes on: whoever looks stops none, and
 * where queue or socket are full the kernel lets packets pass unseen. Those that wait when the socket closes are dropped.
 */
import * as libc from '../libc.ts';
import { type MessageWriter, type NetlinkMessage, NLM_F_REQUEST, parseAttributes } from './codec.ts';
import { watchNetlink } from './events.ts';
import { NETLINK_NETFILTER, type Netlink } from './socket.ts';

/** NFNL_SUBSYS_QUEUE << 8 and the message. */
const NFQNL_MSG_PACKET = 0x300;
const NFQNL_MSG_VERDICT = 0x301;
const NFQNL_MSG_CONFIG = 0x302;
const NFQA_CFG_CMD = 1;
const NFQA_CFG_PARAMS = 2;
const NFQA_CFG_QUEUE_MAXLEN = 3;
const NFQA_CFG_MASK = 4;
const NFQA_CFG_FLAGS = 5;
const NFQNL_CFG_CMD_BIND = 1;
const NFQNL_COPY_PACKET = 2;
/** A full queue lets packets pass; a big one comes in one piece. */
const NFQA_CFG_F_FAIL_OPEN = 1;
const NFQA_CFG_F_GSO = 4;
const NFQA_PACKET_HDR = 1;
const NFQA_VERDICT_HDR = 2;
const NFQA_PAYLOAD = 10;
const NF_ACCEPT = 1;

const COPY_BYTES_DEFAULT = 1 << 14;
/** Packets that wait at one time; more pass unseen. */
const WAITING_MAX = 4096;
/** One packet each. */
const DATAGRAMS_PER_TURN = 64;
const RECEIVE_BUFFER_BYTES = 4 << 20;

export interface PacketQueueOptions {
  /** 0..65535; one socket of a namespace has it. */
  readonly queue: number;
  readonly copyBytes?: number;
  /** From the IP header on, cut to what is copied: a view. The packet goes on when it returns. */
  readonly onPacket: (packet: Buffer) => void;
  /** The kernel let packets pass unseen. */
  readonly onLost: () => void;
}

/**
 * Packets of a queue of this thread's namespace until `close`.
 *
 */
export function watchPacketQueue(options: PacketQueueOptions): { close(): void } {
  let fd = -1;
  const verdict = acceptMessage(options.queue);
  return watchNetlink({
    protocol: NETLINK_NETFILTER,
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    groups: [],
    datagramsPerTurnMax: DATAGRAMS_PER_TURN,
    prepare(socket) {
      bind(socket, options);
      fd = socket.fd;
    },
    onMessage(message) {
      const queued = decodeQueuedPacket(message);
      if (!queued) return;
      try {
        if (queued.packet) options.onPacket(queued.packet);
      } finally {
        const length = libc.send(fd, verdict(queued.id), VERDICT_BYTES, 0);
        if (length < 0) options.onLost();
      }
    },
    onLost: options.onLost,
  });
}

function bind(socket: Netlink, { queue, copyBytes = COPY_BYTES_DEFAULT }: PacketQueueOptions): void {
  const configure = (fill: (writer: MessageWriter) => void): void =>
    socket.request(`NFQUEUE ${queue}`, NFQNL_MSG_CONFIG, 0, (w) => fill(w.raw(0, 0, queue >> 8, queue & 0xff)));
  configure((w) => w.attr(NFQA_CFG_CMD, Uint8Array.of(NFQNL_CFG_CMD_BIND, 0, 0, 0)));
  const params = Buffer.alloc(5);
  params.writeUInt32BE(copyBytes);
  params[4] = NFQNL_COPY_PACKET;
  const flags = NFQA_CFG_F_FAIL_OPEN | NFQA_CFG_F_GSO;
  configure((w) =>
    w
      .attr(NFQA_CFG_PARAMS, params)
      .attrU32be(NFQA_CFG_QUEUE_MAXLEN, WAITING_MAX)
      .attrU32be(NFQA_CFG_MASK, flags)
      .attrU32be(NFQA_CFG_FLAGS, flags),
  );
}

const VERDICT_BYTES = 32;

/** The message that lets a packet go on; one buffer for all. */
function acceptMessage(queue: number): (id: number) => Buffer {
  const bytes = Buffer.alloc(VERDICT_BYTES);
  bytes.writeUInt32LE(VERDICT_BYTES, 0);
  bytes.writeUInt16LE(NFQNL_MSG_VERDICT, 4);
  bytes.writeUInt16LE(NLM_F_REQUEST, 6);
  bytes.writeUInt16BE(queue, 18);
  bytes.writeUInt16LE(12, 20);
  bytes.writeUInt16LE(NFQA_VERDICT_HDR, 22);
  bytes.writeUInt32BE(NF_ACCEPT, 24);
  return (id) => {
    bytes.writeUInt32BE(id, 28);
    return bytes;
  };
}

export interface QueuedPacket {
  readonly id: number;
  readonly packet: Buffer | undefined;
}

/** Undefined for other messages. Total. */
export function decodeQueuedPacket({ type, body }: NetlinkMessage): QueuedPacket | undefined {
  if (type !== NFQNL_MSG_PACKET) return undefined;
  const attributes = parseAttributes(body, 4);
  const header = attributes.get(NFQA_PACKET_HDR);
  if (!header || header.length < 4) return undefined;
  return { id: header.readUInt32BE(0), packet: attributes.get(NFQA_PAYLOAD) };
}
