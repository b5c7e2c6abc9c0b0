/** Conversion between messages and frames, without sockets. */

import {
  BadMessage,
  errorFromWire,
  isMap,
  ProtocolError,
  protocolError,
  StreamlearnError,
  UnsupportedVersion,
} from "./errors.js";
import { packHeader, unpackHeader } from "./msgpack.js";
import { EVENT_KINDS, type EventKind } from "./names.js";
import type { Rows } from "./samples.js";
import { type Arrays, bytesOf, readArrays } from "./tensor.js";

export const VERSION = 1;

/** The id of a request. This client uses numbers. */
export type Id = number | bigint | string | Uint8Array | null;

/** The arrays of a request, in the order of their frames. */
export interface Input {
  readonly x?: Rows | undefined;
  readonly y?: Rows | undefined;
  readonly keys?: BigInt64Array | undefined;
  readonly ids?: BigInt64Array | undefined;
  readonly times?: BigInt64Array | undefined;
  readonly content?: Uint8Array | undefined;
}

/** A request: `fields` are those of the operation, without its arrays. */
export interface Request {
  readonly op: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly input?: Input;
}

export interface Reply {
  readonly id: Id;
  readonly ok: Record<string, unknown>;
  readonly arrays: Arrays;
  readonly error?: StreamlearnError;
}

export interface EventMessage {
  readonly kind: EventKind;
  readonly model: string;
  readonly lsn: number;
  readonly first: number;
  readonly rows: number;
  readonly time: bigint;
  readonly arrays: Arrays;
  readonly keyNames: ReadonlyMap<bigint, string>;
}

/** Encode a request: the header, and one frame for each array. */
export function encodeRequest(request: Request, id: Id): Buffer[] {
  const { header, frames } = described(request.input ?? {});
  return [packHeader({ v: VERSION, id, op: request.op, ...request.fields, ...header }), ...frames];
}

/** Return the descriptions of arrays for a header, and their frames. */
function described(input: Input): { header: Record<string, unknown>; frames: Buffer[] } {
  const header: Record<string, unknown> = {};
  const frames: Buffer[] = [];
  for (const name of ["x", "y"] as const) {
    const rows = input[name];
    if (rows === undefined) continue;
    header[name] = { dtype: "<f4", shape: [rows.rows, rows.columns] };
    frames.push(bytesOf(rows.values));
  }
  for (const name of ["keys", "ids", "times"] as const) {
    const values = input[name];
    if (values === undefined) continue;
    header[name] = { dtype: "<i8", shape: [values.length] };
    frames.push(bytesOf(values));
  }
  if (input.content !== undefined) {
    header["content"] = { dtype: "|u1", shape: [input.content.length] };
    frames.push(bytesOf(input.content));
  }
  return { header, frames };
}

/** Return rows of the arrays of a message. */
export function part({ x, y, keys, ids, times }: Input, start: number, stop: number): Input {
  const matrix = (rows: typeof x) =>
    rows && {
      ...rows,
      values: rows.values.subarray(start * rows.columns, stop * rows.columns),
      rows: stop - start,
    };
  return {
    x: matrix(x),
    y: matrix(y),
    keys: keys?.subarray(start, stop),
    ids: ids?.subarray(start, stop),
    times: times?.subarray(start, stop),
  };
}

/** Decode a reply. An error in the reply is returned, not thrown. */
export function decodeReply(frames: readonly Buffer[]): Reply {
  const header = unpackHeader(frames[0] ?? Buffer.alloc(0));
  const id = checkId(header["id"]);
  checkVersion(header);
  const { ok, error, arrays } = header;
  if (isMap(error)) {
    if (typeof error["code"] !== "string" || typeof error["message"] !== "string") {
      throw new BadMessage("an error needs a code and a message, both text");
    }
    return { id, ok: {}, arrays: {}, error: errorFromWire(error) };
  }
  if (!isMap(ok)) throw new BadMessage("a reply needs a map under 'ok' or 'error'");
  return { id, ok, arrays: readArrays(arrays, frames.slice(1)) };
}

/** Decode a reply of what listens at an endpoint. Throws `ProtocolError` for anything else. */
export function readReply(frames: readonly Buffer[], endpoint: string): Reply {
  return orProtocolError(endpoint, "the answer is not a reply", () => decodeReply(frames));
}

/** Decode an event: topic, header and arrays. */
export function decodeEvent(frames: readonly Buffer[]): EventMessage {
  if (frames.length < 2)
    throw new BadMessage(`an event has at least 2 frames, topic and header, not ${frames.length}`);
  const header = unpackHeader(frames[1]!);
  checkVersion(header);
  const model = header["model"];
  const subject = frames[0]!.toString();
  const kind = subject.split("/", 1)[0] as EventKind;
  if (typeof model !== "string" || !EVENT_KINDS.includes(kind) || subject !== `${kind}/${model}`) {
    throw new BadMessage(`${JSON.stringify(subject)} is not a topic of the events of ${String(model)}`);
  }
  const [lsn, first, rows] = ["lsn", "first", "rows"].map((name) => whole(header[name], name));
  const time = header["time"];
  if (typeof time !== "number" && typeof time !== "bigint") throw new BadMessage("time must be an integer");
  const names = header["key_names"] ?? {};
  if (
    !isMap(names) ||
    !Object.values(names).every((each) => typeof each === "number" || typeof each === "bigint")
  ) {
    throw new BadMessage("key_names must be a map of texts to integers");
  }
  const keyNames = new Map(
    Object.entries(names).map(([text, number]) => [BigInt(number as number | bigint), text]),
  );
  const arrays = readArrays(header["arrays"], frames.slice(2));
  return { kind, model, lsn: lsn!, first: first!, rows: rows!, time: BigInt(time), arrays, keyNames };
}

/** Return what `decode` returns. A message that is not one becomes a `ProtocolError`. */
export function orProtocolError<T>(endpoint: string, problem: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    if (!(error instanceof StreamlearnError) || error instanceof ProtocolError) throw error;
    throw protocolError(endpoint, `${problem}: ${error.message}`);
  }
}

/** Return a whole number from 0 to 2^53. */
export function whole(value: unknown, name: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new BadMessage(`${name} must be a whole number, not ${String(value)}`);
}

function checkId(id: unknown): Id {
  if (id === null || id === undefined) return null;
  if (
    typeof id === "bigint" ||
    Number.isSafeInteger(id) ||
    typeof id === "string" ||
    id instanceof Uint8Array
  )
    return id as Id;
  throw new BadMessage("id must be an integer, a text or bytes");
}

function checkVersion(header: Record<string, unknown>): void {
  if (header["v"] === VERSION) return;
  throw new UnsupportedVersion(
    `protocol version ${String(header["v"])} is not supported; this client has ${VERSION}`,
    {
      supported: [VERSION],
    },
  );
}
