/** Samples without acknowledgement. */

import { timeEpoch } from "./acks.js";
import { Connection } from "./connection.js";
import { NoAnswer } from "./errors.js";
import type { ClientKeys } from "./keys.js";
import { encodeRequest, type Input, part } from "./messages.js";
import { producerName } from "./names.js";
import {
  asIdentifiers,
  asSamples,
  asTargets,
  asTimes,
  type Identifiers,
  type Samples,
  textsOf,
  type Times,
} from "./samples.js";

/** Milliseconds that messages have to leave at close. */
const LINGER = 1000;
const RETRY = 5;

/** A sender without acknowledgements. A daemon that is away, or too slow, misses samples. */
export class Firehose {
  readonly producer: string;
  /** Number of batches that were sent. */
  sent = 0;
  readonly #epoch = timeEpoch();
  readonly #connection: Connection;
  #seq = 0;
  #turn: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  #closed = false;

  constructor(
    readonly model: string,
    readonly endpoint: string,
    readonly timeout: number,
    readonly frameBytes: number,
    keys: ClientKeys | undefined,
    producer?: string,
    announcedBy?: string,
  ) {
    this.producer = producerName(producer);
    this.#connection = new Connection(
      "push",
      endpoint,
      keys,
      { changed: () => this.#wake() },
      { linger: LINGER, ...(announcedBy !== undefined && { announcedBy }) },
    );
  }

  /** Send samples. The promise is fulfilled when the socket has accepted them. */
  push(
    x: Samples,
    more: { y?: Samples; keys?: Identifiers; ids?: Identifiers; times?: Times } = {},
  ): Promise<void> {
    const samples = asSamples(x);
    const { rows } = samples;
    const input: Input = {
      x: samples,
      y: more.y === undefined ? undefined : asTargets(more.y, rows),
      keys: more.keys === undefined ? undefined : asIdentifiers(more.keys, rows, "keys"),
      ids: more.ids === undefined ? undefined : asIdentifiers(more.ids, rows, "ids"),
      times: more.times === undefined ? undefined : asTimes(more.times, rows),
    };
    const texts = more.keys === undefined ? [] : textsOf(more.keys);
    const widest = 4 * Math.max(samples.columns, input.y?.columns ?? 0, 2);
    const step = Math.max(1, Math.floor(this.frameBytes / widest));
    const sending = this.#turn.then(async () => {
      for (let start = 0; start < rows; start += step) {
        await this.#send(part(input, start, Math.min(rows, start + step)), samples.channels, texts);
      }
    });
    this.#turn = sending.catch(() => undefined);
    return sending;
  }

  /** Close the connection, after everything that was pushed. Messages have a second to leave. */
  async close(): Promise<void> {
    await this.#turn;
    this.#closed = true;
    this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #send(input: Input, channels: readonly string[] | undefined, texts: string[]): Promise<void> {
    if (this.#closed) throw new Error("this firehose is closed; create a new one");
    const fields = {
      model: this.model,
      channels,
      key_names: texts.length ? texts : undefined,
      producer: this.producer,
      epoch: this.#epoch,
      seq: this.#seq,
      ack: "none",
    };
    const frames = encodeRequest({ op: "learn", fields, input }, null);
    const deadline = performance.now() + this.timeout;
    while (!(await this.#connection.send(frames))) {
      const refusal = this.#connection.refusal();
      if (refusal !== undefined) throw refusal;
      const left = deadline - performance.now();
      if (left <= 0) throw this.#noAnswer();
      await this.#changed(this.#connection.connected ? RETRY : left);
    }
    this.#seq += 1;
    this.sent += 1;
  }

  /** Wait for a change of the connection, at most so long. */
  #changed(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.min(milliseconds, 2 ** 31 - 1));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #noAnswer(): NoAnswer {
    return new NoAnswer(
      `no daemon accepts messages at ${this.endpoint} (tried for ${this.timeout / 1000} s): check that ` +
        `\`streamlearn serve\` is running and that this is its firehose endpoint${this.#connection.hint()}`,
      { endpoint: this.endpoint },
    );
  }
}
