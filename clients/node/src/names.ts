/** Names of models and producers, kinds of events, and levels of acknowledgement. */

import { randomBytes } from "node:crypto";

import { BadName, BadValue } from "./errors.js";

/** The kinds of events. */
export const EVENT_KINDS = [
  "output",
  "targets",
  "drift",
  "alarm",
  "checkpoint",
  "created",
  "deleted",
  "restored",
  "reheated",
  "paused",
  "resumed",
  "judged",
  "labelled",
] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

/**
 * When the daemon acknowledges a batch: in memory, in the journal (survives `kill -9`), or synced to disk
 * (survives a power cut).
 */
export type AckLevel = "received" | "written" | "durable";

const MODEL = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/;
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )+$/u;
const NAME_BYTES = 64;

/** Return a valid name of a model or a checkpoint. */
export function checkModel(name: unknown): string {
  if (typeof name === "string" && MODEL.test(name)) return name;
  throw new BadName(
    `${JSON.stringify(name)} is not a valid model name: use 1 to 64 letters, digits, '_', '.' or '-', ` +
      "and start with a letter, a digit or '_'",
  );
}

/** Return a valid name of a producer, or a generated one without a name. */
export function producerName(name?: string): string {
  if (name === undefined) return `~${randomBytes(8).toString("hex")}`;
  if (name.startsWith("~")) {
    throw new BadName(
      `producer name ${JSON.stringify(name)} starts with '~', which marks generated names: ` +
        "use another first character, or leave the name out",
    );
  }
  return checkProducer(name);
}

/** Return a valid name of a producer, which may be a generated one. */
export function checkProducer(name: string): string {
  if (typeof name === "string" && PRINTABLE.test(name) && Buffer.byteLength(name) <= NAME_BYTES) return name;
  throw new BadName(
    `${JSON.stringify(name)} is not a valid producer name: use printable text of 1 to 64 bytes in UTF-8`,
  );
}

/** Return a valid level of acknowledgement. */
export function checkAck(ack: AckLevel): AckLevel {
  if (["received", "written", "durable"].includes(ack)) return ack;
  throw new BadValue(`ack must be one of durable, received, written, not ${JSON.stringify(ack)}`, {
    field: "ack",
  });
}

/** Return a timeout in milliseconds. `null` means without a limit. */
export function checkTimeout(value: number | null, name = "timeout"): number {
  if (value === null || value === Infinity) return Infinity;
  if (typeof value === "number" && value >= 0) return value;
  throw new BadValue(
    `${name} must be a number of milliseconds from 0, or null for no limit, not ${String(value)}`,
    {
      field: name,
    },
  );
}

/** Return a whole number from a least value on. */
export function checkWhole(value: number, name: string, least = 0): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new BadValue(`${name} must be a whole number from ${least}, not ${String(value)}`, { field: name });
}
