/** Subscriptions to the events of models. */

import { randomBytes } from "node:crypto";

import { Connection } from "./connection.js";
import { BadValue, NoAnswer, protocolError, type StreamlearnError } from "./errors.js";
import type { ClientKeys } from "./keys.js";
import { readReply } from "./messages.js";
import { checkModel, checkTimeout, EVENT_KINDS, type EventKind } from "./names.js";
import { type Event, readEvent } from "./results.js";

const SUBSCRIBED = "subscribed/";
/** Events that wait for the program. The oldest is dropped beyond it, as ZeroMQ drops them. */
const QUEUE = 10_000;
/** The longest time of a timer. */
const LONGEST = 2 ** 31 - 1;

/** The events endpoint, and the daemon that announced it. */
export interface Endpoint {
  readonly endpoint: string;
  readonly announcedBy?: string | undefined;
}

/** Which events to receive. Without `model` and `models`: of all models; without `kind`: all kinds. */
export interface Selection {
  kind?: EventKind | readonly EventKind[] | undefined;
  model?: string | undefined;
  models?: readonly string[] | undefined;
}

/** Return the prefixes of topics of a selection, and the models. */
export function selected({ kind, model, models }: Selection): {
  topics: string[];
  models: Set<string> | undefined;
} {
  const kinds = kind === undefined ? EVENT_KINDS : typeof kind === "string" ? [kind] : kind;
  for (const each of kinds) {
    if (!EVENT_KINDS.includes(each)) {
      throw new BadValue(`no ${JSON.stringify(each)} events exist; use one of: ${EVENT_KINDS.join(", ")}`, {
        field: "kind",
      });
    }
  }
  if (models !== undefined && models.length === 0 && model === undefined) {
    throw new BadValue("models is empty; leave it out to receive the events of all models", {
      field: "models",
    });
  }
  const names = new Set([...(model === undefined ? [] : [model]), ...(models ?? [])].map(checkModel));
  const topics = kinds.flatMap((each) =>
    names.size ? [...names].map((name) => `${each}/${name}`) : [`${each}/`],
  );
  return { topics, models: names.size ? names : undefined };
}

/**
 * An async iterator of events, created by `Client.subscribe`.
 *
 * The daemon does not store events. A subscription misses events that happen before it is open, events during
 * a connection loss, and events that arrive faster than the program reads them. A jump of `event.first` shows
 * missed `output` events.
 */
export class Subscription implements AsyncIterableIterator<Event> {
  readonly #models: Set<string> | undefined;
  readonly #prefix: string;
  readonly #confirmation = `${SUBSCRIBED}${randomBytes(8).toString("hex")}`;
  readonly #opening: Promise<void>;
  #endpoint = "";
  #connection: Connection | undefined;
  #confirmed = false;
  #events: Event[] = [];
  #failure: StreamlearnError | undefined;
  #closed = false;
  #waiters = new Set<() => void>();

  /**
   * `find` returns the events endpoint. `timeout`: milliseconds until the subscriptions must be in effect.
   */
  constructor(
    find: () => Promise<Endpoint>,
    selection: Selection,
    keys: ClientKeys | undefined,
    timeout: number,
  ) {
    const { topics, models } = selected(selection);
    this.#models = models;
    this.#prefix = keys === undefined ? "" : `${keys.public}/`;
    this.#opening = this.#open(find, topics, keys, timeout);
    this.#opening.catch(() => this.close()); // `opened` and `nextEvent` report it
  }

  /** Wait until the subscription is in effect: it receives all events from then on. */
  async opened(): Promise<this> {
    await this.#opening;
    return this;
  }

  async #open(
    find: () => Promise<Endpoint>,
    topics: string[],
    keys: ClientKeys | undefined,
    timeout: number,
  ): Promise<void> {
    const { endpoint, announcedBy } = await find();
    if (this.#closed) return;
    this.#endpoint = endpoint;
    const connection = new Connection(
      "sub",
      endpoint,
      keys,
      { message: (frames) => this.#receive(frames), changed: () => this.#changed() },
      announcedBy === undefined ? {} : { announcedBy },
    );
    this.#connection = connection;
    for (const topic of topics) connection.subscribe(this.#prefix + topic);
    connection.subscribe(this.#confirmation);
    if (!(await this.#until(() => this.#confirmed || this.#closed, timeout))) {
      throw new NoAnswer(
        `no daemon publishes at ${endpoint} (tried for ${timeout / 1000} s): check that \`streamlearn ` +
          `serve\` is ` +
          `running and that this is its events endpoint${connection.hint()}`,
        { endpoint },
      );
    }
    if (!this.#closed) connection.unsubscribe(this.#confirmation);
  }

  /**
   * Return the next event; undefined if none arrives within `timeout` milliseconds (by default it waits
   * without a limit), or if the subscription is closed.
   */
  async nextEvent(timeout: number | null = null): Promise<Event | undefined> {
    const limit = checkTimeout(timeout);
    await this.#opening;
    await this.#until(() => this.#events.length > 0 || this.#closed, limit);
    return this.#events.shift();
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    const value = await this.nextEvent();
    return value === undefined ? { done: true, value } : { done: false, value };
  }

  /** Ends an iteration that is left early: closes the subscription. */
  async return(): Promise<IteratorResult<Event, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Close the subscription. An iteration that waits ends. */
  close(): void {
    this.#closed = true;
    this.#connection?.close();
    this.#wake();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #receive(frames: Buffer[]): void {
    try {
      if (frames[0]?.toString() === this.#confirmation) {
        if (frames.length > 1) {
          throw (
            readReply(frames.slice(1), this.#endpoint).error ??
            protocolError(this.#endpoint, "a confirmation has frames that are no error")
          );
        }
        this.#confirmed = true;
      } else if (!frames[0]?.toString().startsWith(SUBSCRIBED)) {
        const event = readEvent(frames, this.#endpoint, this.#prefix);
        if (this.#models === undefined || this.#models.has(event.model)) this.#events.push(event);
        if (this.#events.length > QUEUE) this.#events.shift();
      }
    } catch (error) {
      this.#failure = error as StreamlearnError;
    }
    this.#wake();
  }

  #changed(): void {
    this.#failure ??= this.#connection?.refusal();
    this.#wake();
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter();
  }

  /**
   * Wait for a condition. Return whether it holds; false after the timeout. Throws the failure of the
   * connection.
   */
  #until(condition: () => boolean, timeout: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      // The timer also keeps the process alive while it waits.
      const timer =
        timeout < LONGEST ? setTimeout(() => end(false), timeout) : setInterval(() => undefined, LONGEST);
      const end = (result: boolean) => {
        clearTimeout(timer);
        this.#waiters.delete(check);
        resolve(result);
      };
      const check = () => {
        if (condition()) return end(true);
        if (this.#failure === undefined) return;
        const failure = this.#failure;
        this.#failure = undefined;
        clearTimeout(timer);
        this.#waiters.delete(check);
        reject(failure);
      };
      this.#waiters.add(check);
      check();
    });
  }
}
