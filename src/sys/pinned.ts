import { addressOf } from './libc.ts';

/**
 * Octets at a place that stays the same, for calls that are made for every message: what is given by its address costs a fifth of a short system
 * call less than the same array.
 */
export class PinnedBytes {
  readonly bytes: Uint8Array;
  /** Of the first octet. Whoever gives it to a call holds this object. */
  readonly address: number;

  /** @param length over 64: up to that the engine has an array among its objects, which it moves. */
  constructor(length: number) {
    if (length <= onHeapBytesMax) throw new Error(`${length} octets have no place of their own`);
    this.bytes = new Uint8Array(length);
    this.address = Number(addressOf(this.bytes));
  }
}

/** Of V8: typed_array_max_size_in_heap. */
const onHeapBytesMax = 64;
