/** The samples of a stream that are not in a batch yet, in order. */

import type { Input } from "./messages.js";
import { type Rows, textsOf } from "./samples.js";
import type { Batch } from "./window.js";

const IDENTIFIERS = ["keys", "ids", "times"] as const;

/** Rows with their arrays, as a caller pushed them. */
export interface Part {
  readonly rows: number;
  readonly input: Input;
  readonly channels?: readonly string[] | undefined;
  readonly keyNames?: readonly string[] | undefined;
}

/** A batch that grows up to its capacity. All its rows have the same arrays and columns. */
class Block {
  rows = 0;
  readonly since: number;
  readonly #form: string;
  readonly #capacity: number;
  readonly #columns: { x: number; y: number };
  readonly #values: {
    x?: Float32Array;
    y?: Float32Array;
    keys?: BigInt64Array;
    ids?: BigInt64Array;
    times?: BigInt64Array;
  } = {};
  readonly #channels: readonly string[] | undefined;
  readonly #keyNames = new Set<string>();

  constructor(part: Part, form: string, capacity: number, now: number) {
    this.since = now;
    this.#form = form;
    this.#capacity = capacity;
    this.#channels = part.channels;
    this.#columns = { x: part.input.x?.columns ?? 0, y: part.input.y?.columns ?? 0 };
    for (const name of ["x", "y"] as const) {
      if (part.input[name]) this.#values[name] = new Float32Array(capacity * this.#columns[name]);
    }
    for (const name of IDENTIFIERS) {
      if (part.input[name]) this.#values[name] = new BigInt64Array(capacity);
    }
  }

  get full(): boolean {
    return this.rows >= this.#capacity;
  }

  has(form: string): boolean {
    return this.#form === form;
  }

  /** Copy rows of a part, from row `start` on. Return how many. */
  add(part: Part, start: number): number {
    const count = Math.min(part.rows - start, this.#capacity - this.rows);
    for (const name of ["x", "y"] as const) {
      const columns = this.#columns[name];
      const values = part.input[name]?.values.subarray(start * columns, (start + count) * columns);
      if (values) this.#values[name]!.set(values, this.rows * columns);
    }
    for (const name of IDENTIFIERS) {
      const values = part.input[name]?.subarray(start, start + count);
      if (values) this.#values[name]!.set(values, this.rows);
    }
    part.keyNames?.forEach((text) => this.#keyNames.add(text));
    this.rows += count;
    return count;
  }

  batch(): Batch {
    const { x, y, keys, ids, times } = this.#values;
    const { rows } = this;
    const matrix = (values: Float32Array | undefined, columns: number): Rows | undefined =>
      values && { values: values.subarray(0, rows * columns), rows, columns };
    return {
      rows,
      input: {
        x: matrix(x, this.#columns.x),
        y: matrix(y, this.#columns.y),
        keys: keys?.subarray(0, rows),
        ids: ids?.subarray(0, rows),
        times: times?.subarray(0, rows),
      },
      channels: this.#channels,
      keyNames: textsOf([...this.#keyNames]),
    };
  }
}

/** A queue of rows that gives batches of at most `size` rows. */
export class Backlog {
  rows = 0;
  readonly #blocks: Block[] = [];
  #flushing = 0; // rows that are to be sent without waiting for a full batch

  constructor(
    readonly size: number,
    readonly interval: number,
  ) {}

  add(part: Part, now: number): void {
    const form = formOf(part);
    for (let start = 0; start < part.rows;) {
      let last = this.#blocks.at(-1);
      if (last === undefined || last.full || !last.has(form)) {
        last = new Block(part, form, this.size, now);
        this.#blocks.push(last);
      }
      start += last.add(part, start);
    }
    this.rows += part.rows;
  }

  /** Send all rows that are here without waiting for full batches. */
  flush(): void {
    this.#flushing = this.rows;
  }

  /** Whether the first batch is to be sent: it can't grow, or it is old enough, or it is flushed. */
  isDue(now: number): boolean {
    const [first, second] = this.#blocks;
    if (first === undefined) return false;
    return first.full || second !== undefined || this.#flushing > 0 || now >= first.since + this.interval;
  }

  /** Return the time at which the first batch is due at the latest. */
  dueTime(): number {
    const [first] = this.#blocks;
    return first === undefined ? Infinity : first.since + this.interval;
  }

  /** Return the first batch and remove it. */
  take(): Batch {
    const batch = this.#blocks.shift()!.batch();
    this.rows -= batch.rows;
    this.#flushing = Math.max(0, this.#flushing - batch.rows);
    return batch;
  }
}

function formOf({ input, channels }: Part): string {
  const names = IDENTIFIERS.filter((name) => input[name] !== undefined);
  return JSON.stringify([input.x?.columns, input.y?.columns, names, channels]);
}
