/** Packets that rules log by NFLOG, as nfnetlink_log hands them over (linux/netfilter/nfnetlink_log.h). */
import { type MessageWriter, type NetlinkMessage, parseAttributes } from './codec.ts';
import { watchNetlink } from './events.ts';
import { NETLINK_NETFILTER, type Netlink } from './socket.ts';

/** NFNL_SUBSYS_ULOG << 8 and the message. */
const NFULNL_MSG_PACKET = 0x400;
const NFULNL_MSG_CONFIG = 0x401;
const NFULA_CFG_CMD = 1;
const NFULA_CFG_MODE = 2;
const NFULA_CFG_NLBUFSIZ = 3;
const NFULA_CFG_TIMEOUT = 4;
const NFULA_CFG_QTHRESH = 5;
const NFULA_CFG_FLAGS = 6;
const NFULNL_CFG_CMD_BIND = 1;
const NFULNL_COPY_PACKET = 2;
const NFULNL_CFG_F_SEQ = 1;
const NFULA_TIMESTAMP = 3;
const NFULA_IFINDEX_INDEV = 4;
const NFULA_IFINDEX_OUTDEV = 5;
const NFULA_PAYLOAD = 9;
const NFULA_PREFIX = 10;
const NFULA_SEQ = 12;

/** IPv6 with some extension headers and the first 8 octets behind them. */
const COPY_BYTES_DEFAULT = 192;
/**
 * The kernel collects packets of a datagram until it is full, they are this many, or the first of them waited this long (1/100 s). It takes the
 * whole size from the receive buffer for each, however few they are: hence no more than that many packets need.
 */
const DATAGRAM_BYTES = 1 << 14;
const PACKETS_PER_DATAGRAM = 32;
const WAIT_CENTISEC = 10;
/** Datagrams of one turn of the event loop: some 500 packets. */
const DATAGRAMS_PER_TURN = 16;
/** What the kernel keeps while the loop is busy; more is lost, and counted. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

export interface LoggedPacket {
  /** What the rule calls itself. */
  readonly prefix: string;
  /** Index of the interface that it came in by, or goes out by; 0: none. */
  readonly inIndex: number;
  readonly outIndex: number;
  /** Since the epoch, when the kernel says so. */
  readonly timeMs: number | undefined;
  /** In the order of the group, modulo 2^32: a gap is what was lost. */
  readonly sequence: number | undefined;
  /** From the IP header on, cut to what is copied. A view: copy what is kept. */
  readonly packet: Buffer;
}

export interface PacketLogOptions {
  /** 0..65535; one socket of a namespace has it. */
  readonly group: number;
  readonly copyBytes?: number;
  readonly onPacket: (packet: LoggedPacket) => void;
  /** Packets that the kernel logged and we did not get. */
  readonly onLost: (packets: number) => void;
  /** After a turn in which packets came. */
  readonly onTurn?: () => void;
}

/**
 * Packets of a group of this thread's namespace until `close`.
 *
 * @throws SysError EPERM when another program reads the group, or without NET_ADMIN; EINVAL when the kernel has no nfnetlink_log.
 */
export function watchPacketLog(options: PacketLogOptions): { close(): void } {
  let next: number | undefined;
  return watchNetlink({
    protocol: NETLINK_NETFILTER,
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    groups: [],
    datagramsPerTurnMax: DATAGRAMS_PER_TURN,
    prepare: (socket) => bind(socket, options),
    onMessage(message) {
      const logged = decodeLoggedPacket(message);
      if (!logged) return;
      const { sequence } = logged;
      if (sequence !== undefined) {
        const lost = next === undefined ? 0 : (sequence - next) >>> 0;
        if (lost > 0) options.onLost(lost);
        next = (sequence + 1) >>> 0;
      }
      options.onPacket(logged);
    },
    // The sequence numbers behind it tell how many.
    onLost: () => undefined,
    ...(options.onTurn ? { onTurn: options.onTurn } : {}),
  });
}

function bind(socket: Netlink, { group, copyBytes = COPY_BYTES_DEFAULT }: PacketLogOptions): void {
  const configure = (fill: (writer: MessageWriter) => void): void =>
    socket.request(`NFLOG group ${group}`, NFULNL_MSG_CONFIG, 0, (w) => fill(w.raw(0, 0, group >> 8, group & 0xff)));
  configure((w) => w.attr(NFULA_CFG_CMD, Uint8Array.of(NFULNL_CFG_CMD_BIND)));
  const mode = Buffer.alloc(6);
  mode.writeUInt32BE(copyBytes);
  mode[4] = NFULNL_COPY_PACKET;
  configure((w) =>
    w
      .attr(NFULA_CFG_MODE, mode)
      .attrU32be(NFULA_CFG_NLBUFSIZ, DATAGRAM_BYTES)
      .attrU32be(NFULA_CFG_TIMEOUT, WAIT_CENTISEC)
      .attrU32be(NFULA_CFG_QTHRESH, PACKETS_PER_DATAGRAM)
      .attr(NFULA_CFG_FLAGS, Uint8Array.of(0, NFULNL_CFG_F_SEQ)),
  );
}

/** Undefined for other messages, and for packets without payload. Total. */
export function decodeLoggedPacket({ type, body }: NetlinkMessage): LoggedPacket | undefined {
  if (type !== NFULNL_MSG_PACKET) return undefined;
  const attributes = parseAttributes(body, 4);
  const packet = attributes.get(NFULA_PAYLOAD);
  if (!packet) return undefined;
  const number = (attribute: number): number | undefined => {
    const value = attributes.get(attribute);
    return value && value.length >= 4 ? value.readUInt32BE(0) : undefined;
  };
  const prefix = attributes.get(NFULA_PREFIX);
  const end = prefix?.indexOf(0) ?? -1;
  return {
    prefix: prefix?.toString('latin1', 0, end < 0 ? prefix.length : end) ?? '',
    inIndex: number(NFULA_IFINDEX_INDEV) ?? 0,
    outIndex: number(NFULA_IFINDEX_OUTDEV) ?? 0,
    timeMs: timeOf(attributes.get(NFULA_TIMESTAMP)),
    sequence: number(NFULA_SEQ),
    packet,
  };
}

/** Seconds and microseconds, 64 bits each. */
function timeOf(value: Buffer | undefined): number | undefined {
  if (!value || value.length < 16) return undefined;
  return Number(value.readBigUInt64BE(0)) * 1000 + Number(value.readBigUInt64BE(8)) / 1000;
}
