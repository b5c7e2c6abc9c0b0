/** The golden vectors: this client encodes the requests, and decodes the replies and events. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  decodeEvent,
  decodeReply,
  encodeRequest,
  errorsByCode,
  UnsupportedVersion,
} from "streamlearn-client";

const load = (name) => JSON.parse(readFileSync(`${process.env.VECTORS}/${name}.json`, "utf8"));
const bytes = (entry) => entry.frames.map((frame) => Buffer.from(frame, "hex"));
const integer = (value) => (typeof value === "string" && /^-?\d+$/.test(value) ? BigInt(value) : value);
const idOf = (id) => (id !== null && typeof id === "object" ? Buffer.from(id.bytes, "hex") : integer(id));
const NAMES = ["x", "y", "keys", "ids", "times", "content"];

function matrix(rows) {
  if (rows == null) return undefined;
  const values = Float32Array.from(rows.flat(), (value) => value ?? NaN);
  return { values, rows: rows.length, columns: rows[0].length };
}

const int64 = (values) => values && BigInt64Array.from(values, BigInt);

/**
 * Return the fields of a header in the order of the encoders: the channels come last before the arrays, or
 * after the model.
 */
function request({
  op,
  id,
  x,
  y,
  keys,
  ids,
  times,
  content,
  channels,
  key_names: keyNames,
  model,
  ...fields
}) {
  const input = {
    x: matrix(x),
    y: matrix(y),
    keys: int64(keys),
    ids: int64(ids),
    times: int64(times),
    content: content && Uint8Array.from(content),
  };
  const values = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, NUMBERS.has(name) ? integer(value) : value]),
  );
  const ordered =
    op === "learn" ? { model, channels, key_names: keyNames, ...values } : { model, ...values, channels };
  return encodeRequest({ op, fields: ordered, input }, idOf(id));
}
const NUMBERS = new Set(["epoch", "seq", "key"]);

for (const entry of load("requests")) {
  test(`request: ${entry.name}`, () => {
    const frames = request(entry.message).map((frame) => frame.toString("hex"));
    assert.deepEqual(frames, entry.frames);
  });
}

function same(found, expected) {
  assert.equal(found.dtype, expected.dtype);
  assert.deepEqual([...found.shape], expected.shape);
  const values = Array.from(found, (value) =>
    typeof value === "number" && Number.isNaN(value) ? null : value,
  );
  const wide = found.dtype.endsWith("8") && found.dtype[1] !== "f";
  assert.deepEqual(
    values,
    expected.values
      .map((value) => (wide ? BigInt(value) : Number(value ?? NaN)))
      .map((v) => (Number.isNaN(v) ? null : v)),
  );
}

for (const entry of load("replies")) {
  test(`reply: ${entry.name}`, () => {
    const { message } = entry;
    const reply = decodeReply(bytes(entry));
    const id = reply.id instanceof Uint8Array ? Buffer.from(reply.id) : reply.id;
    assert.deepEqual(
      typeof id === "number" ? BigInt(id) : id,
      typeof message.id === "number" ? BigInt(message.id) : idOf(message.id),
    );
    if (message.error !== undefined) {
      const { code, detail, retryable } = reply.error;
      assert.deepEqual({ code, message: reply.error.message, detail, retryable }, message.error);
      assert.ok(reply.error instanceof errorsByCode.get(code));
      return;
    }
    assert.deepEqual(reply.ok, message.ok);
    assert.deepEqual(Object.keys(reply.arrays), Object.keys(message.arrays));
    for (const [name, array] of Object.entries(message.arrays)) same(reply.arrays[name], array);
  });
}

for (const entry of load("events")) {
  test(`event: ${entry.name}`, () => {
    const { arrays, key_names: names = {}, ...facts } = entry.message;
    const event = decodeEvent(bytes(entry));
    for (const [name, value] of Object.entries(facts)) {
      assert.equal(
        name === "time" ? event.time : event[name],
        name === "time" ? BigInt(value) : integer(value),
        name,
      );
    }
    assert.deepEqual(
      [...event.keyNames],
      Object.entries(names).map(([text, number]) => [BigInt(number), text]),
    );
    for (const [name, array] of Object.entries(arrays)) same(event.arrays[name], array);
  });
}

test("frames of requests are no replies and no events", () => {
  for (const entry of load("refused")) {
    assert.throws(
      () => decodeReply(bytes(entry)),
      entry.code === "UNSUPPORTED_VERSION" ? UnsupportedVersion : undefined,
      entry.name,
    );
    assert.throws(() => decodeEvent(bytes(entry)), undefined, entry.name);
  }
});
