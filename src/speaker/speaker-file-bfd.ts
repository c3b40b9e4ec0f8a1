/** The key `bfd` of a peer in the stand-alone speaker's file: its bounds. */
export const bfdIntervalMsMin = 10;
export const bfdIntervalMsMax = 60_000;
export const bfdMultiplierMax = 255;

/** Milliseconds of `300ms`, `1s` or `300`; undefined when it is none of these or out of bounds. */
export function parseBfdInterval(text: string): number | undefined {
  const match = /^(\d{1,8})(ms|s|)$/.exec(text);
  if (!match) return undefined;
  const ms = Number(match[1]) * (match[2] === 's' ? 1000 : 1);
  return ms >= bfdIntervalMsMin && ms <= bfdIntervalMsMax ? ms : undefined;
}
