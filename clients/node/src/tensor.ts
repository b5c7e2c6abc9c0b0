/** Arrays of the protocol: typed arrays with a shape. */

import { BadDtype, BadMessage, BadShape, isMap } from "./errors.js";

/** The types of arrays in replies and events. Booleans are 0 or 1 in a `Uint8Array`. */
const DTYPES = {
  "<f4": Float32Array,
  "<f8": Float64Array,
  "<i4": Int32Array,
  "<i8": BigInt64Array,
  "<u4": Uint32Array,
  "<u8": BigUint64Array,
  "|i1": Int8Array,
  "|u1": Uint8Array,
  "|b1": Uint8Array,
} as const;

export type Dtype = keyof typeof DTYPES;
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Uint8Array;

/** A typed array in C order, with its shape: element (i, j) of shape [n, m] is at i · m + j. */
export type Tensor<T extends TypedArray = TypedArray> = T & {
  readonly shape: readonly number[];
  readonly dtype: Dtype;
};

/** Named arrays of a message. */
export type Arrays = Record<string, Tensor>;

const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

/** Return a typed array with a shape. */
export function tensor<T extends TypedArray>(values: T, shape: readonly number[], dtype: Dtype): Tensor<T> {
  Object.defineProperty(values, "shape", { value: shape, enumerable: false });
  Object.defineProperty(values, "dtype", { value: dtype, enumerable: false });
  return values as Tensor<T>;
}

/** Return one row of a tensor: element i of its first axis. */
export function row<T extends TypedArray>(values: Tensor<T>, i: number): T {
  const length = values.shape.slice(1).reduce((product, axis) => product * axis, 1);
  return values.subarray(i * length, (i + 1) * length) as T;
}

/** Return the memory of a typed array as little-endian bytes, without a copy where the machine allows it. */
export function bytesOf(values: TypedArray): Buffer {
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  return LITTLE_ENDIAN || values.BYTES_PER_ELEMENT === 1 ? bytes : swapped(bytes, values.BYTES_PER_ELEMENT);
}

function swapped(bytes: Buffer, size: number): Buffer {
  const copy = Buffer.from(bytes);
  return size === 4 ? copy.swap32() : copy.swap64();
}

/** Return the arrays that a header describes, each in one frame. The values are copied out of the frames. */
export function readArrays(described: unknown, frames: readonly Buffer[]): Arrays {
  const entries = described ?? [];
  if (!Array.isArray(entries) || entries.length !== frames.length) {
    throw new BadMessage(
      `the header has ${frames.length} frames after it, and describes another number of arrays`,
    );
  }
  const arrays: Arrays = {};
  entries.forEach((entry: unknown, i) => {
    const name = isMap(entry) ? entry["name"] : undefined;
    if (!isMap(entry) || typeof name !== "string" || Object.hasOwn(arrays, name)) {
      throw new BadMessage("each array needs a unique name, a dtype and a shape");
    }
    Object.defineProperty(arrays, name, {
      value: readArray(name, entry["dtype"], entry["shape"], frames[i]!),
      enumerable: true,
    });
  });
  return arrays;
}

function readArray(name: string, dtype: unknown, shape: unknown, frame: Buffer): Tensor {
  if (typeof dtype !== "string" || !Object.hasOwn(DTYPES, dtype)) {
    throw new BadDtype(
      `${name} has dtype ${String(dtype)}; it must be one of ${Object.keys(DTYPES).join(", ")}`,
    );
  }
  const kind = DTYPES[dtype as Dtype];
  if (
    !Array.isArray(shape) ||
    shape.length < 1 ||
    shape.length > 8 ||
    !shape.every((axis) => Number.isSafeInteger(axis) && axis >= 0)
  ) {
    throw new BadShape(`the shape of ${name} must be a list of 1 to 8 non-negative integers`);
  }
  const size = (shape as number[]).reduce((product, axis) => product * axis, kind.BYTES_PER_ELEMENT);
  if (size !== frame.length) {
    throw new BadShape(
      `${name} of shape ${shape.join(", ")} needs ${size} bytes, but its frame has ${frame.length}`,
    );
  }
  const swap = !LITTLE_ENDIAN && kind.BYTES_PER_ELEMENT > 1;
  const bytes = swap ? swapped(frame, kind.BYTES_PER_ELEMENT) : frame;
  const values = new kind(new Uint8Array(bytes).buffer);
  return tensor(values as TypedArray, shape as number[], dtype as Dtype);
}
