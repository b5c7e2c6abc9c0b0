/**
 * The unacknowledged batches of a stream, without any I/O: which batches to send and when to send them again.
 *
 * The daemon accepts the batches of one producer in order, so an ack of a batch acknowledges all batches
 * before it. One cursor, the number of the next batch to send, is enough. It moves back as follows:
 *
 * - Connection lost: to the oldest unacknowledged batch. Sending continues after the next handshake.
 * - `GAP`: to the batch that the daemon expects. The daemon answers every batch after the missing one with
 *   the same `GAP`, so only the first of these answers moves the cursor.
 * - A retryable refusal: to the refused batch, after a pause that doubles.
 * - No answer: to the oldest unacknowledged batch, after a delay that doubles.
 *
 * `UNKNOWN_PRODUCER` means that the daemon forgot the producer. It did not learn the refused batch, nor the
 * batches after it: they get new numbers in a new epoch when all batches before them are acknowledged. This
 * is safe only if the refused batch was sent once: the daemon may have learned an earlier attempt that has no
 * answer.
 */

import { type Ack, needsNewEpoch, nextEpoch, readAck } from "./acks.js";
import { Gap, protocolError, type StreamlearnError, StreamLost } from "./errors.js";
import { encodeRequest, type Input, orProtocolError, type Reply } from "./messages.js";
import type { AckLevel } from "./names.js";

/** Milliseconds to wait after a refusal: first, and longest. */
const PAUSE = [20, 2000] as const;
/** Milliseconds to wait for an answer before sending again: first, and longest. */
const ANSWER_TIMEOUT = [2000, 30_000] as const;
/** Refused epochs without an ack in between, after which the stream fails. */
const MAX_RENEWALS = 4;

/** Rows that the window numbers and keeps until the ack. Its arrays must not change. */
export interface Batch {
  readonly rows: number;
  readonly input: Input;
  readonly channels?: readonly string[] | undefined;
  readonly keyNames?: readonly string[] | undefined;
}

/** Up to `size` batches of one (producer, epoch). Times are milliseconds of one monotonic clock. */
export class Window {
  epoch: bigint;
  /** Acknowledged samples. */
  acknowledged = 0;
  /** Samples in the window. */
  pending = 0;
  /** Batches that were sent again, counted once per resend. */
  resent = 0;
  matched = 0;
  unmatched = 0;
  lastAck: Ack | undefined;
  failure: StreamlearnError | undefined;

  #batches: { batch: Batch; frames: Buffer[] }[] = [];
  #firstId = 0; // id of the request with number 0; ids are never used again
  #base = 0; // number of the oldest unacknowledged batch
  #cursor = 0; // number of the next batch to send
  #sentEnd = 0; // all batches below this number were sent at least once
  #doubtEnd = 0; // batches below this number have an earlier attempt without an answer
  #handledGap = -1; // expected_seq of the GAP that moved the cursor; -1: none
  #refusal: StreamlearnError | undefined; // of the epoch; the batches from #refusedSeq on wait
  #refusedSeq = 0;
  #renewals = 0;
  #version = 0;
  #pausedUntil = 0;
  #resendAt = Infinity;
  #pause: number = PAUSE[0];
  #answerTimeout: number = ANSWER_TIMEOUT[0];

  constructor(
    readonly model: string,
    readonly producer: string,
    epoch: bigint,
    readonly ack: AckLevel,
    readonly size: number,
    readonly endpoint: string,
  ) {
    this.epoch = epoch;
  }

  get length(): number {
    return this.#batches.length;
  }

  get full(): boolean {
    return this.#batches.length >= this.size;
  }

  /** Number a batch and keep it until the ack. */
  add(batch: Batch): void {
    this.#batches.push({ batch, frames: this.#encoded(batch, this.#base + this.#batches.length) });
    this.pending += batch.rows;
  }

  #encoded(batch: Batch, seq: number): Buffer[] {
    const { model, producer, epoch, ack } = this;
    const { channels, keyNames, input } = batch;
    const fields = {
      model,
      channels,
      key_names: keyNames?.length ? keyNames : undefined,
      producer,
      epoch,
      seq,
      ack,
    };
    return encodeRequest({ op: "learn", fields, input }, this.#firstId + seq);
  }

