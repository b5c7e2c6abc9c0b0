/** The operations of a client on models, checkpoints and the daemon. */

import type { Position } from "./acks.js";
import { AnswerLost, BadValue, isMap, protocolError, UnknownModel } from "./errors.js";
import { clientKeys, type ClientKeys } from "./keys.js";
import type { Input, Reply } from "./messages.js";
import { checkModel, checkTimeout, producerName } from "./names.js";
import type { ClientOptions, Once } from "./options.js";
import type { Checkpoint, Description, ModelSummary } from "./results.js";
import { asIdentifier, asSamples, type Identifier, type Sample } from "./samples.js";
import { Deadline, type Options, Session } from "./session.js";
import { COPY, create, exportFile, type NewModel } from "./transfers.js";
import { Transport } from "./transport.js";

/** Milliseconds that a backup may take. */
const BACKUP = 3_600_000;

/** Fields of an answer, as the protocol page describes them. */
export type Ok = Readonly<Record<string, unknown>>;

/** Base class of `Client`. */
export class Administration {
  readonly endpoint: string;
  readonly timeout: number;
  protected readonly keys: ClientKeys | undefined;
  protected readonly transport: Transport;
  protected readonly session: Session;

  constructor(endpoint: string, options: ClientOptions) {
    this.endpoint = endpoint;
    this.timeout = checkTimeout(options.timeout === undefined ? 10_000 : options.timeout);
    this.keys = clientKeys(options);
    const producer = producerName(options.producer);
    this.transport = new Transport(endpoint, this.keys);
    this.session = new Session(this.transport, producer, options.producer !== undefined);
  }

  /** The name of this client in the daemon's producer table. */
  get producer(): string {
    return this.session.producer;
  }

