/** What the client's methods return: outputs, descriptions, events and alarms. */

import { BadMessage, BadShape } from "./errors.js";
import { decodeEvent, type EventMessage, orProtocolError } from "./messages.js";
import type { EventKind } from "./names.js";
import { type Arrays, row, type Tensor } from "./tensor.js";

/**
 * The outputs of a model by name, one row per sample. The protocol page lists the outputs of each kind.
 * `out.score[0]` is the score of the first sample; `out.coords.shape` is `[n, 2]`.
 */
export interface Outputs {
  readonly winner?: Tensor<Int32Array>;
  readonly coords?: Tensor<Int32Array>;
  readonly label?: Tensor<Int32Array>;
  readonly distance?: Tensor<Float32Array>;
  readonly activity?: Tensor<Float32Array>;
  readonly prediction?: Tensor<Float32Array>;
  readonly lower?: Tensor<Float32Array>;
  readonly upper?: Tensor<Float32Array>;
  readonly error?: Tensor<Float32Array>;
  readonly score?: Tensor<Float32Array>;
  readonly present?: Tensor<Int32Array>;
  readonly expected?: Tensor<Float32Array>;
  readonly contribution?: Tensor<Float32Array>;
  readonly evidence?: Tensor<Float32Array>;
  readonly alarm?: Tensor<Int8Array>;
  readonly fault?: Tensor<Int8Array>;
  readonly drift?: Tensor<Uint8Array>;
  readonly watched?: Tensor<Uint8Array>;
  readonly sample?: Tensor<BigInt64Array>;
  readonly time?: Tensor<BigInt64Array>;
  readonly key?: Tensor<BigInt64Array>;
  readonly id?: Tensor<BigInt64Array>;
  readonly x?: Tensor<Float32Array>;
  readonly [name: string]: Tensor | undefined;
}

/** The answer to `predict` and `explain`. */
export interface Answer {
  readonly outputs: Outputs;
  /** The model had learned all records up to this one, and so many samples. */
  readonly appliedLsn: number;
  readonly samples: number;
}

/** The answer to `forecast`: one row per step. */
export interface Forecast {
  readonly forecast: Tensor<Float32Array>;
  readonly lower?: Tensor<Float32Array>;
  readonly upper?: Tensor<Float32Array>;
  readonly mix?: Tensor<Float32Array>;
  readonly time?: Tensor<BigInt64Array>;
  readonly mixOf: readonly string[];
  readonly appliedLsn: number;
  readonly samples: number;
}

/** Parts of a model that `read` returned: `arrays.weights`, or `arrays["parameters/weight_ih_l0"]`. */
export interface Reading {
  readonly arrays: Arrays;
  readonly kind: string;
  readonly appliedLsn: number;
  readonly samples: number;
  readonly quality?: Record<string, unknown> | undefined;
  readonly labelNames?: readonly string[] | undefined;
}

/** A model in the answer to `models`. Further fields are those of the protocol. */
export interface ModelSummary {
  readonly name: string;
  readonly kind: string;
  readonly dim: number;
  readonly samples: number;
  readonly paused: boolean;
  readonly [field: string]: unknown;
}

/** A model in the answer to `describe`. */
export interface Description extends ModelSummary {
  readonly spec: Readonly<Record<string, unknown>>;
  readonly target_dim: number;
  readonly needs_keys: boolean;
  readonly accepts_late_targets: boolean;
  readonly state_hash: string;
  readonly quality: Readonly<Record<string, unknown>>;
  readonly label_names: readonly string[];
}

/** A checkpoint of a model. */
export interface Checkpoint {
  readonly lsn: number;
  readonly name: string | null;
  readonly pinned: boolean;
  readonly bytes: number;
  readonly [field: string]: unknown;
}

const CAUSES = ["score", "stuck", "silent", "transition", "dwell", "cycle"] as const;
const BEGINS = 1;

/** An alarm that begins or ends. The protocol page describes the fields. */
export interface Alarm {
  readonly state: "begin" | "end";
  readonly cause: (typeof CAUSES)[number];
  /** Numbers of samples, counted from 0: where it began or ended; its first, last and strongest one. */
  readonly sample: number;
  readonly first: number;
  readonly last: number;
  readonly peak: number;
  /** Number of its samples so far. */
  readonly samples: number;
  /** Largest score and evidence of its samples; NaN without a score. */
  readonly score: number;
  readonly evidence: number;
  /** The channel that contributed most; −1: unknown. */
  readonly channel: number;
  readonly contribution: Float32Array;
  readonly expected: Float32Array;
  /** Name of the fault, if feedback gave one; else empty. */
  readonly fault: string;
  /** Of a silent stream: seconds since its last sample. */
  readonly seconds: number;
  /**
   * Of transitions, dwells and cycles: the winners before and after, and their labels; −1 and empty
   * otherwise.
   */
  readonly fromUnit: number;
  readonly toUnit: number;
  readonly fromLabel: string;
  readonly toLabel: string;
  /** Of a dwell and a cycle: the usual number of samples. */
  readonly usual: number;
  /** Of a transition: its share among the departures from its first region before. */
  readonly probability: number;
  readonly key?: bigint | string;
  readonly id?: bigint;
  /** Nanoseconds since 1970. */
  readonly time?: bigint;
}

