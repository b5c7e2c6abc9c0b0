/** Executes requests on one connection. Several may wait for their answers at the same time. */

import { Connection } from "./connection.js";
import { StreamlearnError } from "./errors.js";
import { type Call, Exchange } from "./exchange.js";
import type { ClientKeys } from "./keys.js";
import { readReply, type Reply } from "./messages.js";
import { SendLoop } from "./send_loop.js";

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
  readonly #loop = new SendLoop(
    () => this.#sendDue(),
    (error) => this.#failed(error),
    (full) => this.#delay(full),
  );
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
      this.#loop.run();
    });
  }

  checkOpen(): void {
    if (this.#closed) throw new Error("this client is closed; create a new one");
  }

  /** Close the connection. Calls that wait are rejected. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#loop.close();
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
    this.#loop.run();
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
    this.#loop.run();
  }

  #failed(error: unknown): void {
    this.#each(() => {
      throw error;
    });
  }

  /** Return the time to the next request that is due or late. */
  #delay(full: boolean): number | undefined {
    const now = performance.now();
    let wait = full ? FULL_QUEUE : LONGEST_WAIT;
    this.#each(({ exchange }) => (wait = Math.min(wait, exchange.timeLeft(now))));
    return this.#waiting.size ? wait : undefined;
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
