/** Files of models: creation from files, and exports. */

import { createHash, randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";

import {
  AnswerLost,
  BadCheckpoint,
  BadSpec,
  BadValue,
  isMap,
  ModelExists,
  protocolError,
  UnknownTransfer,
} from "./errors.js";
import { packHeader } from "./msgpack.js";
import { checkModel } from "./names.js";
import { Deadline, type Session } from "./session.js";

/** Milliseconds to wait for the answer to create: the first model of a kind waits for its kernels. */
const COMPILE = 300_000;
/** Milliseconds to wait for the answer to clone and for the first part of an export. */
export const COPY = 60_000;
const PART_BYTES = 4 << 20;
/** How often an export or an upload begins again that the daemon has forgotten. */
const TRIES = 3;
const HEADER_BYTES = 16 << 20;

/** A file in safetensors format, to be uploaded. */
export interface Source {
  readonly field: "state" | "parameters";
  readonly path: string;
}

/** The kind and the parameters of a new model, or the file that it starts from. */
export interface NewModel {
  readonly kind?: string | undefined;
  readonly spec?: Readonly<Record<string, unknown>> | undefined;
  readonly source?: Source | undefined;
}

/** Create a model. A repeated request may find the model that the first one created: this is not an error. */
export async function create(
  session: Session,
  model: string,
  wanted: NewModel,
  timeout: number,
): Promise<Record<string, unknown>> {
  checkModel(model);
  const { source, spec = {} } = wanted;
  const kind = wanted.kind ?? (source?.field === "state" ? await kindOf(source.path) : undefined);
  if (kind === undefined)
    throw new BadSpec("the kind of the model is missing, for example 'som'", { errors: [] });
  const fields = { model, kind, spec: source?.field === "state" ? undefined : spec };
  const limits = await session.limits(new Deadline(timeout));
  const size = packHeader(fields).length;
  if (size > limits.control_header_bytes) {
    throw new BadValue(
      `the parameters take ${size} bytes and may take ${limits.control_header_bytes}; use fewer ` +
        "initial weights",
    );
  }
  session.beginEpoch(model); // also if the call is given up: the new model knows no batches
  for (let tries = TRIES, answerLost = false; ;) {
    try {
      const uploaded =
        source === undefined
          ? {}
          : await upload(session, model, source, Math.min(PART_BYTES, limits.frame_bytes), timeout);
      const request = { op: "create", fields: { ...fields, ...uploaded } };
      const { ok } = await session.call(request, new Deadline(timeout), {
        idempotent: false,
        patience: COMPILE,
      });
      session.beginEpoch(model);
      return ok;
    } catch (error) {
      if (error instanceof AnswerLost) {
        answerLost = true;
      } else if (error instanceof ModelExists && answerLost) {
        const { ok } = await session.call({ op: "describe", fields: { model } }, new Deadline(timeout));
        if (ok["kind"] !== kind || !contains(ok["spec"], fields.spec ?? {})) throw error;
        session.beginEpoch(model);
        return ok;
      } else if (!(error instanceof UnknownTransfer) || --tries === 0) {
        throw error;
      }
    }
  }
}

/** Write the file of a model, completely or not at all. */
export async function exportFile(
  session: Session,
  model: string,
  path: string,
  timeout: number,
): Promise<Record<string, unknown>> {
  checkModel(model);
  const temporary = `${path}.${randomBytes(4).toString("hex")}.part`;
  const file = await open(temporary, "wx");
  try {
    for (let tries = TRIES; ;) {
      try {
        const facts = await receive(session, model, file, timeout);
        await file.sync();
        await rename(temporary, path);
        return facts;
      } catch (error) {
        if (!(error instanceof UnknownTransfer) || --tries === 0) throw error;
      }
    }
  } finally {
    await file.close();
    await rm(temporary, { force: true });
  }
}

async function receive(
  session: Session,
  model: string,
  file: Awaited<ReturnType<typeof open>>,
  timeout: number,
): Promise<Record<string, unknown>> {
  await file.truncate(0);
  const digest = createHash("sha256");
  let fields: Record<string, unknown> = { model };
  for (let offset = 0; ;) {
    const { ok, arrays } = await session.call(
      { op: "export", fields },
      new Deadline(timeout),
      offset ? {} : { patience: COPY },
    );
    const content = arrays["content"];
    if (!(content instanceof Uint8Array) || !content.length)
      throw protocolError(session.requests, "a part of an export has no content");
    await file.write(content, 0, content.length, offset);
    digest.update(content);
    offset += content.length;
    if (offset < Number(ok["bytes"])) {
      fields = { model, export: ok["export"], offset };
      continue;
    }
    const found = digest.digest("hex");
    if (found === ok["sha256"])
      return Object.fromEntries(
        ["model", "kind", "lsn", "samples", "bytes", "sha256"].map((name) => [name, ok[name]]),
      );
    throw new BadCheckpoint(
      `the export of '${model}' arrived with the SHA-256 ${found}, not ${String(ok["sha256"])}: export ` +
        "it again",
    );
  }
}

/** Send a file in parts. Return the fields of `create` that name it. */
async function upload(
  session: Session,
  model: string,
  source: Source,
  part: number,
  timeout: number,
): Promise<Record<string, unknown>> {
  const name = randomBytes(8).toString("hex");
  const digest = createHash("sha256");
  const file = await open(source.path, "r");
  try {
    const { size } = await file.stat();
    for (let offset = 0; offset < size;) {
      const { bytesRead, buffer } = await file.read(
        Buffer.alloc(Math.min(part, size - offset)),
        0,
        undefined,
        offset,
      );
      if (bytesRead === 0) throw new BadCheckpoint(`${source.path} became shorter while it was read`);
      const content = buffer.subarray(0, bytesRead);
      const fields = { model, upload: name, bytes: size, offset };
      await session.call({ op: "upload", fields, input: { content } }, new Deadline(timeout));
      digest.update(content);
      offset += bytesRead;
    }
  } finally {
    await file.close();
  }
  return { [source.field]: name, sha256: digest.digest("hex") };
}

/** Return the kind of the model in a file. */
async function kindOf(file: string): Promise<string> {
  const opened = await open(file, "r");
  try {
    const length = Buffer.alloc(8);
    await opened.read(length, 0, 8, 0);
    const size = length.readBigUInt64LE();
    const text = Buffer.alloc(size > 0n && size <= HEADER_BYTES ? Number(size) : 0);
    await opened.read(text, 0, text.length, 8);
    const metadata: unknown = JSON.parse(text.toString())["__metadata__"];
    const kind = isMap(metadata) ? metadata["kind"] : undefined;
    if (typeof kind === "string") return kind;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  } finally {
    await opened.close();
  }
  throw new BadCheckpoint(`${file} is not the file of a model; use a file of export`);
}

/** Whether a full spec has every value of another one. A number equals a list that holds only that number. */
function contains(full: unknown, part: unknown): boolean {
  if (isMap(full) && isMap(part))
    return Object.entries(part).every(([name, value]) => contains(full[name], value));
  return (
    isDeepStrictEqual(full, part) || isDeepStrictEqual(full, [part]) || (part === undefined && full === null)
  );
}