/** An event of a model. */
export class Event {
  readonly kind: EventKind;
  readonly model: string;
  /** The record that caused the event. */
  readonly lsn: number;
  /** Number of samples that the model had learned before. A jump shows missed `output` events. */
  readonly first: number;
  readonly rows: number;
  /** Nanoseconds since 1970, by the daemon's clock. */
  readonly time: bigint;
  readonly outputs: Outputs;
  readonly #keyNames: ReadonlyMap<bigint, string>;

  constructor(message: EventMessage) {
    this.kind = message.kind;
    this.model = message.model;
    this.lsn = message.lsn;
    this.first = message.first;
    this.rows = message.rows;
    this.time = message.time;
    this.outputs = message.arrays as Outputs;
    this.#keyNames = message.keyNames;
  }

  /** The time as a `Date`, to the millisecond. */
  get date(): Date {
    return new Date(Number(this.time / 1_000_000n));
  }

  /** The key of each row as its sender passed it, where the daemon knows the text; empty without keys. */
  get keys(): (bigint | string)[] {
    return Array.from(this.outputs.key ?? [], (key) => this.#keyNames.get(key) ?? key);
  }

  /** The alarms of an `alarm` event; empty for the other kinds. */
  get alarms(): Alarm[] {
    if (this.kind !== "alarm") return [];
    const { key, id, time } = this.outputs;
    const keys = this.keys;
    return Array.from({ length: this.#array("alarm").length }, (_, k) => ({
      state: this.#number("alarm", k) === BEGINS ? ("begin" as const) : ("end" as const),
      cause: CAUSES[this.#number("cause", k)] ?? "score",
      sample: this.#number("sample", k),
      first: this.#number("first", k),
      last: this.#number("last", k),
      peak: this.#number("peak", k),
      samples: this.#number("samples", k),
      score: this.#number("score", k),
      evidence: this.#number("evidence", k),
      channel: this.#number("channel", k),
      contribution: row(this.#array("contribution") as Tensor<Float32Array>, k),
      expected: row(this.#array("expected") as Tensor<Float32Array>, k),
      fault: this.#text("name", k),
      seconds: this.#number("seconds", k),
      fromUnit: this.#number("from_unit", k),
      toUnit: this.#number("to_unit", k),
      fromLabel: this.#text("from_label", k),
      toLabel: this.#text("to_label", k),
      usual: this.#number("usual", k),
      probability: this.#number("probability", k),
      ...(key && { key: keys[k]! }),
      ...(id && { id: id[k]! }),
      ...(time && { time: time[k]! }),
    }));
  }

  #array(name: string): Tensor {
    const found = this.outputs[name];
    if (found === undefined) throw new BadMessage(`an alarm has no array ${name}`);
    return found;
  }

  #text(name: string, k: number): string {
    return Buffer.from(row(this.#array(name) as Tensor<Uint8Array>, k))
      .toString()
      .replace(/\0+$/, "");
  }

  #number(name: string, k: number): number {
    return Number(this.#array(name)[k]);
  }
}

/** Return the event in frames. `prefix` begins all topics of a subscriber with a key. */
export function readEvent(frames: readonly Buffer[], endpoint: string, prefix: string): Event {
  return orProtocolError(endpoint, "a message is not an event", () => {
    const topic = frames[0]!.toString();
    const own = topic.startsWith(prefix) ? topic.slice(prefix.length) : topic;
    const message = decodeEvent([Buffer.from(own), ...frames.slice(1)]);
    checkRows(message.arrays);
    return new Event(message);
  });
}

/** Check that outputs have equal numbers of rows: that of the samples, unless they number them. */
export function checkRows(arrays: Arrays, rows?: number): void {
  const lengths = new Set(Object.values(arrays).map((array) => array.shape[0]));
  if (
    lengths.size > 1 ||
    (rows !== undefined && arrays["sample"] === undefined && lengths.size && !lengths.has(rows))
  ) {
    throw new BadShape(`outputs must have equal numbers of rows${rows === undefined ? "" : `, ${rows}`}`);
  }
}
