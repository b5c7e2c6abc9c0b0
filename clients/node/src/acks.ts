/** Acknowledgements of batches, and the epochs of producers. */

import { BadMessage, BadValue, type StreamlearnError, UnknownProducer } from "./errors.js";
import { whole } from "./messages.js";

const UINT63 = 1n << 63n;

/** The daemon's acknowledgement of a batch. */
export interface Ack {
  /** Number of the batch's record in the journal. */
  readonly lsn: number;
  /** All records up to this one survive a power cut. */
  readonly durableLsn: number;
  /** The model has learned all records up to this one. */
  readonly appliedLsn: number;
  /** Whether the daemon already had the batch: an earlier attempt arrived, and its answer was lost. */
  readonly duplicate: boolean;
  /** Number of samples, or of late targets. */
  readonly rows: number;
  /** Late targets with and without a waiting sample; undefined if the ack does not report them. */
  readonly matched?: number | undefined;
  readonly unmatched?: number | undefined;
}

/** The state of a producer of a model. */
export interface Position {
  /** The producer's newest epoch; 0 for an unknown producer. */
  readonly epoch: bigint;
  /** Number of the batch that the daemon expects next. */
  readonly nextSeq: number;
}

/** Return the acknowledgement in the `ok` of a reply. */
export function readAck(ok: Record<string, unknown>): Ack {
  const { duplicate, matched, unmatched } = ok;
  if (typeof duplicate !== "boolean") throw new BadMessage("an ack needs 'duplicate', true or false");
  return {
    lsn: whole(ok["lsn"], "lsn"),
    durableLsn: whole(ok["durable_lsn"], "durable_lsn"),
    appliedLsn: whole(ok["applied_lsn"], "applied_lsn"),
    duplicate,
    rows: whole(ok["rows"], "rows"),
    matched: matched == null ? undefined : whole(matched, "matched"),
    unmatched: unmatched == null ? undefined : whole(unmatched, "unmatched"),
  };
}

/** Return the acknowledgement of a batch that was sent in parts. */
export function merged(acks: readonly Ack[]): Ack {
  const total = (counts: (number | undefined)[]) =>
    counts.every((count) => count !== undefined) ? counts.reduce((sum, count) => sum + count, 0) : undefined;
  return {
    ...acks.at(-1)!,
    duplicate: acks.some((ack) => ack.duplicate),
    rows: total(acks.map((ack) => ack.rows))!,
    matched: total(acks.map((ack) => ack.matched)),
    unmatched: total(acks.map((ack) => ack.unmatched)),
  };
}

/** Return an epoch: the time in nanoseconds since 1970. */
export function timeEpoch(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

/**
 * Whether the daemon refused the epoch of a batch and accepts the batch in another one: it has forgotten the
 * producer, or the epoch is too far ahead of its clock.
 */
export function needsNewEpoch(refusal: StreamlearnError): boolean {
  return refusal instanceof UnknownProducer || largestEpoch(refusal) !== undefined;
}

/** Return the epoch after `epoch` that the daemon accepts, given its refusal of a batch. */
export function nextEpoch(producer: string, epoch: bigint, refusal?: StreamlearnError): bigint {
  let following = epoch + 1n;
  if (refusal instanceof UnknownProducer) {
    const least = BigInt(refusal.detail["epoch"] as number | bigint);
    following = least > following ? least : following;
  } else if (refusal !== undefined) {
    following = largestEpoch(refusal) ?? following;
  }
  if (following >= UINT63) {
    throw new BadValue(`producer ${JSON.stringify(producer)} has no epochs left; use another producer name`);
  }
  return following;
}

function largestEpoch(refusal: StreamlearnError): bigint | undefined {
  const { field, largest } = refusal.detail;
  if (!(refusal instanceof BadValue) || field !== "epoch") return undefined;
  return typeof largest === "number" || typeof largest === "bigint" ? BigInt(largest) : undefined;
}
