/** All errors of streamlearn, with their codes on the wire. */

/** Facts of an error for programs. */
export type Detail = Record<string, unknown>;

/**
 * Base class of all errors of streamlearn. `message` says what was wrong, what was expected, and what to do.
 */
export class StreamlearnError extends Error {
  /** The error code on the wire. */
  readonly code: string = "ERROR";
  /** The facts of the error. */
  detail: Detail;
  /** Whether the same request may succeed later. */
  retryable = false;
  /** Whether the daemon may have executed the request although the call failed. */
  inDoubt = false;

  constructor(message: string, detail: Detail = {}) {
    super(message);
    this.name = new.target.name;
    this.detail = detail;
  }
}

/** The frames are not a message of this protocol. */
export class BadMessage extends StreamlearnError {
  override readonly code = "BAD_MESSAGE";
}
/** A message, an answer or a model exceeds a limit, which `detail.limit` names. */
export class TooLarge extends StreamlearnError {
  override readonly code = "TOO_LARGE";
}
/** The daemon does not support the protocol version of the client. */
export class UnsupportedVersion extends StreamlearnError {
  override readonly code = "UNSUPPORTED_VERSION";
}
/** No operation has this name. */
export class UnknownOp extends StreamlearnError {
  override readonly code = "UNKNOWN_OP";
}
/** No model has this name. */
export class UnknownModel extends StreamlearnError {
  override readonly code = "UNKNOWN_MODEL";
}
/** A model of this name exists already. */
export class ModelExists extends StreamlearnError {
  override readonly code = "MODEL_EXISTS";
}
/** The name of a model or a producer has invalid characters or an invalid length. */
export class BadName extends StreamlearnError {
  override readonly code = "BAD_NAME";
}
/** Parameters of a model are wrong. `detail.errors` lists all of them as `{field, message}`. */
export class BadSpec extends StreamlearnError {
  override readonly code = "BAD_SPEC";
}
/** An array has the wrong number of axes, columns or rows. */
export class BadShape extends StreamlearnError {
  override readonly code = "BAD_SHAPE";
}
/** An array has a type that is not accepted. */
export class BadDtype extends StreamlearnError {
  override readonly code = "BAD_DTYPE";
}
/** A value is out of range, for example an infinity in a sample. */
export class BadValue extends StreamlearnError {
  override readonly code = "BAD_VALUE";
}
/** Batches are missing before this one. `detail.expected_seq` is the next expected number. */
export class Gap extends StreamlearnError {
  override readonly code = "GAP";
}
/** A newer epoch of the same producer exists; the older one may not write. */
export class Fenced extends StreamlearnError {
  override readonly code = "FENCED";
}
/** A batch has a number that was used before, and is not known to be the same. It was not learned. */
export class Conflict extends StreamlearnError {
  override readonly code = "CONFLICT";
}
/**
 * The daemon no longer has the position of this producer. `detail.epoch` is the smallest epoch that it
 * accepts.
 */
export class UnknownProducer extends StreamlearnError {
  override readonly code = "UNKNOWN_PRODUCER";
}
/** The key of this client has no right to the operation. */
export class Forbidden extends StreamlearnError {
  override readonly code = "FORBIDDEN";
}
/** The daemon died repeatedly at one record of this model, so the model is set aside. */
export class Quarantined extends StreamlearnError {
  override readonly code = "QUARANTINED";
}
/** The daemon's queue is full; send the request again later. */
export class Busy extends StreamlearnError {
  override readonly code = "BUSY";
  override retryable = true;
}
/** The journal's disk is full. The request had no effect. */
export class DiskFull extends StreamlearnError {
  override readonly code = "DISK_FULL";
  override retryable = true;
}
/** The daemon is stopping. Send the request again after its restart. */
export class ShuttingDown extends StreamlearnError {
  override readonly code = "SHUTTING_DOWN";
  override retryable = true;
}
/** No checkpoint has this name, or the model cannot be restored to this lsn. */
export class NoCheckpoint extends StreamlearnError {
  override readonly code = "NO_CHECKPOINT";
}
/** The model has a checkpoint of this name already. */
export class CheckpointExists extends StreamlearnError {
  override readonly code = "CHECKPOINT_EXISTS";
}
/** The checkpoint, or the file of a model, is damaged or belongs to another model. */
export class BadCheckpoint extends StreamlearnError {
  override readonly code = "BAD_CHECKPOINT";
}
/** The daemon has no such export or upload: it restarted, or the parts came too slowly. Begin again. */
export class UnknownTransfer extends StreamlearnError {
  override readonly code = "UNKNOWN_TRANSFER";
}
/** The daemon failed. Its log has the details. */
export class Internal extends StreamlearnError {
  override readonly code = "INTERNAL";
}
/** Raised by the client: the daemon at `detail.endpoint` did not answer in time. */
export class NoAnswer extends StreamlearnError {
  override readonly code: string = "NO_ANSWER";
}
/** The connection was lost before the answer to a request that must not be sent twice. */
export class AnswerLost extends NoAnswer {}
/** Raised by the client: what answers at `detail.endpoint` does not follow the protocol. */
export class ProtocolError extends StreamlearnError {
  override readonly code = "PROTOCOL_ERROR";
}
/**
 * Raised by the client: a stream failed. `detail.unacknowledged` samples may be lost. `cause` is the reason.
 */
export class StreamLost extends StreamlearnError {
  override readonly code = "STREAM_LOST";
}
/** The daemon is newer and sent an error code that this client does not know (`detail.code`). */
export class Unrecognised extends StreamlearnError {
  override readonly code = "UNRECOGNISED";
}

/** The classes of the errors that a daemon sends, by code. */
export const errorsByCode: ReadonlyMap<string, new (message: string, detail?: Detail) => StreamlearnError> =
  new Map(
    [
      BadMessage,
      TooLarge,
      UnsupportedVersion,
      UnknownOp,
      UnknownModel,
      ModelExists,
      BadName,
      BadSpec,
      BadShape,
      BadDtype,
      BadValue,
      Gap,
      Fenced,
      Conflict,
      UnknownProducer,
      Forbidden,
      Quarantined,
      Busy,
      DiskFull,
      ShuttingDown,
      NoCheckpoint,
      CheckpointExists,
      BadCheckpoint,
      UnknownTransfer,
      Internal,
    ].map((kind) => [new kind("").code, kind]),
  );

/** Return the error in the `error` field of a reply. An unknown code gives `Unrecognised`. */
export function errorFromWire(error: Record<string, unknown>): StreamlearnError {
  const { code, message, detail, retryable } = error;
  const facts = isMap(detail) ? { ...detail } : {};
  const text =
    typeof message === "string" && message
      ? message
      : `the daemon answered ${String(code)} without a message`;
  const kind = errorsByCode.get(String(code));
  const found =
    kind === undefined ? new Unrecognised(text, { ...facts, code: String(code) }) : new kind(text, facts);
  if (typeof retryable === "boolean") found.retryable = retryable;
  return found;
}

/** Whether a value is a map of MessagePack or an object of JSON. */
export function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** Return the error for a peer that does not follow the protocol. */
export function protocolError(endpoint: string, problem: string, detail: Detail = {}): ProtocolError {
  const error = new ProtocolError(
    `what listens at ${endpoint} does not follow the protocol: ${problem}. ` +
      "Check the endpoint, and that client and daemon have the same version",
    { endpoint, ...detail },
  );
  error.inDoubt = true;
  return error;
}
