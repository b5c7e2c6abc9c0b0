/**
 * The golden vectors of refused requests, sent to the real daemon at $STREAMLEARN_ENDPOINT: its refusals are
 * typed errors.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Dealer } from "zeromq";

import { decodeReply, errorsByCode } from "streamlearn-client";

test("refused requests", async () => {
  const socket = new Dealer({ linger: 0, receiveTimeout: 60_000 });
  socket.connect(process.env.STREAMLEARN_ENDPOINT);
  for (const { name, frames, code, id } of JSON.parse(
    readFileSync(`${process.env.VECTORS}/refused.json`, "utf8"),
  )) {
    await socket.send(["", ...frames.map((frame) => Buffer.from(frame, "hex"))]);
    const [empty, ...reply] = await socket.receive();
    assert.equal(empty.length, 0);
    const { error, id: found } = decodeReply(reply);
    assert.equal(error?.code, code, name);
    assert.ok(error instanceof errorsByCode.get(code), name);
    assert.ok(error.message.length > 10);
    assert.equal(found, id, name);
  }
  socket.close();
});
