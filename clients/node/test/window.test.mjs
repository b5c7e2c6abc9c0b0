/**
 * The window of a stream makes the same decisions as that of the Python client: the steps of random runs over
 * an unreliable network, and what the Python window did after each, are in the file $TRACES.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decodeReply } from "streamlearn-client";
import { unpackHeader } from "../node_modules/streamlearn-client/dist/msgpack.js";
import { Window } from "../node_modules/streamlearn-client/dist/window.js";

/** Return the numbers of the batches that the window sends now, at most `limit`. */
function send(window, now, limit) {
  const numbers = [];
  while (numbers.length < limit) {
    const frames = window.next(now);
    if (frames === undefined) break;
    const { epoch, seq } = unpackHeader(frames[0]);
    numbers.push([epoch, seq]);
    window.sent(window.version, now);
  }
  return numbers;
}

function state(window) {
  const { epoch, acknowledged, pending, resent, length, failure } = window;
  return {
    epoch: Number(epoch),
    acknowledged,
    pending,
    resent,
    length,
    failure: failure?.cause.code ?? null,
  };
}

const row = () => ({ rows: 1, input: { x: { values: new Float32Array(1), rows: 1, columns: 1 } } });

for (const { seed, size, steps } of JSON.parse(readFileSync(process.env.TRACES, "utf8"))) {
  test(`seed ${seed}`, () => {
    const window = new Window("pump", "p", 1n, "durable", size, "the endpoint");
    steps.forEach(({ step, now, limit, sent, reply, after }, i) => {
      const place = `step ${i}: ${step}`;
      if (step === "add") window.add(row());
      else if (step === "send") assert.deepEqual(send(window, now, limit), sent, place);
      else if (step === "receive") window.receive(decodeReply([Buffer.from(reply, "hex")]), now);
      else window.disconnected();
      assert.deepEqual(state(window), after, place);
    });
  });
}
