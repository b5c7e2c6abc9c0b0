/** The client. */

import { type Ack, nextEpoch, timeEpoch } from "./acks.js";
import { Administration, type Ok } from "./administration.js";
import { BadMessage, BadValue, TooLarge } from "./errors.js";
import { Firehose } from "./firehose.js";
import { type Input, orProtocolError, whole } from "./messages.js";
import { checkAck, checkModel, checkTimeout, checkWhole, producerName } from "./names.js";
import {
  type Answer,
  checkRows,
  type Description,
  type Forecast,
  type Outputs,
  type Reading,
} from "./results.js";
import {
  asIdentifier,
  asIdentifiers,
  asSamples,
  asTargets,
  asTimes,
  codesOf,
  hasNames,
  type Identifier,
  type Identifiers,
  type Samples,
  type Targets,
  textsOf,
  type Times,
} from "./samples.js";
import type { ClientOptions, LearnOptions, QueryOptions, StreamOptions } from "./options.js";
import { rowsPerBatch } from "./session.js";
import { Stream } from "./stream.js";
import { type Selection, Subscription } from "./subscription.js";
import type { Tensor } from "./tensor.js";

export const DEFAULT_ENDPOINT = "tcp://127.0.0.1:7700";

/**
 * A connection to a streamlearn daemon.
 *
 * The daemon need not run yet, and may restart. A call waits for the daemon and sends its request again after
 * a connection loss. After `timeout` it is rejected with `NoAnswer`. A refusal by the daemon is a typed
 * error. Calls may run at the same time; batches of `learn` for one model are sent in the order of the calls.
 */
export class Client extends Administration {
  readonly #events: string | undefined;

  constructor(endpoint: string = DEFAULT_ENDPOINT, options: ClientOptions = {}) {
    super(endpoint, options);
    this.#events = options.events;
  }

  // ------------------------------------------------------------------------------------ learn and query

  /**
   * Send samples to a model and wait for the acknowledgement. Each batch is learned once, also if it is sent
   * twice.
   */
  async learn(model: string, x: Samples, options: LearnOptions = {}): Promise<Ack> {
    const samples = asSamples(x);
    const { rows } = samples;
    const y = options.y === undefined ? undefined : await this.#codes(model, options.y);
    const input: Input = {
      ...this.#query(rows, options),
      x: samples,
      y: y && asTargets(y, rows),
      ids: identifiers(options.ids, rows, "ids"),
    };
    return this.#learn(model, rows, input, options, samples.channels);
  }

  /**
   * Send targets of earlier samples, by their ids. `matched` and `unmatched` count those with and without a
   * sample.
   */
  async learnTargets(
    model: string,
    ids: Identifiers,
    y: Targets,
    options: Pick<LearnOptions, "keys" | "ack"> = {},
  ): Promise<Ack> {
    const rows = Array.isArray(ids) || ids instanceof BigInt64Array ? ids.length : 1;
    const codes = await this.#codes(model, y);
    const input = {
      y: asTargets(codes, rows),
      keys: identifiers(options.keys, rows, "keys"),
      ids: identifiers(ids, rows, "ids"),
    };
    return this.#learn(model, rows, input, options);
  }

  /** Return the outputs for samples. Does not change the model. */
  predict(model: string, x: Samples, options: QueryOptions = {}): Promise<Answer> {
    return this.#ask("predict", model, x, options);
  }

  /**
   * Return the expected values of samples and the contribution of each channel. Does not change the model.
   */
  explain(model: string, x: Samples, options: QueryOptions & { y?: Samples } = {}): Promise<Answer> {
    return this.#ask("explain", model, x, options, options.y);
  }

  /** Return a recurrent model's forecast of the next samples, with its bands. Does not change the model. */
  async forecast(
    model: string,
    steps: number,
    options: { key?: Identifier; times?: Times } = {},
  ): Promise<Forecast> {
    const key = options.key === undefined ? undefined : asIdentifier(options.key, "key");
    const input = options.times === undefined ? {} : { times: asTimes(options.times, steps) };
    const fields = { model: checkModel(model), steps: checkWhole(steps, "steps"), key };
    const { ok, arrays } = await this.call("forecast", fields, {}, input);
    this.#checked(() => checkRows({ ...arrays, forecast: required(arrays["forecast"]) }, steps));
    return {
      ...(arrays as unknown as { forecast: Tensor<Float32Array> }),
      ...this.#progress(ok),
      mixOf: (ok["mix_of"] as string[]) ?? [],
    };
  }

  /** Draw symbols from a recurrent model that forecasts symbols. Does not change the model. */
  async sample(
    model: string,
    n: number,
    options: { temperature?: number; seed?: number; key?: Identifier } = {},
  ): Promise<Tensor<Int32Array>> {
    const { temperature, seed } = options;
    const key = options.key === undefined ? undefined : asIdentifier(options.key, "key");
    const { arrays } = await this.call("sample", {
      model: checkModel(model),
      n: checkWhole(n, "n"),
      temperature,
      seed,
      key,
    });
    return this.#checked(() => required(arrays["sample"])) as Tensor<Int32Array>;
  }

  /** Return parts of a model, for example `"weights"`. */
  async read(model: string, what: string | readonly string[]): Promise<Reading> {
    const { ok, arrays } = await this.call("read", {
      model: checkModel(model),
      what: typeof what === "string" ? [what] : what,
    });
    return {
      arrays,
      kind: String(ok["kind"]),
      ...this.#progress(ok),
      quality: ok["quality"] as Record<string, unknown> | undefined,
      labelNames: ok["label_names"] as string[] | undefined,
    };
  }

  // ----------------------------------------------------------------------------- streams and subscriptions

