/** Set members between the model's text and what `ipset save` prints, so that the two compare as strings. */
import { formatIp, type IpFamily, parseCidr, parseIp } from '#kit';
import type { KernelSetType } from '../../render/names.ts';

export interface KernelMember {
  readonly family: IpFamily;
  /** As ipset prints it: no /32 or /128, canonical address, protocol in lower case. */
  readonly text: string;
}

/** Canonical address or prefix without a host length; undefined when it is neither. */
function canonical(text: string): KernelMember | undefined {
  if (!text.includes('/')) {
    const bytes = parseIp(text);
    return bytes && { family: bytes.length === 4 ? 4 : 6, text: formatIp(bytes) };
  }
  const cidr = parseCidr(text);
  if (!cidr) return undefined;
  const address = formatIp(cidr.bytes);
  return { family: cidr.family, text: cidr.length === cidr.bytes.length * 8 ? address : `${address}/${cidr.length}` };
}

/**
 * What the kernel holds for one member: one entry, or two halves for a /0 (hash:net takes no prefix of length 0). Undefined for
 * a member that is not of the type; one bad line would fail the whole batch.
 */
export function kernelMembers(type: KernelSetType, member: string): readonly KernelMember[] | undefined {
  const comma = member.indexOf(',');
  const head = canonical(comma < 0 ? member : member.slice(0, comma));
  if (!head) return undefined;
  const tail = comma < 0 ? '' : member.slice(comma + 1);
  switch (type) {
    case 'ip':
      return comma < 0 && !head.text.includes('/') ? [head] : undefined;
    case 'net':
      if (comma >= 0) return undefined;
      if (!head.text.endsWith('/0')) return [head];
      return (head.family === 4 ? ['0.0.0.0/1', '128.0.0.0/1'] : ['::/1', '8000::/1']).map((text) => ({
        family: head.family,
        text,
      }));
    case 'ip,port':
      if (
        head.text.includes('/') ||
        !/^(tcp|udp|sctp):(0|[1-9]\d{0,4})$/.test(tail) ||
        Number(tail.split(':')[1]) > 65535
      )
        return undefined;
      return [{ family: head.family, text: `${head.text},${tail}` }];
    case 'net,iface':
      return /^[^\s,"/]{1,15}$/.test(tail) ? [{ family: head.family, text: `${head.text},${tail}` }] : undefined;
  }
}

/** A member as `ipset save` printed it, in the form that `kernelMembers` gives. */
export function savedMember(text: string): string {
  const comma = text.indexOf(',');
  const head = comma < 0 ? text : text.slice(0, comma);
  // inet_ntop writes some IPv6 addresses with a dotted tail, RFC 5952 text of ours does not.
  const needsWork = head.includes('/') || (head.includes(':') && head.includes('.'));
  return needsWork ? `${canonical(head)?.text ?? head}${comma < 0 ? '' : text.slice(comma)}` : text;
}
