/** The integer that a text stands for, as a key or an id. */

import { blake2b } from "@noble/hashes/blake2.js";

const REMEMBERED = 16_384;
const known = new Map<string, bigint>();

/** Return the BLAKE2b digest of 8 bytes of a text, as a signed little-endian integer. */
export function identifier(text: string): bigint {
  const found = known.get(text);
  if (found !== undefined) return found;
  const digest = Buffer.from(blake2b(Buffer.from(text), { dkLen: 8 }));
  const number = digest.readBigInt64LE();
  if (known.size >= REMEMBERED) known.clear();
  known.set(text, number);
  return number;
}
