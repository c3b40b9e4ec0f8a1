import { EAGAIN, ENOBUFS, MSG_DONTWAIT } from '../constants.ts';
import * as libc from '../libc.ts';
import { SysError } from '../sys-error.ts';
import { watch } from '../watch.ts';
import { type NetlinkMessage, parseMessages } from './codec.ts';
import { Netlink, type NetlinkOptions } from './socket.ts';

export const RTNLGRP_LINK = 1;
export const RTNLGRP_NEIGH = 3;
export const RTNLGRP_IPV4_IFADDR = 5;
export const RTNLGRP_IPV4_ROUTE = 7;
export const RTNLGRP_IPV4_RULE = 8;
export const RTNLGRP_IPV6_IFADDR = 9;
export const RTNLGRP_IPV6_ROUTE = 11;
export const RTNLGRP_IPV6_RULE = 19;
export const RTNLGRP_NEXTHOP = 32;

const DATAGRAMS_PER_TURN_MAX = 256;
const DATAGRAM_BYTES = 1 << 16;

export interface NetlinkWatchOptions extends NetlinkOptions {
  readonly groups: readonly number[];
  /** Asks for what comes without a group; what it throws `watchNetlink` throws. */
  readonly prepare?: (socket: Netlink) => void;
  /** Datagrams handled in one turn of the event loop. */
  readonly datagramsPerTurnMax?: number;
  /** The message is a view: copy what is kept. */
  readonly onMessage: (message: NetlinkMessage) => void;
  /** The kernel dropped events: the only right answer is a full dump. */
  readonly onLost: () => void;
  /** Called after a turn in which messages came: time to act on what they changed. */
  readonly onTurn?: () => void;
}

/**
 * Kernel events until `close()`, from a socket of its own in this thread's namespace. An overrun is survived: uv_poll meets it as status -9 and
 * stops itself, recv then tells ENOBUFS once, and the socket works again.
 */
export function watchNetlink(options: NetlinkWatchOptions): { close(): void } {
  const socket = new Netlink(options);
  try {
    for (const group of options.groups) socket.join(group);
    options.prepare?.(socket);
  } catch (error) {
    socket.close();
    throw error;
  }
  const received = Buffer.alloc(DATAGRAM_BYTES);
  let closed = false;
  const watcher = watch(socket.fd, { readable: true }, (status) => {
    let lost = false;
    let any = false;
    for (let budget = options.datagramsPerTurnMax ?? DATAGRAMS_PER_TURN_MAX; budget > 0; budget--) {
      const length = libc.recv(socket.fd, received, DATAGRAM_BYTES, MSG_DONTWAIT);
      if (length === -EAGAIN) break;
      if (length === -ENOBUFS) {
        // Older messages are still queued behind it.
        lost = true;
        continue;
      }
      if (length < 0) throw new SysError('recv(netlink events)', -length);
      any = true;
      for (const message of parseMessages(received, length)) {
        options.onMessage(message);
        if (closed) return;
      }
    }
    if (status < 0) watcher.restart();
    if (lost) options.onLost();
    if (any && !closed) options.onTurn?.();
  });
  return {
    close() {
      if (closed) return;
      closed = true;
      watcher.close();
      socket.close();
    },
  };
}
