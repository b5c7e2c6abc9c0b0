/** One request until its answer, without any I/O: when to send it, when to send it again, when to give up. */

import { AnswerLost, NoAnswer, type StreamlearnError } from "./errors.js";
import { encodeRequest, type Reply, type Request } from "./messages.js";

/**
 * Milliseconds without an answer after which a request is sent again on the same connection. Doubles each
 * time.
 */
const ANSWER_TIMEOUT = 2000;
/** Milliseconds to wait after a retryable refusal: first, and longest. Doubles each time. */
const PAUSE = [50, 1000] as const;

/** How a request is executed. */
export interface Call {
  readonly request: Request;
  /** Whether the daemon may receive the request twice without harm. */
  readonly idempotent: boolean;
  /** Time by which the answer must be there, of the clock of `performance.now`. */
  readonly deadline: number;
  /** The timeout that the deadline comes from, for the error. */
  readonly timeout: number;
  /** Milliseconds to wait for the answer once the request is sent, if this is longer than the timeout. */
  readonly patience?: number | undefined;
}

/**
 * The state of one call. Times are milliseconds of one monotonic clock. An error that it throws has `inDoubt`
 * if the daemon may have executed the request: the last attempt, or an earlier one, was sent and has no
 * answer.
 */
export class Exchange {
  readonly frames: Buffer[];
  /** Whether to send the request as soon as the socket accepts it. */
  due = true;
  /** A likely reason why there is no connection, for the error after the deadline. */
  hint = "";
  #answerDeadline: number;
  #inFlight = false; // sent, and neither answered nor refused
  #unanswered = false; // an earlier attempt was in flight when the request was sent again
  #resendAt = Infinity;
  #answerTimeout = ANSWER_TIMEOUT;
  #pause: number = PAUSE[0];
  #refusal: StreamlearnError | undefined;

  constructor(
    readonly call: Call,
    readonly id: number,
    readonly endpoint: string,
  ) {
    this.frames = encodeRequest(call.request, id);
    this.#answerDeadline = call.deadline;
  }

  /** Record that the socket accepted the frames. */
  sent(now: number): void {
    this.due = false;
    this.#unanswered ||= this.#inFlight;
    this.#inFlight = true;
    this.#refusal = undefined;
    this.#answerDeadline = Math.max(this.call.deadline, now + (this.call.patience ?? 0));
    if (this.call.idempotent) {
      this.#resendAt = now + this.#answerTimeout;
      this.#answerTimeout *= 2;
    }
  }

  /** Record that the connection was lost. Throws `AnswerLost` if the request must not be sent again. */
  connectionLost(): void {
    if (!this.#inFlight) return;
    if (!this.call.idempotent) throw this.#noAnswer(true);
    this.due = true;
    this.#resendAt = Infinity;
  }

  /** Return the error to throw if the daemon refuses the connection. */
  refused(refusal: StreamlearnError): StreamlearnError {
    refusal.inDoubt = this.#inFlight || this.#unanswered;
    return refusal;
  }

  /** Return the milliseconds until the next step without a reply. Throws `NoAnswer` after the deadline. */
  timeLeft(now: number): number {
    const deadline = this.#inFlight ? this.#answerDeadline : this.call.deadline;
    if (now >= deadline) {
      const error = this.#refusal ?? this.#noAnswer(false);
      error.inDoubt = this.#inFlight || this.#unanswered;
      throw error;
    }
    if (now >= this.#resendAt) {
      this.due = true;
      this.#resendAt = Infinity;
    }
    return Math.min(deadline, this.#resendAt) - now;
  }

  /**
   * Return whether the reply is the final answer. Throws a final refusal. The daemon did nothing for a
   * request that it refused as retryable: it is sent again after a pause.
   */
  receive({ error }: Reply, now: number): boolean {
    if (error === undefined) return true;
    if (!error.retryable) {
      error.inDoubt = this.#unanswered;
      throw error;
    }
    if (this.#inFlight) {
      this.#inFlight = false;
      this.#refusal = error;
      this.#resendAt = now + this.#pause;
      this.#pause = Math.min(this.#pause * 2, PAUSE[1]);
    }
    return false;
  }

  #noAnswer(lost: boolean): NoAnswer {
    const { op } = this.call.request;
    const seconds = (milliseconds: number) => `${Number((milliseconds / 1000).toPrecision(3))} s`;
    const detail = { endpoint: this.endpoint, op, sent: this.#inFlight };
    if (lost) {
      const error = new AnswerLost(
        `the connection to the daemon at ${this.endpoint} was lost before the answer to ${op}. The ` +
          "daemon may or may " +
          `not have executed ${op}; see its log`,
        detail,
      );
      error.inDoubt = true;
      return error;
    }
    if (this.#inFlight) {
      const timeout = seconds(Math.max(this.call.timeout, this.call.patience ?? 0));
      return new NoAnswer(
        `the daemon at ${this.endpoint} did not answer ${op} within ${timeout}: it stopped or is ` +
          "overloaded. It may or " +
          `may not have executed ${op}; see the daemon's log`,
        detail,
      );
    }
    return new NoAnswer(
      `no daemon answers at ${this.endpoint} (tried for ${seconds(this.call.timeout)}): check that ` +
        `\`streamlearn serve\` ` +
        `is running and that this is its requests endpoint${this.hint}`,
      detail,
    );
  }
}
