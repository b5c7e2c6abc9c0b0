/**
 * Connections: ZeroMQ sockets that connect and reconnect, and the outcomes of their handshakes.
 *
 * Sockets that send have `ZMQ_IMMEDIATE`: they accept a message only while they are connected, so no messages
 * queue up for a daemon that is away. ZeroMQ reports a lost connection shortly before it drops it, and loses
 * the messages that it accepts in between. So `connected` stays false from then on until the next handshake.
 */

import { isIP } from "node:net";

import * as zmq from "zeromq";

import { BadValue, Forbidden, protocolError, type StreamlearnError } from "./errors.js";
import type { ClientKeys } from "./keys.js";

const RECONNECT_MS = 50;
const MAX_RECONNECT_MS = 1000;
const HEARTBEAT_MS = 2000;
const HEARTBEAT_TIMEOUT_MS = 10_000;

export type Kind = "dealer" | "push" | "sub";
type Socket = zmq.Dealer | zmq.Push | zmq.Subscriber;

export interface Listener {
  /** A message arrived. */
  message?(frames: Buffer[]): void;
  /** The connection was made, lost or refused. `lost`: messages in transit are lost. */
  changed(lost: boolean): void;
}

export class Connection {
  /** Whether the last handshake succeeded and its connection is not lost. */
  connected = false;
  readonly #socket: Socket;
  readonly #endpoint: string;
  readonly #keys: ClientKeys | undefined;
  #failure: { type: string; code: string } | undefined;
  #ended = 0; // handshakes without an outcome since the last success
  #closed = false;

  /**
   * `announcedBy`: the daemon that announced the endpoint. `linger`: milliseconds for messages to leave at
   * close.
   */
  constructor(
    kind: Kind,
    endpoint: string,
    keys: ClientKeys | undefined,
    listener: Listener,
    { linger = 0, announcedBy }: { linger?: number; announcedBy?: string } = {},
  ) {
    this.#endpoint = endpoint;
    this.#keys = keys;
    const options = {
      linger,
      ipv6: isIP(hostOf(endpoint)) === 6,
      reconnectInterval: RECONNECT_MS,
      reconnectMaxInterval: MAX_RECONNECT_MS,
      heartbeatInterval: HEARTBEAT_MS,
      heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
      ...(keys && {
        curveServerKey: keys.server,
        curvePublicKey: keys.public,
        curveSecretKey: keys.secret,
      }),
    };
    const sending = { ...options, immediate: true, sendTimeout: 0 };
    this.#socket =
      kind === "dealer"
        ? new zmq.Dealer(sending)
        : kind === "push"
          ? new zmq.Push(sending)
          : new zmq.Subscriber(options);
    void this.#watch(listener);
    if (!(this.#socket instanceof zmq.Push)) void this.#receive(this.#socket, listener);
    try {
      this.#socket.connect(endpoint);
    } catch (error) {
      this.close();
      const { message } = error as Error;
      const problem = `'${endpoint}' is not a valid endpoint (${message}); use tcp://HOST:PORT or ipc://PATH`;
      throw announcedBy === undefined
        ? new BadValue(problem, { endpoint })
        : protocolError(announcedBy, `it announces an endpoint: ${problem}`);
    }
  }

  /** Whether the daemon refused the connection. ZeroMQ does not try again: replace the connection. */
  get refused(): boolean {
    return this.#failure !== undefined;
  }

  /** Send a message without waiting. Return whether the socket accepted it. */
  async send(frames: Buffer[]): Promise<boolean> {
    if (this.#closed || !this.connected) return false;
    const socket = this.#socket as zmq.Dealer | zmq.Push;
    try {
      await socket.send(frames);
      return true;
    } catch (error) {
      if (!isAgain(error)) throw error;
      // The connection may be lost in the middle of a message. ZeroMQ then drops all frames up to the next
      // last one: this empty frame. If the message had not begun, the daemon refuses the empty message.
      if (frames.length > 2) await socket.send(Buffer.alloc(0)).catch(() => undefined);
      return false;
    }
  }

  /** Subscribe to topics that begin with a prefix. */
  subscribe(prefix: string): void {
    (this.#socket as zmq.Subscriber).subscribe(prefix);
  }

  unsubscribe(prefix: string): void {
    (this.#socket as zmq.Subscriber).unsubscribe(prefix);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.connected = false;
    this.#socket.close();
  }

  /** Return a new error if the connection was refused. */
  refusal(): StreamlearnError | undefined {
    if (this.#failure === undefined) return undefined;
    const { type, code } = this.#failure;
    const detail = { right: "connect", endpoint: this.#endpoint };
    if (type === "handshake:error:auth" && this.#keys) {
      const key = this.#keys.public;
      return new Forbidden(
        `the daemon at ${this.#endpoint} does not admit the public key ${key}: it is unknown or ` +
          "revoked, or has no " +
          "right that this connection needs; see the daemon's log, its client_keys and its rights",
        { key, ...detail },
      );
    }
    if (code !== "ERR_ZMTP_MECHANISM_MISMATCH")
      return protocolError(this.#endpoint, "the ZeroMQ handshake failed");
    const problem = this.#keys
      ? "takes no keys: leave out serverKey and the key of this client, also in the environment"
      : "requires a key: pass serverKey and keyFile, or set STREAMLEARN_SERVER_KEY and STREAMLEARN_KEY_FILE";
    return new Forbidden(`the daemon at ${this.#endpoint} ${problem}`, { key: "", ...detail });
  }

  /** Return a likely reason why there is no connection yet; empty if nothing is known. */
  hint(): string {
    if (!this.#ended) return "";
    const count = this.#ended === 1 ? "A connection" : `${this.#ended} connections`;
    const reason = this.#keys ? "serverKey is not this daemon's key" : "the daemon requires a key";
    return (
      `. ${count} ended during the handshake: possibly ${reason}, or a tunnel or proxy at this ` +
      "endpoint has no " +
      "daemon behind it"
    );
  }

  /** Read the events of the socket's monitor, also while nobody uses the connection: its queue is limited. */
  async #watch(listener: Listener): Promise<void> {
    for await (const event of this.#socket.events) {
      if (this.#closed) return;
      let lost = false;
      if (event.type === "handshake") {
        this.connected = true;
        this.#ended = 0;
        // Makes the socket drop the old connection and use the new one.
        if (!(this.#socket instanceof zmq.Subscriber)) void this.#socket.writable;
      } else if (event.type === "disconnect") {
        lost = true;
        if (!this.connected) this.#ended += 1;
        this.connected = false;
      } else if (event.type === "handshake:error:auth" || event.type === "handshake:error:protocol") {
        this.#failure = { type: event.type, code: (event.error as NodeJS.ErrnoException).code ?? "" };
      } else {
        continue;
      }
      listener.changed(lost);
    }
  }

  async #receive(socket: zmq.Dealer | zmq.Subscriber, listener: Listener): Promise<void> {
    try {
      for await (const frames of socket as AsyncIterable<Buffer[]>) listener.message?.(frames);
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }
}

function isAgain(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === "EAGAIN" || code === "EHOSTUNREACH";
}

function hostOf(endpoint: string): string {
  return /^tcp:\/\/\[?([^\]]*)\]?:[^:]*$/.exec(endpoint)?.[1] ?? "";
}
