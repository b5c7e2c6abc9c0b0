/**
 * The operations of a client on its connection: limits, numbered batches, and requests with their resends.
 */

import { createHash } from "node:crypto";

import { type Ack, merged, needsNewEpoch, nextEpoch, type Position, readAck, timeEpoch } from "./acks.js";
import { BadValue, Fenced, isMap, NoAnswer, protocolError, StreamlearnError, TooLarge } from "./errors.js";
import { type Input, orProtocolError, part, type Reply, type Request, whole } from "./messages.js";
import { checkProducer } from "./names.js";
import type { Transport } from "./transport.js";

/** How often a batch is sent whose epoch the daemon refuses. */
const EPOCH_TRIES = 4;
const KEY_BYTES = 256;
const LIMITS = { control_header_bytes: 1 << 20, frame_bytes: 64 << 20, rows: 1 << 20, window: 256 };

export type Limits = Record<keyof typeof LIMITS, number>;

/** How one request of an operation is executed. */
export interface Options {
  idempotent?: boolean;
  patience?: number;
}

/** Time that an operation may take, for all its requests together. */
export class Deadline {
  readonly time: number;
  constructor(readonly timeout: number) {
    this.time = performance.now() + timeout;
  }
}

/**
 * The epoch and the next number of this client's batches for one model. `inUse` is set before a batch is
 * sent, and cleared when its ack was read. Whatever ends a call in between leaves it set: the daemon may have
 * a batch with this number, so the next batch begins a new epoch.
 */
interface Sequence {
  epoch: bigint;
  next: number;
  inUse: boolean;
}

/** A batch of `learn`. */
export interface LearnBatch {
  readonly model: string;
  readonly rows: number;
  readonly input: Input;
  readonly ack: string;
  readonly channels?: readonly string[] | undefined;
  readonly keyNames?: readonly string[] | undefined;
}

export class Session {
  readonly producer: string;
  readonly #named: boolean;
  readonly #transport: Transport;
  readonly #sequences = new Map<string, Sequence>();
  readonly #turns = new Map<string, Promise<unknown>>(); // the last batch of each model
  #hello: Record<string, unknown> | undefined;

  /** `named`: the caller chose the name of the producer, so earlier runs may have used it. */
  constructor(transport: Transport, producer: string, named: boolean) {
    this.#transport = transport;
    this.#named = named;
    this.producer = producer;
  }

  /** The requests endpoint. */
  get requests(): string {
    return this.#transport.endpoint;
  }

