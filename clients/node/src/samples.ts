/** Samples, targets, keys, ids and times as a caller may pass them. */

import { BadDtype, BadShape, BadValue, isMap } from "./errors.js";
import { identifier } from "./identifier.js";
import type { Tensor } from "./tensor.js";

type Missing = null | undefined;

/** One sample: its values, or its values by channel. `null`, `undefined` and NaN are missing values. */
export type Sample = ArrayLike<number | Missing> | Readonly<Record<string, number | null>>;

/**
 * Samples (n, dim): one sample, a list of samples, or a flat array with its shape. A `Float32Array` is sent
 * as it is; other numbers are rounded to float32.
 */
export type Samples =
  | Sample
  | readonly Sample[]
  | Tensor<Float32Array | Float64Array>
  | { readonly data: ArrayLike<number | Missing>; readonly shape: readonly number[] };

/** Targets: a number for one sample, a number for each of several, or as samples; also names of labels. */
export type Targets = Samples | number | readonly (string | null)[] | string;

/** Keys or ids: one for all samples, or one for each: integers of 64 bits (numbers or BigInts) or texts. */
export type Identifier = number | bigint | string;
export type Identifiers = Identifier | readonly Identifier[] | BigInt64Array;

/** A time: a `Date`, or nanoseconds since 1970 as a BigInt. */
export type Time = Date | bigint;
/** Times of samples: one for all, or one for each. */
export type Times = Time | readonly Time[] | BigInt64Array;

/** Rows of float32, and the names of their columns if the caller gave them. */
export interface Rows {
  readonly values: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly channels?: readonly string[];
}

/** Return samples as rows of float32, copied. */
export function asSamples(x: Samples, what = "x"): Rows {
  if (isNumbers(x) && !hasShape(x)) return matrix(x, 1, x.length, what);
  if (hasShape(x)) {
    const data = "data" in x ? x.data : x;
    const [first, second, ...others] = x.shape;
    const [rows, columns] = second === undefined ? [1, first ?? 0] : [first!, second];
    if (others.length || rows < 1 || rows * columns !== data.length) {
      throw new BadShape(
        `${what} of shape ${x.shape.join(", ")} has ${data.length} values; the shape must be [n, dim]`,
      );
    }
    return matrix(data, rows, columns, what);
  }
  if (Array.isArray(x)) return listed(x as readonly Sample[], what);
  if (isMap(x)) return listed([x as Sample], what);
  throw new BadDtype(`${what} must be a sample, a list of samples, or a typed array with a shape`);
}

/** Return targets for `rows` samples. A flat list is one target for each of several samples. */
export function asTargets(y: Samples, rows: number, what = "y"): Rows {
  const found = asSamples(y, what);
  const flat = found.rows === 1 && found.columns === rows && rows > 1;
  const result = flat ? { values: found.values, rows, columns: 1 } : found;
  if (result.rows !== rows)
    throw new BadShape(`${what} has ${result.rows} rows, and there are ${rows} samples`);
  return result;
}

/** Return keys or ids of `rows` samples. */
export function asIdentifiers(values: Identifiers, rows: number, what: string): BigInt64Array {
  return spread(values, rows, what, (each) => asIdentifier(each, what));
}

/** Return one key or id as an integer. */
export function asIdentifier(value: Identifier, what: string): bigint {
  if (typeof value === "string") return identifier(value);
  if (typeof value !== "bigint" && !Number.isSafeInteger(value)) {
    throw new BadDtype(
      `${what} must be integers, BigInts or texts, not ${String(value)}; pass integers beyond 2^53 as ` +
        "BigInts",
    );
  }
  return int64(BigInt(value), what);
}

/** Return times of `rows` samples in nanoseconds. */
export function asTimes(values: Times, rows: number): BigInt64Array {
  return spread(values, rows, "times", (each) => {
    if (each instanceof Date && !Number.isNaN(each.getTime()))
      return int64(BigInt(each.getTime()) * 1_000_000n, "times");
    if (typeof each === "bigint" && each !== -(1n << 63n)) return int64(each, "times");
    throw new BadValue(`times must be Dates, or nanoseconds since 1970 as BigInts, not ${String(each)}`, {
      field: "times",
    });
  });
}

/** Return the texts among keys, as many as a header holds, so that events have them. */
export function textsOf(values: Identifiers): string[] {
  const given = typeof values === "string" ? [values] : Array.isArray(values) ? values : [];
  let room = 2048;
  const found: string[] = [];
  for (const value of new Set(given)) {
    const size = typeof value === "string" ? Buffer.byteLength(value) : 0;
    if (size > 0 && size <= Math.min(256, room)) {
      found.push(value as string);
      room -= size;
    }
  }
  return found;
}

