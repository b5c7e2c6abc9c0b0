/** The client. */

import { type Ack, nextEpoch, type Position, timeEpoch } from "./acks.js";
import { AnswerLost, BadMessage, BadValue, isMap, protocolError, TooLarge, UnknownModel } from "./errors.js";
import { Firehose } from "./firehose.js";
import { clientKeys, type ClientKeys } from "./keys.js";
import { type Input, orProtocolError, whole } from "./messages.js";
import { checkAck, checkModel, checkTimeout, checkWhole, producerName } from "./names.js";
import {
  type Answer,
  type Checkpoint,
  checkRows,
  type Description,
  type Forecast,
  type ModelSummary,
  type Outputs,
  type Reading,
} from "./results.js";
import {
  asIdentifier,
  asIdentifiers,
  asSamples,
  asTargets,
  asTimes,
  hasNames,
  type Identifier,
  type Identifiers,
  labelCodes,
  type Sample,
  type Samples,
  type Targets,
  textsOf,
  type Times,
} from "./samples.js";
import type { ClientOptions, LearnOptions, Once, QueryOptions, StreamOptions } from "./options.js";
import { Deadline, type Options, rowsPerBatch, Session } from "./session.js";
import { Stream } from "./stream.js";
import { type Selection, Subscription } from "./subscription.js";
import type { Tensor } from "./tensor.js";
import { COPY, create, exportFile, type NewModel } from "./transfers.js";
import { Transport } from "./transport.js";

export const DEFAULT_ENDPOINT = "tcp://127.0.0.1:7700";
/** Milliseconds that a backup may take. */
const BACKUP = 3_600_000;

type Ok = Readonly<Record<string, unknown>>;

/**
 * A connection to a streamlearn daemon.
 *
 * The daemon need not run yet, and may restart. A call waits for the daemon and sends its request again after
 * a connection loss. After `timeout` it is rejected with `NoAnswer`. A refusal by the daemon is a typed
 * error. Calls may run at the same time; batches of `learn` for one model are sent in the order of the calls.
 */
export class Client {
  readonly endpoint: string;
  readonly timeout: number;
  readonly #events: string | undefined;
  readonly #keys: ClientKeys | undefined;
  readonly #transport: Transport;
  readonly #session: Session;

  constructor(endpoint: string = DEFAULT_ENDPOINT, options: ClientOptions = {}) {
    this.endpoint = endpoint;
    this.timeout = checkTimeout(options.timeout === undefined ? 10_000 : options.timeout);
    this.#events = options.events;
    this.#keys = clientKeys(options);
    const producer = producerName(options.producer);
    this.#transport = new Transport(endpoint, this.#keys);
    this.#session = new Session(this.#transport, producer, options.producer !== undefined);
  }

  /** The name of this client in the daemon's producer table. */
  get producer(): string {
    return this.#session.producer;
  }

