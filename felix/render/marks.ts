/**
 * Two bits of the packet mark carry a verdict from chain to chain, one bit of the connection mark says that a flow is cut. The rest of both
 * marks belongs to others and is never touched.
 */
export interface Marks {
  /** Accepted in the direction that is being judged. */
  readonly accept: number;
  /** Passed on to the next tier. */
  readonly pass: number;
  /** Of connections: policy forbids now what it allowed when they began. */
  readonly cut: number;
}

export const defaultMarkMask = 0x000f0000;

/**
 * Packets get the two lowest bits of `mask` (32 bits), connections the highest: where the mask has three, no program that saves packet marks in
 * connection marks can cut a flow. @throws RangeError when it has fewer than two. */
export function marksFromMask(mask: number): Marks {
  const bits: number[] = [];
  for (let bit = 0; bit < 32; bit++) if ((mask >>> bit) & 1) bits.push((1 << bit) >>> 0);
  const [accept, pass] = bits;
  if (accept === undefined || pass === undefined) {
    throw new RangeError(
      `mark mask 0x${(mask >>> 0).toString(16)} has fewer than two bits: give at least two that nobody else uses`,
    );
  }
  return { accept, pass, cut: bits.at(-1)! };
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

export const setMark = (bit: number): string => `-j MARK --set-xmark ${hex(bit)}/${hex(bit)}`;
export const clearMarks = (marks: Marks): string => `-j MARK --set-xmark 0x0/${hex(marks.accept | marks.pass)}`;
export const clearPass = (marks: Marks): string => `-j MARK --set-xmark 0x0/${hex(marks.pass)}`;
export const matchAccept = (marks: Marks): string => `-m mark --mark ${hex(marks.accept)}/${hex(marks.accept)}`;
export const matchCut = (marks: Marks): string => `-m connmark --mark ${hex(marks.cut)}/${hex(marks.cut)}`;
/** Neither accepted nor passed. */
export const matchUndecided = (marks: Marks): string => `-m mark --mark 0x0/${hex(marks.accept | marks.pass)}`;
/** One of the two. */
export const matchDecided = (marks: Marks): string => `-m mark ! --mark 0x0/${hex(marks.accept | marks.pass)}`;
export const matchNotAccepted = (marks: Marks): string => `-m mark --mark 0x0/${hex(marks.accept)}`;