/** Whether targets are names of labels. */
export function hasNames(y: Targets): y is string | readonly (string | null)[] {
  return typeof y === "string" || (Array.isArray(y) && y.some((each) => typeof each === "string"));
}

/** Return targets as numbers: of names of labels their classes, and NaN for a missing one. */
export function codesOf(model: string, names: readonly string[], y: Targets): Samples {
  if (typeof y === "number") return [y];
  if (!hasNames(y)) return y as Samples;
  return (typeof y === "string" ? [y] : y).map((name) => {
    if (name === null || name === undefined || name === "") return NaN;
    const code = names.indexOf(name);
    if (code >= 0) return code;
    const known = names.join(", ") || "none";
    throw new BadValue(`'${model}' has no label ${JSON.stringify(name)}; its labels are ${known}`, {
      field: "y",
    });
  });
}

function isNumbers(x: Samples): x is ArrayLike<number | Missing> & Samples {
  if (ArrayBuffer.isView(x)) return true;
  return Array.isArray(x) && (x.length === 0 || typeof x[0] !== "object" || x[0] === null);
}

function hasShape(
  x: Samples,
): x is Tensor<Float32Array> | { data: ArrayLike<number>; shape: readonly number[] } {
  return Array.isArray((x as { shape?: unknown }).shape) && (ArrayBuffer.isView(x) || "data" in x);
}

function listed(samples: readonly Sample[], what: string): Rows {
  const first = samples[0]!;
  const channels = isMap(first) ? Object.keys(first) : undefined;
  const columns = channels ? channels.length : (first as ArrayLike<number>).length;
  const values = new Float32Array(samples.length * columns);
  samples.forEach((sample, i) => {
    const numbers = channels ? inOrder(sample, channels, what) : sample;
    if (!isNumbers(numbers as Samples) || (numbers as ArrayLike<number>).length !== columns) {
      throw new BadShape(
        `${what} has rows of different lengths or kinds; row 0 has ${columns} values, row ${i} differs`,
      );
    }
    fill(values, numbers as ArrayLike<number>, i * columns, what, columns);
  });
  return channels
    ? { values, rows: samples.length, columns, channels }
    : { values, rows: samples.length, columns };
}

function inOrder(sample: Sample, channels: readonly string[], what: string): ArrayLike<number | Missing> {
  const found = sample as Record<string, number | null>;
  if (
    !isMap(sample) ||
    Object.keys(found).length !== channels.length ||
    !channels.every((name) => Object.hasOwn(found, name))
  ) {
    throw new BadShape(
      `${what} has samples with different channels; the first one has ${channels.join(", ")}`,
    );
  }
  return channels.map((name) => found[name]);
}

function matrix(data: ArrayLike<number | Missing>, rows: number, columns: number, what: string): Rows {
  const values = new Float32Array(data.length);
  fill(values, data, 0, what, columns);
  return { values, rows, columns };
}

function fill(
  into: Float32Array,
  data: ArrayLike<number | Missing>,
  start: number,
  what: string,
  columns: number,
): void {
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (value !== null && value !== undefined && typeof value !== "number") {
      throw new BadDtype(`${what} must be numbers, and null or NaN for a missing value, not ${typeof value}`);
    }
    const rounded = Math.fround(value ?? NaN);
    if (rounded === Infinity || rounded === -Infinity) {
      const [row, channel] = [Math.floor((start + i) / columns), (start + i) % columns];
      throw new BadValue(
        `${what} has ${value} in column ${channel} (row ${row}); values must be finite in float32, and ` +
          "NaN for a missing value",
        { row, channel },
      );
    }
    into[start + i] = rounded;
  }
}

function spread<T>(
  values: T | readonly T[] | BigInt64Array,
  rows: number,
  what: string,
  convert: (value: T) => bigint,
): BigInt64Array {
  if (!Array.isArray(values) && !(values instanceof BigInt64Array)) {
    return new BigInt64Array(rows).fill(convert(values as T));
  }
  if (values.length !== rows) {
    throw new BadShape(
      `${what} has ${values.length} values; pass one for all, or one for each of the ${rows} samples`,
    );
  }
  return BigInt64Array.from(values as readonly T[], convert);
}

function int64(value: bigint, what: string): bigint {
  if (BigInt.asIntN(64, value) === value) return value;
  throw new BadValue(`${what} has ${value}; integers must fit into 64 bits with a sign`);
}