  /** Close the connection. Streams, subscriptions and firehoses have their own connections and stay open. */
  close(): void {
    this.#transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
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
    const { ok, arrays } = await this.#call("forecast", fields, {}, input);
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
    const { arrays } = await this.#call("sample", {
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
    const { ok, arrays } = await this.#call("read", {
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

  // -------------------------------------------------------------------------------------------- models

  /** Create a model. `spec` has the parameters of its kind, for example `{ dim: 8, grid: [10, 10] }`. */
  create(model: string, kind: string, spec: Ok = {}): Promise<Description> {
    return this.#create(model, { kind, spec });
  }

  /** Create a model from a file of `export`: its spec and its state, bit for bit. */
  createFromFile(model: string, path: string): Promise<Description> {
    return this.#create(model, { source: { field: "state", path } });
  }

  /**
   * Create a recurrent network that starts from the `state_dict` of a PyTorch module, a `.safetensors` file.
   */
  createFromParameters(model: string, kind: string, path: string, spec: Ok = {}): Promise<Description> {
    return this.#create(model, { kind, spec, source: { field: "parameters", path } });
  }

  /** Write the file of a model. An existing file is replaced when the new one is complete. */
  export(model: string, path: string): Promise<Ok> {
    return exportFile(this.#session, model, path, this.timeout);
  }

  /** Create a second model with the state of a model. */
  async clone(model: string, into: string): Promise<Description> {
    this.#session.beginEpoch(checkModel(into));
    const { ok } = await this.#call(
      "clone",
      { model: checkModel(model), into },
      { idempotent: false, patience: COPY },
    );
    this.#session.beginEpoch(into);
    return ok as unknown as Description;
  }

  /** Delete the model that has this name now, but not a model of the same name that was created later. */
  async delete(model: string): Promise<void> {
    const { create_lsn: created } = await this.describe(model);
    this.#session.beginEpoch(model);
    for (;;) {
      try {
        await this.#call("delete", { model }, { idempotent: false });
        break;
      } catch (error) {
        if (!(error instanceof AnswerLost)) throw error;
        try {
          if ((await this.describe(model))["create_lsn"] !== created) break;
        } catch (other) {
          if (other instanceof UnknownModel) break;
          throw other;
        }
      }
    }
    this.#session.beginEpoch(model);
  }

  /** Return all models, by name. */
  async models(): Promise<ModelSummary[]> {
    const models: ModelSummary[] = [];
    for (let after: string | undefined; ; after = models.at(-1)?.name) {
      const { ok } = await this.#call("models", { after });
      const page = ok["models"];
      if (!Array.isArray(page)) throw protocolError(this.endpoint, "models must be a list");
      models.push(...(page as ModelSummary[]));
      if (ok["more"] !== true || page.length === 0) return models;
    }
  }

  /**
   * Return the description of a model, with its spec and quality, after everything that was sent before is
   * learned.
   */
  async describe(model: string): Promise<Description> {
    return (await this.#call("describe", { model: checkModel(model) })).ok as unknown as Description;
  }

  /** Return the counters of the daemon, and of a model or of all models. */
  async stats(model?: string): Promise<Ok> {
    const { ok } = await this.#call("stats", { model });
    const models: Record<string, unknown> = {};
    for (let page = ok; ;) {
      const part = isMap(page["models"]) ? page["models"] : {};
      Object.assign(models, part);
      const last = Object.keys(part).sort().at(-1);
      if (page["more"] !== true || last === undefined) return { ...ok, more: false, models };
      page = (await this.#call("stats", { after: last })).ok;
    }
  }

  /** Start the schedules of a model again, at the share `heat` of the way from end to start. */
  reheat(model: string, heat = 1, options: Once = {}): Promise<Ok> {
    return this.#change("reheat", model, { heat }, options);
  }

  /** Judge a sample, by its values or its number: `"normal"`, or `"fault"` with a name. */
  feedback(
    model: string,
    sample: Sample | number,
    verdict: "normal" | "fault",
    options: Once & { name?: string } = {},
  ): Promise<Ok> {
    const { name } = options;
    if (typeof sample === "number")
      return this.#change("feedback", model, { sample, verdict, name }, options);
    const x = asSamples(sample);
    return this.#change("feedback", model, { verdict, name, channels: x.channels }, options, { x });
  }

  /** Give a label to a unit, to a sample with an id, or to the values of a sample; `null` takes it away. */
  label(
    model: string,
    label: string | null,
    of: { unit: number } | { sample: Identifier } | { x: Sample },
    options: Once = {},
  ): Promise<Ok> {
    const fields = { label: label ?? undefined };
    if ("unit" in of) return this.#change("label", model, { ...fields, unit: of.unit }, options);
    if ("sample" in of)
      return this.#change("label", model, { ...fields, key: asIdentifier(of.sample, "sample") }, options);
    const x = asSamples(of.x);
    return this.#change("label", model, { ...fields, channels: x.channels }, options, { x });
  }

  /** Only watch the samples of a model, until `resume`. */
  pause(model: string, options: Once = {}): Promise<Ok> {
    return this.#change("pause", model, {}, options, {}, true);
  }

  /** Learn again after `pause`. */
  resume(model: string, options: Once = {}): Promise<Ok> {
    return this.#change("resume", model, {}, options, {}, true);
  }

  // --------------------------------------------------------------------------------------- checkpoints

  /** Write a checkpoint. The daemon never removes one with a name. */
  async checkpoint(model: string, name?: string): Promise<Checkpoint> {
    return (await this.#call("checkpoint", { model: checkModel(model), name })).ok as unknown as Checkpoint;
  }

  /** Return the checkpoints of a model, newest first. */
  async checkpoints(model: string): Promise<Checkpoint[]> {
    return (await this.#call("checkpoints", { model: checkModel(model) })).ok["checkpoints"] as Checkpoint[];
  }

  /** Take the name of a checkpoint away. The daemon then removes it in its turn. */
  unpin(model: string, name: string): Promise<Ok> {
    return this.#change("unpin", model, { name }, {});
  }

  /** Restore an earlier state of a model, by name or lsn of a checkpoint; with `into` as a new model. */
  async restore(
    model: string,
    from: { lsn?: number; name?: string; into?: string } & Once = {},
  ): Promise<Ok> {
    const { into, idempotencyKey, ...checkpoint } = from;
    if (into !== undefined && idempotencyKey !== undefined) {
      throw new BadValue("a restore into another model takes no idempotencyKey", {
        field: "idempotencyKey",
      });
    }
    if (into !== undefined) this.#session.beginEpoch(checkModel(into));
    const ok = await this.#change("restore", model, { ...checkpoint, into }, from);
    if (into !== undefined) this.#session.beginEpoch(into);
    return ok;
  }

  /** Copy the whole state of the daemon to a new directory on its host. */
  async backup(directory: string, timeout: number | null = BACKUP): Promise<Ok> {
    return (
      await this.#session.call({ op: "backup", fields: { directory } }, new Deadline(checkTimeout(timeout)), {
        idempotent: false,
      })
    ).ok;
  }

  // ------------------------------------------------------------------------------------------ the daemon

  /** Return the daemon's version, limits and endpoints. */
  hello(): Promise<Ok> {
    return this.#session.hello(this.#deadline());
  }

  /** Return the state of a producer of a model. By default of this client. */
  position(model: string, producer: string = this.producer): Promise<Position> {
    return this.#session.position(checkModel(model), producer, this.#deadline());
  }

  // ----------------------------------------------------------------------------- streams and subscriptions

  /** Open a buffered stream of samples to a model. Each sample is learned exactly once. */
  async stream(model: string, options: StreamOptions = {}): Promise<Stream> {
    const { batch = 256, window = 64, ack = "durable" } = options;
    const deadline = this.#deadline();
    const producer = producerName(options.producer);
    const limits = await this.#session.limits(deadline);
    const { ok } = await this.#session.call(
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
      const following = nextEpoch(producer, (await this.#session.position(model, producer, deadline)).epoch);
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
    return new Stream(config, this.endpoint, { batch, interval, window, timeout }, this.#keys);
  }

  /** Open a sender without acknowledgements. */
  async firehose(model: string, options: { endpoint?: string; producer?: string } = {}): Promise<Firehose> {
    const deadline = this.#deadline();
    const { frame_bytes: frames } = await this.#session.limits(deadline);
    const bytes = Math.min(frames, Math.max(Math.floor(frames / 16), 1 << 16));
    const endpoint = options.endpoint ?? (await this.#session.endpoint("firehose", deadline));
    return new Firehose(
      checkModel(model),
      endpoint,
      this.timeout,
      bytes,
      this.#keys,
      options.producer,
      this.endpoint,
    );
  }

  /**
   * Subscribe to events: `for await (const event of client.subscribe({ kind: "alarm" }))`. The subscription
   * is in effect when its promise `opened()` is fulfilled, at the latest at its first event.
   */
  subscribe(selection: Selection = {}): Subscription {
    const deadline = this.#deadline();
    const find = async () =>
      this.#events === undefined
        ? { endpoint: await this.#session.endpoint("events", deadline), announcedBy: this.endpoint }
        : { endpoint: this.#events };
    return new Subscription(find, selection, this.#keys, this.timeout);
  }

  // -------------------------------------------------------------------------------------------- helpers

  #deadline(): Deadline {
    this.#transport.checkOpen();
    return new Deadline(this.timeout);
  }

  #call(op: string, fields: Ok, options: Options = {}, input: Input = {}) {
    return this.#session.call({ op, fields, input }, this.#deadline(), options);
  }

  async #change(
    op: string,
    model: string,
    fields: Ok,
    { idempotencyKey }: Once,
    input: Input = {},
    idempotent = false,
  ): Promise<Ok> {
    this.#transport.checkOpen();
    const request = { op, fields: { model: checkModel(model), ...fields }, input };
    return (await this.#session.change(request, model, this.timeout, idempotencyKey, idempotent)).ok;
  }

  async #create(model: string, wanted: NewModel): Promise<Description> {
    this.#transport.checkOpen();
    return (await create(this.#session, model, wanted, this.timeout)) as unknown as Description;
  }

  async #codes(model: string, y: Targets): Promise<Samples> {
    if (!hasNames(y)) return typeof y === "number" ? [y] : (y as Samples);
    return labelCodes(model, (await this.describe(model)).label_names, y);
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
    this.#transport.checkOpen();
    const { idempotencyKey: key, part = 0, ack = "durable" } = options;
    if (part && key === undefined) throw new BadValue("part needs an idempotencyKey", { field: "part" });
    const keyNames = options.keys === undefined ? undefined : textsOf(options.keys);
    const batch = { model: checkModel(model), rows, input, ack: checkAck(ack), channels, keyNames };
    return this.#session.learn(
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
    const deadline = this.#deadline();
    const most = rowsPerBatch(await this.#session.limits(deadline), input);
    if (rows > most) {
      throw new TooLarge(`${rows} samples are more than one ${op} may have (${most}); send them in parts`, {
        rows,
        most,
      });
    }
    const { ok, arrays } = await this.#session.call(
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