  /** Open a buffered stream of samples to a model. Each sample is learned exactly once. */
  async stream(model: string, options: StreamOptions = {}): Promise<Stream> {
    const { batch = 256, window = 64, ack = "durable" } = options;
    const deadline = this.deadline();
    const producer = producerName(options.producer);
    const limits = await this.session.limits(deadline);
    const { ok } = await this.session.call(
      { op: "describe", fields: { model: checkModel(model) } },
      deadline,
    );
    const description = ok as unknown as Description;
    const { dim, target_dim: targets } = description;
    const most = Math.min(limits.rows, Math.floor(limits.frame_bytes / Math.max(4 * dim, 4 * targets, 8)));
    checkRange(batch, "batch", most);
    checkRange(window, "window", limits.window);
    let epoch = timeEpoch();
    if (options.producer !== undefined) {
      const following = nextEpoch(producer, (await this.session.position(model, producer, deadline)).epoch);
      if (following > epoch) epoch = following;
    }
    const config = {
      model,
      producer,
      epoch,
      ack: checkAck(ack),
      dim,
      targets,
      needsKeys: description.needs_keys,
      acceptsLateTargets: description.accepts_late_targets,
      channels: (description.spec["channels"] as string[] | null | undefined) ?? undefined,
      labelNames: description.label_names ?? [],
    };
    const interval = checkTimeout(options.interval === undefined ? 50 : options.interval, "interval");
    const timeout = checkTimeout(options.timeout === undefined ? 60_000 : options.timeout);
    return new Stream(config, this.endpoint, { batch, interval, window, timeout }, this.keys);
  }

  /** Open a sender without acknowledgements. */
  async firehose(model: string, options: { endpoint?: string; producer?: string } = {}): Promise<Firehose> {
    const deadline = this.deadline();
    const { frame_bytes: frames } = await this.session.limits(deadline);
    const bytes = Math.min(frames, Math.max(Math.floor(frames / 16), 1 << 16));
    const endpoint = options.endpoint ?? (await this.session.endpoint("firehose", deadline));
    return new Firehose(
      checkModel(model),
      endpoint,
      this.timeout,
      bytes,
      this.keys,
      options.producer,
      this.endpoint,
    );
  }

  /**
   * Subscribe to events: `for await (const event of client.subscribe({ kind: "alarm" }))`. The subscription
   * is in effect when its promise `opened()` is fulfilled, at the latest at its first event.
   */
  subscribe(selection: Selection = {}): Subscription {
    const deadline = this.deadline();
    const find = async () =>
      this.#events === undefined
        ? { endpoint: await this.session.endpoint("events", deadline), announcedBy: this.endpoint }
        : { endpoint: this.#events };
    return new Subscription(find, selection, this.keys, this.timeout);
  }

  // -------------------------------------------------------------------------------------------- helpers

  async #codes(model: string, y: Targets): Promise<Samples> {
    return codesOf(model, hasNames(y) ? (await this.describe(model)).label_names : [], y);
  }

  #query(rows: number, { keys, times }: QueryOptions): Input {
    return {
      keys: identifiers(keys, rows, "keys"),
      times: times === undefined ? undefined : asTimes(times, rows),
    };
  }

  #learn(
    model: string,
    rows: number,
    input: Input,
    options: LearnOptions,
    channels?: readonly string[],
  ): Promise<Ack> {
    this.transport.checkOpen();
    const { idempotencyKey: key, part = 0, ack = "durable" } = options;
    if (part && key === undefined) throw new BadValue("part needs an idempotencyKey", { field: "part" });
    const keyNames = options.keys === undefined ? undefined : textsOf(options.keys);
    const batch = { model: checkModel(model), rows, input, ack: checkAck(ack), channels, keyNames };
    return this.session.learn(
      batch,
      this.timeout,
      key === undefined ? undefined : { key, part: checkWhole(part, "part") },
    );
  }

  async #ask(op: string, model: string, x: Samples, options: QueryOptions, y?: Samples): Promise<Answer> {
    const samples = asSamples(x);
    const { rows, channels } = samples;
    const input: Input = {
      ...this.#query(rows, options),
      x: samples,
      y: y === undefined ? undefined : asTargets(y, rows),
    };
    const deadline = this.deadline();
    const most = rowsPerBatch(await this.session.limits(deadline), input);
    if (rows > most) {
      throw new TooLarge(`${rows} samples are more than one ${op} may have (${most}); send them in parts`, {
        rows,
        most,
      });
    }
    const { ok, arrays } = await this.session.call(
      { op, fields: { model: checkModel(model), channels }, input },
      deadline,
    );
    this.#checked(() => checkRows(arrays, rows));
    return { outputs: arrays as Outputs, ...this.#progress(ok) };
  }

  #progress(ok: Ok): { appliedLsn: number; samples: number } {
    return this.#checked(() => ({
      appliedLsn: whole(ok["applied_lsn"], "applied_lsn"),
      samples: whole(ok["samples"], "samples"),
    }));
  }

  #checked<T>(read: () => T): T {
    return orProtocolError(this.endpoint, "an answer is invalid", read);
  }
}

function identifiers(values: Identifiers | undefined, rows: number, what: string): BigInt64Array | undefined {
  return values === undefined ? undefined : asIdentifiers(values, rows, what);
}

function required(array: Tensor | undefined): Tensor {
  if (array === undefined) throw new BadMessage("an array is missing in the answer");
  return array;
}

function checkRange(value: number, field: string, most: number): void {
  if (Number.isSafeInteger(value) && value >= 1 && value <= most) return;
  throw new BadValue(`${field} must be 1 to ${most}, not ${String(value)}`, { field, most });
}