  /** Close the connection. Streams, subscriptions and firehoses have their own connections and stay open. */
  close(): void {
    this.transport.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // -------------------------------------------------------------------------------------------- models

  /** Create a model. `spec` has the parameters of its kind, for example `{ dim: 8, grid: [10, 10] }`. */
  create(model: string, kind: string, spec: Ok = {}): Promise<Description> {
    return this.createModel(model, { kind, spec });
  }

  /** Create a model from a file of `export`: its spec and its state, bit for bit. */
  createFromFile(model: string, path: string): Promise<Description> {
    return this.createModel(model, { source: { field: "state", path } });
  }

  /**
   * Create a recurrent network that starts from the `state_dict` of a PyTorch module, a `.safetensors` file.
   */
  createFromParameters(model: string, kind: string, path: string, spec: Ok = {}): Promise<Description> {
    return this.createModel(model, { kind, spec, source: { field: "parameters", path } });
  }

  /** Write the file of a model. An existing file is replaced when the new one is complete. */
  export(model: string, path: string): Promise<Ok> {
    return exportFile(this.session, model, path, this.timeout);
  }

  /** Create a second model with the state of a model. */
  async clone(model: string, into: string): Promise<Description> {
    this.session.beginEpoch(checkModel(into));
    const { ok } = await this.call(
      "clone",
      { model: checkModel(model), into },
      { idempotent: false, patience: COPY },
    );
    this.session.beginEpoch(into);
    return ok as unknown as Description;
  }

  /** Delete the model that has this name now, but not a model of the same name that was created later. */
  async delete(model: string): Promise<void> {
    const { create_lsn: created } = await this.describe(model);
    this.session.beginEpoch(model);
    for (;;) {
      try {
        await this.call("delete", { model }, { idempotent: false });
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
    this.session.beginEpoch(model);
  }

  /** Return all models, by name. */
  async models(): Promise<ModelSummary[]> {
    const models: ModelSummary[] = [];
    for (let after: string | undefined; ; after = models.at(-1)?.name) {
      const { ok } = await this.call("models", { after });
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
    return (await this.call("describe", { model: checkModel(model) })).ok as unknown as Description;
  }

  /** Return the counters of the daemon, and of a model or of all models. */
  async stats(model?: string): Promise<Ok> {
    const { ok } = await this.call("stats", { model });
    const models: Record<string, unknown> = {};
    for (let page = ok; ;) {
      const part = isMap(page["models"]) ? page["models"] : {};
      Object.assign(models, part);
      const last = Object.keys(part).sort().at(-1);
      if (page["more"] !== true || last === undefined) return { ...ok, more: false, models };
      page = (await this.call("stats", { after: last })).ok;
    }
  }

  /** Start the schedules of a model again, at the share `heat` of the way from end to start. */
  reheat(model: string, heat = 1, options: Once = {}): Promise<Ok> {
    return this.change("reheat", model, { heat }, options);
  }

  /** Judge a sample, by its values or its number: `"normal"`, or `"fault"` with a name. */
  feedback(
    model: string,
    sample: Sample | number,
    verdict: "normal" | "fault",
    options: Once & { name?: string } = {},
  ): Promise<Ok> {
    const { name } = options;
    if (typeof sample === "number") return this.change("feedback", model, { sample, verdict, name }, options);
    const x = asSamples(sample);
    return this.change("feedback", model, { verdict, name, channels: x.channels }, options, { x });
  }

  /** Give a label to a unit, to a sample with an id, or to the values of a sample; `null` takes it away. */
  label(
    model: string,
    label: string | null,
    of: { unit: number } | { sample: Identifier } | { x: Sample },
    options: Once = {},
  ): Promise<Ok> {
    const fields = { label: label ?? undefined };
    if ("unit" in of) return this.change("label", model, { ...fields, unit: of.unit }, options);
    if ("sample" in of)
      return this.change("label", model, { ...fields, key: asIdentifier(of.sample, "sample") }, options);
    const x = asSamples(of.x);
    return this.change("label", model, { ...fields, channels: x.channels }, options, { x });
  }

  /** Only watch the samples of a model, until `resume`. */
  pause(model: string, options: Once = {}): Promise<Ok> {
    return this.change("pause", model, {}, options, {}, true);
  }

  /** Learn again after `pause`. */
  resume(model: string, options: Once = {}): Promise<Ok> {
    return this.change("resume", model, {}, options, {}, true);
  }

  // --------------------------------------------------------------------------------------- checkpoints

  /** Write a checkpoint. The daemon never removes one with a name. */
  async checkpoint(model: string, name?: string): Promise<Checkpoint> {
    return (await this.call("checkpoint", { model: checkModel(model), name })).ok as unknown as Checkpoint;
  }

  /** Return the checkpoints of a model, newest first. */
  async checkpoints(model: string): Promise<Checkpoint[]> {
    return (await this.call("checkpoints", { model: checkModel(model) })).ok["checkpoints"] as Checkpoint[];
  }

  /** Take the name of a checkpoint away. The daemon then removes it in its turn. */
  unpin(model: string, name: string): Promise<Ok> {
    return this.change("unpin", model, { name }, {});
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
    if (into !== undefined) this.session.beginEpoch(checkModel(into));
    const ok = await this.change("restore", model, { ...checkpoint, into }, from);
    if (into !== undefined) this.session.beginEpoch(into);
    return ok;
  }

  /** Copy the whole state of the daemon to a new directory on its host. */
  async backup(directory: string, timeout: number | null = BACKUP): Promise<Ok> {
    return (
      await this.session.call({ op: "backup", fields: { directory } }, new Deadline(checkTimeout(timeout)), {
        idempotent: false,
      })
    ).ok;
  }

  // ------------------------------------------------------------------------------------------ the daemon

  /** Return the daemon's version, limits and endpoints. */
  hello(): Promise<Ok> {
    return this.session.hello(this.deadline());
  }

  /** Return the state of a producer of a model. By default of this client. */
  position(model: string, producer: string = this.producer): Promise<Position> {
    return this.session.position(checkModel(model), producer, this.deadline());
  }

  // -------------------------------------------------------------------------------------------- helpers

  protected deadline(): Deadline {
    this.transport.checkOpen();
    return new Deadline(this.timeout);
  }

  protected call(op: string, fields: Ok, options: Options = {}, input: Input = {}): Promise<Reply> {
    return this.session.call({ op, fields, input }, this.deadline(), options);
  }

  protected async change(
    op: string,
    model: string,
    fields: Ok,
    { idempotencyKey }: Once,
    input: Input = {},
    idempotent = false,
  ): Promise<Ok> {
    this.transport.checkOpen();
    const request = { op, fields: { model: checkModel(model), ...fields }, input };
    return (await this.session.change(request, model, this.timeout, idempotencyKey, idempotent)).ok;
  }

  protected async createModel(model: string, wanted: NewModel): Promise<Description> {
    this.transport.checkOpen();
    return (await create(this.session, model, wanted, this.timeout)) as unknown as Description;
  }
}
