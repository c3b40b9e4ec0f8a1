/** What every bench makes of what it measured. */

/** Three digits. */
export const rounded = (value: number): number => Number(value.toPrecision(3));

/** Of an even number of values the upper one in the middle. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
