/** Buffered streams of samples: each sample is learned exactly once. */

import { type Ack } from "./acks.js";
import { Backlog, type Part } from "./backlog.js";
import { Connection } from "./connection.js";
import { NoAnswer, type StreamlearnError, StreamLost } from "./errors.js";
import type { ClientKeys } from "./keys.js";
import { encodeRequest, part as rowsOf, readReply } from "./messages.js";
import { checkTimeout } from "./names.js";
import type { Identifier, Identifiers, Sample, Samples, Targets, Time, Times } from "./samples.js";
import { SendLoop } from "./send_loop.js";
import { checkPart, samplesPart, type StreamConfig, targetsPart } from "./stream_parts.js";
import { Window } from "./window.js";

const LONGEST_WAIT = 60_000;
const FULL_QUEUE = 5;
/** Asks for one ack for several batches. To `Window`, an ack acknowledges all batches before it anyway. */
const HELLO = encodeRequest({ op: "hello", fields: { cumulative_acks: true } }, "hello");

export interface StreamSettings {
  readonly batch: number;
  readonly interval: number;
  readonly window: number;
  readonly timeout: number;
}

export class Stream {
  readonly model: string;
  readonly producer: string;
  readonly #config: StreamConfig;
  readonly #settings: StreamSettings;
  readonly #endpoint: string;
  readonly #window: Window;
  readonly #backlog: Backlog;
  readonly #connection: Connection;
  /** Number of unacknowledged rows from which on the stream is full. */
  readonly #capacity: number;
  #pushed = 0;
  #queued = 0; // pushes that wait
  #turn: Promise<unknown> = Promise.resolve(); // the last of them
  #reported = false; // whether a caller received the failure of the stream
  #greeted = false; // whether this connection has sent HELLO
  #closed = false;
  readonly #loop = new SendLoop(
    () => this.#sendDue(),
    (error) => this.#failed(error),
    (full) => this.#delay(full),
  );
  #waiters = new Set<() => void>();

  constructor(
    config: StreamConfig,
    endpoint: string,
    settings: StreamSettings,
    keys: ClientKeys | undefined,
  ) {
    this.model = config.model;
    this.producer = config.producer;
    this.#config = config;
    this.#settings = settings;
    this.#endpoint = endpoint;
    this.#capacity = (settings.window + 1) * settings.batch;
    this.#window = new Window(
      config.model,
      config.producer,
      config.epoch,
      config.ack,
      settings.window,
      endpoint,
    );
    this.#backlog = new Backlog(settings.batch, settings.interval);
    this.#connection = new Connection("dealer", endpoint, keys, {
      message: (frames) => this.#receive(frames),
      changed: (lost) => this.#changed(lost),
    });
  }

  /** The epoch of the stream's batches. It grows if the daemon forgets the producer. */
  get epoch(): bigint {
    return this.#window.epoch;
  }

  /** Number of samples that the stream accepted. */
  get pushed(): number {
    return this.#pushed;
  }

  /** Number of samples that the daemon has acknowledged. */
  get acknowledged(): number {
    return this.#window.acknowledged;
  }

  /** Number of samples that were pushed and are not acknowledged yet. */
  get pending(): number {
    return this.#window.pending + this.#backlog.rows;
  }

  /** Number of batches that were sent again, counted once per resend. */
  get resent(): number {
    return this.#window.resent;
  }

  /** Acknowledged late targets with and without a waiting sample, as far as the acks report them. */
  get matched(): number {
    return this.#window.matched;
  }

  get unmatched(): number {
    return this.#window.unmatched;
  }

  /** The newest acknowledgement; undefined before the first. */
  get lastAck(): Ack | undefined {
    return this.#window.lastAck;
  }

  /**
   * Add one sample. The promise is fulfilled when the stream has accepted it: at once, or when an
   * acknowledgement has made room. Await it: that is the back-pressure. After the stream's timeout it is
   * rejected with `NoAnswer`, and the sample was not added.
   */
  push(
    sample: Sample,
    more: { y?: Targets; key?: Identifier; id?: Identifier; time?: Time } = {},
  ): Promise<void> {
    const { y, key, id, time } = more;
    return this.#add(() => samplesPart(this.#config, sample, { y, keys: key, ids: id, times: time }, true));
  }

  /** Add samples in order. They are copied. */
  pushMany(
    samples: Samples,
    more: { y?: Targets; keys?: Identifiers; ids?: Identifiers; times?: Times } = {},
  ): Promise<void> {
    return this.#add(() => samplesPart(this.#config, samples, more, false));
  }

  /** Add targets of earlier samples, which the model learns after all samples that were pushed before. */
  pushTargets(ids: Identifiers, y: Targets, more: { keys?: Identifiers } = {}): Promise<void> {
    return this.#add(() => targetsPart(this.#config, ids, y, more.keys));
  }

  /**
   * Send all samples that were pushed before, and wait until the daemon has acknowledged them. Returns the
   * newest acknowledgement. Rejects with `NoAnswer` after `timeout` milliseconds: the stream keeps the
   * samples.
   */
  async flush(timeout: number | null = this.#settings.timeout): Promise<Ack | undefined> {
    await this.#turn;
    const end = this.#pushed;
    this.#backlog.flush();
    this.#loop.run();
    await this.#until(() => this.acknowledged >= end, checkTimeout(timeout));
    return this.lastAck;
  }

  /**
   * Flush the stream and close it. Rejects with `StreamLost` if the acknowledgements did not arrive in time,
   * or if the stream has failed and no method has reported it yet.
   */
  async close(timeout: number | null = this.#settings.timeout): Promise<void> {
    if (this.#closed) return;
    const reported = this.#reported;
    try {
      await this.flush(timeout);
    } catch (error) {
      if (!(error instanceof NoAnswer)) {
        if (reported) return;
        throw error;
      }
      throw Object.assign(new StreamLost(error.message, { unacknowledged: this.pending, ...error.detail }), {
        cause: error,
      });
    } finally {
      this.abort();
    }
  }

  /** Close the stream at once. The daemon may learn some of the samples that are not acknowledged. */
  abort(): void {
    this.#closed = true;
    this.#loop.close();
    this.#connection.close();
    this.#wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ------------------------------------------------------------------------------------------- adding

  /** Add what `make` returns, after all earlier pushes, in parts of the stream's capacity. */
  async #add(make: () => Part): Promise<void> {
    this.#checkUsable();
    const part = make(); // copied now: the caller may change its arrays
    checkPart(this.#config, part);
    if (this.#queued === 0 && this.pending < this.#capacity && part.rows <= this.#capacity)
      return this.#accept(part);
    this.#queued += 1;
    const adding = this.#turn.then(() => this.#enqueue(part));
    this.#turn = adding.then(
      () => (this.#queued -= 1),
      () => (this.#queued -= 1),
    );
    await adding;
  }

  async #enqueue(part: Part): Promise<void> {
    const capacity = this.#capacity;
    for (let start = 0; start < part.rows; start += capacity) {
      try {
        await this.#until(() => this.pending < capacity, this.#settings.timeout);
      } catch (error) {
        if (error instanceof NoAnswer) error.detail["taken"] = start;
        throw error;
      }
      const stop = Math.min(part.rows, start + capacity);
      this.#accept(
        part.rows <= capacity
          ? part
          : { ...part, rows: stop - start, input: rowsOf(part.input, start, stop) },
      );
    }
  }

  #accept(part: Part): void {
    const now = performance.now();
    const wasDue = this.#backlog.isDue(now);
    const wasEmpty = this.#backlog.rows === 0;
    this.#backlog.add(part, now);
    this.#pushed += part.rows;
    if (wasEmpty || (!wasDue && this.#backlog.isDue(now))) this.#loop.run();
  }

  #checkUsable(): void {
    if (this.#window.failure !== undefined) {
      this.#reported = true;
      throw this.#window.failure;
    }
    if (this.#closed) throw new StreamLost("this stream is closed", { unacknowledged: this.pending });
  }

  // ------------------------------------------------------------------------------------------ sending

  #receive(frames: Buffer[]): void {
    try {
      this.#window.receive(readReply(frames, this.#endpoint), performance.now());
    } catch (error) {
      this.#window.fail(error as StreamlearnError, "the daemon's answer can't be read");
    }
    this.#wake();
    this.#loop.run();
  }

  #changed(lost: boolean): void {
    if (lost) {
      this.#window.disconnected();
      this.#greeted = false;
    }
    const refusal = this.#connection.refusal();
    if (refusal !== undefined) this.#window.fail(refusal, "the stream can't connect");
    this.#wake();
    this.#loop.run();
  }

  #failed(error: unknown): void {
    this.#window.fail(error as StreamlearnError, "the stream can't send");
    this.#wake();
  }

  /** Return the time to the next batch that is due. */
  #delay(full: boolean): number | undefined {
    if (this.#window.failure !== undefined || this.pending === 0) return undefined;
    const now = performance.now();
    let next = this.#connection.connected ? this.#window.nextSendTime() : Infinity;
    if (full) next = now + FULL_QUEUE;
    if (!this.#window.full) next = Math.min(next, this.#backlog.dueTime());
    return Math.min(next - now, LONGEST_WAIT);
  }

  /** Return whether the socket accepted everything that is due. */
  async #sendDue(): Promise<boolean> {
    const window = this.#window;
    while (window.failure === undefined && !this.#closed) {
      const now = performance.now();
      while (!window.full && this.#backlog.isDue(now)) window.add(this.#backlog.take());
      if (!this.#connection.connected) return true;
      if (!this.#greeted) {
        this.#greeted = true;
        this.#greeted = await this.#connection.send(HELLO);
      }
      const frames = window.next(performance.now());
      if (frames === undefined) return true;
      const { version } = window;
      if (!(await this.#connection.send(frames))) return !this.#connection.connected;
      window.sent(version, performance.now());
    }
    return true;
  }

  // ------------------------------------------------------------------------------------------ waiting

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  /** Wait for a condition. Throws `NoAnswer` after `timeout`, and the failure of the stream. */
  async #until(condition: () => boolean, timeout: number): Promise<void> {
    this.#checkUsable();
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => end(this.#late()), Math.min(timeout, 2 ** 31 - 1));
      const end = (error?: unknown) => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        if (error === undefined) resolve();
        else reject(error as Error);
      };
      const check = () => {
        try {
          this.#checkUsable();
          if (condition()) end();
        } catch (error) {
          end(error);
        }
      };
      this.#waiters.add(check);
    });
  }

  #late(): NoAnswer {
    return new NoAnswer(
      `the daemon at ${this.#endpoint} does not acknowledge or is not running: ${this.pending} samples ` +
        "wait for an " +
        `acknowledgement${this.#connection.hint()}`,
      { endpoint: this.#endpoint, pending: this.pending },
    );
  }
}
