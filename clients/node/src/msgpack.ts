/** The header of a message: one MessagePack map. Integers of 64 bits are exact. */

import { decode, encode } from "@msgpack/msgpack";

import { BadMessage, isMap } from "./errors.js";

const UINT32 = 0xffffffff;
const INT32 = -0x80000000;

/** Encode a map. Safe integers and BigInts have the shortest form, as every other client writes them. */
export function packHeader(fields: Record<string, unknown>): Buffer {
  const bytes = encode(prepared(fields), { useBigInt64: true, ignoreUndefined: true });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Decode a map. An integer is a number if it is exact as a number, else a BigInt. */
export function unpackHeader(bytes: Uint8Array): Record<string, unknown> {
  let found: unknown;
  try {
    found = exact(decode(bytes, { useBigInt64: true, maxExtLength: 0 }));
  } catch (problem) {
    throw new BadMessage(`the header is not one MessagePack map: ${(problem as Error).message}`);
  }
  if (!isMap(found)) throw new BadMessage("the header must be a MessagePack map");
  return found;
}

/** The library writes numbers beyond 32 bits as floats, and BigInts always in 9 bytes. */
function prepared(value: unknown): unknown {
  if (typeof value === "number") {
    return Number.isSafeInteger(value) && (value > UINT32 || value < INT32) ? BigInt(value) : value;
  }
  if (typeof value === "bigint") {
    return value <= UINT32 && value >= INT32 ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(prepared);
  return isMap(value)
    ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, prepared(each)]))
    : value;
}

function exact(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }
  if (Array.isArray(value)) return value.map(exact);
  return isMap(value)
    ? Object.fromEntries(Object.entries(value).map(([name, each]) => [name, exact(each)]))
    : value;
}