  /** Execute one request. */
  call(request: Request, deadline: Deadline, options: Options = {}): Promise<Reply> {
    const { idempotent = true, patience } = options;
    return this.#transport.exchange({
      request,
      idempotent,
      deadline: deadline.time,
      timeout: deadline.timeout,
      patience,
    });
  }

  async hello(deadline: Deadline): Promise<Record<string, unknown>> {
    this.#hello = (await this.call({ op: "hello", fields: {} }, deadline)).ok;
    return this.#hello;
  }

  /** Return the daemon's limits. Requests them only once. */
  async limits(deadline: Deadline): Promise<Limits> {
    const found = (this.#hello ?? (await this.hello(deadline)))["limits"];
    if (!isMap(found)) throw protocolError(this.#transport.endpoint, "hello has no limits");
    const known = Object.entries(LIMITS).map(([name, value]) => [name, found[name] ?? value]);
    return Object.fromEntries(known) as Limits;
  }

  /** Return the endpoint that the daemon announces, with a host that this client can reach. */
  async endpoint(name: "firehose" | "events", deadline: Deadline): Promise<string> {
    const found = (this.#hello ?? (await this.hello(deadline)))["endpoints"];
    const announced = isMap(found) ? found[name] : undefined;
    if (typeof announced !== "string") {
      throw new NoAnswer(`the daemon announces no ${name} endpoint; pass the endpoint to the client`);
    }
    const wildcard = /^tcp:\/\/(?:0\.0\.0\.0|\[::\]|\*):(.*)$/.exec(announced);
    const host = /^tcp:\/\/(.*):[^:]*$/.exec(this.#transport.endpoint);
    return wildcard && host ? `tcp://${host[1]}:${wildcard[1]}` : announced;
  }

  async position(model: string, producer: string, deadline: Deadline): Promise<Position> {
    const { ok } = await this.call(
      { op: "position", fields: { model, producer: checkProducer(producer) } },
      deadline,
    );
    const { epoch, next_seq: next } = ok;
    if (typeof epoch !== "number" && typeof epoch !== "bigint")
      throw protocolError(this.#transport.endpoint, "a position has no epoch");
    return { epoch: BigInt(epoch), nextSeq: this.#check(() => whole(next, "next_seq")) };
  }

  // ------------------------------------------------------------------------------------------- batches

  /** Send a batch in parts that fit into a message, after all earlier batches for the model. */
  learn(batch: LearnBatch, timeout: number, once?: { key: string; part: number }): Promise<Ack> {
    const turn = this.#turns.get(batch.model) ?? Promise.resolve();
    const learning = turn.then(() => this.#learnInParts(batch, new Deadline(timeout), once));
    const settled = learning.catch(() => undefined);
    this.#turns.set(batch.model, settled);
    return learning;
  }

  async #learnInParts(
    batch: LearnBatch,
    deadline: Deadline,
    once?: { key: string; part: number },
  ): Promise<Ack> {
    const step = rowsPerBatch(await this.limits(deadline), batch.input);
    if (once && once.part > 0 && step < batch.rows) {
      throw new BadValue(`part ${once.part} may have at most ${step} samples: those of one message`, {
        field: "part",
      });
    }
    const numbers = once && (await this.#once(batch.model, once.key, deadline));
    const acks: Ack[] = [];
    for (let start = 0; start < batch.rows; start += step) {
      const stop = Math.min(batch.rows, start + step);
      const rows = start === 0 && stop === batch.rows ? batch.input : part(batch.input, start, stop);
      try {
        acks.push(
          numbers
            ? await this.#send(batch, rows, { ...numbers, seq: once.part + acks.length }, deadline)
            : await this.#sendNumbered(batch, rows, deadline),
        );
      } catch (error) {
        if (start && error instanceof StreamlearnError) error.detail["accepted"] = start;
        throw error;
      }
    }
    return merged(acks);
  }

  async #send(batch: LearnBatch, input: Input, numbers: object, deadline: Deadline): Promise<Ack> {
    const { model, channels, keyNames, ack } = batch;
    const fields = {
      model,
      channels,
      key_names: keyNames?.length ? keyNames : undefined,
      ...numbers,
      ack,
    };
    const { ok } = await this.call({ op: "learn", fields, input }, deadline);
    return this.#check(() => readAck(ok));
  }

  async #sendNumbered(batch: LearnBatch, input: Input, deadline: Deadline): Promise<Ack> {
    const { model } = batch;
    if (!this.#sequences.has(model)) {
      const newest = this.#named ? (await this.position(model, this.producer, deadline)).epoch : 0n;
      const following = nextEpoch(this.producer, newest);
      const epoch = timeEpoch();
      this.#sequences.set(model, {
        epoch: epoch > following ? epoch : following,
        next: 0,
        inUse: false,
      });
    }
    for (let tries = EPOCH_TRIES; ;) {
      if (this.#sequences.get(model)!.inUse) this.beginEpoch(model);
      const sequence = this.#sequences.get(model)!;
      const numbers = { producer: this.producer, epoch: sequence.epoch, seq: sequence.next };
      sequence.inUse = true;
      try {
        const ack = await this.#send(batch, input, numbers, deadline);
        sequence.next += 1;
        sequence.inUse = false;
        return ack;
      } catch (error) {
        if (!(error instanceof StreamlearnError)) throw error;
        tries -= 1;
        if (needsNewEpoch(error)) {
          this.beginEpoch(model, error);
          if (tries && !error.inDoubt) continue;
        }
        // After FENCED, a new epoch would take the name back from the newer client.
        if (error instanceof Fenced) sequence.inUse = false;
        if (error.inDoubt) Object.assign(error.detail, numbers);
        throw error;
      }
    }
  }

  /** Begin a new epoch with the next batch for a model. */
  beginEpoch(model: string, refusal?: StreamlearnError): void {
    const sequence = this.#sequences.get(model);
    if (sequence === undefined) return;
    this.#sequences.set(model, {
      epoch: nextEpoch(this.producer, sequence.epoch, refusal),
      next: 0,
      inUse: false,
    });
  }

  /**
   * Execute a change of a model. With an idempotency key it is executed once, however often and from
   * whichever process it is sent.
   */
  async change(
    request: Request,
    model: string,
    timeout: number,
    key: string | undefined,
    idempotent = false,
  ): Promise<Reply> {
    const deadline = new Deadline(timeout);
    if (key === undefined) return this.call(request, deadline, { idempotent });
    const numbers = { ...(await this.#once(model, key, deadline)), seq: 0 };
    return this.call({ ...request, fields: { ...request.fields, ...numbers } }, deadline);
  }

  /** Return the producer of one idempotency key, and its epoch, which is the same in every attempt. */
  async #once(model: string, key: string, deadline: Deadline): Promise<{ producer: string; epoch: bigint }> {
    const size = typeof key === "string" ? Buffer.byteLength(key) : 0;
    if (size < 1 || size > KEY_BYTES) {
      throw new BadValue(
        `idempotencyKey must be text of 1 to ${KEY_BYTES} bytes, not ${String(key).slice(0, 80)}`,
      );
    }
    const producer = `~${createHash("sha256").update(key).digest("hex").slice(0, 40)}`;
    const { epoch, nextSeq } = await this.position(model, producer, deadline);
    return { producer, epoch: nextSeq === 0 ? epoch + 1n : epoch };
  }

  #check<T>(read: () => T): T {
    return orProtocolError(this.#transport.endpoint, "an answer is invalid", read);
  }
}

/** Return how many rows of arrays fit into one message. */
export function rowsPerBatch(limits: Limits, { x, y, keys, ids, times }: Input): number {
  const widest = Math.max(4 * (x?.columns ?? 0), 4 * (y?.columns ?? 0), keys || ids || times ? 8 : 0);
  if (widest > limits.frame_bytes) {
    throw new TooLarge(
      `one sample has ${widest} bytes and a frame may have ${limits.frame_bytes}; use fewer channels, ` +
        "or raise the daemon's frame limit",
      { bytes: widest, limit: "limits.frame_bytes", most: limits.frame_bytes },
    );
  }
  return Math.max(1, Math.min(Math.floor(limits.frame_bytes / Math.max(1, widest)), limits.rows));
}
