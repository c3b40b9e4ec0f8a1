/** Two bits of the packet mark carry a verdict from chain to chain. The rest of the mark belongs to others and is never touched. */
export interface Marks {
  /** Accepted in the direction that is being judged. */
  readonly accept: number;
  /** Passed on to the next tier. */
  readonly pass: number;
}

export const defaultMarkMask = 0x000f0000;

/** Takes the two lowest bits of `mask` (32 bits). @throws RangeError when it has fewer than two. */
export function marksFromMask(mask: number): Marks {
  const bits: number[] = [];
  for (let bit = 0; bit < 32; bit++) if ((mask >>> bit) & 1) bits.push((1 << bit) >>> 0);
  const [accept, pass] = bits;
  if (accept === undefined || pass === undefined) {
    throw new RangeError(
      `mark mask 0x${(mask >>> 0).toString(16)} has fewer than two bits: give at least two that nobody else uses`,
    );
  }
  return { accept, pass };
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

export const setMark = (bit: number): string => `-j MARK --set-xmark ${hex(bit)}/${hex(bit)}`;
export const clearMarks = (marks: Marks): string => `-j MARK --set-xmark 0x0/${hex(marks.accept | marks.pass)}`;
export const clearPass = (marks: Marks): string => `-j MARK --set-xmark 0x0/${hex(marks.pass)}`;
export const matchAccept = (marks: Marks): string => `-m mark --mark ${hex(marks.accept)}/${hex(marks.accept)}`;
/** Neither accepted nor passed. */
export const matchUndecided = (marks: Marks): string => `-m mark --mark 0x0/${hex(marks.accept | marks.pass)}`;
export const matchNotAccepted = (marks: Marks): string => `-m mark --mark 0x0/${hex(marks.accept)}`;