  /** Return the frames of the next batch to send now. */
  next(now: number): Buffer[] | undefined {
    if (this.failure !== undefined || now < this.#pausedUntil) return undefined;
    if (now >= this.#resendAt) {
      this.#rewindAll();
      this.#answerTimeout = Math.min(this.#answerTimeout * 2, ANSWER_TIMEOUT[1]);
    }
    return this.#cursor < this.#end() ? this.#batches[this.#cursor - this.#base]!.frames : undefined;
  }

  /** Changes whenever an answer or a lost connection moves the cursor. */
  get version(): number {
    return this.#version;
  }

  /** Record that the batch was sent that `next` returned at this version. */
  sent(version: number, now: number): void {
    if (version !== this.#version) return;
    if (this.#cursor < this.#sentEnd) this.resent += 1;
    this.#cursor += 1;
    this.#sentEnd = Math.max(this.#sentEnd, this.#cursor);
    if (this.#resendAt === Infinity) this.#resendAt = now + this.#answerTimeout;
  }

  /** Return the time at which `next` returns a batch that it does not return now. */
  nextSendTime(): number {
    return this.#cursor < this.#end() ? this.#pausedUntil : this.#resendAt;
  }

  /** Record that the connection was lost, and with it all messages in transit. */
  disconnected(): void {
    this.#rewindAll();
    this.#pausedUntil = 0;
  }

  /**
   * Process an answer. Sets `failure` if the stream can't continue. Throws `ProtocolError` for an invalid
   * answer.
   */
  receive(reply: Reply, now: number): void {
    if (typeof reply.id !== "number") return;
    const seq = reply.id - this.#firstId;
    if (seq < this.#base || seq >= this.#sentEnd) return;
    this.#resendAt = now + this.#answerTimeout;
    const { error } = reply;
    if (error === undefined) {
      const ack = orProtocolError(this.endpoint, "the answer to learn is invalid", () => readAck(reply.ok));
      this.matched += ack.matched ?? 0;
      this.unmatched += ack.unmatched ?? 0;
      this.#acknowledge(seq, ack);
    } else if (error instanceof Gap) {
      this.#processGap(error);
    } else if (needsNewEpoch(error)) {
      this.#processRefusedEpoch(seq, error);
    } else if (!error.retryable) {
      this.fail(error, `the daemon refused batch ${seq} of the stream`);
    } else if (seq < this.#cursor) {
      this.#rewind(seq);
      this.#handledGap = seq; // the daemon will answer all later batches with a GAP at seq
      this.#pausedUntil = now + this.#pause;
      this.#pause = Math.min(this.#pause * 2, PAUSE[1]);
    }
  }

  #acknowledge(seq: number, ack: Ack): void {
    for (const { batch } of this.#batches.splice(0, seq + 1 - this.#base)) {
      this.acknowledged += batch.rows;
      this.pending -= batch.rows;
    }
    this.#base = seq + 1;
    if (this.#cursor < this.#base) this.#version += 1;
    this.#cursor = Math.max(this.#cursor, this.#base);
    this.#pause = PAUSE[0];
    this.#answerTimeout = ANSWER_TIMEOUT[0];
    this.#renewals = 0;
    this.lastAck = ack;
    if (this.#cursor === this.#base) this.#resendAt = Infinity;
    this.#beginEpoch();
  }

  #processGap(gap: Gap): void {
    const expected = gap.detail["expected_seq"];
    if (typeof expected !== "number") throw protocolError(this.endpoint, "a GAP without expected_seq");
    if (expected >= this.#sentEnd) {
      this.fail(
        gap,
        "the daemon expects a batch that this stream never sent: another program uses the same " +
          "producer name and " +
          "epoch. Give each program its own producer name",
      );
    } else if (expected < this.#base) {
      const count = this.#base - expected;
      this.fail(
        gap,
        `the daemon lost ${count === 1 ? "1 batch" : `${count} batches`} that it had acknowledged as ` +
          `'${this.ack}': it ` +
          "crashed before they were durable, or the model was deleted and created again, or the data " +
          "directory was " +
          "replaced. Send these samples again on a new stream",
      );
    } else if (expected !== this.#handledGap && expected < this.#cursor) {
      this.#rewind(expected);
      this.#handledGap = expected;
    }
  }

  /** Keep the refusal of the oldest batch. The batches before it will be acknowledged. */
  #processRefusedEpoch(seq: number, refusal: StreamlearnError): void {
    if (this.#refusal !== undefined && seq >= this.#refusedSeq) return;
    this.#renewals += 1;
    if (seq < this.#doubtEnd) {
      const doubtful = this.#batches.slice(seq - this.#base, this.#doubtEnd - this.#base);
      const rows = doubtful.reduce((sum, { batch }) => sum + batch.rows, 0);
      this.fail(
        refusal,
        `it is unknown whether the daemon learned ${rows} of the samples: they were sent before, the ` +
          "answer was lost, " +
          "and the daemon has forgotten the position of this producer",
      );
    } else if (this.#renewals > MAX_RENEWALS) {
      this.fail(refusal, "the daemon refuses every new epoch of the stream");
    } else {
      this.#refusal = refusal;
      this.#refusedSeq = seq;
      this.#cursor = Math.min(this.#cursor, seq);
      this.#version += 1;
      this.#beginEpoch();
    }
  }

  /** Begin a new epoch after a refusal, when the batches before the refused one are acknowledged. */
  #beginEpoch(): void {
    if (this.#refusal === undefined || this.#base < this.#refusedSeq) return;
    try {
      this.epoch = nextEpoch(this.producer, this.epoch, this.#refusal);
    } catch (error) {
      this.fail(error as StreamlearnError, "the stream can't begin a new epoch");
      return;
    }
    this.#firstId += this.#sentEnd;
    this.#base = this.#cursor = this.#sentEnd = this.#doubtEnd = 0;
    this.#handledGap = -1;
    this.#version += 1;
    this.#resendAt = Infinity;
    this.#refusal = undefined;
    this.#batches = this.#batches.map(({ batch }, seq) => ({ batch, frames: this.#encoded(batch, seq) }));
  }

  /** Return the number after the last batch that may be sent. */
  #end(): number {
    const end = this.#base + this.#batches.length;
    return this.#refusal === undefined ? end : Math.min(end, this.#refusedSeq);
  }

  /** Move the cursor back because the attempts so far have no answer. */
  #rewindAll(): void {
    this.#doubtEnd = Math.max(this.#doubtEnd, this.#cursor);
    this.#rewind(this.#base);
    this.#handledGap = -1;
  }

  #rewind(seq: number): void {
    this.#cursor = Math.min(this.#cursor, Math.max(seq, this.#base));
    this.#version += 1;
    this.#resendAt = Infinity;
  }

  /** Set `failure`: the stream can't continue. The first failure stays. */
  fail(cause: StreamlearnError, reason: string): void {
    if (this.failure !== undefined) return;
    this.failure = new StreamLost(
      `${reason}. ${cause.code}: ${cause.message}. ${this.pending} samples are not acknowledged`,
      {
        unacknowledged: this.pending,
        acknowledged: this.acknowledged,
        cause: { code: cause.code, message: cause.message, detail: cause.detail },
      },
    );
    this.failure.cause = cause;
  }
}
