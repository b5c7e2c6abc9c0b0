/** Options of the client and its methods. */

import type { KeyOptions } from "./keys.js";
import type { AckLevel } from "./names.js";
import type { Identifiers, Targets, Times } from "./samples.js";

/** Options of a client. */
export interface ClientOptions extends KeyOptions {
  /** The daemon's events endpoint. By default the endpoint that the daemon announces. */
  events?: string | undefined;
  /** Milliseconds that a call may take; `null`: no limit. Default: 10,000. */
  timeout?: number | null | undefined;
  /**
   * The name of this client in the daemon's producer table. By default a random name. If two clients use one
   * name, the daemon refuses the older one's batches (`Fenced`).
   */
  producer?: string | undefined;
}

/** What may come with the samples of `learn`. */
export interface LearnOptions {
  y?: Targets | undefined;
  keys?: Identifiers | undefined;
  ids?: Identifiers | undefined;
  times?: Times | undefined;
  /** When the daemon acknowledges. Default: `"durable"`. */
  ack?: AckLevel | undefined;
  /** A text that names this batch, for a sender that may repeat the call, also from another process. */
  idempotencyKey?: string | undefined;
  /** The number of this batch among those of `idempotencyKey`: 0, 1, 2, … */
  part?: number | undefined;
}

/** What may come with the samples of a query. */
export interface QueryOptions {
  keys?: Identifiers | undefined;
  times?: Times | undefined;
}

/** Options of a stream. Times are in milliseconds. */
export interface StreamOptions {
  /** Largest number of samples in a batch. Default: 256. */
  batch?: number | undefined;
  /** Time after which an incomplete batch is sent; `null`: only `flush` sends it. Default: 50. */
  interval?: number | null | undefined;
  /** Largest number of unacknowledged batches, 1 to 256. Default: 64. */
  window?: number | undefined;
  ack?: AckLevel | undefined;
  /** Name of the stream in the daemon's producer table. Random by default. */
  producer?: string | undefined;
  /** Time that `push`, `flush` and `close` may wait; `null`: no limit. Default: 60,000. */
  timeout?: number | null | undefined;
}

/** Options of a change of a model. */
export interface Once {
  /**
   * A name of this request, at most 256 bytes. The change is executed once, however often and from whichever
   * process it is sent with this key, and the answer to a repetition has `duplicate`. So the client repeats
   * it itself after a lost connection; without a key it is rejected with `NoAnswer`.
   */
  idempotencyKey?: string | undefined;
}
