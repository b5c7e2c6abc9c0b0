/**
 * Changes with an idempotency key, on the real daemon at $STREAMLEARN_ENDPOINT: executed once, from two
 * clients.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { BadShape, BadValue, Client, Conflict, StreamLost } from "streamlearn-client";

test("a change with an idempotency key is executed once", async () => {
  const [one, other] = [1, 2].map(() => new Client(process.env.STREAMLEARN_ENDPOINT, { timeout: 60_000 }));
  await one.create("once", "som", { dim: 2, grid: [3, 3], labels: 2 });
  const { name } = await one.checkpoint("once", "before");
  const changes = [
    (client, key) => client.restore("once", { name, idempotencyKey: key }),
    (client, key) => client.reheat("once", 0.5, { idempotencyKey: key }),
    (client, key) => client.label("once", "worn", { unit: 4 }, { idempotencyKey: key }),
    (client, key) => client.pause("once", { idempotencyKey: key }),
    (client, key) => client.resume("once", { idempotencyKey: key }),
  ];
  for (const [number, change] of changes.entries()) {
    const [first, second] = [await change(one, `change ${number}`), await change(other, `change ${number}`)];
    assert.ok(!first.duplicate, `change ${number}`);
    assert.deepEqual([second.duplicate, second.lsn], [true, first.lsn], `change ${number}`);
  }
  await assert.rejects(other.reheat("once", 0.5, { idempotencyKey: "change 0" }), Conflict);
  await assert.rejects(other.restore("once", { name, into: "twice", idempotencyKey: "change 9" }), BadValue);
  await assert.rejects(other.reheat("once", 0.5, { idempotencyKey: "x".repeat(257) }), BadValue);
  one.close();
  other.close();
});

test("calls at the same time get their own answers, and batches keep the order of the calls", async () => {
  const client = new Client(process.env.STREAMLEARN_ENDPOINT, { timeout: 60_000 });
  await client.create("ordered", "som", { dim: 1, grid: [2, 2] });
  const acks = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      client.learn(
        "ordered",
        Array.from({ length: i + 1 }, () => [i]),
      ),
    ),
  );
  assert.deepEqual(
    acks.map(({ rows }) => rows),
    Array.from({ length: 40 }, (_, i) => i + 1),
  );
  assert.ok(acks.every(({ lsn }, i) => i === 0 || lsn >= acks[i - 1].lsn));
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      client.predict(
        "ordered",
        Array.from({ length: i + 1 }, () => [i]),
      ),
    ),
  );
  assert.deepEqual(
    answers.map(({ outputs }) => outputs.winner.length),
    Array.from({ length: 20 }, (_, i) => i + 1),
  );
  assert.equal(answers[0].samples, 820);
  client.close();
});

test("names of labels, of channels, and targets with samples and after them", async () => {
  const client = new Client(process.env.STREAMLEARN_ENDPOINT, { timeout: 60_000 });
  const spec = { dim: 2, grid: [3, 3], labels: ["ok", "worn"], channels: ["flow", "heat"] };
  await client.create("labelled", "som", spec);
  await client.learn("labelled", { flow: 1, heat: null }, { y: "worn", ids: "sample 1" });
  await client.learn(
    "labelled",
    [
      [1, 2],
      [3, 4],
      [5, 6],
    ],
    { y: ["ok", null, "worn"] },
  );
  assert.equal((await client.learnTargets("labelled", ["sample 1"], ["ok"])).rows, 1);
  await assert.rejects(client.learn("labelled", [1, 2], { y: "no such label" }), /ok, worn/);
  await assert.rejects(client.learn("labelled", { heat: 1, flow: 2 }), BadShape);
  const stream = await client.stream("labelled", { batch: 2, window: 2 });
  await stream.push({ flow: 1, heat: 2 }, { y: "ok", id: "sample 2" });
  await stream.push([1, 2], { y: 1, id: 7n });
  await stream.pushMany(
    [
      [1, 2],
      [3, 4],
    ],
    { y: ["worn", null], ids: [8, 9] },
  );
  await stream.pushTargets(["sample 2", 9], ["worn", "ok"]);
  await assert.rejects(stream.push({ heat: 1, flow: 2 }), BadShape);
  await assert.rejects(stream.pushMany([[1, 2, 3]]), BadShape);
  await assert.rejects(
    stream.push([
      [1, 2],
      [3, 4],
    ]),
    BadShape,
  );
  await stream.close();
  assert.deepEqual([stream.pushed, stream.acknowledged, stream.matched + stream.unmatched], [6, 6, 2]);
  await assert.rejects(stream.push([1, 2]), StreamLost);
  assert.deepEqual((await client.describe("labelled")).label_names, ["ok", "worn"]);
  client.close();
});
