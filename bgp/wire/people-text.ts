/** Text that goes to a peer's operator or comes from one: bounded on the way out, made harmless on the way in. */

/** UTF-8 of `text`, cut at a character's border to at most `bytesMax` octets. */
export function utf8AtMost(text: string, bytesMax: number): Uint8Array {
  const encoded = new TextEncoder().encode(text);
  let length = Math.min(encoded.length, bytesMax);
  // Octets 10xxxxxx continue a character.
  while (length < encoded.length && length > 0 && (encoded[length]! & 0xc0) === 0x80) length--;
  return encoded.subarray(0, length);
}

/** Text of the peer's that can neither move the cursor nor reorder what stands around it. */
export function escapeText(text: string): string {
  return text.replace(/[\\"]|\p{C}|\p{Zl}|\p{Zp}/gu, (c) =>
    c === '"' || c === '\\' ? `\\${c}` : `\\u{${c.codePointAt(0)!.toString(16)}}`,
  );
}
