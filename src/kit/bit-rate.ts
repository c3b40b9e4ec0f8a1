/** Speeds of links as people write them. */

const factors = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };
const bitsPerByte = 8;
const bytesPerSecMax = 1e15;

/**
 * Bytes per second, 1..1e15, of a number of bits per second with its unit (kbit, Mbit, Gbit, Tbit); undefined where it is none.
 *
 * @example parseBitRate('2.5Gbit') // 312_500_000
 */
export function parseBitRate(text: string): number | undefined {
  const match = /^(\d{1,6}(?:\.\d{1,3})?)([kMGT])bit$/.exec(text);
  if (!match) return undefined;
  const bytesPerSec = (Number(match[1]) * factors[match[2] as keyof typeof factors]) / bitsPerByte;
  return bytesPerSec >= 1 && bytesPerSec <= bytesPerSecMax ? bytesPerSec : undefined;
}
