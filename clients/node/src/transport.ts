/** Executes requests on one connection. Several may wait for their answers at the same time. */

import { Connection } from "./connection.js";
import { StreamlearnError } from "./errors.js";
import { type Call, Exchange } from "./exchange.js";
import type { ClientKeys } from "./keys.js";
import { readReply, type Reply } from "./messages.js";

/** The longest time of a timer. */
const LONGEST_WAIT = 60_000;
/** Milliseconds after which a socket whose queue is full is tried again. */
const FULL_QUEUE = 5;

interface Waiting {
  readonly exchange: Exchange;
  resolve(reply: Reply): void;
  reject(error: unknown): void;
}

export class Transport {
  readonly endpoint: string;
  readonly #keys: ClientKeys | undefined;
  #connection: Connection | undefined;
  #nextId = 0;
  #waiting = new Map<number, Waiting>(); // by id, in the order of the calls
  #timer: NodeJS.Timeout | undefined;
  #sending = false;
  #again = false; // a step was requested while one sends
  #closed = false;

  constructor(endpoint: string, keys: ClientKeys | undefined) {
    this.endpoint = endpoint;
    this.#keys = keys;
    this.#connection = this.#connect();
  }

  /** Send a request, again if necessary, and return its answer. */
  exchange(call: Call): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.checkOpen();
      this.#nextId += 1;
      const exchange = new Exchange(call, this.#nextId, this.endpoint);
      this.#waiting.set(exchange.id, { exchange, resolve, reject });
      void this.#step();
    });
  }

  checkOpen(): void {
    if (this.#closed) throw new Error("this client is closed; create a new one");
  }

  /** Close the connection. Calls that wait are rejected. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#connection?.close();
    this.#each(() => {
      throw new Error("the client was closed during the call");
    });
  }

  #connect(): Connection {
    return new Connection("dealer", this.endpoint, this.#keys, {
      message: (frames) => this.#receive(frames),
      changed: (lost) => this.#changed(lost),
    });
  }

  #receive(frames: Buffer[]): void {
    let reply: Reply;
    try {
      reply = readReply(frames, this.endpoint);
    } catch (error) {
      return this.#each(() => {
        throw error;
      });
    }
    const waiting = typeof reply.id === "number" ? this.#waiting.get(reply.id) : undefined;
    if (waiting === undefined) return; // an answer to an earlier attempt, or to a call that was given up
    this.#try(waiting, ({ exchange, resolve }) => {
      if (!exchange.receive(reply, performance.now())) return;
      this.#waiting.delete(exchange.id);
      resolve(reply);
    });
    void this.#step();
  }

  #changed(lost: boolean): void {
    if (this.#closed) return;
    const refusal = this.#connection?.refusal();
    if (lost) this.#each(({ exchange }) => exchange.connectionLost());
    if (refusal !== undefined) {
      this.#each(({ exchange }) => {
        throw exchange.refused(refusal);
      });
    }
    void this.#step();
  }

  /** Send what is due, in order, and set the timer of the next step. */
  async #step(): Promise<void> {
    this.#again = true;
    if (this.#sending) return;
    this.#sending = true;
    let full = false;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        full = !(await this.#sendDue());
      }
    } catch (error) {
      this.#each(() => {
        throw error;
      });
    } finally {
      this.#sending = false;
    }
    const now = performance.now();
    let wait = full ? FULL_QUEUE : LONGEST_WAIT;
    this.#each(({ exchange }) => (wait = Math.min(wait, exchange.timeLeft(now))));
    clearTimeout(this.#timer);
    if (this.#waiting.size) this.#timer = setTimeout(() => void this.#step(), Math.max(0, Math.ceil(wait)));
  }

  /** Return whether the socket accepted everything that is due. */
  async #sendDue(): Promise<boolean> {
    if (this.#connection?.refused) {
      this.#connection.close();
      this.#connection = undefined;
    }
    if (this.#waiting.size) this.#connection ??= this.#connect();
    const connection = this.#connection;
    for (const waiting of [...this.#waiting.values()]) {
      const { exchange } = waiting;
      exchange.hint = connection?.hint() ?? "";
      if (!this.#try(waiting, () => exchange.timeLeft(performance.now()))) continue;
      if (!exchange.due || !connection?.connected) continue;
      if (!(await connection.send(exchange.frames))) return !connection.connected; // requests leave in order
      exchange.sent(performance.now());
      if (!connection.connected) this.#try(waiting, () => exchange.connectionLost());
    }
    return true;
  }

  #each(action: (waiting: Waiting) => void): void {
    for (const waiting of [...this.#waiting.values()]) this.#try(waiting, action);
  }

  /** Execute a step of a call. Return whether it continues; an exception ends it. */
  #try(waiting: Waiting, action: (waiting: Waiting) => void): boolean {
    try {
      action(waiting);
      return true;
    } catch (error) {
      this.#waiting.delete(waiting.exchange.id);
      waiting.reject(error instanceof StreamlearnError ? withCaller(error) : error);
      return false;
    }
  }
}

/** Several calls may end with one error: each gets its own. */
function withCaller(error: StreamlearnError): StreamlearnError {
  const own = new (error.constructor as new (message: string, detail: object) => StreamlearnError)(
    error.message,
    { ...error.detail },
  );
  own.retryable = error.retryable;
  own.inDoubt = error.inDoubt;
  return own;
}
