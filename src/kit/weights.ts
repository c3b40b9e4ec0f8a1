/** Shares of a whole as small integers, for where only those can be written: the weights of next hops. */

/** Of a member of the kernel's groups, and of what is derived for them. */
export const weightMax = 256;

/**
 * Weights 1..256 in the ratio of `shares`: exactly where that has so small integers, else the greatest is 256 and the rest rounded,
 * never below 1. Equal shares give ones; depends on nothing but the shares.
 *
 * @param shares finite and positive.
 * @example scaleWeights([10e9, 25e9]) // [2, 5]
 */
export function scaleWeights(shares: readonly number[]): number[] {
  const exact = reduced(shares);
  if (exact && Math.max(...exact) <= weightMax) return exact;
  const greatest = Math.max(...shares);
  const scaled = shares.map((share) => Math.max(1, Math.round((weightMax * share) / greatest)));
  return reduced(scaled)!;
}

/** Divided by what divides all of them; undefined unless all are whole numbers that a double holds. */
function reduced(numbers: readonly number[]): number[] | undefined {
  if (!numbers.every(Number.isSafeInteger)) return undefined;
  let divisor = 0;
  for (const value of numbers) divisor = commonDivisor(value, divisor);
  return numbers.map((value) => value / divisor);
}

function commonDivisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
