/** Shares of a whole as small integers, for where only those can be written: the weights of next hops. */

/** Of a member of the kernel's groups, and of what is derived for them. */
export const weightMax = 256;
/** Ratios that are so near to one of integers are taken for it: shares come as floats of 24 bits. */
const tolerance = 1e-6;

/**
 * Weights 1..256 in the ratio of `shares`: the smallest integers that have it, else the greatest is 256 and the rest rounded, never below
 * 1. Equal shares give ones; depends on nothing but the shares.
 *
 * @param shares finite and positive.
 * @example scaleWeights([10e9, 25e9]) // [2, 5]
 */
export function scaleWeights(shares: readonly number[]): number[] {
  const greatest = Math.max(...shares);
  const ratios = shares.map((share) => share / greatest);
  for (let scale = 1; scale < weightMax; scale++) {
    if (ratios.every((ratio) => isWhole(ratio * scale))) return ratios.map((ratio) => Math.round(ratio * scale));
  }
  return ratios.map((ratio) => Math.max(1, Math.round(ratio * weightMax)));
}

function isWhole(value: number): boolean {
  const nearest = Math.round(value);
  return nearest > 0 && Math.abs(value - nearest) <= tolerance * nearest;
}
