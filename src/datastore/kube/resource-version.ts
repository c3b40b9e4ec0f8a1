/** Order of resourceVersions: decimal numbers of any length (KEP-5504 makes them comparable). Negative: `a` is older. */
export function compareResourceVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
