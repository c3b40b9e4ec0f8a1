import { SysError } from '../sys-error.ts';
import { type NetlinkMessage, NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, parseAcknowledgement } from './codec.ts';

/** One datagram of the dump with this sequence number: whether it was the last, and whether the table changed meanwhile. @throws SysError */
export function takeDumpPart(
  call: string,
  messages: Iterable<NetlinkMessage>,
  sequence: number,
  onMessage: (message: NetlinkMessage) => void,
): { readonly done: boolean; readonly interrupted: boolean } {
  let interrupted = false;
  for (const message of messages) {
    if (message.sequence !== sequence) continue;
    if (message.flags & NLM_F_DUMP_INTR) interrupted = true;
    if (message.type === NLMSG_DONE) {
      const errno = message.body.length >= 4 ? -message.body.readInt32LE(0) : 0;
      if (errno > 0) throw new SysError(call, errno);
      return { done: true, interrupted };
    }
    if (message.type === NLMSG_ERROR) {
      const { errno, text } = parseAcknowledgement(message);
      throw new SysError(call, errno, text);
    }
    onMessage(message);
  }
  return { done: false, interrupted };
}
