import { watchNetlink } from './events.ts';
import { NETLINK_NETFILTER, type Netlink } from './socket.ts';

const NFNLGRP_NFTABLES = 7;
/** NFNL_SUBSYS_NFTABLES << 8 and NFT_MSG_NEWGEN. */
const NEW_GENERATION = (10 << 8) | 15;
/** What else a commit tells, of each rule, goes unread: a commit that is lost for it is not told of. */
const RECEIVE_BUFFER_BYTES = 1 << 20;

export interface NftCommits {
  /**
   * Tells of commits once what they say is in force, until `close`: which socket each came from. The first netlink socket of a process has the
   * process's number, where nobody took that before. While anybody watches, the kernel makes a message of each rule that a commit changes.
   */
  watch(onCommit: (port: number) => void): { close(): void };
  close(): void;
}

/**
 * Of this thread's network namespace. One socket for good: closing any of netfilter's waits for the grace period of what nf_tables deleted last, tens
 * of milliseconds.
 */
export function openNftCommits(): NftCommits {
  const watching = new Set<(port: number) => void>();
  let socket: Netlink | undefined;
  const events = watchNetlink({
    protocol: NETLINK_NETFILTER,
    groups: [],
    receiveBufferBytes: RECEIVE_BUFFER_BYTES,
    prepare: (made) => {
      socket = made;
    },
    onMessage: ({ type, port }) => {
      if (type === NEW_GENERATION) for (const onCommit of watching) onCommit(port);
    },
    onLost: () => undefined,
  });
  return {
    watch(onCommit) {
      // Not the caller's own: each is told of by itself.
      const told = (port: number): void => onCommit(port);
      if (watching.size === 0) socket?.join(NFNLGRP_NFTABLES);
      watching.add(told);
      return {
        close() {
          if (watching.delete(told) && watching.size === 0) socket?.leave(NFNLGRP_NFTABLES);
        },
      };
    },
    close() {
      socket = undefined;
      events.close();
    },
  };
}
