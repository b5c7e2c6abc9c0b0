/** Client of the streamlearn daemon. */

export type { Ack, Position } from "./acks.js";
export { Client, DEFAULT_ENDPOINT } from "./client.js";
export * from "./errors.js";
export type { Firehose } from "./firehose.js";
export { clientKeys, type KeyOptions, publicKey, readKeyPair, readPublicKey } from "./keys.js";
export { identifier } from "./identifier.js";
export {
  decodeEvent,
  decodeReply,
  encodeRequest,
  type EventMessage,
  type Input,
  type Reply,
  type Request,
} from "./messages.js";
export { type AckLevel, EVENT_KINDS, type EventKind } from "./names.js";
export type { ClientOptions, LearnOptions, Once, QueryOptions, StreamOptions } from "./options.js";
export {
  type Alarm,
  type Answer,
  type Checkpoint,
  type Description,
  Event,
  type Forecast,
  type ModelSummary,
  type Outputs,
  type Reading,
} from "./results.js";
export type { Identifier, Identifiers, Sample, Samples, Targets, Time, Times } from "./samples.js";
export type { Stream } from "./stream.js";
export type { Selection, Subscription } from "./subscription.js";
export { type Arrays, type Dtype, row, tensor, type Tensor, type TypedArray } from "./tensor.js";
